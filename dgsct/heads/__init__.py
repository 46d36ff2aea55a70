"""Heads: one file a task, with its loss terms and decoding."""
