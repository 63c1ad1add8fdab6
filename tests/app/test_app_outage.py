"""The whole of Sealgate while signatures cannot be reached: busy, in error, gone; what was accepted, what was not."""

import json

import pytest
from structlog.testing import capture_logs
from support.unruly import answers
from test_faults_upstream import COMPLETE, VICTIM, registry, time, whole  # noqa: F401 (fixtures)

from proxy.oci.digest import Digest

DAY = 24 * 3600
RULE = 'tag_max_stale = "30d"\naccepted_max_stale = "7d"'
SIGNATURES = "victim/referrers"
TROUBLES = {
    "busy for hours": answers(429, Retry_After="3600"),
    "busy": answers(429),
    "in error": answers(500),
    "overloaded": answers(503, Retry_After="600"),
    "gone": None,
}


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES.keys())
async def test_an_acceptance_stands_in_for_its_time_and_no_longer(whole, trouble):  # noqa: F811
    async with whole(rule=RULE) as it:
        await it.pull()
        it.time.passed += DAY + 1
        if trouble is None:
            await it.registry.stop()
        else:
            it.registry.plague(SIGNATURES, trouble)
        by_digest = str(VICTIM.digest)
        assert [await it.ends(), await it.ends(reference=by_digest)] == [COMPLETE, COMPLETE]
        assert 'cache_requests_total{cache="stale_verdict",result="hit"}' in await it.metrics()
        assert await it.ends("team/twin") == ("307" if trouble is None else COMPLETE)
    async with whole(rule=RULE) as it:
        assert [await it.ends(), await it.ends(reference=by_digest)] == [COMPLETE, COMPLETE]
        it.time.passed += 7 * DAY
        assert [await it.ends(), await it.ends(reference=by_digest)] == ["307", "307"]
        if trouble is None:
            await it.registry.start()
        it.registry.heal()
        it.time.passed += 3661
        assert await it.pull() == by_digest


async def test_a_burst_while_judging_is_waited_out(whole):  # noqa: F811
    async with whole(rule=RULE) as it:
        it.registry.plague(SIGNATURES, answers(429, Retry_After="1"), 2)
        assert await it.pull() == str(VICTIM.digest)
        assert it.registry.asked(f"{SIGNATURES}/{VICTIM.digest}") == 3


async def test_a_signature_that_was_removed_in_the_outage_is_noticed_after_it(whole):  # noqa: F811
    async with whole(rule=RULE) as it:
        await it.pull()
        it.registry.plague(SIGNATURES, answers(503))
        it.time.passed += DAY + 1
        assert await it.ends() == COMPLETE
        it.registry.heal()
        it.registry.plague(SIGNATURES, answers(404))
        it.registry.plague(f"manifests/sha256-{VICTIM.digest.hex}", answers(404))
        it.time.passed += 61
        assert await it.ends() == "307"
        it.registry.heal()
        it.registry.plague(SIGNATURES, answers(503))
        it.time.passed += 61
        assert await it.ends() == "307"
        assert await it.ends(reference=str(VICTIM.digest)) == "307"


async def test_after_a_restart_all_is_served_that_was_judged(whole):  # noqa: F811
    """With the registry away from the start: the tag within its lifetime, the manifest, the blobs."""
    async with whole() as it:
        await it.pull()
    await it.registry.stop()
    async with whole() as it:
        assert [await it.ends(), await it.ends(reference=str(VICTIM.digest))] == [COMPLETE, COMPLETE]
        it.time.passed += 61
        assert [await it.ends(), await it.ends(reference=str(VICTIM.digest))] == ["307", COMPLETE]
        assert await it.ends("team/twin") == "307"
        it.time.passed += DAY
        assert await it.ends(reference=str(VICTIM.digest)) == "307"


async def test_a_registry_that_is_away_while_tags_are_resolved_is_seen(whole):  # noqa: F811
    """Seen: an outage was counted as refusals only, and no line of the log told of it."""
    async with whole() as it:
        await it.pull()
        await it.registry.stop()
        with capture_logs() as logged:
            for tag in ("2", "3", "4"):
                assert await it.ends(reference=tag) == "307"
            counted = await it.metrics()
            await it.registry.start()
            it.time.passed += 60
            assert await it.ends("team/twin") == COMPLETE
            assert await it.ends("team/twin") == COMPLETE
    told = [(one["log_level"], one["event"]) for one in logged if "outage" in one["event"]]
    assert told == [("warning", "registry outage begins"), ("warning", "registry outage ends")]
    lines = [line for line in counted.splitlines() if "refusals_total" in line and 'reason="undetermined"' in line]
    assert sum(float(line.split()[-1]) for line in lines) >= 3


async def test_the_audit_log_says_what_it_is(whole):  # noqa: F811
    async with whole(rule=RULE, server='audit_log = "audit.jsonl"') as it:
        await it.pull()
        it.time.passed += DAY + 1
        it.registry.plague(SIGNATURES, answers(503))
        await it.pull()
    lines = [json.loads(line) for line in (whole.state.parent / "audit.jsonl").read_text().splitlines()]
    first, stale = [line for line in lines if line["event"] == "verdict"]
    assert (first["verdict"], stale["verdict"], stale["served"]) == ("accepted", "accepted", True)
    assert stale["evidence"] == first["evidence"]
    assert stale["explanation"].startswith("accepted before, signed by release; cannot be verified again: ")
    assert stale["stale_until"] > stale["time"]
    assert Digest.parse(stale["digest"]) == VICTIM.digest
