"""What is set before a run: options, sizes, recipes. No torch.

`options` (switches), `recipe` (a training as data), `scales` (sizes), `resources` (what a machine is asked for), `ledger` (the
type of an entry), `keys` (what of a description stands in a run's key).
"""
