"""Operations that several models share.

`precision` and `numerics` (how numbers are computed), `fused` and `recompute` (what is kept for the backward pass),
`batch_norm` (statistics over processes), `shapes` (models without numbers, for counting and fitting).
"""
