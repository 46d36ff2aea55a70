"""Late fusion: the encoders alone, one file a task."""
