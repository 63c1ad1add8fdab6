"""cosign: signatures of images made with `cosign sign`, classic and as Sigstore bundle v0.3.

`discover` finds candidates, `simplesigning`, `bundle` and `dsse` read them, `verify` checks them, `signer` is what a
policy names.
"""
