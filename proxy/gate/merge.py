"""What was found in two places becomes one finding, in which nothing of one place hides anything of the other (A28)."""

from dataclasses import replace

from proxy.formats.api import Discovered
from proxy.verdict import Rejection

# So that people see where a thing lies: a mirror and its registry may have other content under the same tag.
_PLACE = "the canonical registry"
_THERE = f" at {_PLACE}"


def merged(mirror: Discovered, canonical: Discovered) -> Discovered:
    """Return all of both: any candidate of either may count, and any place of either may be unreached.

    What lies in both is taken once. Hashes every payload: for a thread, not for the event loop.
    """
    signatures, rejections = set(mirror.signatures), set(mirror.rejections)
    return Discovered(
        (
            *mirror.signatures,
            *(replace(one, location=one.location + _THERE) for one in canonical.signatures if one not in signatures),
        ),
        (*mirror.rejections, *(_there(one) for one in canonical.rejections if one not in rejections)),
        (*mirror.unreached, *(f"{_PLACE}: {place}" for place in canonical.unreached)),
        mirror.overloaded or canonical.overloaded,
    )


def _there(rejection: Rejection) -> Rejection:
    return rejection if rejection.signature is None else replace(rejection, signature=rejection.signature + _THERE)
