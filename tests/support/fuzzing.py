"""Properties on mutations by hypothesis: of bytes, texts and JSON, and of what is encoded in them, to the last DER."""

import base64
import json
from contextlib import suppress

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.mutations import at, has, paths, put, without
from support.sigstore.encoding import base64_of, pem_of

_JUNK = (
    st.sampled_from([None, True, "", {}, [], 0, -1, 1.5, 2**31, 2**53 + 1, 2**63, 10**30, "\0", "\ud800", "=", "AAAA"])
    | st.integers()
    | st.text(max_size=20)
    | st.binary(max_size=40).map(base64_of)
)
# Shorter texts are rather words that happen to be base64.
_ENCODED_MIN = 8
_PEM = ("-----BEGIN CERTIFICATE-----\n", "\n-----END CERTIFICATE-----")


def explore(strategy, check, examples, **how):
    """Check so many values of a strategy, and return how many they were; what fails is kept in `.hypothesis`."""
    tried = 0

    def counted(_value):
        nonlocal tried
        tried += 1
        return True

    limits = settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), **how)
    limits(given(strategy.filter(counted))(check))()  # a filter: with map, what fails is not shown
    return tried


@st.composite
def mutated(draw, value, donors=()):
    """Change a value once to three times; what is spliced in comes from the donors, which are of its kind."""
    for _ in range(draw(st.integers(1, 3))):
        value = _changed(draw, value, donors)
    return value


def _changed(draw, value, donors):
    inner = opened(value)
    if inner is not None and draw(st.integers(0, 9)):
        content, close = inner
        others = [other[0] for one in donors if type(one) is type(value) and (other := opened(one)) is not None]
        return close(_changed(draw, content, others))
    match value:
        case dict() | list() if value:
            return _changed_member(draw, value, donors)
        case bytes():
            return _changed_bytes(draw, value)
        case str():
            return _changed_bytes(draw, value.encode("utf-8", "surrogatepass")).decode("latin-1")
        case _:
            return draw(_JUNK)


def _changed_member(draw, value, donors):
    path = draw(st.sampled_from(list(paths(value))))
    donors = [at(one, path) for one in donors if has(one, path)]
    match draw(st.sampled_from(["into"] * 4 + ["without", "junk", "splice", "copy", "twice"])):
        case "without":
            return without(value, path)
        case "junk":
            return put(value, path, draw(_JUNK))
        case "splice" if donors:
            return put(value, path, draw(st.sampled_from(donors)))
        case "copy":
            return put(value, path, at(value, draw(st.sampled_from(list(paths(value))))))
        case "twice" if isinstance(at(value, path), list):
            return put(value, path, at(value, path) * 2)
        case _:
            return put(value, path, _changed(draw, at(value, path), donors))


def _changed_bytes(draw, content):
    place = draw(st.integers(0, len(content)))
    end = place + draw(st.integers(1, 4) | st.integers(0, len(content)))
    match draw(st.sampled_from(["flip", "flip", "set", "cut", "insert", "repeat", "end"])):
        case "flip":
            piece = bytes([content[place] ^ 1 << draw(st.integers(0, 7))]) if place < len(content) else b""
            return content[:place] + piece + content[place + 1 :]
        case "set":
            return content[:place] + draw(st.binary(min_size=1, max_size=4)) + content[end:]
        case "cut":
            return content[:place] + content[end:]
        case "insert":
            return content[:place] + draw(st.binary(min_size=1, max_size=8)) + content[place:]
        case "repeat":
            return content[:end] + content[place:]
        case _:
            return content[:place]


def opened(value):
    """Return what is encoded in bytes or a text, and how to encode something else in its place; or None."""
    if not isinstance(value, bytes | str) or len(value) < _ENCODED_MIN:
        return None
    with suppress(ValueError, RecursionError):
        if isinstance(value, str):
            return _opened_text(value)
        content, close = _opened_text(value.decode("ascii"))
        return content, lambda new: close(new).encode("utf-8", "surrogatepass")
    return None


def _opened_text(text):
    if text.startswith("{"):
        return json.loads(text), lambda new: json.dumps(new, separators=(",", ":"))
    bare = text.rstrip()
    if bare.startswith(_PEM[0]) and bare.endswith(_PEM[1]):
        return base64.b64decode(bare[len(_PEM[0]) : -len(_PEM[1])]), lambda new: pem_of(new).decode()
    return base64.b64decode(text, validate=True), base64_of


def all_within(value):
    """Yield a value, what is encoded in it, and all members of that."""
    yield value
    inner = opened(value)
    members = [inner[0]] if inner else value.values() if isinstance(value, dict) else value
    if inner or isinstance(value, dict | list):
        for member in members:
            yield from all_within(member)
