"""Attacks of docs/threats.md on log entries: each is refused for its reason, and its harmless twin is not."""

from dataclasses import replace
from datetime import timedelta

import pytest
from support.sigstore.authority import Request
from support.sigstore.draft import Shape
from support.sigstore.encoding import base64_of, canonical
from support.sigstore.trial import (
    AT,
    ELSEWHERE,
    KEY,
    OTHER,
    REQUEST,
    SIGSTORE,
    STAMP,
    STRANGER,
    Attack,
    begun,
    by_key,
    made,
    noted,
    root_of,
    trial,
)

from proxy.crypto.window import Window
from proxy.demo.signing import SigningKey
from proxy.verdict import Reason

REKOR1, REKOR2 = SIGSTORE.rekor1, SIGSTORE.rekor2
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
TIME = int(AT.timestamp())
CLASSIC, BUNDLE = Shape.SIG, Shape.BUNDLE


def entry_of(**changes):
    """A function that changes the one entry of a draft."""
    return lambda draft: replace(draft, entries=(replace(draft.entries[0], **changes),))


def proof_of(**changes):
    def change(draft):
        (entry,) = draft.entries
        return replace(draft, entries=(replace(entry, proof=replace(entry.proof, **changes)),))

    return change


def changed(change, shape=BUNDLE, log="rekor1", signer=REQUEST, **given):
    """Make what is signed, logged and stamped by the rules, and then change it."""
    return lambda: trial(change(made(shape, signer, logs=(log,), stamped=shape is BUNDLE)), **given)


def same(draft):
    return draft


def entry_from(other):
    """Take over the entry of another draft."""
    return lambda draft: replace(draft, entries=other().entries)


def another_signature():
    """The same certificate signs the same content once more: ECDSA gives another signature."""
    certificate = SIGSTORE.certificate(REQUEST)
    first, second = (begun().signed_by(KEY, certificate) for _ in range(2))
    first, second = (SIGSTORE.stamped(SIGSTORE.logged(one, AT), AT) for one in (first, second))
    return replace(first, entries=second.entries)


def another_certificate():
    """The same key and content, the same signature even, with a certificate that was issued later."""
    draft = made(stamped=True)
    newer = replace(draft, certificate=SIGSTORE.certificate(REQUEST))
    return replace(newer, entries=draft.entries)


def rewritten(**members):
    """The log's own signed entry, with its body edited: no promise or proof covers that."""

    def change(draft):
        body = draft.entry_body(1) | members
        return entry_of(body=canonical(body))(draft)

    return change


def logged_as(body, log=REKOR1):
    """Have the log really take in any body."""
    return lambda draft: replace(draft, entries=(log.add(body(draft), AT),))


def with_promise_by(key):
    def change(draft):
        (entry,) = draft.entries
        forged = replace(REKOR1, key=key).promise(entry)
        return replace(draft, entries=(replace(entry, promise=forged),))

    return change


def with_checkpoint(write, log=REKOR2):
    """Have a checkpoint written anew from size and root; `write` gets the log and these two."""

    def change(draft):
        (entry,) = draft.entries
        proof = entry.proof
        return proof_of(checkpoint=write(log, proof.size, proof.root))(draft)

    return change


def forged_root(draft):
    """A consistent tree of the attacker's own, with the log's checkpoint of another tree."""
    (entry,) = draft.entries
    own = replace(REKOR2, key=STRANGER, leaves=[])
    own.add(draft.entry_body(2), AT)
    proof = replace(own.prove(0, AT), checkpoint=entry.proof.checkpoint)
    return replace(draft, entries=(replace(entry, index=0, proof=proof),))


def twice(draft, last=None):
    return replace(draft, entries=(*draft.entries, *draft.entries[-last if last else 0 :]))


def beside_strangers(draft, **changes):
    """Add an entry of a log that the trust root does not know."""
    (entry,) = ELSEWHERE.logged(replace(draft, entries=()), AT).entries
    return replace(draft, entries=(*draft.entries, replace(entry, **changes)))


def twice_by_two_names(draft):
    (entry,) = draft.entries
    return replace(draft, entries=(entry, replace(entry, log_id=entry.log_id[:4])))


def two_of_two_logs(draft):
    return SIGSTORE.logged(draft, AT, "rekor2")


def windowed(log, start, end, version=1):
    logs = {
        1: [replace(REKOR1, window=Window(start, end)), REKOR2],
        2: [REKOR1, replace(log, window=Window(start, end))],
    }
    return root_of(tlogs=logs[version])


