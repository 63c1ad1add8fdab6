"""Limits on the number of images judged at the same time: of each registry, of one namespace in it, and in all.

A slot is held while signatures are looked for, so a registry that hangs holds its slots for as long as a search may
take. It must not hold those of other registries, nor one namespace those of its neighbours.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from proxy.oci.reference import Repository
from proxy.upstream.admission import namespace
from proxy.upstream.slots import FairSlots

# Of all registries together, times what one may have: each image may hold signatures of some megabytes in memory.
REGISTRIES_AT_ONCE = 4


class JudgingSlots:
    """Slots for `at_once` images of one registry, half of them for one namespace of it.

    REGISTRIES_AT_ONCE times as many are judged in all; a registry that has less than a quarter of its own in use gets
    one whatever the others hold. The table of registries is closed, so what is held is bounded.
    """

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._all = FairSlots[str](at_once * REGISTRIES_AT_ONCE, at_once, max(1, at_once // 4))
        self._of: dict[str, FairSlots[str]] = {}

    @asynccontextmanager
    async def hold(self, repository: Repository) -> AsyncIterator[None]:
        """Wait for a slot, as long as it takes, and hold it while the context lasts."""
        registry = repository.registry
        if registry not in self._of:
            self._of[registry] = FairSlots(self._at_once, (self._at_once + 1) // 2)
        async with self._of[registry].hold(namespace(repository)), self._all.hold(registry):
            yield
