"""What `--json` prints: values as JSON-able dictionaries. Their members are public; add, do not rename."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from proxy.cli.clients import Client, Endpoint, Setup, egress_rule
from proxy.config import Settings
from proxy.gate import Candidate, Examination
from proxy.policy import plain
from proxy.policy.model import Rule
from proxy.verdict import Accepted, Evidence, InsecureUnverified, Refused, Rejection, Undetermined, Verdict

_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
_OUTCOMES = {
    Accepted: "accepted",
    InsecureUnverified: "insecure_unverified",
    Refused: "refused",
    Undetermined: "undetermined",
}


def outcome(verdict: Verdict) -> str:
    """Return the one word for a verdict."""
    return _OUTCOMES[type(verdict)]


def examination(seen: Examination) -> dict[str, Any]:
    """Return a dry run: the verdict, every candidate, what could not be read and what could not be reached."""
    verdict = seen.verdict
    subject = verdict.subject
    return {
        "image": str(subject.repository),
        "tag": subject.tag,
        "digest": str(subject.digest),
        "rule": verdict.rule,
        "verdict": outcome(verdict),
        "evidence": [plain.evidence(one) for one in verdict.evidence] if isinstance(verdict, Accepted) else [],
        "rejections": [plain.rejection(one) for one in verdict.rejections] if isinstance(verdict, Refused) else [],
        "cause": verdict.cause if isinstance(verdict, Undetermined) else None,
        "candidates": [_candidate(one) for one in seen.candidates],
        "unreadable": [plain.rejection(one) for one in seen.rejections],
        "unreached": list(seen.unreached),
        "withheld": seen.withheld,
    }


def _candidate(candidate: Candidate) -> dict[str, Any]:
    finding = candidate.finding
    return {
        "signer": candidate.signer,
        "location": candidate.signature.location,
        "kind": candidate.signature.kind,
        "counted": isinstance(finding, Evidence),
        "evidence": plain.evidence(finding) if isinstance(finding, Evidence) else None,
        "rejection": plain.rejection(finding) if isinstance(finding, Rejection) else None,
        "proven": [list(pair) for pair in finding.proven],
    }


def settings(read: Settings) -> dict[str, Any]:
    """Return what a configuration means. Of credentials it says only that there are some."""
    server = read.server
    return {
        "server": {
            "listen": str(server.listen),
            "admin_listen": str(server.admin_listen),
            "tls": server.tls_certificate is not None,
            "refusal": str(server.refusal),
            "external_urls": str(server.external_urls),
            "default_upstream": server.default_upstream,
            "state_dir": str(server.state_dir),
            "workers": server.workers,
        },
        "upstreams": {
            name: {
                "url": one.url,
                "credentials": one.credentials is not None,
                "insecure_http": one.insecure_http,
                "signatures": one.signatures.url if one.signatures else None,
            }
            for name, one in read.upstreams.items()
        },
        "trust_roots": {
            name: {
                "source": str(one.stored.source) if one.stored else None,
                "confirmed_at": plain.moment(one.stored.confirmed_at) if one.stored else None,
                "refreshed_from": one.repository.url if one.repository else None,
            }
            for name, one in read.trust_roots.items()
        },
        "signers": {
            name: {"who": list(read.who[name]), "trust_root": read.relying.get(name)} for name in sorted(read.signers)
        },
        "rules": [
            {
                "name": rule.name,
                "images": [str(pattern) for pattern in rule.images],
                "require": str(rule.require),
                "mode": str(rule.mode),
                "on_outage": str(rule.on_outage),
                **limits(rule),
            }
            for rule in read.rules
        ],
        "warnings": list(read.warnings),
        "relaxations": list(read.relaxations),
    }


def limits(rule: Rule) -> dict[str, str | None]:
    """Return how late a rule's answers may be, by their keys and written as in the configuration; None is not set."""
    return {
        "tag_max_stale": _duration(rule.tag_max_stale),
        "accepted_max_stale": _duration(rule.accepted_max_stale),
        "trust_root_max_age": _duration(rule.trust_root_max_age),
    }


def _duration(time: timedelta | None) -> str | None:
    if not time:
        return None
    seconds = time // timedelta(seconds=1)
    unit, size = next((unit, size) for unit, size in _UNITS if seconds % size == 0)
    return f"{seconds // size}{unit}"


def client_config(client: Client, endpoint: Endpoint, made: Sequence[Setup]) -> dict[str, Any]:
    """Return the set-ups of a client with their files."""
    return {
        "client": str(client),
        "endpoint": endpoint.url,
        "setups": [
            {
                "title": setup.title,
                "hold": str(setup.hold),
                "statement": setup.statement,
                "files": [{"path": str(file.path), "content": file.content, "why": file.why} for file in setup.files],
                "steps": list(setup.steps),
                "warnings": list(setup.warnings),
            }
            for setup in made
        ],
        "egress": egress_rule(endpoint),
    }
