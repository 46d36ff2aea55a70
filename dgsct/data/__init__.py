"""Data sets: their files, their preparation, and generated ones.

A set as its authors publish it: `base` (`DataSet`), `index`, `categories`, `splits`, `folders`. Clips: `container` (times and
streams of a file), `timeline`, `other_files`, `media`, `waves`. Preparation: `prepare`, `writer`, `packed`, `manifest`. What a
run reads: `prepared`, `batch`, `features`, `extractors`, and what it leaves to be measured: `units`. Generated sets: `scenes`,
`kinds`, `streams`, `generate`.
"""
