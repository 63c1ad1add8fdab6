"""Transparency logs: what proves that an entry is in one, and what does not."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.sigstore.encoding import base64_of, sha256
from support.sigstore.logs import Entry, Rekor, path, tree_hash
from support.vectors import CONFORMANCE, or_skipped

from proxy.crypto.keys import PublicKey
from proxy.crypto.tlog import (
    CHECKPOINT_BYTES_MAX,
    CHECKPOINT_SIGNATURES_MAX,
    HASH_BYTES,
    PROOF_HASHES_MAX,
    SECONDS_MAX,
    Checkpoint,
    InclusionProof,
    TransparencyLog,
    check_inclusion,
    check_promise,
    check_window,
    leaf_hash,
    log_of,
    root_of_proof,
)
from proxy.crypto.window import Window
from proxy.demo.signing import SigningKey
from proxy.oci.errors import MalformedError, OverLimitError
from proxy.verdict import Failure, Reason

BODY = b'{"an":"entry"}'
START, END = datetime(2025, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
SECONDS = int(START.timestamp()) + 60
ROOT = base64_of(sha256(b"root"))
LINE = "\u2014 a.test AAAAAAE=\n"


def make(name, kind="P-256", version=2):
    """Make a log with a key of its own."""
    return Rekor(key=SigningKey.generate(kind), version=version, name=name, window=Window(START, END))


def trusted(log):
    """The log as a trust root has it."""
    return TransparencyLog(log.name, log.log_id, log.key.public, log.window)


def prove(log, body=BODY, index=3, size=6):
    """Prove that the body is at this place among made-up leaves."""
    leaves = [leaf_hash(b"%d" % n) for n in range(size)]
    leaves[index] = leaf_hash(body)
    proof = replace(log, leaves=leaves).prove(index, START)
    return InclusionProof(proof.index, proof.size, proof.root, proof.path, proof.checkpoint)


def promise(log, seconds=SECONDS, body=BODY, index=7):
    """Have the log promise an entry."""
    return log.promise(Entry(kind="any", version="1", body=body, log_id=log.log_id, index=index, time=seconds))


V1, V2, V2_ECDSA = make("rekor.test", version=1), make("log2.test", "Ed25519"), make("log3.test")
V1_RSA = make("rekor4.test", "RSA-2048", version=1)
WITNESS = make("witness.test/w1", "Ed25519")
LOGS = {"v1": V1, "v1-rsa": V1_RSA, "v2": V2, "v2-ecdsa": V2_ECDSA}


@pytest.fixture(params=LOGS)
def log(request):
    """One log of each kind."""
    return LOGS[request.param]


class TestMerkle:
    def test_every_leaf_of_small_trees(self):
        for size in range(1, 34):
            leaves = [leaf_hash(b"%d" % n) for n in range(size)]
            root = tree_hash(leaves)
            for index, leaf in enumerate(leaves):
                hashes = tuple(path(index, leaves))
                assert root_of_proof(leaf, index, size, hashes) == root
                for other in {index - 1, index + 1, size}:
                    assert root_of_proof(leaf, other, size, hashes) != root
                assert root_of_proof(leaf, index, size, (*hashes, root)) is None
                assert root_of_proof(leaf, index, size, hashes[1:]) is None or not hashes

    @pytest.mark.parametrize("index", [0, 1, 2**62, 2**63 - 2])
    def test_the_largest_tree_takes_no_more_hashes_than_the_limit(self, index):
        hashes = [(b"%d" % n).ljust(HASH_BYTES) for n in range(PROOF_HASHES_MAX + 1)]
        fitting = [n for n in range(len(hashes) + 1) if root_of_proof(b"", index, 2**63 - 1, tuple(hashes[:n]))]
        assert len(fitting) == 1
        assert fitting[0] <= PROOF_HASHES_MAX

    @pytest.mark.parametrize(
        ("index", "size", "hashes"),
        [(-1, 2, (b"h" * 32,)), (2, 2, (b"h" * 32,)), (0, 0, ()), (0, -1, ()), (0, 2, (b"h" * 31,)), (0, 2, (b"",))],
    )
    def test_no_place_in_a_tree(self, index, size, hashes):
        assert root_of_proof(b"l" * 32, index, size, hashes) is None

    def test_a_node_is_no_leaf(self):
        left, right = leaf_hash(b"a"), leaf_hash(b"b")
        assert leaf_hash(left + right) != tree_hash([left, right])


class TestInclusion:
    def test_a_proof(self, log):
        assert check_inclusion(trusted(log), prove(log), BODY) is None
        assert check_inclusion(trusted(log), prove(log, BODY, 0, 1), BODY) is None

    @pytest.mark.parametrize(
        ("what", "spoil"),
        [
            ("another place", lambda proof: replace(proof, index=2)),
            ("beyond the tree", lambda proof: replace(proof, index=6)),
            ("another size", lambda proof: replace(proof, size=7)),
            ("another root", lambda proof: replace(proof, root=sha256(b""))),
            ("a hash of another node", lambda proof: replace(proof, hashes=(sha256(b""), *proof.hashes[1:]))),
            ("a hash less", lambda proof: replace(proof, hashes=proof.hashes[:-1])),
            ("a hash more", lambda proof: replace(proof, hashes=(*proof.hashes, proof.root))),
            ("hashes in another order", lambda proof: replace(proof, hashes=proof.hashes[::-1])),
            ("no hashes", lambda proof: replace(proof, hashes=())),
        ],
    )
    def test_a_spoilt_proof(self, log, what, spoil):
        outcome = check_inclusion(trusted(log), spoil(prove(log)), BODY)
        assert isinstance(outcome, Failure), what
        assert outcome.reason is Reason.LOG_NOT_PROVEN

    def test_another_body(self, log):
        assert "root hash" in check_inclusion(trusted(log), prove(log), BODY + b" ").detail

    def test_another_log(self, log):
        stranger = replace(log, key=V2_ECDSA.key if log is V1 else V1.key)
        assert "not signed" in check_inclusion(trusted(log), prove(stranger), BODY).detail

    def test_a_stranger_with_the_key_hint_of_the_log(self, log):
        proof = prove(replace(log, key=V2_ECDSA.key if log is V1 else V1.key))
        text, _, line = proof.checkpoint.partition("\n\n")
        signature = base64.b64decode(line.split()[2])[4:]
        forged = f"{text}\n\n\u2014 {log.name} {base64_of(log.log_id[:4] + signature)}\n"
        assert "not signed" in check_inclusion(trusted(log), replace(proof, checkpoint=forged), BODY).detail

    def test_the_window_is_the_callers(self, log):
        assert check_window(trusted(log), START) is None
        assert check_window(trusted(log), END) is None
        for outside in (START - timedelta(seconds=1), END + timedelta(seconds=1)):
            assert "not in use" in check_window(trusted(log), outside).detail


class TestSigners:
    ORIGIN = f"log2.test\n1\n{ROOT}\n"

    def made_by(self, log, checkpoint):
        return Checkpoint.parse(checkpoint).is_signed_by(trusted(log))

    @pytest.mark.parametrize("other", [WITNESS, make("log2.test"), make("log2.test", "Ed25519")])
    def test_signatures_by_others_are_passed_over(self, other):
        line = other.note_signature(self.ORIGIN)
        assert self.made_by(V2, V2.note(self.ORIGIN) + line)
        assert self.made_by(V2, f"{self.ORIGIN}\n{line}{V2.note_signature(self.ORIGIN)}")
        assert not self.made_by(V2, f"{self.ORIGIN}\n{line}")

    def test_a_false_signature_in_the_logs_name_spoils_the_note(self):
        assert not self.made_by(V2, V2.note(self.ORIGIN) + V2.note_signature("other text"))

    def test_a_signature_that_is_repeated_is_verified_once(self):
        """Who repeats the log's own line 32 times does not take 32 times the arithmetic."""
        calls = []

        class Counting:
            def verify(self, signature, message):
                calls.append(signature)
                return V2.key.public.verify(signature, message)

        note = V2.note(self.ORIGIN)
        repeated = note + note.partition("\n\n")[2] * (CHECKPOINT_SIGNATURES_MAX - 1)
        assert Checkpoint.parse(repeated).is_signed_by(replace(trusted(V2), key=Counting()))
        assert len(calls) == 1

    def test_extensions_are_signed(self):
        checkpoint = V1.checkpoint(1, sha256(b""), START)
        assert self.made_by(V1, checkpoint)
        assert not self.made_by(V1, checkpoint.replace("Timestamp: 1", "Timestamp: 2"))

    @pytest.mark.parametrize("origin", ["log4.test", "log2.test/x", "LOG2.test", "log2.test - 12x", "log2.test -1"])
    def test_the_origin_is_the_logs(self, origin):
        text = f"{origin}\n1\n{ROOT}\n"
        assert not self.made_by(V2, V2.note(text))
        if " " not in origin:
            assert not self.made_by(V2, f"{text}\n{V2.note_signature(text, origin)}")

    def test_rekor_1_names_its_host_by_a_setting(self):
        text = f"rekor.sigstore.dev - 12\n1\n{ROOT}\n"
        assert self.made_by(V1, f"{text}\n{V1.note_signature(text, 'rekor.sigstore.dev')}")
        assert not self.made_by(V1, V1.note(text))

    def test_the_trust_root_may_say_how_checkpoints_name_the_key(self):
        other_id = replace(trusted(V2), log_id=b"i" * 32)
        checkpoint = Checkpoint.parse(V2.note(self.ORIGIN))
        assert checkpoint.is_signed_by(replace(other_id, checkpoint_key_id=V2.log_id[:4]))
        assert not checkpoint.is_signed_by(other_id)


