"""Public checkpoint layouts and ours.

`convert` (both ways), `evaluation` (one checkpoint on the test split), `save_masks`.
"""
