"""For properties of parsers: any input is read, or refused in words fit for a log."""

from proxy.oci.errors import MalformedError


def read_or_refusal(read, *arguments):
    """Return what is read, or None and the words of the MalformedError, which must be one ASCII line."""
    try:
        return read(*arguments), None
    except MalformedError as err:
        words = str(err)
    assert words.isascii()
    assert len(words) < 250
    assert "\n" not in words
    return None, words
