"""How each client is told no, so that it stops.

A registry mirror is advice to most clients: after an ordinary error (401, 403, 404, 429, 5xx, a cut connection) they
pull the same image from the registry behind it, exit with 0 and say nothing. What stops them was measured, client by
client and request by request (docs/bypass.md has the table and the command that makes it):

**containers/image** (podman, skopeo, buildah, CRI-O; told by its request header Docker-Distribution-API-Version)
moves on after anything but a 200, and takes a 200 that it cannot parse as final. A tag: the message as text under the
media type of a manifest list, which the parser quotes. A digest: a schema 1 manifest whose JWK names the message as
its curve, which the digest computation quotes. A blob: the redirect below.

**containerd, BuildKit, Docker with the containerd store** (told by `?ns=`) begin with HEAD, and stop at a 3xx that is
no redirect; of a 300 they show the reason phrase. A GET follows only a good HEAD, or is for a child or a blob; there
a 200 whose body does not have the digest is final: they check it and keep nothing, but show only that it is short. So
those that the User-Agent says are written in Go get no body, and after it a trailer that Go cannot parse and quotes in
its error (net/textproto, ReadMIMEHeader), which is as final (measured). A proxy between that drops or cuts it leaves a
body that is short.

**Docker's classic store** (sends neither) begins with HEAD for a tag, and repeats one that brings no digest as GET.
It moves on after every error but ESRCH, which it knows by the text "no such process"; a redirect to a scheme that
does not exist becomes an error that quotes the address. For a layer the address must not even parse (a space and a
colon before the first slash), and "no space left on device" keeps it from five tries. A config blob that fails makes
it move on whatever the answer: so no manifest is answered before its config is here, the config of a refused image is
let through (it runs nothing), and one that is asked for and cannot be had is waited for, without an answer. It moves on
from an image that it cannot use, too, which is therefore refused (`front/usable`).

A client that was told this proxy's own name has nowhere else to go; it gets the plain form: the status, the message
as the first OCI error, and as the reason phrase (all that containerd 1.6 and 1.7 show). HTTP/2 has no reason phrase.
Docker itself is never taken for one by the registry in a path: the path may be that of an image at Docker Hub.
"""

import json
import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from proxy.front.errors import Refusal, body, one_line
from proxy.front.routes import PULLS, Asked, Dialect, Kind
from proxy.oci.digest import Digest
from proxy.oci.manifest import DOCKER_LIST, OCI_MANIFEST

_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"
# Docker's classic store goes on to the next registry after every error that does not say this (moby, errors.go).
_ESRCH = "no such process"
# ... and downloads a layer five times over if the error does not say this (moby, xfer).
_ENOSPC = "no space left on device"
# containerd and ctr, BuildKit, Docker with the containerd store (measured).
_GO_AGENT = re.compile(r"(?:containerd|buildkit|docker)/", re.ASCII)


