"""The tests' own Sigstore on loopback, with the requests that real clients send: Fulcio 2, Rekor 1 and 2, RFC 3161.

Who a certificate is for stands in the client's token, which nobody has signed: everybody is believed.
"""

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Annotated, Any

from cryptography.hazmat import asn1
from cryptography.x509 import ObjectIdentifier
from support.sigstore.authority import Request
from support.sigstore.encoding import base64_of, pem_of, sha256
from support.sigstore.private import Sigstore
from support.tsa import HASHES, integer

from proxy.crypto.algorithms import Algorithm

_SIGNING_CONFIG = "application/vnd.dev.sigstore.signingconfig.v0.2+json"
_JSON = "application/json"
_UUID = "a" * 64


@dataclass(frozen=True)
class Answer:
    """What goes back."""

    body: bytes
    status: int = 201
    media_type: str = _JSON
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Services:
    """What answers requests, and what time it is."""

    sigstore: Sigstore
    clock: Callable[[], datetime]

    def certificate(self, body: bytes, headers: Any) -> Answer:
        """Issue a certificate for whom the token names (Fulcio, POST /api/v2/signingCert)."""
        request = json.loads(body)
        given = (request.get("credentials") or {}).get("oidcIdentityToken")
        claims = _claims(given or headers["Authorization"].split()[-1])
        key = _PublicOnly(request["publicKeyRequest"]["publicKey"]["content"].encode())
        wanted = Request(
            key=key, at=self.clock(), names=(claims["email"],), issuer=claims["iss"], issuer_v1=claims["iss"]
        )
        ders = [self.sigstore.certificate(wanted), *self.sigstore.authority.certificate_chain]
        chain = {"certificates": [pem_of(one).decode() for one in ders]}
        return _json({"signedCertificateEmbeddedSct": {"chain": chain}}, 200)

    def entry_1(self, body: bytes, _headers: Any) -> Answer:
        """Log an entry (Rekor 1, POST /api/v1/log/entries); clients take its name from the ETag."""
        entry = self.sigstore.rekor1.add(_canonical_1(json.loads(body)), self.clock())
        written = {
            "body": base64_of(entry.body),
            "integratedTime": entry.time,
            "logID": entry.log_id.hex(),
            "logIndex": entry.index,
            "verification": {
                "signedEntryTimestamp": base64_of(entry.promise),
                "inclusionProof": {
                    "checkpoint": entry.proof.checkpoint,
                    "hashes": [one.hex() for one in entry.proof.path],
                    "logIndex": entry.proof.index,
                    "rootHash": entry.proof.root.hex(),
                    "treeSize": entry.proof.size,
                },
            },
        }
        return _json({_UUID: written}, 201, ("ETag", _UUID), ("Location", f"/api/v1/log/entries/{_UUID}"))

    def entry_2(self, body: bytes, _headers: Any) -> Answer:
        """Log an entry (Rekor 2, POST /api/v2/log/entries)."""
        return _json(self.sigstore.rekor2.add(_canonical_2(json.loads(body)), self.clock()).to_json(), 201)

    def timestamp(self, body: bytes, _headers: Any) -> Answer:
        """Sign a time (RFC 3161, 3.4)."""
        query = asn1.decode_der(_Query, body)
        token = self.sigstore.tsa.token(
            b"",
            self.clock(),
            imprint_hash=_HASH_NAMES[query.imprint.algorithm.name.dotted_string],
            imprint=query.imprint.digest,
            nonce=integer(query.nonce) if query.nonce is not None else b"",
            certificates=tuple(self.sigstore.tsa.certificate_chain[:1]) if query.with_certificate else None,
        )
        return Answer(token, media_type="application/timestamp-reply")


