"""The changes between two readings of the configuration: names only, for the log."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from pydantic import BaseModel

from proxy.config.load import Settings
from proxy.formats.cosign.trust_root import NO_TRUST_ROOT
from proxy.policy.model import Rule

T = TypeVar("T")


def changes(before: Settings, after: Settings) -> dict[str, list[str]]:
    """Return the names of what was added, removed or altered, such as `rules_added`; without what is the same.

    A rule or signer is altered if anything could change a verdict or what is made of it. A trust root that was
    refreshed in between is one of `trust_roots_altered`; the signers that rely on it are not altered.
    """
    old, new = _without_roots(before), _without_roots(after)
    found = {
        **_changed("rules", _rules(old), _rules(new), _rule),
        **_changed("signers", old.signers, new.signers, lambda one: one.fingerprint),
        **_changed("upstreams", old.upstreams, new.upstreams, lambda one: one),
        **_changed(
            "trust_roots",
            before.trust_roots,
            after.trust_roots,
            lambda one: (one.repository, one.root.fingerprint),
        ),
        "settings_altered": [
            *_altered("server", before.server, after.server),
            *_altered("cache", before.cache, after.cache),
            *_altered("limits", before.limits, after.limits),
            *(["lifetimes"] if _lifetimes(before) != _lifetimes(after) else []),
        ],
    }
    return {name: what for name, what in found.items() if what}


def _without_roots(settings: Settings) -> Settings:
    for name in settings.trust_roots:
        settings = settings.trusting(name, NO_TRUST_ROOT)
    return settings


def _rules(settings: Settings) -> Mapping[str, Rule]:
    return {rule.name: rule for rule in settings.rules}


def _rule(rule: Rule) -> object:
    return (
        rule.fingerprint,
        frozenset(map(str, rule.images)),
        rule.mode,
        rule.on_outage,
        rule.tag_max_stale,
        rule.accepted_max_stale,
    )


def _lifetimes(settings: Settings) -> object:
    return settings.lifetimes, settings.tag_lifetime


def _changed(
    what: str, before: Mapping[str, T], after: Mapping[str, T], facts: Callable[[T], object]
) -> dict[str, list[str]]:
    return {
        f"{what}_added": sorted(after.keys() - before.keys()),
        f"{what}_removed": sorted(before.keys() - after.keys()),
        f"{what}_altered": sorted(
            name for name in before.keys() & after.keys() if facts(before[name]) != facts(after[name])
        ),
    }


def _altered(table: str, before: BaseModel, after: BaseModel) -> list[str]:
    names = type(before).model_fields
    return [f"{table}.{name}" for name in names if getattr(before, name) != getattr(after, name)]
