"""Measures: pure functions on arrays, one file a task."""