def without_promise(draft):
    return entry_of(promise=None, index=draft.entries[0].proof.index)(draft)


def alone(change):
    """Leave out the promise, and change what is left."""
    return lambda draft: replace(change(draft), entries=(replace(change(draft).entries[0], promise=None),))


def in_no_window(log, **given):
    version = {"rekor1": 1, "rekor2": 2}[log]

    def at(start, end):
        return lambda: trial(
            made(logs=(log,), stamped=True), root=windowed(getattr(SIGSTORE, log), start, end, version), **given
        )

    return at


def attack(number, what, says, *trials, reason=Reason.LOG_NOT_PROVEN):
    return Attack(number, what, reason, says, *trials)


RETIRED, RETIRED_BEFORE = (windowed(REKOR2, AT - DAY, end, 2) for end in (AT, AT - SECOND))
HELM = canonical({"kind": "helm", "apiVersion": "0.0.1", "spec": {}})
BOTH_SHAPES = [(CLASSIC, "classic"), (BUNDLE, "bundle")]
GOOD, GOOD2 = changed(same), changed(same, log="rekor2")
BY_KEY = {"signer": KEY, "who": by_key()}
GOOD_KEY = changed(same, **BY_KEY)

BINDING = [
    *(
        attack(
            "A1",
            f"entry-of-another-image-{name}",
            "another signature",
            changed(entry_from(lambda shape=shape: made(shape, image=OTHER)), shape),
            changed(same, shape),
        )
        for shape, name in BOTH_SHAPES
    ),
    *(
        attack(
            "A1",
            f"entry-of-a-stranger-{name}",
            "another signature",
            changed(entry_from(lambda shape=shape: made(shape, Request(key=STRANGER, at=AT))), shape),
            changed(same, shape),
        )
        for shape, name in BOTH_SHAPES
    ),
    attack(
        "A1",
        "entry-of-another-image-in-rekor-2",
        "another signature",
        changed(entry_from(lambda: made(image=OTHER, logs=("rekor2",))), log="rekor2"),
        GOOD2,
    ),
    attack(
        "A1",
        "entry-of-another-key",
        "another signer's certificate or key",
        changed(logged_as(lambda draft: replace(draft, key=STRANGER).entry_body(1)), **BY_KEY),
        GOOD_KEY,
    ),
    attack(
        "A1",
        "entry-of-a-certificate-for-a-key",
        "another signer's certificate or key",
        changed(
            logged_as(lambda draft: replace(draft, certificate=SIGSTORE.certificate(REQUEST)).entry_body(1)), **BY_KEY
        ),
        GOOD_KEY,
    ),
    attack("A2", "another-signature-of-the-same", "another signature", lambda: trial(another_signature()), GOOD),
    attack("A2", "another-certificate-of-the-same-key", "another signer's", lambda: trial(another_certificate()), GOOD),
    attack(
        "A2",
        "other-payload-really-logged",
        "about other content",
        changed(logged_as(lambda draft: replace(draft, payload=begun(image=OTHER).payload).entry_body(1))),
        GOOD,
    ),
    attack(
        "A2",
        "other-payload-really-logged-in-rekor-2",
        "about other content",
        changed(logged_as(lambda draft: replace(draft, payload=b"x").entry_body(2), REKOR2), log="rekor2"),
        GOOD2,
    ),
    attack(
        "A2",
        "entry-of-an-envelope-for-a-payload",
        "an envelope",
        changed(logged_as(lambda draft: draft.entry_body(1, "dsse")), CLASSIC),
        changed(same, CLASSIC),
    ),
    attack(
        "A2",
        "entry-of-bytes-for-an-envelope",
        "an envelope",
        changed(logged_as(lambda draft: draft.entry_body(1, "hashedrekord"))),
        GOOD,
    ),
    attack(
        "A2",
        "declared-as-another-kind",
        "of another kind",
        changed(entry_of(kind="intoto", version="0.0.2")),
        GOOD,
    ),
    attack(
        "A24",
        "unknown-kind",
        "are not read",
        changed(logged_as(lambda draft: draft.entry_body(1) | {"kind": "helm"})),
        GOOD,
        reason=Reason.UNSUPPORTED,
    ),
    attack(
        "A24",
        "early-kind-of-rekor-2",
        "are not read",
        changed(logged_as(lambda draft: draft.entry_body(1) | {"apiVersion": "0.0.2"}, REKOR2), log="rekor2"),
        GOOD2,
        reason=Reason.UNSUPPORTED,
    ),
    attack(
        "A24",
        "body-of-nothing",
        "spec",
        changed(logged_as(lambda draft: draft.entry_body(1) | {"spec": {}})),
        GOOD,
        reason=Reason.MALFORMED,
    ),
    attack("A24", "body-no-json", "strict JSON", changed(entry_of(body=b"\x00\xff")), GOOD, reason=Reason.MALFORMED),
]

