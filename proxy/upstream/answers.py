"""What a server's answer, or the lack of one, means: the only place where HTTP becomes an error of `oci.errors`."""

import asyncio
import errno
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import TypeVar

from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientError,
    ClientHttpProxyError,
    ClientPayloadError,
    ClientProxyConnectionError,
    ClientResponse,
    ClientResponseError,
    ClientSSLError,
    ConnectionTimeoutError,
    hdrs,
)
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDictProxy

from proxy.oci.errors import (
    BusyError,
    MalformedError,
    NotFoundError,
    RegistryError,
    UnavailableError,
    UnservableError,
    UpstreamDeniedError,
)
from proxy.oci.strict_json import loads_object
from proxy.upstream.error_text import ERROR_BYTES_MAX, error_text
from proxy.upstream.tls import certificate_fault, handshake_fault

T = TypeVar("T")

# Up to here reading and hashing take less than 10 ms on the event loop (measured: 0.13 ms a KiB of hostile JSON, so
# 4 MiB of it would stop every other client for half a second); more is done in a thread.
INLINE_BYTES_MAX = 64 * 1024
# Not implemented and HTTP version not supported: asking again changes nothing.
_FINAL_SERVER_ERRORS = frozenset({501, 505})
_CLIENT_ERRORS = range(400, 500)
_REQUEST_TIMEOUT, _TOO_MANY_REQUESTS = 408, 429
_PROXY_AUTHENTICATION_REQUIRED = 407
# The body of an error usually arrives with its head; clients do not wait longer for it.
_REASON_SECONDS = 1.0
# Why no connection can be made though nothing is wrong with the server (connect(2), socket(2)).
_OURS = {
    errno.EMFILE: "open files",
    errno.ENFILE: "open files",
    errno.ENOBUFS: "memory",
    errno.ENOMEM: "memory",
    errno.EADDRNOTAVAIL: "ports",
}
# Seen where a character set or a transfer was meant; `aws-chunked` stays on what was uploaded to S3 in signed chunks
# (docs.aws.amazon.com, sigv4-streaming), and is undone by S3 itself.
_NO_ENCODINGS = frozenset({"", "identity", "none", "utf-8", "binary", "aws-chunked"})
# The Content-Type that file servers and some reverse proxies send for a manifest; "" where there is none.
GENERIC_TYPES = frozenset(
    {"", "application/json", "text/json", "text/plain", "application/octet-stream", "binary/octet-stream"}
)
_DELAY = re.compile(r"[0-9]{1,9}", re.ASCII)


class TransientError(UnavailableError):
    """An outage that may be over soon: the same GET or HEAD may be sent again (RFC 9110, section 9.2.2)."""


class UnreachableError(TransientError):
    """No connection could be made: nothing is there, or nothing that answers."""


@contextmanager
def network_errors(server: str, *, plain: bool = False) -> Iterator[None]:
    """Turn what aiohttp raises into one line that names the server and has no URL, which may hold a signature.

    Where there was no connection, it names the host that was dialled as well. `plain` is that no TLS was spoken.
    """
    try:
        yield
    except (ClientConnectorCertificateError, ClientSSLError) as err:
        raise _tls_error(server, err) from None
    except ClientConnectorDNSError as err:
        raise UnreachableError(f"{server} could not be found in the DNS{_dialled(server, err)}") from None
    except (ClientConnectorError, ConnectionTimeoutError) as err:
        raise _unconnected(server, err) from None
    except TimeoutError:
        raise TransientError(f"{server} did not answer in time") from None
    except ClientPayloadError:
        raise TransientError(f"{server} cut its answer short") from None
    except (ClientResponseError, HttpProcessingError) as err:
        raise _no_answer(server, err) from None
    except (ClientError, OSError) as err:
        raise _ended(server, err, plain=plain) from None
    except (NotImplementedError, RecursionError):
        raise
    except RuntimeError:  # "Connection closed." in the middle of a body (measured), "Session is closed" in our own end
        raise TransientError(f"{server} closed the connection") from None


def _unconnected(server: str, err: OSError) -> UnavailableError:
    lacking = _OURS.get(err.errno or 0)
    if lacking is not None:
        return BusyError(f"{server} could not be asked: this machine has no {lacking} left")
    # asyncio's own text names the call and the address as Python writes them.
    number = err.errno or 0
    reason = os.strerror(number).lower() if number > 0 else "no connection"
    return UnreachableError(f"{server} could not be reached: {reason}{_dialled(server, err)}")


def _tls_error(server: str, err: ClientConnectorError) -> UnavailableError:
    where = f"{err.host}:{err.port}"
    if isinstance(err, ClientConnectorCertificateError):
        fault = certificate_fault(err.certificate_error)
        return UnavailableError(f"{server} has a TLS certificate that is not trusted (that of {where}): {fault}")
    fault = handshake_fault(err.os_error) or "the handshake failed"
    return UnavailableError(f"{server} showed no TLS certificate, for there was no TLS with {where}: {fault}")


