"""AVSBench-object, settings S4 and MS3: files, decoding, generated sets, batches, measures."""
