"""One run from its description to its record."""
