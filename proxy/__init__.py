"""Sealgate: a pull-through OCI registry proxy that lets only verified images through."""

__version__ = "0.2.0"
