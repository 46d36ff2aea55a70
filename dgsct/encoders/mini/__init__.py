"""One module an encoder: how its mini version is pre-trained (`dgsct.encoders.pretrain` says what such a module has)."""
