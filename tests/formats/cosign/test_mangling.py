"""Every byte of a valid signature, payload and bundle is changed, taken out, cut off: nothing is ever accepted."""

import base64
import json

import pytest
from support.cosign import IMAGE, KEY, NOW, SIGNER, SUBJECT, encoded

from proxy.demo.signing import bundle, simple_signing_payload, statement
from proxy.formats.api import UntrustedSignature
from proxy.formats.cosign.shapes import Kind
from proxy.formats.cosign.simplesigning import SIGNATURE
from proxy.verdict import Evidence

PAYLOAD = simple_signing_payload(IMAGE.digest, {"env": "prod"})
RAW = KEY.sign(PAYLOAD)
BUNDLE = bundle(KEY, statement(IMAGE.digest))
FLIPS = (0x01, 0x08, 0x20, 0x80)


def mangled(content):
    for place in range(len(content)):
        for flip in FLIPS:
            yield content[:place] + bytes([content[place] ^ flip]) + content[place + 1 :]
        yield content[:place] + content[place + 1 :]
        yield content[:place] + content[place : place + 1] + content[place:]
        yield content[:place]
    yield content + b"\x00"


def accepted(kind, payload, annotations=None):
    finding = SIGNER.verify(SUBJECT, UntrustedSignature(kind, "here", payload, annotations or {}), NOW)
    assert isinstance(finding, Evidence) or (finding.detail.isascii() and "\n" not in finding.detail)
    return isinstance(finding, Evidence)


def classic(payload, signature):
    return accepted(Kind.CLASSIC, payload, {SIGNATURE: signature})


def test_unchanged():
    assert classic(PAYLOAD, encoded(RAW))
    assert accepted(Kind.BUNDLE, BUNDLE)


def test_payload():
    assert not any(classic(one, encoded(RAW)) for one in mangled(PAYLOAD) if one != PAYLOAD)


def test_signature():
    assert not any(classic(PAYLOAD, encoded(one)) for one in mangled(RAW) if one != RAW)


def test_signature_as_text():
    texts = [one.decode("latin-1") for one in mangled(encoded(RAW).encode())]
    assert not any(classic(PAYLOAD, one) for one in texts if one != encoded(RAW))


def without_hint(document):
    content = json.loads(document)
    del content["verificationMaterial"]["publicKey"]["hint"]
    return content


def test_bundle():
    """Only the hint is not covered: it says which key to try, and the policy says that."""
    for one in mangled(BUNDLE):
        assert not accepted(Kind.BUNDLE, one) or without_hint(one) == without_hint(BUNDLE)


@pytest.mark.parametrize("part", ["payload", "signature"])
def test_inside_the_bundle(part):
    """The same for the bytes inside of the base64."""
    document = json.loads(BUNDLE)
    envelope = document["dsseEnvelope"]
    holder, name = (envelope, "payload") if part == "payload" else (envelope["signatures"][0], "sig")
    genuine = base64.b64decode(holder[name])
    for one in mangled(genuine):
        holder[name] = encoded(one)
        assert one == genuine or not accepted(Kind.BUNDLE, json.dumps(document).encode())
