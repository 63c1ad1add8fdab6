"""What a proof says of itself, and what no shape can bring before it."""

from dataclasses import replace
from datetime import timedelta

import pytest
from support.sigstore.trial import (
    AT,
    ELSEWHERE,
    KEY,
    NOW,
    SIGSTORE,
    SOMEBODY,
    STAMP,
    begun,
    by_key,
    candidate,
    made,
    root_of,
    trial,
)

from proxy.crypto.window import Window
from proxy.formats.cosign.bundle import Bundle
from proxy.formats.cosign.entry import Signed
from proxy.formats.cosign.proof import NO_DEMANDS, Demands, Material, Proven, Time, prove_by_key
from proxy.formats.cosign.shapes import Extras, of_bundle
from proxy.verdict import Reason

SECOND, DAY = timedelta(seconds=1), timedelta(days=1)


def test_facts_are_those_that_are_proven():
    assert Proven().facts() == ()
    times = [Time(AT, "log a"), Time(AT + SECOND, "timestamp authority")]
    assert Proven(None, times, [0, 0]).facts() == (
        ("time by log a", "2026-11-20T12:00:00+00:00"),
        ("time by timestamp authority", "2026-11-20T12:00:01+00:00"),
        ("log_index", "0"),
    )


@pytest.mark.parametrize(
    ("draft", "changes", "proven"),
    [
        # Nothing of an entry that is not this signature's.
        (lambda: replace(made(), entries=made().entries), {}, set()),
        # The log's word holds, whoever signed.
        (
            made,
            {"who": replace(SOMEBODY, subject=SOMEBODY.issuer)},
            {"subject", "issuer", "log_index", "time"},
        ),
        # Who signed is not known before the certificate is.
        (made, {"root": root_of(certificateAuthorities=[])}, {"log_index", "time"}),
        (made, {"root": root_of(ctlogs=[])}, {"log_index", "time"}),
        (lambda: made(logs=(), stamped=True), {}, set()),
        (lambda: made(logs=("rekor2",)), {}, set()),
        # A proof alone counts once its log was in use, which its time must show.
        (
            lambda: made(logs=("rekor2",), stamped=True),
            {"root": root_of(tlogs=[replace(SIGSTORE.rekor2, window=Window(AT + DAY))])},
            {"time"},
        ),
        (lambda: ELSEWHERE.logged(made(logs=()), AT), {"demands": STAMP}, set()),
    ],
)
def test_a_refusal_tells_what_was_proven_and_no_more(draft, changes, proven):
    finding = trial(draft(), **changes).finding()
    assert {name.split(" by ")[0] for name, _ in finding.proven} == proven


def test_an_entry_with_neither_promise_nor_proof():
    """No bundle and no annotation has one: both must bring what their version has."""
    draft = made(signer=KEY)
    bundle = Bundle.parse(candidate(draft).payload)
    (entry,) = bundle.entries
    extras = Extras(None, (replace(entry, promise=None, proof=None),), (), ())
    material = Material(Signed(draft.signature, KEY.public, bundle.content), extras)
    failure = prove_by_key(material, root_of(), Demands(), NOW, Proven())
    assert (failure.reason, "neither" in failure.detail) == (Reason.LOG_NOT_PROVEN, True)


def test_a_timestamp_of_nothing():
    """Each shape says what its timestamps are of."""
    draft = made(signer=KEY, stamped=True)
    bundle = Bundle.parse(candidate(draft).payload)
    extras = replace(of_bundle(bundle, bundle.content).extras(), timestamped=())
    material = Material(Signed(draft.signature, KEY.public, bundle.content), extras)
    failure = prove_by_key(material, root_of(), Demands(log=False, timestamp=True), NOW, Proven())
    assert (failure.reason, "nothing" in failure.detail) == (Reason.TIME_NOT_PROVEN, True)


def test_what_is_not_demanded_of_a_key_is_not_looked_at():
    """Nor does it tell a time or a number."""
    draft = ELSEWHERE.stamped(ELSEWHERE.logged(SIGSTORE.signed(begun(), KEY), AT), AT)
    finding = trial(draft, who=by_key(), demands=NO_DEMANDS).finding()
    assert (finding.signed_at, finding.time_source, finding.log_index) == (None, None, None)