class TestCheckpoint:
    def test_what_is_read(self):
        checkpoint = Checkpoint.parse(f"a.test\n12\n{ROOT}\none\ntwo\n\n{LINE}")
        assert (checkpoint.origin, checkpoint.size, checkpoint.root) == ("a.test", 12, sha256(b"root"))
        assert checkpoint.text == f"a.test\n12\n{ROOT}\none\ntwo\n".encode()
        assert [(one.name, one.hint, one.signature) for one in checkpoint.signatures] == [("a.test", b"\0" * 4, b"\1")]

    @pytest.mark.parametrize(
        "note",
        [
            "",
            "\n",
            "\n\n",
            f"12\n{ROOT}\n\n{LINE}",
            f"\n12\n{ROOT}\n\n{LINE}",
            f"a.test\n{ROOT}\n\n{LINE}",
            f"a.test\n12\n\n{LINE}",
            f"a.test\n\n{ROOT}\n\n{LINE}",
            f"a.test\n12\n{ROOT}\n{LINE}",
            f"a.test\n12\n{ROOT}\n\n",
            f"a.test\n12\n{ROOT}\n\n{LINE[:-1]}",
            f"a.test\n12\n{ROOT}\n\n{LINE}\n",
            f"a.test\n12\n{ROOT}\n\n\n{LINE}",
            f"a.test\n12\n{ROOT}\n\n{LINE}\n{LINE}",
            f"a.test\n12\n{ROOT}\next\n\nmore\n\n{LINE}",
            *(f"a.test\n{size}\n{ROOT}\n\n{LINE}" for size in ("012", "+12", "-12", " 12", "1_2", "\u0661", "1" * 20)),
            *(
                f"a.test\n12\n{root}\n\n{LINE}"
                for root in (ROOT[:-4], ROOT[:-1], ROOT + "AAAA", ROOT[:-2] + "l=", "-_")
            ),
            *(
                f"a.test\n12\n{ROOT}\n\n{line}\n"
                for line in (
                    "- a.test AAAAAAE=",
                    "\u2013 a.test AAAAAAE=",
                    "\u2014a.test AAAAAAE=",
                    "\u2014 a.test  AAAAAAE=",
                    "\u2014 a.test AAAAAAE= ",
                    "\u2014 a b AAAAAAE=",
                    "\u2014 a\u2003b AAAAAAE=",
                    "\u2014 a+b AAAAAAE=",
                    "\u2014  AAAAAAE=",
                    "\u2014 AAAAAAE=",
                    "\u2014 a.test AAAAAA==",
                    "\u2014 a.test AAAA",
                    "\u2014 a.test AAAAAAE",
                    "\u2014 a.test AAAAAAF=",
                    "\u2014 a.test AAAAAA\u00e9=",
                )
            ),
            f"a.test\r\n12\r\n{ROOT}\r\n\r\n{LINE}",
            f"a.test\n12\n{ROOT}\next\x00\n\n{LINE}",
            f"a.test\n12\n{ROOT}\next\ud800\n\n{LINE}",
        ],
    )
    def test_what_is_no_checkpoint(self, note):
        with pytest.raises(MalformedError):
            Checkpoint.parse(note)

    def test_limits(self):
        head = f"a.test\n12\n{ROOT}\n"
        assert len(Checkpoint.parse(f"{head}\n{LINE * CHECKPOINT_SIGNATURES_MAX}").signatures) == 32
        with pytest.raises(OverLimitError, match="signatures"):
            Checkpoint.parse(f"{head}\n{LINE * (CHECKPOINT_SIGNATURES_MAX + 1)}")
        with pytest.raises(OverLimitError, match="longer"):
            Checkpoint.parse(f"{head}{'x' * CHECKPOINT_BYTES_MAX}\n\n{LINE}")

    @given(at=st.integers(0, 400), cut=st.integers(0, 8), put=st.text(max_size=3))
    def test_no_change_of_a_signed_note_keeps_it_signed(self, at, cut, put):
        note = V1.checkpoint(1, sha256(b"root"), START)
        at %= len(note)
        changed = note[:at] + put + note[at + cut :]
        try:
            checkpoint = Checkpoint.parse(changed)
        except MalformedError:
            return
        if changed != note:
            assert not checkpoint.is_signed_by(trusted(V1))


