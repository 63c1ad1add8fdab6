"""Cache of decisions, in this process and in the store of all workers, and what stands in for them in an outage."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from proxy.gate.contents import LookedUp
from proxy.gate.judge import Judge
from proxy.gate.lasting import Lasting
from proxy.gate.memory import Memory
from proxy.policy.model import Decision, Mode, OnOutage, Rule, Stale
from proxy.stores.verdicts import NOT_STALE, Remembered, VerdictKey
from proxy.verdict import Accepted, Refused, Undetermined, Verdict

# How long a refusal is kept that an outage would otherwise override: the longest duration of the configuration.
REFUSAL_STANDS = timedelta(days=30)
# The same by any other rule: for operators who change `on_outage` during an outage.
REFUSAL_KEPT = timedelta(days=1)
# Reasons of such a refusal that are kept, and characters of each: far below a store's limit for a verdict (64 KiB).
REASONS_MAX = 10
DETAIL_MAX = 500


class Decisions:
    """Decisions of all workers, for as long as they are valid by the current lifetimes."""

    def __init__(
        self, limit: int, memory: Memory, judge: Judge, clock: Callable[[], datetime], looked_up: LookedUp
    ) -> None:
        self._near: Lasting[VerdictKey, Decision] = Lasting(limit)
        self._verdicts = memory.verdicts
        self._tag_lifetime = memory.tag_lifetime
        self._judge = judge
        self._clock = clock
        self._looked_up = looked_up

    def known(self, key: VerdictKey) -> Decision | None:
        """Return what this process knows."""
        return self._near.get(key, self._clock())

    async def remembered(self, key: VerdictKey, rule: Rule | None) -> Decision | None:
        """Return what any worker has decided, before a restart or since."""
        decision = self.known(key)
        if decision is None:
            found = await self._stored(key, NOT_STALE)
            if found is not None:
                decision = decided(found.id, found.verdict, rule)
                self.take(key, decision)
        self._looked_up("verdict", hit=decision is not None)
        return decision

    def take(self, key: VerdictKey, decision: Decision) -> None:
        """Keep a decision in this process until it expires."""
        now = self._clock()
        self._near.put(key, decision, now, expires(decision, now))

    def forget(self, key: VerdictKey) -> None:
        """Drop a decision in this process."""
        self._near.drop(key)

    async def keep(self, key: VerdictKey, rule: Rule | None, decision: Decision, judged: datetime) -> None:
        """Remember a new decision in place of what was there; nothing of what could not be judged."""
        verdict = decision.verdict
        if isinstance(verdict, Undetermined):
            return
        self.take(key, decision)
        kept = _brief(verdict) if isinstance(verdict, Refused) and _is_overridden(rule) else verdict
        await self._verdicts.put(key, Remembered(decision.id, kept, judged), _kept_for(verdict, rule))

    async def in_outage(self, key: VerdictKey, rule: Rule, decision: Decision, cause: str) -> Decision:
        """Return what stands in for a decision about what cannot be judged, or the decision where nothing does.

        Where an outage lets images through, the last answer there was is taken if it is a refusal, however long ago:
        of the same digest, by the same rule and trust material, by any worker, as long as the store keeps it.
        """
        if _is_overridden(rule):
            refused = await self._last_refusal(key)
            if refused is not None:
                until = self._clock() + self._tag_lifetime
                decision = replace(decision, verdict=refused, stale=Stale(cause, until))
                self.take(key, decision)
                return decision
        return await self._standing_in(key, rule, decision, cause) if rule.accepted_max_stale else decision

    async def _last_refusal(self, key: VerdictKey) -> Refused | None:
        """Return the refusal that is the last answer, in the store or in memory where it could not be written.

        One dated in the future counts too: a clock that was set back must not lift a refusal.
        """
        now = self._clock()
        found = await self._verdicts.get(key, now, REFUSAL_STANDS)
        if found is not None and isinstance(found.verdict, Refused):
            return found.verdict
        known = self._near.last(key)
        if known is None or not isinstance(known.verdict, Refused):
            return None
        judged = known.verdict.expires - self._judge.lifetimes.refused
        lifted = found is not None and judged < found.judged <= now
        return None if lifted else known.verdict

    async def _standing_in(self, key: VerdictKey, rule: Rule, decision: Decision, cause: str) -> Decision:
        """Return the last acceptance in place of a decision about what cannot be judged, as long as the rule allows.

        The last real answer counts, whichever worker has it: so the store is asked, where a refusal takes the place of
        the acceptance for good, and memory only whether it knows of a refusal that could not be written. A trust root
        that is too old is no outage that an acceptance bridges.
        """
        found = await self._stored(key, rule.accepted_max_stale)
        last = found.verdict if found is not None else None
        known, now = self._near.last(key), self._clock()
        until = now
        if (
            isinstance(last, Accepted)
            and not self._judge.too_old(rule)
            and (known is None or isinstance(known.verdict, Accepted) or expires(known, now) < last.expires)
        ):
            # Judging is tried again after a tag's lifetime: not by each pull, and soon enough to see a refusal.
            until = min(now + self._tag_lifetime, _stale_until(last, rule))
            if until > now:
                decision = replace(decision, verdict=last, stale=Stale(cause, until))
                self.take(key, decision)
        self._looked_up("stale_verdict", hit=until > now)
        return decision

    async def _stored(self, key: VerdictKey, max_stale: timedelta) -> Remembered | None:
        """Return what the store knows, until its lifetime by the settings of now; of a time to come it is nothing."""
        now = self._clock()
        found = await self._verdicts.get(key, now, max_stale)
        if found is None or found.judged > now:
            return None
        until = self._judge.lifetimes.until(found.verdict, found.judged)
        return replace(found, verdict=replace(found.verdict, expires=until)) if now - max_stale < until else None


def decided(identifier: str, verdict: Verdict, rule: Rule | None) -> Decision:
    """Return what the rule makes of a verdict."""
    if rule is None:
        return Decision(identifier, verdict, Mode.ENFORCE, OnOutage.REFUSE)
    return Decision(identifier, verdict, rule.mode, rule.on_outage)


def expires(decision: Decision, now: datetime) -> datetime:
    """Return when the decision expires; `Undetermined` expires immediately."""
    if decision.stale is not None:
        return decision.stale.until
    return now if isinstance(decision.verdict, Undetermined) else decision.verdict.expires


def _kept_for(verdict: Verdict, rule: Rule | None) -> timedelta:
    """Return how long after its end the store keeps a verdict, for a time in which nothing can be judged."""
    if isinstance(verdict, Refused):
        return REFUSAL_STANDS if _is_overridden(rule) else REFUSAL_KEPT
    return rule.accepted_max_stale if rule is not None and isinstance(verdict, Accepted) else NOT_STALE


def _is_overridden(rule: Rule | None) -> bool:
    """Return whether an outage would override a refusal by this rule."""
    return rule is not None and rule.on_outage is OnOutage.INSECURE_ALLOW


def _brief(refused: Refused) -> Refused:
    """Return the refusal with its best reasons only, so that pushed content cannot make it too large for the store."""
    reasons = [replace(one, detail=one.detail[:DETAIL_MAX], proven=()) for one in refused.rejections[:REASONS_MAX]]
    return replace(refused, rejections=tuple(reasons))


def _stale_until(accepted: Accepted, rule: Rule) -> datetime:
    """Return until when an acceptance may stand in: as long as the rule allows, and its evidence is known to hold."""
    return min(accepted.expires + rule.accepted_max_stale, accepted.proven_until or accepted.expires)
