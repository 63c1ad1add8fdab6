"""The one form of evidence and rejections outside: its members are public."""

from dataclasses import fields, replace

from support.policy import NOW, evidence, rejection

from proxy.policy import plain
from proxy.verdict import Evidence, Reason, Rejection


def test_evidence_says_all_that_was_proven():
    found = replace(
        evidence("release"),
        signed_at=NOW,
        claims=(("a", "b"), ("a", "c")),
        subject="someone@example.com",
        issuer="https://issuer.example",
        time_source="log rekor.example",
        log_index=7,
    )
    written = plain.evidence(found)
    # What nobody asked for is left to whoever looks closer: it would fill the audit log and the disk.
    assert written.keys() == {one.name for one in fields(Evidence)} - {"proven", "signed"}
    assert written["signed_at"] == plain.moment(NOW)
    assert written["claims"] == [["a", "b"], ["a", "c"]]
    assert (written["subject"], written["issuer"]) == ("someone@example.com", "https://issuer.example")
    assert (written["time_source"], written["log_index"]) == ("log rekor.example", 7)
    assert plain.evidence(evidence("release"))["signed_at"] is None


def test_a_rejection_says_why_and_what_had_been_proven():
    failed = replace(rejection(Reason.OTHER_IMAGE), proven=(("subject", "someone@example.com"),))
    written = plain.rejection(failed)
    assert written.keys() == {one.name for one in fields(Rejection)}
    assert (written["reason"], written["proven"]) == ("other_image", [["subject", "someone@example.com"]])