class TestPromise:
    @pytest.mark.parametrize("log", [V1, V1_RSA], ids=["ecdsa", "rsa"])
    def test_a_promise_proves_its_time(self, log):
        assert check_promise(trusted(log), promise(log), BODY, SECONDS, 7) == datetime.fromtimestamp(SECONDS, UTC)

    @pytest.mark.parametrize(
        ("made", "body", "seconds", "index"),
        [
            (promise(V1), BODY + b" ", SECONDS, 7),
            (promise(V1), BODY, SECONDS - 1, 7),
            (promise(V1), BODY, SECONDS, 8),
            (promise(V1), BODY, SECONDS, -7),
            (promise(V2_ECDSA), BODY, SECONDS, 7),
            (promise(V1)[:-1], BODY, SECONDS, 7),
            (b"", BODY, SECONDS, 7),
        ],
    )
    def test_a_promise_for_something_else(self, made, body, seconds, index):
        outcome = check_promise(trusted(V1), made, body, seconds, index)
        assert isinstance(outcome, Failure)
        assert (outcome.reason, "SET" in outcome.detail) == (Reason.LOG_NOT_PROVEN, True)

    @pytest.mark.parametrize(
        ("moment", "shift", "inside"),
        [(START, -1, False), (START, 0, True), (END, 0, True), (END, 1, False)],
    )
    def test_both_ends_of_the_window_count(self, moment, shift, inside):
        seconds = int(moment.timestamp()) + shift
        outcome = check_promise(trusted(V1), promise(V1, seconds), BODY, seconds, 7)
        assert isinstance(outcome, datetime) is inside

    @pytest.mark.parametrize("seconds", [0, -1, SECONDS_MAX + 1, 2**63 - 1])
    def test_times_that_are_none(self, seconds):
        assert "is none" in check_promise(trusted(V1), promise(V1, seconds), BODY, seconds, 7).detail

    def test_the_last_time(self):
        outcome = check_promise(trusted(V1), promise(V1, SECONDS_MAX), BODY, SECONDS_MAX, 7)
        assert "9999-12-31T23:59:59" in outcome.detail


