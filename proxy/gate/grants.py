"""Grants of blobs by the manifests that name them, and their order of precedence."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from proxy.oci.errors import RegistryError
from proxy.policy.model import Decision
from proxy.stores.grants import Member, Rank
from proxy.verdict import Accepted


@dataclass(frozen=True, slots=True)
class BlobGrant:
    """A blob that is known here, and the decision about a manifest that names it (None: an artifact)."""

    member: Member
    decision: Decision | None
    expires: datetime

    @property
    def served(self) -> bool:
        """Return whether the blob may be served."""
        return self.decision is None or self.decision.served


def rank_of(decision: Decision | None) -> Rank:
    """Return the rank of a manifest about which this was decided (None: an artifact)."""
    if decision is None:
        return Rank.ARTIFACT
    if not decision.served:
        return Rank.REFUSED
    return Rank.ACCEPTED if isinstance(decision.verdict, Accepted) else Rank.SERVED


async def best_of(grants: Sequence[BlobGrant], size: Callable[[], Awaitable[int]]) -> BlobGrant | None:
    """Return the first of those that count most, None for none.

    Where nobody signed what is served, any manifest that was pushed may name the blob with a wrong size, and so keep it
    from being sent: then `size` returns the true one.
    """
    if not grants:
        return None
    best = min(rank_of(grant.decision) for grant in grants)
    equal = [grant for grant in grants if rank_of(grant.decision) is best]
    if best is Rank.SERVED and len({grant.member.size for grant in equal}) > 1:
        with suppress(RegistryError):
            true = await size()
            return next((grant for grant in equal if grant.member.size == true), equal[0])
    return equal[0]
