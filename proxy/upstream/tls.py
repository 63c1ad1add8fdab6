"""TLS to upstreams: trust anchors, client certificates, and the causes of failures in words."""

import ssl
from collections.abc import Callable, Mapping
from pathlib import Path

from yarl import URL

from proxy.oci.errors import MalformedError
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.key_pair import check_pair
from proxy.upstream.origins import host_of, is_listed
from proxy.upstream.watched import Watched

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


class Contexts:
    """The TLS contexts of one endpoint, made again when one of its files changes.

    While the new files cannot be used (one of two is replaced already), those of before are.
    """

    def __init__(self, endpoint: Endpoint, clock: Callable[[], float]) -> None:
        """Read the files; raises MalformedError where one cannot be used."""
        self._endpoint = endpoint
        self._registry = endpoint.base.origin.raw_host
        files = (endpoint.ca_file, endpoint.client_certificate, endpoint.client_key)
        self._watched = Watched([file for file in files if file is not None], clock)
        self._with, self._without = self._made()

    def of(self, url: URL) -> ssl.SSLContext:
        """Return the context for a URL; with the client certificate only where that may be shown."""
        if self._watched.changed():
            try:
                self._with, self._without = self._made()
            except MalformedError:
                self._watched.forget()
        shown = url.raw_host == self._registry or is_listed(host_of(url), url.port, self._endpoint.token_realms)
        return self._with if shown else self._without

    def _made(self) -> tuple[ssl.SSLContext, ssl.SSLContext]:
        endpoint = self._endpoint
        without = trusting(endpoint.ca_file)
        if endpoint.client_certificate is None or endpoint.client_key is None:
            return without, without
        shown = trusting(endpoint.ca_file)
        _load_pair(shown, endpoint.client_certificate, endpoint.client_key)
        return shown, without


def trusting(ca_file: Path | None) -> ssl.SSLContext:
    """Return a context that trusts the system's authorities and those of a file; MalformedError where it is none.

    The same for all versions of Python: 3.13 began to refuse authorities without key usage or key identifiers, as many
    companies have (VERIFY_X509_STRICT), and to take an intermediate authority for trusted where it is in the file
    (VERIFY_X509_PARTIAL_CHAIN). Go, and with it every client of ours, does neither the one nor refuses the other.
    """
    context = ssl.create_default_context()
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError) as err:
            raise MalformedError(f"the CA file {ca_file} cannot be used: {err}") from None
    return context


def check_client_certificate(certificate: Path, key: Path) -> None:
    """Raise MalformedError where the files are not a certificate and its key."""
    _load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), certificate, key)


def _load_pair(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    try:
        check_pair(context, certificate, key)
    except MalformedError as err:
        raise MalformedError(f"client_certificate: {err}") from None
    except OSError as err:
        for path in (certificate, key):
            if not path.is_file():
                raise MalformedError(f"{path}: {(err.strerror or 'cannot be read').lower()}") from None
        raise MalformedError(f"client_certificate: {(err.strerror or 'cannot be read').lower()}") from None


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
