"""Errors carry what a client and a log need."""

from proxy.oci.errors import MalformedError, OverLimitError, RegistryError, UnavailableError


def test_how_long_to_wait():
    assert UnavailableError("busy", 2.5).retry_after == 2.5
    assert UnavailableError("away").retry_after is None


def test_families():
    assert issubclass(OverLimitError, MalformedError)
    assert issubclass(MalformedError, RegistryError)
    assert issubclass(MalformedError, ValueError)