def test_the_log_of_an_entry():
    logs = [trusted(log) for log in LOGS.values()]
    for log, there in zip(LOGS.values(), logs, strict=True):
        assert log_of(logs, log.log_id) is there
    for unknown in (
        b"",
        V1.log_id[:3],
        V1.log_id[:4],
        V2.log_id[:4],
        V1.log_id[:5],
        V1.log_id + b"\0",
        WITNESS.log_id,
        WITNESS.log_id[:4],
    ):
        assert log_of(logs, unknown) is None
    assert log_of([replace(logs[0], log_id=b"")], b"") is None


# Of the conformance suite's cases, those whose checkpoint, proof or promise is at fault; others fail elsewhere, if at
# all. Some bundles are so broken that there is nothing to check here.
AT_FAULT = {
    "bundle-invalid-base64-signature_fail": "root hash",
    "checkpoint-wrong-roothash_fail": "another tree",
    "inclusion-proof-corrupted-hash_fail": "root hash",
    "rekor2-checkpoint-missing-origin_fail": "not an origin",
    "rekor2-checkpoint-missing-root-hash_fail": "not an origin",
    "rekor2-checkpoint-missing-size_fail": "not an origin",
    "set-invalid-signature_fail": "SET",
}
UNREADABLE = {"bundle-empty-certificate-chain_fail", "bundle-negative-log-index_fail", "bundle-unknown-version_fail"}


