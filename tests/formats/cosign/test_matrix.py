"""Every shape with every kind of key."""

from dataclasses import replace
from functools import cache

import pytest
from support.cosign import IMAGE, OTHER, SUBJECT, judge, key_signer, source_of

from proxy.demo.signing import SigningKey, bundle_signature, classic_signature
from proxy.verdict import Reason

KINDS = ["P-256", "P-384", "P-521", "RSA-2048", "RSA-3072", "RSA-4096", "Ed25519"]


def classic_referrer(key, image, annotations=None):
    return classic_signature(key, image, annotations, referrer=True)


SHAPES = [classic_signature, classic_referrer, bundle_signature]


@cache
def key_of(kind):
    return SigningKey.generate(kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", SHAPES, ids=lambda make: make.__name__)
@pytest.mark.parametrize("referrers_api", [True, False], ids=["api", "tag"])
async def test_accepted(make, kind, referrers_api):
    key = key_of(kind)
    source = source_of(make(key, IMAGE, {"env": "prod", "team": "a"}), referrers_api=referrers_api)
    evidence, rejections, _ = await judge(source, key_signer(key.public, {"env": "prod"}))
    assert rejections == []
    assert [(one.format, one.signer, one.claims) for one in evidence] == [
        ("cosign", "release", (("env", "prod"), ("team", "a")))
    ]
    assert evidence[0].trust == f"key sha256:{key.public.fingerprint[:16]}"
    assert evidence[0].signed_at is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", SHAPES, ids=lambda make: make.__name__)
async def test_refused_for_another_image_key_or_annotation(make, kind):
    signer = key_signer(key_of(kind).public, {"env": "prod"})
    other_image = replace(make(key_of(kind), IMAGE, {"env": "prod"}))
    evidence, rejections, _ = await judge(source_of(other_image), signer, replace(SUBJECT, digest=OTHER.digest))
    assert (evidence, rejections) == ([], [])
    stranger = make(SigningKey.generate(), IMAGE, {"env": "prod"})
    plain = make(key_of(kind), IMAGE)
    for artifact, reason in [(stranger, Reason.UNTRUSTED_SIGNER), (plain, Reason.ANNOTATION_MISSING)]:
        evidence, rejections, _ = await judge(source_of(artifact), signer)
        assert evidence == []
        assert [(one.reason, one.signer) for one in rejections] == [(reason, "release")]


async def test_an_ed25519_key_explains_itself():
    """What cosign signs with such a key is Ed25519ph, which nobody verifies."""
    signer = key_signer(key_of("Ed25519").public)
    _, rejections, _ = await judge(source_of(bundle_signature(SigningKey.generate(), IMAGE)), signer)
    assert "Ed25519ph" in rejections[0].detail
