"""`/v2/<name>/manifests/<reference>`: the judged bytes, or a refusal."""

from aiohttp import web

from proxy.front.errors import COMMON_HEADERS, external, from_decision
from proxy.gate import Pulled
from proxy.policy.model import Decision, Mode
from proxy.verdict import Refused, Undetermined

# distribution-spec, Warnings: at most 4096 bytes, of which our message takes the little it is.
_WARNING = '299 - "{}"'


def manifest_response(pulled: Pulled, ns: str | None, image: str, elsewhere: str | None = None) -> web.Response:
    """Return the bytes that were judged, with the headers that clients rely on. A HEAD gets the same ones.

    `ns` is echoed (distribution-spec, Registry Proxying). `elsewhere` says what clients fetch past this proxy.
    """
    manifest = pulled.manifest
    headers = {
        **COMMON_HEADERS,
        "Content-Type": manifest.media_type,
        "Content-Length": str(len(manifest.body)),
        "Docker-Content-Digest": str(manifest.digest),
        "ETag": f'"{manifest.digest}"',
    }
    if ns is not None:
        headers["OCI-Namespace"] = ns
    if pulled.decision is not None and _warns(pulled.decision):
        headers["Warning"] = _WARNING.format(from_decision(pulled.decision, image).message)
    elif pulled.decision is not None and elsewhere is not None and pulled.decision.mode is not Mode.AUDIT:
        headers["Warning"] = _WARNING.format(external(image, elsewhere).message)
    return web.Response(body=manifest.body, headers=headers)


def _warns(decision: Decision) -> bool:
    """Say whether the client is to hear that what it gets was not accepted; audit mode keeps quiet."""
    return decision.mode is not Mode.AUDIT and isinstance(decision.verdict, Refused | Undetermined)
