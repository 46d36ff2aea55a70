"""Encoders: thin wrappers on timm and torch, called piece by piece by `dgsct.models.interaction`."""
