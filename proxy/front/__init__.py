"""HTTP: path, `ns=` and host become a `Reference`; bytes and refusals become answers that each client understands."""
