"""Signature formats: one folder each, which know nothing of each other."""
