"""The reason that a registry or token service gives in the body of an error, as one line that can be passed on.

Sources: distribution-spec 1.1, Error Codes; RFC 6749, section 5.2 (token services); and as plain text Go's http.Error.
The upstream controls it, and clients and logs show it: it is printable ASCII, short, and without possible secrets.
"""

import re
from collections.abc import Iterable, Iterator

from proxy.oci.errors import MalformedError
from proxy.oci.strict_json import loads_object

# Harbor's longest, a policy violation with its CVE summary, has 190 characters; Docker Hub's rate limit 160.
TEXT_CHARS_MAX = 240
# Registries send one error, a few hundred bytes; with Artifactory's and AWS' details below 2 KiB.
ERROR_BYTES_MAX = 16 * 1024
_MESSAGES_MAX = 3
# Of what is searched for secrets: the search takes the square of it at worst.
_SEARCHED_CHARS_MAX = 1024
_SHORT_SECRET = 4
_HIDDEN = "[hidden]"
# Faults of our configuration that the two most common servers name, nginx only in HTML (Go net/http, nginx).
_OUR_FAULTS = {
    re.compile(rb"HTTP request (?:to an HTTPS server|was sent to HTTPS port)"): (
        "it speaks TLS at this port: write https:// in url"
    ),
    re.compile(rb"No required SSL certificate was sent|The SSL certificate error"): (
        "it asks for a client certificate that it trusts: set client_certificate and client_key"
    ),
}
# An Authorization that is quoted, user and query of a URL, a JWT, and any long word but a digest.
_SECRETS = re.compile(
    r"(?i:\b(?:bearer|basic)\s+[^\s\"',]+)|(?<=://)[^\s/@]+@|\?[^\s\"']*=[^\s\"']*|\beyJ[\w.-]+"
    r"|(?<!sha256:)(?<!sha512:)(?<![\w+=])[\w+=]{32,}",
    re.ASCII,
)


def error_text(body: bytes, media_type: str, secrets: Iterable[str] = ()) -> str:
    """Return the reason in an error's body, or nothing; `secrets` are texts that it must not repeat."""
    for fault, helps in _OUR_FAULTS.items():
        if fault.search(body):
            return helps
    text = "; ".join(_reasons(body, media_type))
    for secret in secrets:
        if len(secret) >= _SHORT_SECRET:
            text = text.replace(secret, _HIDDEN)
    text = " ".join("".join(one if " " <= one <= "~" else " " for one in text).split())
    text = _SECRETS.sub(_HIDDEN, text[:_SEARCHED_CHARS_MAX])
    return text if len(text) <= TEXT_CHARS_MAX else f"{text[: TEXT_CHARS_MAX - 3]}..."


def _reasons(body: bytes, media_type: str) -> Iterator[str]:
    try:
        answer = loads_object(body, "the error")
    except MalformedError:
        if media_type == "text/plain" and b"\0" not in body:
            yield body.decode(errors="replace").strip().partition("\n")[0]
        return
    errors = answer.get("errors")
    for one in (errors if isinstance(errors, list) else [])[:_MESSAGES_MAX]:
        if isinstance(one, dict):
            yield from _texts(one.get("message") or one.get("code"))
    # Docker Hub's token service, OAuth2, GitLab and others.
    for name in ("error_description", "message", "details", "error"):
        if not isinstance(errors, list) and isinstance(answer.get(name), str):
            yield answer[name]
            return


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str) and value:
        yield value
