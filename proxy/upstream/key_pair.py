"""A certificate and its key in files, and what is wrong with them where they are none."""

import ssl
from pathlib import Path

from proxy.oci.errors import MalformedError

# A chain of ten certificates and a key are some 20 kB.
_READ_MAX = 1024 * 1024
_DER_SEQUENCE = b"\x30"


def check_pair(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Load both into a context; raises MalformedError, `what; hint`, for what is no certificate and its key.

    Raises OSError where a file cannot be read.
    """
    try:
        # An empty password, so that an encrypted key is a mistake and not a question on the terminal.
        context.load_cert_chain(certificate, key, password="")
    except ssl.SSLError as err:
        raise MalformedError(_fault(certificate, key, err)) from None


def _fault(certificate: Path, key: Path, err: ssl.SSLError) -> str:
    shown, secret = _start(certificate), _start(key)
    for path, content in ((certificate, shown), (key, secret)):
        if content.startswith(_DER_SEQUENCE):
            return f"{path} is DER or PKCS #12; PEM is wanted (openssl x509 -inform DER, openssl pkcs12 -nodes)"
    if b"-----BEGIN CERTIFICATE-----" not in shown:
        swapped = (
            "; are certificate and key swapped?"
            if b"PRIVATE KEY-----" in shown
            else "; it begins with BEGIN CERTIFICATE"
        )
        return f"{certificate} has no certificate in PEM{swapped}"
    if b"ENCRYPTED" in secret:
        return f"the key in {key} is encrypted; openssl pkey -in FILE -out NEW writes it without a password"
    if b"PRIVATE KEY-----" not in secret:
        return f"{key} has no private key in PEM; it begins with BEGIN PRIVATE KEY"
    if err.reason == "KEY_VALUES_MISMATCH":
        return f"the key in {key} is not that of the certificate in {certificate}; the first of a chain counts"
    return f"{certificate} and {key} are not a certificate in PEM and its unencrypted key; one of them is damaged"


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_READ_MAX)
