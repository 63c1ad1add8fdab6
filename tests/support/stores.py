"""The stores under test, and small values to put into them."""

from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import cycle

from proxy.oci.digest import Digest
from proxy.oci.reference import Repository
from proxy.stores.database import open_database
from proxy.stores.verdicts import Remembered, VerdictKey
from proxy.verdict import Accepted, Evidence, InsecureUnverified, Reason, Refused, Rejection, Subject

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
NOT_SIGNED = (Rejection(Reason.NOT_SIGNED, "no signature"),)
APP = Repository("ghcr.io", "org/app")
OTHER = Repository("ghcr.io", "org/other")


def digest(number):
    """Return a digest that the number decides."""
    return Digest.of(str(number).encode())


def key(number=0, *, repository=APP, tag="v1", fingerprint="rule"):
    return VerdictKey(repository, digest(number), tag, fingerprint)


def evidence(**changes):
    return Evidence(
        **{"format": "cosign", "signer": "release", "signature": "sha256-0.sig", "trust": "sha256:00"} | changes
    )


def accepted(of, expires=LATER, proof=None, tag="v1"):
    return Accepted(Subject(of.repository, of.digest, tag), "everything", (proof or evidence(),), expires)


def refused(of, expires=LATER, rejections=NOT_SIGNED):
    return Refused(Subject(of.repository, of.digest, of.tag), "everything", tuple(rejections), expires)


def unverified(of, expires=LATER):
    return InsecureUnverified(Subject(of.repository, of.digest, of.tag), "everything", expires)


KEYLESS = evidence(
    signed_at=NOW,
    claims=(("source_repository_ref", "refs/heads/main"), ("team", "a")),
    subject="someone@example.com",
    issuer="https://issuer.example",
    time_source="log rekor.example",
    log_index=7,
)
PROVEN = Rejection(
    Reason.UNTRUSTED_SIGNER,
    "another subject is wanted",
    "release",
    "sha256-0.sig",
    (("subject", "someone@example.com"), ("issuer", "https://issuer.example"), ("log_index", "7")),
)


def remembered(of, verdict=None, identifier="k7f3"):
    return Remembered(identifier, verdict or accepted(of), NOW)


@contextmanager
def database(path):
    """Open a store whose faults are collected in `faults`."""
    opened = open_database(path, on_fault=(faults := []).append)
    opened.faults = faults
    try:
        yield opened
    finally:
        opened.close()


class InTurn:
    """Several stores as one: each call goes to the next of them, as requests do to the workers of one machine."""

    def __init__(self, *stores):
        self._stores = cycle(stores)

    def __getattr__(self, name):
        return getattr(next(self._stores), name)


@contextmanager
def workers(path, make, number=2):
    """Open one file as several processes do, each by itself; `make` makes a store of each and its limits."""
    with ExitStack() as stack:
        opened = [stack.enter_context(database(path)) for _ in range(number)]
        yield lambda *limit: InTurn(*(make(it, *limit) for it in opened))
        assert [it.faults for it in opened] == [[]] * number


def count(opened, table):
    """Count the rows of one of the store's tables."""
    return opened.read(lambda it: it.execute(f"SELECT count(*) FROM {table}").fetchone()[0], None)  # noqa: S608
