"""What turns features into predictions, one file a kind of prediction: `events`, `masks`."""
