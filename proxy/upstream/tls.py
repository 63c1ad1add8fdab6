"""TLS to upstreams: who is trusted, and why a connection failed."""

import ssl
from collections.abc import Mapping

from proxy.oci.errors import MalformedError
from proxy.upstream.endpoint import Endpoint

# OpenSSL, x509_vfy.h: the X509_V_ERR_ codes that people meet, and what helps.
_UNKNOWN_AUTHORITY = "its authority is unknown: name the authority's certificate in ca_file"
_OTHER_NAME = "it is for another name: write in url the name that it is for"
_CERTIFICATE_FAULTS: Mapping[int, str] = {
    2: _UNKNOWN_AUTHORITY,
    9: "it is not valid yet: is the clock right?",
    10: "it has expired",
    18: _UNKNOWN_AUTHORITY,
    19: _UNKNOWN_AUTHORITY,
    20: _UNKNOWN_AUTHORITY,
    21: _UNKNOWN_AUTHORITY,
    23: "it is revoked",
    62: _OTHER_NAME,
    64: _OTHER_NAME,
}
# OpenSSL, sslerr.h: parts of the reasons, in the order in which they are looked for.
_HANDSHAKE_FAULTS: Mapping[str, str] = {
    "WRONG_VERSION_NUMBER": "no TLS is spoken there; if it is plain http, write http:// in url, and insecure_http",
    "RECORD_LAYER_FAILURE": "no TLS is spoken there; if it is plain http, write http:// in url, and insecure_http",
    "PROTOCOL": "no version of TLS from 1.2 on is spoken there",
    "CERTIFICATE": "it asks for a client certificate that it trusts: set client_certificate and client_key",
    "UNKNOWN_CA": "it asks for a client certificate that it trusts: set client_certificate and client_key",
    "HANDSHAKE_FAILURE": "it refuses our ciphers, or that there is no client_certificate",
    "UNRECOGNIZED_NAME": "it does not know the name: correct url",
    "EOF": "it closed the connection",
}


def client_context(endpoint: Endpoint) -> ssl.SSLContext:
    """Return what an upstream is dialled with; raises MalformedError where a file of it cannot be used."""
    context = ssl.create_default_context()
    if endpoint.ca_file is not None:
        try:
            context.load_verify_locations(endpoint.ca_file)
        except (OSError, ssl.SSLError) as err:
            raise MalformedError(f"the CA file {endpoint.ca_file} cannot be used: {err}") from None
    return context


def certificate_fault(error: BaseException) -> str:
    """Return in a few words what is wrong with a server's certificate, and the key that helps."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        return "it could not be checked"
    return _CERTIFICATE_FAULTS.get(error.verify_code) or str(error.verify_message)


def handshake_fault(error: BaseException) -> str:
    """Return in a few words why TLS failed, and the key that helps; empty where the error is none of TLS.

    A client certificate is refused after the handshake (TLS 1.3), in an error of which aiohttp keeps only the text.
    """
    if not isinstance(error, ssl.SSLError) and "[SSL" not in str(error):
        return ""
    reason = str(error).upper().replace(" ", "_")
    known = (text for part, text in _HANDSHAKE_FAULTS.items() if part in reason)
    return next(known, "the handshake failed")
