"""AVE: files, decoding, the generated set, batches and targets, measures."""