PROMISES = [
    attack("A1", "promise-forged", "not signed by the log", changed(with_promise_by(STRANGER)), GOOD),
    attack(
        "A1",
        "promise-forged-classic",
        "not signed by the log",
        changed(with_promise_by(STRANGER), CLASSIC),
        changed(same, CLASSIC),
    ),
    attack("A1", "promise-empty", "not signed by the log", changed(entry_of(promise=b"")), GOOD),
    attack(
        "A3", "promised-time-edited", "for another entry or time", changed(entry_of(time=int(AT.timestamp()) - 1)), GOOD
    ),
    attack("A3", "promised-time-zero", "is none", changed(entry_of(time=0)), GOOD),
    attack("A1", "promised-number-edited", "for another entry", changed(entry_of(index=0)), GOOD),
    attack(
        "A27",
        "body-with-white-space",
        "does not lead to the root",
        changed(lambda draft: entry_of(body=draft.entries[0].body + b"\n")(draft)),
        GOOD,
    ),
    attack(
        "A27",
        "body-with-white-space-classic",
        "for another entry",
        changed(lambda draft: entry_of(body=draft.entries[0].body + b"\n")(draft), CLASSIC),
        changed(same, CLASSIC),
    ),
    attack(
        "A1",
        "rekor-2-with-a-promise-by-another",
        "not signed by the log",
        changed(entry_of(promise=b"x", time=int(AT.timestamp())), log="rekor2"),
        GOOD2,
    ),
]

PROOFS = [
    *(
        attack("A1", f"{what}-{log}", says, changed(change, log=log), changed(same, log=log))
        for log in ("rekor1", "rekor2")
        for what, says, change in [
            ("path-cut", "does not lead", proof_of(path=())),
            ("path-of-zeros", "does not lead", proof_of(path=(b"\0" * 32,) * 3)),
            ("path-of-short-hashes", "does not lead", proof_of(path=(b"\0",))),
            ("size-edited", "for another tree", lambda draft: proof_of(size=draft.entries[0].proof.size + 1)(draft)),
            ("size-zero", "for another tree", proof_of(size=0)),
            ("root-edited", "for another tree", proof_of(root=b"\0" * 32)),
        ]
    ),
    attack(
        "A1",
        "other-place",
        "does not lead",
        changed(lambda draft: entry_of(index=0, proof=replace(draft.entries[0].proof, index=0))(draft), log="rekor2"),
        GOOD2,
    ),
    attack("A1", "two-numbers", "another number than its proof", changed(entry_of(index=0), log="rekor2"), GOOD2),
    attack("A1", "own-tree", "for another tree", changed(forged_root, log="rekor2"), GOOD2),
    attack(
        "A1",
        "checkpoint-by-another-key",
        "not signed by the log",
        changed(
            with_checkpoint(
                lambda log, size, root: replace(log, key=SigningKey.generate("Ed25519")).checkpoint(size, root, AT)
            ),
            log="rekor2",
        ),
        GOOD2,
    ),
    attack(
        "A1",
        "checkpoint-of-another-log",
        "not signed by the log",
        changed(with_checkpoint(lambda log, size, root: REKOR1.checkpoint(size, root, AT)), log="rekor2"),
        GOOD2,
    ),
    attack(
        "A1",
        "checkpoint-under-another-name",
        "not signed by the log",
        changed(
            with_checkpoint(lambda log, size, root: replace(log, name="evil.test").checkpoint(size, root, AT)),
            log="rekor2",
        ),
        GOOD2,
    ),
    attack(
        "A1",
        "checkpoint-with-a-false-signature-beside",
        "not signed by the log",
        changed(
            with_checkpoint(lambda log, size, root: log.checkpoint(size, root, AT) + log.note_signature("other")),
            log="rekor2",
        ),
        changed(
            with_checkpoint(
                lambda log, size, root: (
                    log.checkpoint(size, root, AT) + ELSEWHERE.rekor1.note_signature("other", "witness")
                )
            ),
            log="rekor2",
        ),
    ),
    attack(
        "A27",
        "checkpoint-with-lines-behind",
        "no signature",
        changed(with_checkpoint(lambda log, size, root: log.checkpoint(size, root, AT) + "more\n"), log="rekor2"),
        GOOD2,
        reason=Reason.MALFORMED,
    ),
    attack("A24", "checkpoint-empty", "blank line", changed(proof_of(checkpoint="")), GOOD, reason=Reason.MALFORMED),
    attack(
        "A13",
        "checkpoint-huge",
        "longer than",
        changed(proof_of(checkpoint="x" * 70_000)),
        GOOD,
        reason=Reason.OVER_LIMIT,
    ),
]

