"""The gate: a reference becomes exact bytes and a decision, a blob becomes the decision about its manifest."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from proxy.gate.artifacts import Artifact, Artifacts
from proxy.gate.contents import Contents, Registry
from proxy.gate.decisions import Decisions, decided, expires
from proxy.gate.flight import SingleFlight
from proxy.gate.grants import BlobGrant, best_of, rank_of
from proxy.gate.indexes import Indexes
from proxy.gate.judge import Judge
from proxy.gate.lasting import Lasting
from proxy.gate.memory import Memory
from proxy.oci.artifacts import ArtifactKind
from proxy.oci.digest import Digest
from proxy.oci.errors import NotFoundError, RegistryError
from proxy.oci.manifest import Manifest
from proxy.oci.reference import Reference, Repository
from proxy.policy.evaluate import refused_by_name
from proxy.policy.explain import explain
from proxy.policy.model import Decision, Mode, OnOutage, Rule
from proxy.policy.rules import Rules
from proxy.stores.grants import Member, Parent, Rank
from proxy.stores.verdicts import VerdictKey
from proxy.verdict import Refused, Rejection, Subject, Undetermined

# Decisions and grants kept in memory, 3 KiB each together (`make bench`, memory). The stores have the others.
REMEMBERED_MAX = 5_000
# A shared base layer belongs to many manifests; the newest of them are asked first, and one that is accepted is enough.
PARENTS_TRIED_MAX = 16


class Observer(Protocol):
    """Receiver of the gate's events: metrics and the audit log."""

    def judged(self, decision: Decision, client: str, seconds: float) -> None:
        """Record a new verdict."""
        ...

    def looked_up(self, cache: str, *, hit: bool) -> None:
        """Count a hit or a miss of a cache."""
        ...


@dataclass(frozen=True, slots=True)
class Pulled:
    """The exact bytes, the decision about them, and until when both hold.

    `decision` is None for an artifact, of this `kind`: data, about which nothing is decided. `rules` are those of the
    decision; where they are no longer the gate's, it must not be remembered.
    """

    manifest: Manifest
    decision: Decision | None
    expires: datetime
    rules: Rules
    kind: ArtifactKind | None = None


# Writes a decision to the audit log, for the client that asked first; returns whether it is written.
Record = Callable[[Decision, str], Awaitable[bool]]


