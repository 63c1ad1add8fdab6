"""The readers of messages take one spelling each, and any JSON gets an answer."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cosign import KEY
from support.refusals import read_or_refusal

from proxy.demo.signing import bundle, statement
from proxy.formats.cosign import wire
from proxy.formats.cosign.bundle import Bundle
from proxy.formats.cosign.dsse import DIGESTS_MAX, Statement, pae
from proxy.formats.cosign.simplesigning import Payload
from proxy.oci.digest import Digest
from proxy.oci.errors import MalformedError, OverLimitError

STATEMENT = json.loads(statement(Digest.of(b"")))
BUNDLE = json.loads(bundle(KEY, statement(Digest.of(b""))))


@pytest.mark.parametrize(
    ("read", "value", "result"),
    [
        (wire.text, "", ""),
        (wire.binary, "", b""),
        (wire.binary, "AA==", b"\x00"),
        (wire.binary, "+/8=", b"\xfb\xff"),
        (wire.natural, 0, 0),
        (wire.natural, "7", 7),
        (wire.natural, str(2**63 - 1), 2**63 - 1),
        (wire.listed(wire.text, 2), ["a", "b"], ("a", "b")),
        (wire.message({"a": wire.text}, {"b": wire.text}), {"a": "x"}, {"a": "x"}),
        (wire.message({}), {}, {}),
    ],
)
def test_read(read, value, result):
    assert read(value, "it") == result


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (wire.text, None),
        (wire.text, 1),
        (wire.binary, b"AA=="),
        (wire.binary, "AA"),
        (wire.binary, "AA="),
        (wire.binary, "AB=="),
        (wire.binary, "AA==AA=="),
        (wire.binary, "A A="),
        (wire.binary, "-_8="),
        (wire.binary, "\u0660A=="),
        (wire.natural, -1),
        (wire.natural, "-2"),
        (wire.natural, "01"),
        (wire.natural, "+1"),
        (wire.natural, " 1"),
        (wire.natural, "\u0661"),
        (wire.natural, 2**63),
        (wire.natural, "9" * 19),
        (wire.natural, 1.0),
        (wire.natural, True),
        (wire.natural, None),
        (wire.listed(wire.text, 2), "ab"),
        (wire.listed(wire.text, 2), ["a", "b", "c"]),
        (wire.listed(wire.text, 2), [None]),
        (wire.message({"a": wire.text}), []),
        (wire.message({"a": wire.text}), {}),
        (wire.message({"a": wire.text}), {"a": None}),
        (wire.message({"a": wire.text}), {"a": "x", "A": "x"}),
        (wire.message({"a": wire.text}), {"a": "x", "\u00e4\n": "x"}),
    ],
)
def test_refused(read, value):
    with pytest.raises(MalformedError, match=r"^it") as caught:
        read(value, "it")
    assert str(caught.value).isascii()
    assert "\n" not in str(caught.value)


def test_pae():
    """The example of the DSSE protocol document."""
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    assert pae("\u00fc", b"") == "DSSEv1 2 \u00fc 0 ".encode()


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("subject", None),
        ("subject", [None]),
        ("subject", [{"digest": []}]),
        ("subject", [{"digest": {"sha256": 1}}]),
        ("subject", [{"annotations": []}]),
        ("subject", [{"annotations": None}]),
        ("subject", [{"nome": "x"}]),
        ("predicate", []),
        ("predicate", "{}"),
        ("predicate", 0),
        ("predicate", False),
        ("predicateType", None),
        ("_type", None),
        ("other", 1),
    ],
)
def test_statements_refused(member, value):
    with pytest.raises(MalformedError):
        Statement.parse(json.dumps(STATEMENT | {member: value}).encode())


@pytest.mark.parametrize("predicate", [{}, {"predicate": None}, {"predicate": {}}])
def test_sign_statements_may_lack_their_predicate(predicate):
    """cosign 3.0.0 to 3.0.4 wrote them so."""
    lacking = {name: value for name, value in STATEMENT.items() if name != "predicate"}
    assert Statement.parse(json.dumps(lacking | predicate).encode()).predicate == {}


@pytest.mark.parametrize("predicate", [{}, {"predicate": None}, {"predicate": []}, {"predicate": 0}])
@pytest.mark.parametrize("kind", ["", "https://slsa.dev/provenance/v1", f"{STATEMENT['predicateType']}/"])
def test_attestations_need_a_predicate(predicate, kind):
    lacking = {name: value for name, value in STATEMENT.items() if name != "predicate"} | {"predicateType": kind}
    with pytest.raises(MalformedError, match="predicate"):
        Statement.parse(json.dumps(lacking | predicate).encode())


def test_digests_of_a_subject():
    with pytest.raises(OverLimitError):
        Statement.parse(
            json.dumps(STATEMENT | {"subject": [{"digest": {str(n): "" for n in range(DIGESTS_MAX + 1)}}]}).encode()
        )


def everywhere(value):
    """Yield each place of a JSON value as (container, key)."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, entry in list(pairs):
        yield value, key
        if isinstance(entry, dict | list):
            yield from everywhere(entry)


PAYLOAD = {"critical": {"identity": {"docker-reference": ""}, "image": {"docker-manifest-digest": ""}, "type": ""}}
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just({}) | st.just([])


@pytest.mark.parametrize(
    ("read", "document"), [(Bundle.parse, BUNDLE), (Statement.parse, STATEMENT), (Payload.parse, PAYLOAD)]
)
@given(data=st.data())
def test_any_value_anywhere_gets_an_answer(read, document, data):
    content = json.loads(json.dumps(document))
    container, key = data.draw(st.sampled_from(list(everywhere(content))))
    container[key] = data.draw(SCALARS)
    read_or_refusal(read, json.dumps(content).encode())
