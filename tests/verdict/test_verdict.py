"""Verdicts are plain values, and their reasons are public names."""

from proxy.oci.digest import Digest
from proxy.oci.reference import Repository
from proxy.verdict import Reason, Subject


def test_a_subject_is_written_in_full():
    repository, digest = Repository.of("ghcr.io", "org/app"), Digest.of(b"")
    assert str(Subject(repository, digest)) == f"ghcr.io/org/app@{digest}"
    assert str(Subject(repository, digest, "v1")) == f"ghcr.io/org/app:v1@{digest}"


def test_the_names_of_reasons_are_an_interface():
    assert {str(reason) for reason in Reason} >= {
        "not_signed",
        "untrusted_signer",
        "other_image",
        "not_a_signature",
        "annotation_missing",
        "malformed",
        "corrupt",
        "unsupported",
        "over_limit",
        "requirement_not_met",
        "refused_by_rule",
        "no_rule",
    }
