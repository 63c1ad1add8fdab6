"""Events about requests to registries, for metrics."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from proxy.oci.errors import (
    BusyError,
    CorruptError,
    MalformedError,
    NotFoundError,
    RegistryError,
    UnservableError,
    UpstreamDeniedError,
)

# Docker Hub: `ratelimit-remaining: 20;w=21600` (docs.docker.com, pulls).
_RATE_LIMIT_REMAINING = "ratelimit-remaining"
_OUTCOMES: Mapping[type[RegistryError], str] = {
    NotFoundError: "not_found",
    UpstreamDeniedError: "denied",
    CorruptError: "corrupt",
    BusyError: "busy",
    MalformedError: "malformed",
}

# What a pull begins with; blobs and lists may fail for reasons of their own.
_SHOWS_HEALTH = frozenset({"manifest", "resolve"})
# These say nothing about the registry: the client left, or a limit of our own was reached.
_SHOWS_NOTHING = frozenset({"cancelled", "busy"})


def _nothing(*_: object, **__: object) -> None:
    """Observe nothing."""


class BreakerChanged(Protocol):
    """Receiver of changes of a circuit breaker."""

    def __call__(self, registry: str, *, is_open: bool) -> None:
        """Handle a breaker that opened or closed."""
        ...


@dataclass(frozen=True, slots=True)
class Observer:
    """Who is told what happened.

    `on_request` gets registry, operation (manifest, resolve, blob, head_blob, referrers, tags), outcome (ok, not_found,
    denied, corrupt, malformed, busy, unavailable, cancelled) and the seconds to the whole answer, for a blob to its
    head. `on_rate_limit` gets registry and the number of pulls that Docker Hub says are left. `on_breaker` gets the
    registry and whether it is left alone, for it cannot be reached. `on_health` gets the registry and why it could not
    be asked for a manifest, or None where it answered; the registry that a mirror stands for (`is_canonical`) is told
    from the mirror.
    """

    on_request: Callable[[str, str, str, float], None] = _nothing
    on_rate_limit: Callable[[str, int], None] = _nothing
    on_breaker: BreakerChanged = _nothing
    on_health: Callable[[str, str | None], None] = _nothing
    is_canonical: bool = False

    @contextmanager
    def operation(self, registry: str, operation: str, clock: Callable[[], float]) -> Iterator[None]:
        """Report what is done inside, however it ends."""
        started = clock()
        outcome, cause = "cancelled", None
        try:
            yield
            outcome = "ok"
        except RegistryError as err:
            outcome = _OUTCOMES.get(type(err), "unavailable")
            cause = str(err) if outcome == "unavailable" and not isinstance(err, UnservableError) else None
            raise
        finally:
            self.on_request(registry, operation, outcome, clock() - started)
            if operation in _SHOWS_HEALTH and outcome not in _SHOWS_NOTHING:
                self.on_health(f"{registry} (signatures)" if self.is_canonical else registry, cause)

    def headers(self, registry: str, headers: Mapping[str, str]) -> None:
        """Report what the headers of an answer say about a rate limit."""
        remaining = headers.get(_RATE_LIMIT_REMAINING, "").partition(";")[0].strip()
        if remaining.isascii() and remaining.isdecimal():
            self.on_rate_limit(registry, int(remaining[:9]))