def conformance():
    """The suite's folders."""
    return sorted(
        path.parent for path in CONFORMANCE.glob("*/bundle.sigstore.json") if path.parent.name not in UNREADABLE
    )


def logs_of(folder):
    """Read the logs of the folder's trust root, or of production's."""
    own = folder / "trusted_root.json"
    root = json.loads((own if own.exists() else CONFORMANCE / "production_trusted_root.json").read_bytes())
    for log in root["tlogs"]:
        key, ends = log["publicKey"], log["publicKey"]["validFor"]
        window = Window(*(datetime.fromisoformat(ends[end]) if ends.get(end) else None for end in ("start", "end")))
        public = PublicKey.parse_der(base64.b64decode(key["rawBytes"]))
        origin = log["baseUrl"].partition("://")[2]
        yield TransparencyLog(origin, base64.b64decode(log["logId"]["keyId"]), public, window)


def failures(folder):
    """Check proof and promise of each entry, and say what is wrong."""
    bundle = json.loads((folder / "bundle.sigstore.json").read_bytes())
    for entry in bundle["verificationMaterial"].get("tlogEntries", []):
        log = log_of(logs_of(folder), base64.b64decode(entry["logId"]["keyId"]))
        body, raw = base64.b64decode(entry["canonicalizedBody"]), entry["inclusionProof"]
        numbers = int(raw["logIndex"]), int(raw["treeSize"])
        hashes = tuple(map(base64.b64decode, raw.get("hashes", [])))
        proof = InclusionProof(*numbers, base64.b64decode(raw["rootHash"]), hashes, raw["checkpoint"]["envelope"])
        try:
            yield check_inclusion(log, proof, body)
        except MalformedError as err:
            yield Failure(Reason.MALFORMED, str(err))
        if made := entry.get("inclusionPromise"):
            signed = base64.b64decode(made["signedEntryTimestamp"])
            yield check_promise(log, signed, body, int(entry["integratedTime"]), int(entry["logIndex"]))


@pytest.mark.parametrize("folder", or_skipped(conformance()), ids=lambda folder: folder.name)
def test_conformance(folder):
    found = "; ".join(one.detail for one in failures(folder) if isinstance(one, Failure))
    assert bool(found) is (folder.name in AT_FAULT)
    assert AT_FAULT.get(folder.name, "") in found
