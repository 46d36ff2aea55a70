"""Data sets: their files, their preparation, and generated ones."""
