"""JSON with one reading only."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.refusals import read_or_refusal

from proxy.oci.errors import MalformedError
from proxy.oci.strict_json import DEPTH_MAX, loads, loads_object

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
        (b"[" * 100_000 + b"]" * 100_000, "deeper than 64"),
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


@pytest.mark.parametrize("document", [b"[]", b"null", b'"{}"', b"1"])
def test_only_objects(document):
    with pytest.raises(MalformedError, match="it is not a JSON object"):
        loads_object(document, "it")
