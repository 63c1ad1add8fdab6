"""Base64 that has one spelling (RFC 4648, 4): what two readers would read alike must also be written alike."""

import base64

from proxy.oci.errors import MalformedError


def decode(text: str, what: str) -> bytes:
    """Return the bytes; `what` names them in the MalformedError that is raised for any but the canonical form."""
    try:
        decoded = base64.b64decode(text, validate=True)
    except ValueError:
        raise MalformedError(f"{what} is not base64") from None
    # Loose trailing bits or padding would let the same bytes have several spellings (RFC 4648, 3.5).
    if base64.b64encode(decoded).decode() != text:
        raise MalformedError(f"{what} is not base64 in its canonical form")
    return decoded
