"""What a run leaves for everything to the right of it: its record, its failures, the masks that it predicts."""
