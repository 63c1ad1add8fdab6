"""What came of an image that was to be brought in: one line for people, an object for programs, an exit code."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich.text import Text

from proxy.app.warming import Warmed
from proxy.cli.documents import outcome
from proxy.cli.render import foreign, size, verdict
from proxy.oci.digest import Digest
from proxy.policy.explain import explain
from proxy.policy.model import Decision
from proxy.verdict import Refused, Undetermined

REFUSED, NOT_THERE = 1, 3


def exit_code(images: Iterable[Warmed]) -> int:
    """Return 1 if an image is refused, else 3 if one could not be judged or not all of it came, else 0."""
    codes = {_exit_code(one) for one in images}
    return next((code for code in (REFUSED, NOT_THERE) if code in codes), 0)


def _exit_code(image: Warmed) -> int:
    if image.decision is not None and not image.served:
        return REFUSED if isinstance(image.decision.verdict, Refused) else NOT_THERE
    return NOT_THERE if image.error is not None or image.missing else 0


def lines(image: Warmed) -> Iterator[Text]:
    """Write what came of it: one line, and one more for each thing that is missing."""
    named = image.decision.verdict.subject if image.decision is not None else image.reference
    yield Text.assemble(_word(image), foreign(f" {named}: {'; '.join(_said(image))}"))
    for what, cause in image.missing.items():
        yield Text(foreign(f"  missing {what}: {cause}"))


def _word(image: Warmed) -> Text:
    if image.decision is not None:
        return verdict(outcome(image.decision.verdict))
    return Text("failed", style="bold red") if image.error is not None else Text("signature", style="bold")


def document(image: Warmed) -> dict[str, Any]:
    """Return it as `--json` prints it. The members are public; add, do not rename."""
    decision = image.decision
    manifest = image.pulled.manifest if image.pulled is not None else None
    return {
        "image": str(image.reference.repository),
        "tag": image.reference.tag,
        "digest": str(manifest.digest if manifest is not None else image.reference.digest or "") or None,
        "rule": decision.verdict.rule if decision is not None else None,
        "mode": decision.mode.value if decision is not None else None,
        "verdict": outcome(decision.verdict) if decision is not None else None,
        "reason": decision.reason.value if decision is not None and decision.reason is not None else None,
        "explanation": "; ".join(_judged(image)),
        "served": image.served,
        "platforms": list(image.platforms),
        "blobs": len(image.blobs),
        "bytes": _bytes(image.blobs),
        "came": len(_came(image)),
        "came_bytes": _bytes(_came(image)),
        "missing": [{"what": what, "cause": cause} for what, cause in image.missing.items()],
    }


def _said(image: Warmed) -> list[str]:
    said = _judged(image)
    if image.served:
        said.append(_brought(image))
    return said


def _judged(image: Warmed) -> list[str]:
    if image.error is not None:
        return [str(image.error)]
    if image.decision is None:
        return ["served without a verdict"]
    return [explain(image.decision), *_all_the_same(image.decision)]


def _all_the_same(decision: Decision) -> Sequence[str]:
    match decision.verdict:
        case Refused() if decision.served:
            return [f"served all the same, for the rule's mode is {decision.mode}"]
        case Undetermined() if decision.served:
            return [f"served all the same, by mode {decision.mode} and on_outage {decision.on_outage}"]
        case _:
            return []


def _brought(image: Warmed) -> str:
    if not image.blobs:
        return "nothing to fetch"
    came = _came(image)
    missing = sum(str(digest) in image.missing for digest, _ in image.blobs)
    there = len(image.blobs) - len(came) - missing
    said = [f"{len(came)} fetched ({size(_bytes(came))})"] if came else []
    said += [f"{there} there already"] if there else []
    said += [f"{missing} missing"] if missing else []
    what = f"{', '.join(image.platforms)}: " if image.platforms else ""
    return f"{what}{len(image.blobs)} blobs of {size(_bytes(image.blobs))}: {', '.join(said)}"


def _came(image: Warmed) -> frozenset[tuple[Digest, int]]:
    return frozenset(blob for blob in image.came if str(blob[0]) not in image.missing)


def _bytes(blobs: Iterable[tuple[Digest, int]]) -> int:
    return sum(count for _, count in blobs)
