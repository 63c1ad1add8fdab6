"""The registry vocabulary: small frozen types with strict parsers, no I/O.

Sources: OCI Distribution Specification 1.1, OCI Image Specification 1.1.
"""
