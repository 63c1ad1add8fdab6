"""Primitives: public keys and what they have signed. Bytes in, answers out."""
