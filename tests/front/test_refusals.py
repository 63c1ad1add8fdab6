"""The form of each refusal, as it was measured to stop the client, and the line that people read."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fakes import START

from proxy.front.errors import (
    MESSAGE_MAX,
    Outcome,
    Refusal,
    bad_request,
    from_decision,
    from_error,
    one_line,
    unknown_blob,
    unsupported,
)
from proxy.front.refusals import Form, answer
from proxy.front.routes import Asked, Dialect, Kind
from proxy.oci.digest import Digest
from proxy.oci.errors import (
    CorruptError,
    MalformedError,
    NotFoundError,
    UnavailableError,
    UnknownUpstreamError,
    UpstreamDeniedError,
)
from proxy.oci.manifest import OCI_MANIFEST
from proxy.oci.reference import Repository
from proxy.policy.model import Decision, Mode, OnOutage
from proxy.verdict import Reason, Refused, Rejection, Subject, Undetermined

DIGEST = "sha256:" + "a" * 64
SIG_TAG = "sha256-" + "0" * 64 + ".sig"
NO = Refusal(403, "DENIED", "sealgate: docker.io/library/bad:1 refused by rule all: not signed (id 1)", "not_signed")
GONE = Refusal(404, "MANIFEST_UNKNOWN", "sealgate: not found", "manifest_unknown")


def ask(method="GET", kind=Kind.MANIFESTS, reference="v1", name="library/bad", dialect=Dialect.DOCKER):
    return Asked(method, kind, name, reference, {}, dialect)


@pytest.mark.parametrize(
    ("asked", "status", "content_type", "location"),
    [
        # containers/image
        (ask(dialect=Dialect.CONTAINERS_IMAGE), 200, "manifest.list.v2+json", None),
        (ask(dialect=Dialect.CONTAINERS_IMAGE, reference=DIGEST), 200, "v1+prettyjws", None),
        (ask(dialect=Dialect.CONTAINERS_IMAGE, reference=DIGEST, kind=Kind.BLOBS), 307, None, "refused: sealgate: "),
        (ask("HEAD", dialect=Dialect.CONTAINERS_IMAGE), 200, "manifest.list.v2+json", None),
        # containerd and its family
        (ask("HEAD", dialect=Dialect.CONTAINERD), 300, None, None),
        (ask("HEAD", dialect=Dialect.CONTAINERD, reference=DIGEST), 300, None, None),
        (ask(dialect=Dialect.CONTAINERD, reference=DIGEST), 200, "image.manifest.v1+json", None),
        (ask(dialect=Dialect.CONTAINERD, reference=DIGEST, kind=Kind.BLOBS), 200, "image.manifest.v1+json", None),
        # Docker's classic store
        (ask("HEAD"), 300, None, None),
        (ask("HEAD", reference=DIGEST), 307, None, "refused: sealgate: "),
        (ask(), 307, None, "refused: sealgate: "),
        (ask(reference=DIGEST), 307, None, "refused: sealgate: "),
        (ask(reference=DIGEST, kind=Kind.BLOBS), 307, None, "refused by: sealgate: "),
    ],
)
def test_the_holding_form(asked, status, content_type, location):
    given_ = answer(asked, NO, Form.HOLD)
    assert given_.form is Form.HOLD
    assert given_.status == status
    assert given_.headers.get("Content-Type", "").endswith(content_type or "")
    assert given_.headers.get("Location", "").startswith(location or "")
    assert "Docker-Content-Digest" not in given_.headers
    said = (given_.reason or "") + given_.body.decode() + given_.headers.get("Location", "")
    assert NO.message in said


def test_docker_stops_at_esrch_and_does_not_download_a_layer_again():
    assert "[no such process]" in answer(ask(), NO, Form.HOLD).headers["Location"]
    layer = answer(ask(kind=Kind.BLOBS, reference=DIGEST), NO, Form.HOLD).headers["Location"]
    assert layer.endswith("[no such process; no space left on device]")
    first_part = layer.split("/")[0]
    assert " " in first_part.split(":")[0]  # a space before the first colon: no URL


@pytest.mark.parametrize(
    ("asked", "form"),
    [
        (ask(name="ghcr.io/team/bad"), Form.HOLD),
        (ask(), Form.PLAIN),
        (ask(dialect=Dialect.CONTAINERD), Form.PLAIN),
        (ask(dialect=Dialect.CONTAINERS_IMAGE), Form.PLAIN),
        (ask(kind=Kind.TAGS, reference=""), Form.HOLD),
        (ask(kind=Kind.REFERRERS, reference=DIGEST), Form.HOLD),
        (ask(kind=Kind.UNSUPPORTED), Form.HOLD),
    ],
)
def test_the_plain_form(asked, form):
    given_ = answer(asked, NO, form)
    assert (given_.form, given_.status, given_.reason) == (Form.PLAIN, 403, NO.message)
    assert json.loads(given_.body) == {"errors": [{"code": "DENIED", "message": NO.message}]}


def test_a_head_in_the_plain_form_has_the_length_of_its_get():
    plain = answer(ask("HEAD", name="ghcr.io/team/bad"), NO, Form.HOLD)
    assert plain.headers["Content-Length"] == str(len(plain.body))


@pytest.mark.parametrize(
    ("dialect", "reference", "refusal", "form"),
    [
        (Dialect.CONTAINERS_IMAGE, SIG_TAG, GONE, Form.PLAIN),
        (Dialect.CONTAINERS_IMAGE, SIG_TAG, NO, Form.HOLD),
        (Dialect.CONTAINERS_IMAGE, "v1", GONE, Form.HOLD),
        (Dialect.DOCKER, SIG_TAG, GONE, Form.HOLD),
        (Dialect.CONTAINERD, SIG_TAG, GONE, Form.HOLD),
    ],
)
def test_only_who_looks_for_signatures_hears_that_there_is_none(dialect, reference, refusal, form):
    assert answer(ask(dialect=dialect, reference=reference), refusal, Form.HOLD).form is form


def test_an_absent_signature_is_a_manifest_of_no_layers_and_no_image():
    """The twin of a 404, which would send whoever pulls that tag to the next registry."""
    given_ = answer(ask(dialect=Dialect.CONTAINERS_IMAGE, reference=SIG_TAG), GONE, Form.HOLD)
    manifest = json.loads(given_.body)
    assert (given_.status, given_.headers) == (200, {"Content-Type": OCI_MANIFEST})
    assert (manifest["schemaVersion"], manifest["layers"]) == (2, [])
    assert manifest["config"] == {
        "mediaType": GONE.message,
        "digest": str(Digest.of(GONE.message.encode())),
        "size": len(GONE.message),
    }
    plain = answer(ask(dialect=Dialect.CONTAINERS_IMAGE, reference=SIG_TAG), GONE, Form.PLAIN)
    assert plain.status == 404


SUBJECT = Subject(Repository.of("docker.io", "library/bad"), Digest.parse(DIGEST), "1")


def decision(verdict):
    return Decision("0a1b2c3d", verdict, Mode.ENFORCE, OnOutage.REFUSE)


def refused(reason, detail="detail"):
    return decision(Refused(SUBJECT, "all", (Rejection(reason, detail),), START + timedelta(1)))


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (Reason.NOT_SIGNED, "not signed"),
        (Reason.UNTRUSTED_SIGNER, "signed, but by nobody this rule trusts"),
        (Reason.OTHER_IMAGE, "signature is for another image"),
    ],
)
def test_the_message_has_image_rule_reason_and_id(reason, words):
    refusal = from_decision(refused(reason), "docker.io/library/bad:1")
    assert refusal.message == f"sealgate: docker.io/library/bad:1 refused by rule all: {words} (id 0a1b2c3d)"
    assert (refusal.status, refusal.code, refusal.label) == (403, "DENIED", reason)


def test_what_could_not_be_found_out_says_so_in_its_own_words():
    refusal = from_decision(
        decision(Undetermined(SUBJECT, "all", "ghcr.io does not answer")), "docker.io/library/bad:1"
    )
    assert refusal.message.startswith("sealgate: docker.io/library/bad:1: could not be verified now: ghcr.io does not")
    assert refusal.message.endswith("(id 0a1b2c3d)")
    assert (refusal.status, refusal.code, refusal.retry_after) == (503, "UNAVAILABLE", 5)


@given(st.text(max_size=400), st.text(max_size=400))
def test_any_message_is_one_safe_line_and_keeps_its_id(image, detail):
    message = from_decision(refused(Reason.MALFORMED, detail), image).message
    assert len(message) <= MESSAGE_MAX
    assert message.isascii()
    assert message.isprintable()
    assert not set(message) & set('"?#%\\\r\n')
    assert message.endswith("(id 0a1b2c3d)")
    for asked in (ask(), ask("HEAD"), ask(kind=Kind.BLOBS, reference=DIGEST), ask(dialect=Dialect.CONTAINERS_IMAGE)):
        given_ = answer(asked, from_decision(refused(Reason.MALFORMED, detail), image), Form.HOLD)
        assert "\n" not in given_.headers.get("Location", "") + (given_.reason or "")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (UnknownUpstreamError("x"), 404, "NAME_UNKNOWN"),
        (NotFoundError("x"), 404, "MANIFEST_UNKNOWN"),
        (UpstreamDeniedError("x"), 403, "DENIED"),
        (MalformedError("x"), 403, "DENIED"),
        (CorruptError("x"), 403, "DENIED"),
        (UnavailableError("x"), 503, "UNAVAILABLE"),
    ],
)
def test_errors_in_the_terms_of_the_specification(error, status, code):
    refusal = from_error(error, "image")
    assert (refusal.status, refusal.code) == (status, code)


LONG = Digest.parse("sha256:" + "ab" * 32)


def test_digests_in_a_cause_are_short_and_its_end_is_seen():
    image = f"docker.io/library/app@{LONG}"
    for refusal in (
        from_error(UnavailableError(f"GET https://docker.io/v2/library/app/blobs/{LONG}: status 429"), image),
        from_error(NotFoundError(f"docker.io/library/app@{LONG} by sha256-{LONG.hex}.sig"), image),
        from_decision(refused(Reason.MALFORMED, f"{LONG} at {LONG} too many layers"), image),
        bad_request(MalformedError(f"digest {LONG} twice {LONG}")),
    ):
        assert LONG.hex[13:] not in refusal.message
        assert "..." not in refusal.message
        assert LONG.hex[:12] in refusal.message


GO_AGENTS = [
    "containerd/1.6.20~ds1+b2",
    "containerd/v2.4.2",
    "buildkit/v0.33",
    "docker/29.0.0 go/go1.25.1 containerd-client/v2.3.3",
]


@pytest.mark.parametrize("agent", GO_AGENTS)
@pytest.mark.parametrize("kind", [Kind.MANIFESTS, Kind.BLOBS])
def test_programs_in_go_are_told_in_a_trailer_that_they_quote(agent, kind):
    """Their own error would only be that 480 bytes were expected; tested with them in the end-to-end tests."""
    asked = replace(ask(kind=kind, reference=DIGEST, dialect=Dialect.CONTAINERD), agent=agent)
    given_ = answer(asked, NO, Form.HOLD)
    assert (given_.status, given_.body, given_.form) == (200, b"", Form.HOLD)
    new, old = given_.trailer
    assert new == f"[{NO.message}]"  # '[' is in no field name
    assert ":" not in old
    assert "not signed" in old
    assert answer(replace(asked, method="HEAD"), NO, Form.HOLD).trailer == ()


@pytest.mark.parametrize(
    ("named", "header"),
    [
        (None, "5"),
        (30.4, "30"),
        (0.1, "1"),
        (61, "60"),
        (1e300, "60"),
        (float("inf"), "60"),
        (float("nan"), "60"),
        (-9, "1"),
    ],
)
def test_how_long_to_wait(named, header):
    refusal = from_error(UnavailableError("x", named), "image")
    assert answer(ask(), refusal, Form.PLAIN).headers["Retry-After"] == header


@pytest.mark.parametrize(("method", "status"), [("PUT", 405), ("GET", 404)])
def test_what_a_pull_through_proxy_does_not_do(method, status):
    refusal = unsupported(method)
    assert (refusal.status, refusal.code) == (status, "UNSUPPORTED")


def test_the_rest():
    assert bad_request(MalformedError("x")).status == 400
    assert "pull the image's manifest first" in unknown_blob("image").message
    assert one_line("a" * 300, 10) == "aaaaaaa..."


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, "served"),
        (206, "served"),
        (304, "served"),
        (400, "refused"),
        (403, "refused"),
        (405, "refused"),
        (416, "refused"),
        (404, "not_found"),
        (500, "failed"),
        (503, "unavailable"),
    ],
)
def test_what_a_status_stands_for(status, outcome):
    assert Outcome.of(status) == outcome
