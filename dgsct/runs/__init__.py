"""A run: its description, its options, the protocols and the experiments that ask for it. No torch.

`run` (Run, its folder, its key), `resolve` (its options), `inputs` (what it starts from), `protocols` (the ledger),
`experiments` and `schema` (YAML files), `site` (the site file), `retention` (what stays of it).
"""