def _no_answer(server: str, err: Exception) -> UnavailableError:
    """Return the error for what is no HTTP, or a forward proxy's answer to CONNECT (RFC 9110, section 9.3.6)."""
    if not isinstance(err, ClientHttpProxyError):
        return UnavailableError(f"{server} sent an answer that is not valid HTTP: for TLS write https:// in url")
    status = err.status
    if status == _PROXY_AUTHENTICATION_REQUIRED:
        return UnavailableError(f"the proxy to {server} wants a user name and password: write them in proxy's URL")
    message = f"the proxy to {server} answered {status}"
    return TransientError(message) if status >= 500 else UnavailableError(f"{message}: it does not let us through")  # noqa: PLR2004


def _ended(server: str, err: Exception, *, plain: bool) -> UnavailableError:
    fault = handshake_fault(err)
    if fault:
        return UnavailableError(f"{server} ended the TLS connection: {fault}")
    # So does a TLS server that hears plain http.
    hint = ": if TLS is spoken there, write https:// in url" if plain else ""
    return TransientError(f"{server} closed the connection{hint}")


def _dialled(server: str, err: OSError) -> str:
    """Return the host that was dialled, if it is known and not the server's name."""
    if not isinstance(err, ClientConnectorError) or err.host in server:
        return ""
    return f" (the proxy {err.host})" if isinstance(err, ClientProxyConnectionError) else f" ({err.host})"


def status_error(server: str, status: int, headers: Mapping[str, str], what: str, text: str = "") -> RegistryError:
    """Return the error that an answer's status stands for; `text` is the reason that its body gives, if any."""
    if status in {404, 410}:
        return NotFoundError(f"{server} has no {what}")
    reason = f": {text}" if text else ""
    if status in {401, 403}:
        return UpstreamDeniedError(f"{server} refuses us the {what} ({status}){reason}")
    message = f"{server} answered {status} when asked for the {what}{reason}"
    if status in {_REQUEST_TIMEOUT, _TOO_MANY_REQUESTS} or (status >= 500 and status not in _FINAL_SERVER_ERRORS):  # noqa: PLR2004
        return TransientError(message, retry_after(headers), rate_limited=status == _TOO_MANY_REQUESTS)
    return UnservableError(message) if status in _CLIENT_ERRORS else UnavailableError(message)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a server asks us to wait (RFC 9110, section 10.2.3); a date counts from its own Date."""
    text = headers.get(hdrs.RETRY_AFTER, "").strip()
    if _DELAY.fullmatch(text):
        return float(text)
    try:
        wait = parsedate_to_datetime(text) - parsedate_to_datetime(headers.get(hdrs.DATE, ""))
    except (TypeError, ValueError):
        return None
    return max(0.0, wait.total_seconds())


def is_encoded(headers: CIMultiDictProxy[str]) -> bool:
    """Return whether a body is encoded: its bytes are not those that the digest names (RFC 9110, section 8.4).

    Values that are no encoding are ignored, as nothing is decoded here: the digest is of the bytes as they arrive.
    """
    codings = ",".join(headers.getall(hdrs.CONTENT_ENCODING, [])).lower().split(",")
    return not {one.strip() for one in codings} <= _NO_ENCODINGS


async def read_at_most(response: ClientResponse, limit: int) -> bytes:
    """Return the body, or, where it is longer than `limit` bytes, more than `limit` bytes of it."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > limit:
            break
    return bytes(body)


async def reason_of(response: ClientResponse, secrets: Iterable[str] = ()) -> str:
    """Return the reason in the body of an error (`error_text`); nothing where it does not come in time."""
    try:
        async with asyncio.timeout(_REASON_SECONDS):
            body = await read_at_most(response, ERROR_BYTES_MAX)
    except (ClientError, HttpProcessingError, OSError, RuntimeError, TimeoutError):
        return ""
    except asyncio.CancelledError:
        response.close()  # nobody else has it to close
        raise
    return error_text(body, media_type(response), secrets)


async def off_the_loop(read: Callable[[bytes], T], body: bytes) -> T:
    """Read the body, in a thread where it is long."""
    return read(body) if len(body) <= INLINE_BYTES_MAX else await asyncio.to_thread(read, body)


def media_type(response: ClientResponse) -> str:
    """Return the Content-Type without its parameters, in lower case (RFC 9110, section 8.3.1)."""
    return response.headers.get(hdrs.CONTENT_TYPE, "").partition(";")[0].strip().lower()


def manifest_type(response: ClientResponse, body: bytes) -> str:
    """Return the media type of a manifest; where the header has a generic one, that which the body states.

    It is a claim of the body about itself, to be checked by `Manifest.parse`, and the type that clients are sent.
    """
    served = media_type(response)
    if served not in GENERIC_TYPES:
        return served
    try:
        stated = loads_object(body, "the manifest").get("mediaType")
    except MalformedError:
        return served
    return stated if isinstance(stated, str) else served
