"""The parts of models.

`attention` (eq. 3-6), `adapter` (eq. 1-2), `interaction` (two encoders walked block by block), `temporal` and
`temporal_pyramid` (eq. 7), `heads`; `keys` and `keys_avs` (their names in public checkpoints). No task is known here.
"""
