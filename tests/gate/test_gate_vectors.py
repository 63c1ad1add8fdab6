"""Every shared snapshot, pulled through the gate as a client would pull it."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from support.fakes import Watcher
from support.snapshot import all_cases
from support.vectors import or_skipped

from proxy.gate import Gate, Judge, Memory
from proxy.oci.digest import Digest
from proxy.oci.errors import CorruptError
from proxy.oci.reference import Reference
from proxy.policy.evaluate import Lifetimes
from proxy.policy.expression import parse
from proxy.policy.match import Pattern
from proxy.policy.model import Rule
from proxy.policy.rules import Rules
from proxy.stores.grants import MemoryMemberships
from proxy.stores.verdicts import MemoryVerdicts
from proxy.verdict import Undetermined

CASES = all_cases()


def clock() -> datetime:
    return datetime(2026, 11, 22, tzinfo=UTC)


def gate(case, source, tasks) -> Gate:
    rule = Rule("all", (Pattern.parse("**"),), parse("release"), {"release": case.signer()})
    ids = count()
    return Gate(
        rules=Rules([rule]),
        registry=source,
        judge=Judge(source, clock, Lifetimes(), seconds=30, at_once=4),
        memory=Memory(MemoryVerdicts(), MemoryMemberships(), timedelta(seconds=60)),
        clock=clock,
        new_id=lambda: str(next(ids)),
        observer=Watcher(),
        tasks=tasks,
    )


async def served(one: Gate, reference: Reference) -> bool:
    try:
        pulled = await one.pull(reference, "client")
    except CorruptError:
        return False
    assert not isinstance(pulled.decision.verdict, Undetermined)
    return pulled.decision.served


@pytest.mark.parametrize("referrers_api", [True, False], ids=["api", "tag"])
@pytest.mark.parametrize("case", or_skipped(CASES), ids=lambda case: case.name)
async def test_case(case, referrers_api):
    source = case.source(referrers_api=referrers_api)
    asked = [Reference(case.repository, digest=case.digest)]
    if case.expect["tag"]:
        asked.append(Reference(case.repository, tag=case.expect["tag"]))
    async with asyncio.TaskGroup() as tasks:
        one = gate(case, source, tasks)
        for reference in asked:
            assert await served(one, reference) == case.accept or case.tolerated
        for child in case.expect["platform_children"]:
            if await served(one, asked[0]):
                assert await served(one, Reference(case.repository, digest=Digest.parse(child["digest"])))
        if "accept_after_parent" in case.expect:
            index = Digest.parse(case.expect["accept_after_parent"])
            assert await served(one, Reference(case.repository, digest=index))
            assert await served(one, asked[0])