@contextmanager
def serving(sigstore: Sigstore, clock: Callable[[], datetime]) -> Iterator[str]:
    """Serve until the block ends, on a port of its own; yields the URL."""
    services = Services(sigstore, clock)
    answers = {
        "/api/v2/signingCert": services.certificate,
        "/api/v1/log/entries": services.entry_1,
        "/api/v2/log/entries": services.entry_2,
        "/api/v1/timestamp": services.timestamp,
    }

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            with lock:  # the logs grow one entry after another
                answer = answers[self.path](self.rfile.read(length), self.headers)
            self.send_response(answer.status)
            sizes = (("Content-Type", answer.media_type), ("Content-Length", str(len(answer.body))))
            for name, value in (*sizes, *answer.headers):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_arguments: object) -> None:
            pass

    lock = threading.Lock()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def signing_config(url: str, *, rekor: int | None = 1, stamped: bool = False) -> bytes:
    """Write what tells a client where to sign (protobuf-specs, SigningConfig v0.2)."""

    def service(path: str = "", version: int = 1) -> list[dict[str, Any]]:
        valid = {"start": "2020-01-01T00:00:00Z"}
        return [{"url": url + path, "majorApiVersion": version, "validFor": valid, "operator": "private.test"}]

    config = {
        "mediaType": _SIGNING_CONFIG,
        "caUrls": service(),
        "oidcUrls": service(),
        "rekorTlogUrls": service(version=rekor) if rekor else [],
        "rekorTlogConfig": {"selector": "ANY"},
        "tsaUrls": service("/api/v1/timestamp") if stamped else [],
        "tsaConfig": {"selector": "ANY"},
    }
    return json.dumps(config).encode()


def token_for(address: str, issuer: str, now: datetime) -> str:
    """Write an identity token as an issuer would, with a signature that is none."""
    seconds = int(now.timestamp())
    claims = {"iss": issuer, "sub": address, "email": address, "email_verified": True, "aud": "sigstore"}
    claims |= {"iat": seconds, "nbf": seconds, "exp": seconds + 3600}
    parts = [json.dumps({"alg": "RS256", "typ": "JWT"}).encode(), json.dumps(claims).encode(), b"none"]
    return ".".join(base64.urlsafe_b64encode(one).rstrip(b"=").decode() for one in parts)


class _PublicOnly:
    """The client's key as a request for a certificate has it; its other half is the client's."""

    def __init__(self, pem: bytes) -> None:
        self.public_pem = pem


def _claims(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def _json(value: object, status: int, *headers: tuple[str, str]) -> Answer:
    return Answer(json.dumps(value).encode(), status, headers=headers)


def _canonical_1(proposed: dict[str, Any]) -> dict[str, Any]:
    spec = proposed["spec"]
    if proposed["kind"] == "dsse":
        content = spec["proposedContent"]
        envelope = json.loads(content["envelope"])
        spec = {
            "envelopeHash": _hash(content["envelope"].encode()),
            "payloadHash": _hash(base64.b64decode(envelope["payload"])),
            "signatures": [{"signature": envelope["signatures"][0]["sig"], "verifier": content["verifiers"][0]}],
        }
    else:
        signature = spec["signature"]
        spec = {
            "data": {"hash": {name: spec["data"]["hash"][name] for name in ("algorithm", "value")}},
            "signature": {"content": signature["content"], "publicKey": {"content": signature["publicKey"]["content"]}},
        }
    return {"apiVersion": proposed["apiVersion"], "kind": proposed["kind"], "spec": spec}


def _canonical_2(proposed: dict[str, Any]) -> dict[str, Any]:
    request = proposed["hashedRekordRequestV002"]
    verifier = request["signature"]["verifier"]
    hashing = next((size for size in ("384", "512") if verifier["keyDetails"].endswith(size)), "256")
    data = {"algorithm": f"SHA2_{hashing}", "digest": request["digest"]}
    signature = {"content": request["signature"]["content"], "verifier": verifier}
    spec = {"hashedRekordV002": {"data": data, "signature": signature}}
    return {"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": spec}


def _hash(content: bytes) -> dict[str, str]:
    return {"algorithm": "sha256", "value": sha256(content).hex()}


@asn1.sequence
class _Imprint:
    algorithm: Algorithm
    digest: bytes


@asn1.sequence
class _Query:
    version: int
    imprint: _Imprint
    policy: ObjectIdentifier | None
    nonce: int | None
    with_certificate: Annotated[bool, asn1.Default(False)]  # noqa: FBT003 (ASN.1's default)


_HASH_NAMES = {oid: name for name, (oid, _) in HASHES.items()}
