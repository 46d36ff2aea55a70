"""Encoders: thin wrappers on timm and torch, called piece by piece by `dgsct.models.interaction`.

One file an encoder (`swin`, `htsat`, `pvt`, `resnet`, `vggish`), with `frontend` and `vggish_frontend` for sound, `windows`,
`merging` and `imagenet` for what they share. Public weights: `sources` (what they are and where they lie), `states`, `nearby`,
`public`, `public_file`, `public_keys`, `layouts` (one module an encoder), `tensor_files`, `state_dicts`, `file_kinds`,
`inert`. Mini weights: `pretrain`, `examples`, `mini` (one module an encoder). Files of ours: `weights`, `keys`. Features:
`extract`.
"""
