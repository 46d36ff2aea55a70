"""Public checkpoint layouts to ours and back, and one checkpoint evaluated."""
