"""Tables, figures and the report, from records alone.

`cells` (records to numbers with their state), `tables`, `figures`, `mask_figure`, `coverage`, `report`, `render` (LaTeX, HTML,
Markdown, CSV, JSON).
"""
