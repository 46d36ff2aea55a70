"""What a run leaves for everything to the right of it. No torch.

`results` (the record, and whether it holds), `failures` and `faults` (whose fault an error is), `provenance`, `masks` (what a
segmentation run predicts), `remeasure` (metrics again without training).
"""
