"""Reading is strict: whatever `dumps` would not write is refused, and nothing but MalformedError is raised."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.stores import KEYLESS, NOW, PROVEN, accepted, key, refused, unverified

from proxy.oci.errors import MalformedError
from proxy.stores.verdict_json import dumps, loads

KEY = key()
WRITTEN = {
    "accepted": json.loads(dumps("k7f3", accepted(KEY, proof=KEYLESS), NOW)),
    "refused": json.loads(dumps("k7f3", refused(KEY, rejections=[PROVEN]), NOW)),
    "unverified": json.loads(dumps("k7f3", unverified(KEY), NOW)),
}
GONE = object()
CHANGES = [
    ("accepted", ["v"], 1),
    ("accepted", ["v"], 2),
    ("accepted", ["proven_until"], GONE),
    ("accepted", ["proven_until"], "soon"),
    ("accepted", ["proven_until"], 7),
    ("accepted", ["proven_until"], "2026-11-21T12:00:00"),
    ("refused", ["proven_until"], None),
    ("accepted", ["v"], "2"),
    ("accepted", ["id"], GONE),
    ("accepted", ["id"], 7),
    ("accepted", ["tag"], GONE),
    ("accepted", ["tag"], 7),
    ("accepted", ["verdict"], "refused"),
    ("accepted", ["verdict"], "undetermined"),
    ("accepted", ["verdict"], ["accepted"]),
    ("accepted", ["extra"], 1),
    ("accepted", ["expires"], "tomorrow"),
    ("accepted", ["expires"], "2026-11-21T12:00:00"),
    ("accepted", ["expires"], None),
    ("accepted", ["judged"], GONE),
    ("accepted", ["judged"], "2026-11-21T12:00:00"),
    ("refused", ["judged"], None),
    ("accepted", ["v"], 3),
    ("accepted", ["evidence"], []),
    ("accepted", ["evidence"], {}),
    ("accepted", ["evidence"], GONE),
    ("accepted", ["evidence", 0], "text"),
    ("accepted", ["evidence", 0, "signer"], GONE),
    ("accepted", ["evidence", 0, "signer"], None),
    ("accepted", ["evidence", 0, "signed_at"], ""),
    ("accepted", ["evidence", 0, "claims"], None),
    ("accepted", ["evidence", 0, "claims", 0], ["a"]),
    ("accepted", ["evidence", 0, "claims", 0], ["a", 1]),
    ("accepted", ["evidence", 0, "claims", 0], "ab"),
    ("accepted", ["evidence", 0, "subject"], 7),
    ("accepted", ["evidence", 0, "issuer"], GONE),
    ("accepted", ["evidence", 0, "time_source"], []),
    ("accepted", ["evidence", 0, "log_index"], "7"),
    ("accepted", ["evidence", 0, "log_index"], -1),
    ("accepted", ["evidence", 0, "log_index"], True),
    ("accepted", ["evidence", 0, "log_index"], 7.0),
    ("refused", ["rejections", 0, "proven"], GONE),
    ("refused", ["rejections", 0, "proven"], None),
    ("refused", ["rejections", 0, "proven", 0], ["subject"]),
    ("refused", ["verdict"], "accepted"),
    ("refused", ["rejections", 0, "reason"], "bored"),
    ("refused", ["rejections", 0, "reason"], None),
    ("refused", ["rejections", 0, "detail"], None),
    ("refused", ["rejections", 0, "signer"], 1),
    ("refused", ["rejections", 0, "extra"], 1),
    ("unverified", ["verdict"], "accepted"),
    ("unverified", ["rejections"], []),
    ("unverified", ["rule"], None),
]


def read(document):
    return loads(document, KEY.repository, KEY.digest)


@pytest.mark.parametrize("name", WRITTEN)
def test_what_was_written_is_read(name):
    identifier, verdict, judged = read(json.dumps(WRITTEN[name]).encode())
    assert (identifier, json.loads(dumps(identifier, verdict, judged))) == ("k7f3", WRITTEN[name])


@pytest.mark.parametrize(("name", "path", "value"), CHANGES)
def test_anything_else_is_refused(name, path, value):
    document = json.loads(json.dumps(WRITTEN[name]))
    *parents, last = path
    part = document
    for step in parents:
        part = part[step]
    if value is GONE:
        del part[last]
    else:
        part[last] = value
    with pytest.raises(MalformedError, match="remembered verdict"):
        read(json.dumps(document).encode())


@given(st.data())
def test_a_damaged_byte_never_makes_another_verdict_kind(data):
    document = bytearray(dumps("k7f3", refused(KEY), NOW))
    document[data.draw(st.integers(0, len(document) - 1))] = data.draw(st.integers(0, 255))
    try:
        _, verdict, _ = read(bytes(document))
    except MalformedError:
        return
    assert type(verdict) is type(refused(KEY))


def test_what_the_former_version_wrote_is_judged_anew():
    document = WRITTEN["accepted"] | {"v": 1}
    new = {"subject", "issuer", "time_source", "log_index"}
    document["evidence"] = [{name: one[name] for name in one.keys() - new} for one in document["evidence"]]
    with pytest.raises(MalformedError, match="another version"):
        read(json.dumps(document).encode())
