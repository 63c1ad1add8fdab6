"""What HTTP and network trouble is called."""

import ssl
from types import SimpleNamespace

import aiohttp
import pytest
from aiohttp.http_exceptions import BadHttpMessage, ContentEncodingError
from multidict import CIMultiDict, CIMultiDictProxy

from proxy.oci.errors import NotFoundError, UnavailableError, UnservableError, UpstreamDeniedError
from proxy.upstream.answers import (
    TransientError,
    UnreachableError,
    is_encoded,
    network_errors,
    retry_after,
    status_error,
)

KEY = SimpleNamespace(ssl=True, host="cdn.test", port=443, is_ssl=True)
REFUSED = OSError(111, "Connection refused")


def tls_fault(reason):
    return ssl.SSLError(1, f"[SSL: {reason}] {reason.lower()} (_ssl.c:1006)")


def untrusted(code):
    error = ssl.SSLCertVerificationError()
    error.verify_code, error.verify_message = code, "what OpenSSL says"
    return error


@pytest.mark.parametrize(
    ("raised", "error", "text"),
    [
        (aiohttp.ClientConnectorCertificateError(KEY, ssl.SSLError()), UnavailableError, "TLS certificate"),
        (aiohttp.ClientConnectorSSLError(KEY, REFUSED), UnavailableError, "TLS certificate, .* the handshake failed"),
        (aiohttp.ClientConnectorSSLError(KEY, tls_fault("NEW_FAULT")), UnavailableError, "cdn.test:443: the handshake"),
        (aiohttp.ClientConnectorSSLError(KEY, tls_fault("WRONG_VERSION_NUMBER")), UnavailableError, "plain http"),
        (
            aiohttp.ClientConnectorSSLError(KEY, tls_fault("TLSV1_ALERT_PROTOCOL_VERSION")),
            UnavailableError,
            "TLS from 1",
        ),
        (aiohttp.ClientOSError(*tls_fault("TLSV13_ALERT_CERTIFICATE_REQUIRED").args), UnavailableError, "client_key"),
        (aiohttp.ClientOSError(*tls_fault("TLSV1_ALERT_UNKNOWN_CA").args), UnavailableError, "client_key"),
        (
            aiohttp.ClientConnectorCertificateError(KEY, untrusted(10)),
            UnavailableError,
            "cdn.test:443.: it has expired",
        ),
        (aiohttp.ClientConnectorCertificateError(KEY, untrusted(20)), UnavailableError, "ca_file"),
        (aiohttp.ClientConnectorCertificateError(KEY, untrusted(62)), UnavailableError, "other name"),
        (aiohttp.ClientConnectorCertificateError(KEY, untrusted(99)), UnavailableError, "what OpenSSL says"),
        (
            aiohttp.ClientConnectorDNSError(KEY, REFUSED),
            UnreachableError,
            r"could not be found in the DNS \(cdn.test\)$",
        ),
        (
            aiohttp.ClientConnectorError(KEY, REFUSED),
            UnreachableError,
            r"could not be reached: connection refused \(cdn.test\)$",
        ),
        (aiohttp.ClientConnectorError(KEY, OSError()), UnreachableError, "could not be reached: no connection"),
        (aiohttp.ConnectionTimeoutError(), UnreachableError, "could not be reached: no connection"),
        (aiohttp.ServerTimeoutError(), TransientError, "did not answer in time"),
        (TimeoutError(), TransientError, "did not answer in time"),
        (aiohttp.ClientPayloadError("x"), TransientError, "cut its answer short"),
        (aiohttp.ClientResponseError(None, (), message="x?sig=s3cret"), UnavailableError, "not valid HTTP"),
        (aiohttp.ServerDisconnectedError(), TransientError, "closed the connection"),
        (aiohttp.ClientOSError(), TransientError, "closed the connection"),
        (ConnectionResetError(), TransientError, "closed the connection"),
        (RuntimeError("Connection closed."), TransientError, "closed the connection"),
        (BadHttpMessage("x?sig=s3cret"), UnavailableError, "not valid HTTP"),
        (ContentEncodingError("x"), UnavailableError, "not valid HTTP"),
    ],
)
def test_network_errors(raised, error, text):
    with pytest.raises(UnavailableError, match=f"^the server .*{text}") as caught, network_errors("the server"):
        raise raised
    assert type(caught.value) is error
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("bug", [KeyError, NotImplementedError, RecursionError])
def test_other_exceptions_are_bugs_and_pass(bug):
    with pytest.raises(bug), network_errors("the server"):
        raise bug


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, UnservableError),
        (401, UpstreamDeniedError),
        (403, UpstreamDeniedError),
        (404, NotFoundError),
        (408, TransientError),
        (410, NotFoundError),
        (429, TransientError),
        (412, UnservableError),
        (451, UnservableError),
        (500, TransientError),
        (501, UnavailableError),
        (503, TransientError),
        (505, UnavailableError),
        (522, TransientError),
    ],
)
def test_statuses(status, error):
    assert type(status_error("the server", status, {}, "manifest a:b")) is error


DATE = "Sat, 21 Nov 2026 03:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "0"}, 0),
        ({"Retry-After": " 120 "}, 120),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "1.5"}, None),
        ({"Retry-After": "9999999999"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "Sat, 21 Nov 2026 03:00:30 GMT", "Date": DATE}, 30),
        ({"Retry-After": "Sat, 21 Nov 2026 02:00:00 GMT", "Date": DATE}, 0),
        ({"Retry-After": "Sat, 21 Nov 2026 03:00:30 GMT"}, None),
        ({"Retry-After": "Sat, 21 Nov 2026 03:00:30 -0000", "Date": DATE}, None),
    ],
)
def test_retry_after(headers, seconds):
    assert retry_after(headers) == seconds


@pytest.mark.parametrize(
    ("encodings", "good"),
    [
        ([], True),
        ([""], True),
        (["Identity"], True),
        (["identity", " identity "], True),
        (["identity,, identity"], True),
        (["UTF-8"], True),
        (["aws-chunked"], True),
        (["gzip"], False),
        (["identity, br"], False),
        (["identity", "gzip"], False),
        (["aws-chunked,gzip"], False),
        (["zstd"], False),
        (["x-gzip"], False),
        (["unknown"], False),
    ],
)
def test_encodings(encodings, good):
    headers = CIMultiDictProxy(CIMultiDict([("Content-Encoding", one) for one in encodings]))
    assert is_encoded(headers) is not good


@pytest.mark.parametrize(("status", "rate_limited"), [(429, True), (503, False), (408, False), (418, False)])
def test_only_429_says_that_the_upstream_has_had_enough_of_us(status, rate_limited):
    assert status_error("registry", status, {}, "manifest").rate_limited is rate_limited


@pytest.mark.parametrize(("plain", "said"), [(True, ": if TLS is spoken there, write https:// in url"), (False, "")])
def test_a_connection_that_ends_over_plain_http_may_have_been_meant_for_tls(plain, said):
    with pytest.raises(TransientError) as caught, network_errors("the server", plain=plain):
        raise aiohttp.ServerDisconnectedError
    assert str(caught.value) == f"the server closed the connection{said}"