class Gate:
    """Decides about every manifest and blob; remembers what it decided; asks upstream once for all who ask at once.

    With `record`, a new decision that serves an image counts only when it is in the audit log: else the image is
    undetermined, whatever mode and outage setting its rule has, nothing is remembered, and the next pull judges again.
    """

    def __init__(  # noqa: PLR0913 (one composition root calls this, with names)
        self,
        *,
        rules: Rules,
        registry: Registry,
        judge: Judge,
        memory: Memory,
        clock: Callable[[], datetime],
        new_id: Callable[[], str],
        observer: Observer,
        tasks: asyncio.TaskGroup,
        record: Record | None = None,
    ) -> None:
        self._rules = rules
        self._registry = registry
        self._contents = Contents(registry, clock, memory, observer.looked_up, tasks)
        self._judge = judge
        self._memory = memory
        self._clock = clock
        self._new_id = new_id
        self._observer = observer
        self._record = record
        self._decisions = Decisions(REMEMBERED_MAX, memory, judge, clock, observer.looked_up)
        self._grants: Lasting[tuple[Repository, Digest], BlobGrant] = Lasting(REMEMBERED_MAX)
        self._artifacts = Artifacts(registry, memory, self._decide)
        self._indexes = Indexes(
            self._contents, memory, lambda repository: _tag_max_stale(self._rules.match(repository))
        )
        self._pulling: SingleFlight[tuple[Reference, Rules], Pulled] = SingleFlight(tasks)
        self._judging: SingleFlight[VerdictKey, Decision] = SingleFlight(tasks)

    @property
    def rules(self) -> Rules:
        """The rules that hold now."""
        return self._rules

    def use(self, rules: Rules) -> None:
        """Decide by other rules from now on, and drop the grants by the old ones.

        Verdicts have the fingerprint of their rule in their key, so those by a rule that still exists stay valid.
        """
        self._rules = rules
        self._grants.clear()

    def refused_by_name(self, repository: Repository) -> tuple[str, Rejection] | None:
        """Return the rule that refuses all of this repository, and why; None where the image has to be judged.

        It is asked before anything is read for a client: manifests, blobs, tags and referrers alike.
        """
        return refused_by_name(self._rules.match(repository), repository)

    async def pull(self, reference: Reference, client: str) -> Pulled:
        """Resolve, judge and remember; once for all who ask at once, and to the end even if they have left.

        `client` is for the audit line only, and is the first of those who asked.

        Raises oci.errors: NotFoundError, UpstreamDeniedError, UnknownUpstreamError, MalformedError, CorruptError, and
        UnavailableError when the manifest itself cannot be had.
        """
        return await self._pulling.do((reference, self._rules), lambda: self._pull(reference, client))

    async def _pull(self, reference: Reference, client: str) -> Pulled:
        rules = self._rules
        rule = rules.match(reference.repository)
        manifest, fresh_until = await self._contents.fetch(reference, _tag_max_stale(rule))
        subject = Subject(reference.repository, manifest.digest, reference.tag)
        if refused_by_name(rule, reference.repository) is None:
            artifact = await self._artifacts.find(subject, manifest, client)
            if artifact is not None:
                await self._remember_members(artifact.subject, manifest, rank_of(None))
                return self._artifact_pulled(artifact, manifest, fresh_until, rules)
        decision = await self._decide(subject, client)
        await self._remember_members(subject, manifest, rank_of(decision))
        return Pulled(manifest, decision, min(fresh_until, expires(decision, self._clock())), rules)

    def _artifact_pulled(self, artifact: Artifact, manifest: Manifest, fresh_until: datetime, rules: Rules) -> Pulled:
        """Return an artifact; what refers to an image, for as long as its acceptance holds."""
        until = fresh_until
        if artifact.decision is not None:
            until = min(fresh_until, expires(artifact.decision, self._clock()))
        return Pulled(manifest, None, until, rules, artifact.kind)

    async def blob(self, repository: Repository, digest: Digest, client: str) -> BlobGrant | None:
        """Return what is decided about a blob, None where no manifest of this repository is known to name it.

        A grant that has expired is renewed by judging its manifest again. Raises as `pull` does.
        """
        grant = self._grants.get((repository, digest), self._clock())
        self._observer.looked_up("grant", hit=grant is not None)
        if grant is not None:
            return grant
        rules = self._rules
        grant = await self._grant_by_parents(repository, digest, client)
        if grant is not None and grant.served and rules is self._rules:
            self._grants.put((repository, digest), grant, self._clock(), grant.expires)
        return grant

    async def is_named_as(
        self, repository: Repository, digest: Digest, types: Collection[str], worst: Rank = Rank.REFUSED
    ) -> bool | None:
        """Return whether a manifest of this repository names content as one of these types; None where none does.

        Only manifests of this rank or a better one count.
        """
        parents = await self._memory.memberships.parents(repository, digest)
        parents = [parent for parent in parents if parent.rank <= worst]
        return any(parent.member.media_type in types for parent in parents) if parents else None

    # From bytes to a decision

    async def _decide(self, subject: Subject, client: str) -> Decision:
        """Judge by itself, unless it is a child of an index that is served: that needs no signature of its own."""
        known = self._known(subject)
        if known is not None and known.served:
            return known
        key, _ = self._key(subject)  # now: the rules may be others when the index has been judged
        parents = await self._indexes.known(subject)
        for parent in parents:
            decision = await self._remembered(parent)
            if decision is not None and decision.served:
                return self._inherit(key, decision)
        own = await self._judged(subject, client)
        if own.served:
            return own
        found = await self._of_indexes(own, parents, client)
        if not found.served:
            found = await self._of_indexes(found, await self._indexes.by_tag(subject), client)
        return self._inherit(key, found) if found.served else found

    async def _of_indexes(self, own: Decision, indexes: Sequence[Subject], client: str) -> Decision:
        """Return the decision about the first of these indexes that is served; else the child's own, with a note."""
        for index in indexes:
            decision = await self._judged(index, client)
            # An outage of the index overrides no refusal that was reached about the child itself.
            overrides = isinstance(own.verdict, Refused) and isinstance(decision.verdict, Undetermined)
            if decision.served and not overrides:
                return decision
            if not own.note:
                note = f"part of index {index.digest.short}, which is not accepted: {explain(decision)}"
                own = replace(own, note=note)
        return own

    def _inherit(self, child: VerdictKey, decision: Decision) -> Decision:
        """Keep the decision about an index for one of its children too, for as long as it holds for the index."""
        self._decisions.take(child, decision)
        return decision

    def _known(self, subject: Subject) -> Decision | None:
        return self._decisions.known(self._key(subject)[0])

    async def _remembered(self, subject: Subject) -> Decision | None:
        return await self._decisions.remembered(*self._key(subject))

    async def _judged(self, subject: Subject, client: str) -> Decision:
        remembered = await self._remembered(subject)
        if remembered is not None:
            return remembered
        key, rule = self._key(subject)
        return await self._judging.do(key, lambda: self._judge_anew(key, rule, subject, client))

    async def _judge_anew(self, key: VerdictKey, rule: Rule | None, subject: Subject, client: str) -> Decision:
        begun = self._clock()
        verdict = (await self._judge.examine(rule, subject)).verdict
        decision = decided(self._new_id(), verdict, rule)
        if isinstance(verdict, Undetermined) and rule is not None:
            decision = await self._decisions.in_outage(key, rule, decision, verdict.cause)
        if decision.served and not await self._recorded(key, decision, client):
            decision = _unrecorded(decision, subject)
        elif not isinstance(verdict, Undetermined):
            await self._decisions.keep(key, rule, decision, begun)
        self._observer.judged(decision, client, (self._clock() - begun).total_seconds())
        return decision

    async def _recorded(self, key: VerdictKey, decision: Decision, client: str) -> bool:
        """Write a decision to the audit log; no other request uses it before that."""
        is_known = self._decisions.known(key) is decision
        if is_known:  # what stands in for an outage
            self._decisions.forget(key)
        written = self._record is None or await self._record(decision, client)
        if is_known and written:
            self._decisions.take(key, decision)
        return written

    def _key(self, subject: Subject) -> tuple[VerdictKey, Rule | None]:
        rule = self._rules.match(subject.repository)
        tag = subject.tag if rule is not None and rule.binds_tag else None
        fingerprint = rule.fingerprint if rule is not None else ""
        return VerdictKey(subject.repository, subject.digest, tag, fingerprint), rule

    # From a decision to the content that the manifest names

    async def _remember_members(self, subject: Subject, manifest: Manifest, rank: Rank) -> None:
        """Refused manifests too: Docker's classic store asks for their blobs alone (measured: it keeps manifests)."""
        members = [Member(one.digest, one.size, one.media_type) for one in (*manifest.children, *manifest.blobs)]
        await self._memory.memberships.add(subject.repository, manifest.digest, subject.tag, members, rank)
        for member in members:
            grant = self._grants.last((subject.repository, member.digest))
            if grant is not None and grant.member.size != member.size:
                self._grants.drop((subject.repository, member.digest))  # the right size is determined again

    async def _grant_by_parents(self, repository: Repository, digest: Digest, client: str) -> BlobGrant | None:
        """Take the first accepted image, or the first that is served where all say one size; else the best there is."""
        found: list[BlobGrant] = []
        outage: RegistryError | None = None
        parents = await self._memory.memberships.parents(repository, digest)
        undisputed = len({parent.member.size for parent in parents}) == 1
        for parent in self._likely_first(repository, parents)[:PARENTS_TRIED_MAX]:
            try:
                grant = await self._grant_by(repository, parent, client)
            except NotFoundError:
                continue  # deleted upstream since
            except RegistryError as err:
                outage = err
                continue
            if grant is None:
                continue
            rank = rank_of(grant.decision)
            if rank is Rank.ACCEPTED or (rank is Rank.SERVED and undisputed):
                return grant
            found.append(grant)
        if outage is not None and not any(grant.served for grant in found):
            raise outage
        return await best_of(found, lambda: self._registry.head_blob(repository, digest))

    def _likely_first(self, repository: Repository, parents: Sequence[Parent]) -> Sequence[Parent]:
        """Put first what is known to be served: however many refused images name the blob, they do not hide it.

        The store has ordered them by what was decided last, by any worker; what this process knows is newer.
        """

        def rank(parent: Parent) -> Rank:
            decision = self._known(Subject(repository, parent.digest, parent.tag))
            return rank_of(decision) if decision is not None else parent.rank

        return sorted(parents, key=rank)

    async def _grant_by(self, repository: Repository, parent: Parent, client: str) -> BlobGrant | None:
        """Return what a manifest says about a blob; None for a list of referrers, of which nothing listed was read."""
        pulled = await self.pull(Reference(repository, parent.tag, parent.digest), client)
        if pulled.kind is ArtifactKind.REFERRERS_TAG:
            return None
        expires = pulled.expires
        if pulled.decision is not None and isinstance(pulled.decision.verdict, Undetermined):
            # Nothing is remembered of what could not be judged; but one pull's blobs are not judged one by one.
            expires = self._clock() + self._memory.tag_lifetime
        return BlobGrant(parent.member, pulled.decision, expires)


def _unrecorded(decision: Decision, subject: Subject) -> Decision:
    cause = 'the audit log cannot be written, and [server] audit_failure = "refuse"'
    verdict = Undetermined(subject, decision.verdict.rule, cause)
    return Decision(decision.id, verdict, Mode.ENFORCE, OnOutage.REFUSE)


def _tag_max_stale(rule: Rule | None) -> timedelta:
    return rule.tag_max_stale if rule is not None else timedelta(0)