WHOSE = [
    attack(
        "A31",
        "log-of-another-instance",
        "not in the trust root",
        lambda: trial(ELSEWHERE.logged(made(logs=(), stamped=True), AT)),
        GOOD,
    ),
    attack(
        "A31",
        "log-of-another-instance-in-its-name",
        "not signed by the log",
        lambda: trial(entry_of(log_id=REKOR1.log_id)(ELSEWHERE.logged(made(logs=(), stamped=True), AT))),
        GOOD,
    ),
    attack(
        "A31",
        "bad-entry-of-a-known-log-beside-a-good-one",
        "another signature",
        changed(lambda draft: replace(draft, entries=(*made(image=OTHER, logs=("rekor2",)).entries, *draft.entries))),
        changed(beside_strangers),
    ),
    attack(
        "A31",
        "two-unknown-logs",
        "not in the trust root",
        lambda: trial(beside_strangers(ELSEWHERE.logged(made(logs=(), stamped=True), AT, "rekor2"))),
        changed(lambda draft: ELSEWHERE.logged(beside_strangers(draft), AT, "rekor2")),
    ),
    attack(
        "A31",
        "unknown-log-tells-the-time-of-a-retired-one",
        "not in use",
        changed(beside_strangers, log="rekor2", signer=KEY, who=by_key(), root=RETIRED_BEFORE),
        changed(beside_strangers, log="rekor2", signer=KEY, who=by_key(), root=RETIRED),
    ),
    attack(
        "A9",
        "one-entry-of-an-unknown-log-twice",
        "there twice",
        changed(lambda draft: twice(beside_strangers(draft), 1)),
        changed(beside_strangers),
    ),
    *(
        attack("A24", f"{what}-of-an-unknown-log", says, changed(change), changed(beside_strangers), reason=reason)
        for what, says, change, reason in (
            ("junk", "strict JSON", lambda draft: beside_strangers(draft, body=b"\0"), Reason.MALFORMED),
            ("unknown-kind", "are not read", lambda draft: beside_strangers(draft, body=HELM), Reason.UNSUPPORTED),
            (
                "declared-as-another-kind",
                "of another kind",
                lambda draft: beside_strangers(draft, kind="intoto", version="0.0.2"),
                Reason.LOG_NOT_PROVEN,
            ),
        )
    ),
    attack(
        "A31",
        "no-logs-in-the-trust-root",
        "not in the trust root",
        changed(same, root=root_of(tlogs=[])),
        changed(same, root=root_of(tlogs=[]), demands=STAMP),
    ),
    attack("A1", "no-entry", "there is no entry", lambda: trial(made(logs=(), stamped=True)), GOOD),
    attack(
        "A1",
        "no-entry-for-a-key",
        "there is no entry",
        lambda: trial(made(signer=KEY, logs=(), stamped=True), who=by_key()),
        GOOD_KEY,
    ),
    attack(
        "A1",
        "no-entry-classic",
        "there is no entry",
        lambda: trial(noted(made(CLASSIC), bundle=None)),
        changed(same, CLASSIC),
    ),
    attack("A9", "one-entry-twice", "there twice", changed(twice), changed(two_of_two_logs)),
    attack(
        "A9",
        "entry-by-the-hint-of-its-log-alone",
        "is not in the trust root",
        changed(lambda draft: entry_of(log_id=draft.entries[0].log_id[:4])(draft)),
        changed(twice_by_two_names),
    ),
    attack(
        "A9",
        "good-entry-beside-a-bad-one",
        "another signature",
        changed(lambda draft: replace(draft, entries=(*draft.entries, *made(image=OTHER, logs=("rekor2",)).entries))),
        changed(two_of_two_logs),
    ),
    attack(
        "A9",
        "bad-entry-though-none-is-demanded",
        "another signature",
        changed(entry_from(lambda: made(image=OTHER)), demands=STAMP),
        changed(same, demands=STAMP),
    ),
]

