"""JSON with one reading only."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.refusals import read_or_refusal

from proxy.oci.errors import MalformedError, OverLimitError
from proxy.oci.strict_json import DEPTH_MAX, ESCAPES_MAX, TOKENS_MAX, loads, loads_object

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(value=JSON)
def test_json_is_read(value):
    assert loads(json.dumps(value, ensure_ascii=False).encode(), "it") == value


@given(document=st.binary(max_size=60))
def test_any_bytes_are_json_or_malformed(document):
    _, words = read_or_refusal(loads, document, "it")
    assert words is None or words.startswith("it ")


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (b'{"a":1,"a":1}', "occurs twice"),
        (b'{"b":{"a":1,"\\u0061":2}}', "occurs twice"),
        (b"{}{}", "Extra data"),
        (b"{} x", "Extra data"),
        (b"", "Expecting value"),
        (b"\xef\xbb\xbf{}", "BOM"),
        ('{"a":"ü"}'.encode("latin-1"), "codec"),
        (b'"\xed\xa0\x80"', "codec"),
        (b'"\\ud800"', "surrogates"),
        (b'{"\\udfff":1}', "surrogates"),
        (b"NaN", "NaN"),
        (b"[Infinity]", "Infinity"),
        (b"-Infinity", "Infinity"),
        (b"1e999", "too large"),
        (b"1" * 20, "digits"),
        (b"-" + b"1" * 20, "digits"),
        (b"1" * 5000, "digits"),
        (b"[" * 65 + b"]" * 65, "deeper than 64"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "deeper than 64"),
        (b"[" * 10_000 + b"]" * 10_000, "deeper than 64"),
        (b'"a\nb"', "control character"),
        (b"{'a':1}", "property name"),
        (b'{"a":1,}', "is not strict JSON"),
    ],
)
def test_refused(document, says):
    with pytest.raises(MalformedError, match=says):
        loads(document, "it")


@pytest.mark.parametrize(
    "document", [b"[" * DEPTH_MAX + b"]" * DEPTH_MAX, b"9" * 19, b"-" + b"9" * 19, b'{"a":1,"A":2}']
)
def test_at_the_limit(document):
    assert loads(document, "it") is not None


# Each is a mebibyte or so that would hold the interpreter's lock for a tenth of a second (measured), thread or not.
@pytest.mark.parametrize(
    "document",
    [
        b"[" + b"[]," * 350_000 + b"[]]",
        b"[" + b'"",' * 350_000 + b'""]',
        b"[" + (b"[" * 60 + b"]" * 60 + b",") * 9000 + b"1]",
        b"{" + b",".join(b'"%x":1' % n for n in range(100_000)) + b"}",
        b'"' + b"\\n" * 500_000 + b'"',
        b"[" * 500_000,
    ],
    ids=["empty lists", "empty texts", "nested", "members", "escapes", "deep"],
)
def test_what_would_hold_up_everybody_else_is_not_read(document):
    with pytest.raises(OverLimitError, match=r"it has \d+ "):
        loads(document, "it")


@pytest.mark.parametrize(
    ("document", "limit", "is_read"),
    [
        (b"[" + b"1," * (TOKENS_MAX - 2) + b"1]", TOKENS_MAX, True),
        (b"[" + b"1," * (TOKENS_MAX - 1) + b"1]", TOKENS_MAX, True),
        (b"[" + b"1," * TOKENS_MAX + b"1]", TOKENS_MAX, False),
        (b"[" + b"1," * TOKENS_MAX + b"1]", TOKENS_MAX + 1, True),
        (b'"' + b"\\n" * ESCAPES_MAX + b'"', TOKENS_MAX, True),
        (b'"' + b"\\n" * (ESCAPES_MAX + 1) + b'"', TOKENS_MAX, False),
        (b'["' + b"a" * 4_000_000 + b'"]', TOKENS_MAX, True),
    ],
    ids=["below", "at", "over", "allowed", "escapes", "over escapes", "long"],
)
def test_how_much_is_read(document, limit, is_read):
    value, _ = read_or_refusal(loads, document, "it", limit)
    assert bool(value) is is_read


MANY = b"1," * TOKENS_MAX


@pytest.mark.parametrize(
    ("rest", "says"),
    [
        (b'{"a": ["\\u00e4", 1.5, true, null, {}]}', None),
        (b'{"a": 1, "a": 2}', "a member occurs twice"),
        (b"NaN", "NaN is not JSON"),
        (b"1e999", "a number is too large"),
        (b"9" * 20, "more than 19 digits"),
        ("1\u0662".encode(), "not strict JSON"),
        ("1.\u0662".encode(), "not strict JSON"),
        (b"[" * 65 + b"]" * 65, "nested deeper"),
        (b"[" * 5000 + b"]" * 5000, "nested deeper"),
        (b'"\\ud800"', "surrogates not allowed"),
        (b'"a', "not strict JSON"),
        (b"1] [1", "Extra data"),
    ],
)
def test_a_long_document_is_read_as_strictly(rest, says):
    document = b"[" + MANY + rest + b"]"
    value, words = read_or_refusal(loads, document, "it", 2 * TOKENS_MAX)
    if says is None:
        assert value == json.loads(document)
    else:
        assert says in words


@pytest.mark.parametrize("document", [b"[]", b"null", b'"{}"', b"1"])
def test_only_objects(document):
    with pytest.raises(MalformedError, match="it is not a JSON object"):
        loads_object(document, "it")
