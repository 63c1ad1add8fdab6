"""What the gate remembers beyond one process: where, and how long a tag keeps its digest."""

from dataclasses import dataclass, field
from datetime import timedelta

from proxy.stores.grants import Memberships
from proxy.stores.manifests import Manifests, MemoryManifests
from proxy.stores.tags import MemoryTags, Tags
from proxy.stores.verdicts import Verdicts


@dataclass(frozen=True, slots=True)
class Memory:
    """What is remembered across restarts, and how long a tag keeps its digest."""

    verdicts: Verdicts
    memberships: Memberships
    tag_lifetime: timedelta
    manifests: Manifests = field(default_factory=MemoryManifests)
    tags: Tags = field(default_factory=MemoryTags)
