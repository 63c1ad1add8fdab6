"""What was seen of an image, for people: the verdict, its reasons, and every candidate with what was proven of it."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from proxy.cli.documents import outcome
from proxy.cli.render import foreign, grid, verdict
from proxy.gate import Candidate, Examination
from proxy.verdict import Accepted, Evidence, Finding, Refused, Rejection, Undetermined, Verdict

_INDENT = (0, 0, 0, 2)


def examination(seen: Examination) -> Iterator[RenderableType]:
    """Write a dry run, fit for a terminal of 80 columns. Candidates of which the same came are written together."""
    reached = seen.verdict
    yield grid(
        [
            ("image", str(reached.subject)),
            ("rule", reached.rule),
            ("verdict", verdict(outcome(reached))),
            *_because(reached),
            *([("not served", f"{seen.withheld} (server.external_urls)")] if seen.withheld else []),
            *(("not readable", f"{one.signature or 'a candidate'}: {_why(one)}") for one in seen.rejections),
            *(("not reached", place) for place in seen.unreached),
        ]
    )
    for alike in _alike(seen.candidates):
        yield ""
        yield from _candidates(alike)


def facts(finding: Finding) -> Iterator[tuple[str, str]]:
    """Return what was proven, by name; of a rejection what had been proven before a check failed."""
    yield from finding.proven
    if isinstance(finding, Evidence):
        yield from (claim for claim in finding.claims if claim not in finding.proven)


def proven(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return rows for what was proven, under one label."""
    lines = [f"{name}: {text}" for name, text in pairs]
    return [("" if number else "proven", line) for number, line in enumerate(lines)]


def _because(reached: Verdict) -> list[tuple[str, str]]:
    match reached:
        case Accepted():
            return [("signed by", text) for text in dict.fromkeys(map(_signed_by, reached.evidence))]
        case Refused():
            reasons = dict.fromkeys((one.signer, _why(one)) for one in reached.rejections)
            return [("because", f"{signer}: {why}" if signer else why) for signer, why in reasons]
        case Undetermined():
            return [("because", reached.cause)]
        case _:
            return [("because", "the rule asks for no signature")]


def _why(rejection: Rejection) -> str:
    return f"{rejection.detail} ({rejection.reason})"


def _signed_by(evidence: Evidence) -> str:
    who = f"{evidence.signer}: {evidence.subject}" if evidence.subject else evidence.signer
    when = f", at {evidence.signed_at.isoformat()}" if evidence.signed_at else ""
    return f"{who} ({evidence.format}{when})"


def _alike(candidates: Sequence[Candidate]) -> list[list[Candidate]]:
    groups: dict[tuple[str, str, Finding], list[Candidate]] = defaultdict(list)
    for one in candidates:
        groups[one.signer, one.signature.kind, replace(one.finding, signature="")].append(one)
    return list(groups.values())


def _candidates(alike: Sequence[Candidate]) -> Iterator[RenderableType]:
    """Write candidates that differ in nothing but where they were found."""
    signer, kind, finding = alike[0].signer, alike[0].signature.kind, alike[0].finding
    counts = isinstance(finding, Evidence)
    answer = ("counts", "green") if counts else ("does not count", "red")
    yield Text.assemble(foreign(f"{signer}, {kind}: "), answer)
    # Whole lines, so that a digest can be copied whatever the width.
    yield from (Text(f"  {foreign(one.signature.location)}") for one in alike)
    why = ("by", finding.trust) if isinstance(finding, Evidence) else ("why", _why(finding))
    yield Padding(grid([why, *proven(facts(finding))]), _INDENT, expand=False)