PROOF_ALONE = [
    attack(
        "A3",
        "time-beside-a-proof-of-rekor-1",
        "neither the log nor a timestamp",
        lambda: trial(entry_of(promise=None)(made())),
        lambda: trial(entry_of(promise=None)(made(stamped=True))),
        reason=Reason.TIME_NOT_PROVEN,
    )
]
PROOF_ALONE += [
    attack("A1", f"{what}-of-rekor-1-alone", says, changed(alone(change)), changed(alone(same)), reason=reason)
    for what, says, change, reason in (
        ("path-cut", "does not lead", proof_of(path=()), Reason.LOG_NOT_PROVEN),
        ("size", "for another tree", proof_of(size=3), Reason.LOG_NOT_PROVEN),
        (
            "checkpoint-of-rekor-2",
            "not signed by the log",
            with_checkpoint(lambda _, size, root: REKOR2.checkpoint(size, root, AT)),
            Reason.LOG_NOT_PROVEN,
        ),
        (
            "checkpoint-by-another-key",
            "not signed by the log",
            with_checkpoint(lambda _, size, root: replace(REKOR1, key=STRANGER).checkpoint(size, root, AT)),
            Reason.LOG_NOT_PROVEN,
        ),
        (
            "checkpoint-without-a-tree",
            "another number than its proof",
            with_checkpoint(lambda _, size, root: REKOR1.note(f"{REKOR1.name}\n{size}\n{base64_of(root)}\n")),
            Reason.LOG_NOT_PROVEN,
        ),
        ("body", "about another signature", entry_from(lambda: made(image=OTHER)), Reason.LOG_NOT_PROVEN),
        ("time-before-the-certificate", "states a time", entry_of(time=TIME - 1), Reason.LOG_NOT_PROVEN),
        ("time-after-the-certificate", "states a time", entry_of(time=TIME + 601), Reason.LOG_NOT_PROVEN),
        ("time-without-end", "states a time", entry_of(time=2**63 - 1), Reason.LOG_NOT_PROVEN),
    )
]
PROOF_ALONE += [
    attack(
        "A22",
        "retired-log-of-a-proof-of-rekor-1",
        "not in use",
        changed(alone(same), root=windowed(REKOR1, AT - DAY, AT - SECOND)),
        changed(alone(same), root=windowed(REKOR1, AT - DAY, AT)),
    ),
    attack(
        "A1",
        "proof-of-rekor-1-alone-of-a-key",
        "does not lead",
        changed(alone(proof_of(path=())), **BY_KEY),
        changed(alone(same), **BY_KEY),
    ),
]

WINDOWS = [
    *(
        attack("A22", f"{what}-{log}", "not in use", in_no_window(log)(*bad), in_no_window(log)(*good))
        for log in ("rekor1", "rekor2")
        for what, bad, good in [
            ("log-retired-before", (AT - DAY, AT - SECOND), (AT - DAY, AT)),
            ("log-not-yet-in-use", (AT + SECOND, AT + DAY), (AT, AT + DAY)),
            ("log-not-yet-in-use-open-end", (AT + SECOND, None), (AT, None)),
        ]
    ),
    attack(
        "A22",
        "retired-log-though-none-is-demanded",
        "not in use",
        in_no_window("rekor2", demands=STAMP)(AT - DAY, AT - SECOND),
        in_no_window("rekor2", demands=STAMP)(AT - DAY, AT),
    ),
    attack(
        "A22",
        "retired-log-for-a-key-without-a-time",
        "not in use",
        lambda: trial(made(signer=KEY, logs=("rekor2",)), who=by_key(), root=RETIRED),
        lambda: trial(made(signer=KEY, logs=("rekor2",)), who=by_key()),
    ),
    attack(
        "A22",
        "retired-log-for-a-key-with-a-time",
        "not in use",
        lambda: trial(SIGSTORE.stamped(made(signer=KEY, logs=("rekor2",)), AT + SECOND), who=by_key(), root=RETIRED),
        lambda: trial(made(signer=KEY, logs=("rekor2",), stamped=True), who=by_key(), root=RETIRED),
    ),
]


@pytest.mark.parametrize("one", [*BINDING, *PROMISES, *PROOFS, *PROOF_ALONE, *WHOSE, *WINDOWS], ids=str)
def test_attack(one):
    one.check()


def test_a_number_that_nothing_covers_is_not_told():
    """In Rekor 1 a promise covers the number of the entry, which counts all trees; a proof covers its place in one."""
    draft = made(stamped=True)
    assert trial(draft).finding().log_index == draft.entries[0].index
    found = trial(alone(same)(draft)).finding()
    assert found.log_index is None
    assert "log_index" not in dict(found.proven)