class Form(StrEnum):
    """The setting `refusal`."""

    HOLD = "hold"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response. `reason` is the reason phrase of the status line, None for the usual one.

    With a `trailer` the body is empty and chunked, and ends with these lines, which are no header fields.
    """

    status: int
    body: bytes = field(default=b"", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    reason: str | None = None
    form: Form = Form.PLAIN
    trailer: tuple[str, ...] = ()


def answer(asked: Asked, refusal: Refusal, form: Form) -> Answer:
    """Return the response that stops the client that asked this. Pure."""
    if form is Form.PLAIN or asked.is_explicit or not _is_pull(asked):
        return _plain(asked, refusal)
    if _is_signature_lookup(asked, refusal):
        return _no_signatures(refusal.message)
    return _hold(asked, refusal.message, "denied" if asked.names_registry else "refused")


def _is_pull(asked: Asked) -> bool:
    """Return whether a client may get content elsewhere if this fails, as `docker pull --all-tags` after the list."""
    return asked.kind in PULLS or (asked.kind is Kind.TAGS and asked.is_classic_docker)


def _is_signature_lookup(asked: Asked, refusal: Refusal) -> bool:
    """Say whether containers/image looks for a signature of an image that has none: it must hear so, or it fails.

    Its own sigstore check asks for the tag `sha256-<hex>.sig` after it has the manifest.
    """
    looks = re.fullmatch(r"sha256-[0-9a-f]{64}\.sig", asked.reference, re.ASCII) is not None
    return asked.dialect is Dialect.CONTAINERS_IMAGE and looks and refusal.code == "MANIFEST_UNKNOWN"


def _no_signatures(message: str) -> Answer:
    """Return a manifest of no layers: no signature to who looks for one, and no image to who pulls the tag.

    A 404 would be as clear to the former (docker_client.go, getSigstoreAttachmentManifest), and send the latter to the
    next registry, where the tag may name an image. Pulled, this fails at its config: the type is the message, which the
    error quotes, and no blob has the digest but the message itself, which no registry gave us.
    """
    text = message.encode()
    config = {"mediaType": message, "digest": str(Digest.of(text)), "size": len(text)}
    manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": []}
    return Answer(200, json.dumps(manifest).encode(), {"Content-Type": OCI_MANIFEST})


def _plain(asked: Asked, refusal: Refusal) -> Answer:
    headers = {"Content-Type": "application/json"}
    if refusal.retry_after is not None:
        headers["Retry-After"] = str(refusal.retry_after)
    content = body(refusal)
    if asked.method == "HEAD":
        headers["Content-Length"] = str(len(content))
    return Answer(refusal.status, content, headers, refusal.message)


def _hold(asked: Asked, message: str, word: str) -> Answer:  # noqa: PLR0911 (a line for each way of asking)
    # `word` becomes the scheme of an invalid URL, and is part of what Docker shows: users who named Sealgate
    # in the image's name reads "denied", as in an ordinary refusal.
    if asked.dialect is Dialect.CONTAINERS_IMAGE and asked.kind is Kind.MANIFESTS:
        return _schema1(message) if asked.by_digest else _text(message, DOCKER_LIST)
    if asked.method == "HEAD" and asked.dialect is Dialect.DOCKER and asked.by_digest and asked.kind is Kind.MANIFESTS:
        # It has this content under another name, and takes anything below 400 as leave to use it (moby, Exists).
        return _redirect_nowhere(f"{word}: {message} [{_ESRCH}]")
    if asked.method == "HEAD":
        return Answer(300, reason=message, form=Form.HOLD)
    if asked.dialect is Dialect.CONTAINERD:
        if _GO_AGENT.match(asked.agent):
            return Answer(200, headers={"Content-Type": OCI_MANIFEST}, form=Form.HOLD, trailer=_no_fields(message))
        return _text(message, OCI_MANIFEST)
    if asked.kind is not Kind.BLOBS:
        return _redirect_nowhere(f"{word}: {message} [{_ESRCH}]")
    if asked.dialect is Dialect.CONTAINERS_IMAGE:
        return _redirect_nowhere(f"{word}: {message}")
    return _redirect_nowhere(f"{word} by: {message} [{_ESRCH}; {_ENOSPC}]")


def _no_fields(message: str) -> tuple[str, str]:
    """Return two lines that Go quotes as malformed: from 1.20 on a name that is no token, before it a missing colon."""
    return f"[{message}]", message.replace(": ", ", ").replace(":", "=")


def _text(message: str, media_type: str) -> Answer:
    return Answer(200, message.encode(), {"Content-Type": media_type}, form=Form.HOLD)


def _schema1(message: str) -> Answer:
    protected = urlsafe_b64encode(b'{"formatLength":1,"formatTail":"fQ"}').decode().rstrip("=")
    key = {"kty": "EC", "crv": message, "kid": "x", "x": "x", "y": "x"}
    signature = {"header": {"alg": "ES256", "jwk": key}, "protected": protected, "signature": "x"}
    content = json.dumps({"schemaVersion": 1, "signatures": [signature]}).encode()
    return Answer(200, content, {"Content-Type": _SCHEMA1}, form=Form.HOLD)


def _redirect_nowhere(location: str) -> Answer:
    return Answer(307, headers={"Location": one_line(location, limit=len(location))}, form=Form.HOLD)
