"""The demonstration: an embedded registry, small real images, their signer. Nothing that serves requests imports it."""
