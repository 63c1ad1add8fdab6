"""A Sealgate process under load: `make soak SECONDS=600` for as long as asked, `make soak ARGS=--load` a crowd at once.

Every answer is checked. Exit code 1 where one was wrong, or where something grew that should not.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import ClientSession
from support.crowds import Outcome, all_at_once, fetches, images_of, publish
from support.growth import LIMITS, MIB, at_rest, broken, held, lags, late, slope
from support.soaking import SHAKY, TAG_SECONDS, Soak
from support.unruly import unruly
from support.whole import Serving, assert_clean, configuration, serving

# Much less than there is to pull, so that eviction goes on; until it has, there may be more.
CACHE_MIB = 48
# The part of the time in which everything reaches the size that it keeps.
WARM_UP = 0.25
# After so long without requests kept connections are closed (twice aiohttp's 15 s), and the cache is within its limit.
REST_SECONDS = 35.0
SAMPLE_SECONDS = 2.0
# On a machine that the clients, and maybe others, keep busy; what holds the loop for longer was not left to a thread.
LAG_SECONDS_MAX = 0.5
LAG_PART = 0.99
_WRONG_SHOWN = 20


def main() -> int:
    """Read the command line, run, report."""
    parser = argparse.ArgumentParser(description="Put a Sealgate process under load and check every answer.")
    parser.add_argument("--seconds", type=float, default=600, help="how long to soak (default 600)")
    parser.add_argument("--workers", type=int, default=0, help="[server] workers of the configuration (default: none)")
    parser.add_argument("--seed", type=int, default=0, help="of the traffic (default 0)")
    parser.add_argument("--load", action="store_true", help="many pulls at once instead: cold, warm, after a restart")
    parser.add_argument("--pulls", type=int, default=500, help="with --load: clients at once (default 500)")
    parser.add_argument("--images", type=int, default=20, help="with --load: images (default 20)")
    parser.add_argument("--layer-bytes", type=int, default=MIB, help="with --load: bytes a layer (default 1 MiB)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.load:
            return asyncio.run(load(Path(folder), options))
        measured = asyncio.run(soak(Path(folder), options))
    print(measured.table())
    return 1 if measured.failures else 0


def server_keys(options: argparse.Namespace) -> str:
    """Write the keys of [server] that the command line asks for."""
    return f"workers = {options.workers}" if options.workers else ""


async def load(folder: Path, options: argparse.Namespace) -> int:
    """Let a crowd pull: cold, warm, and warm from the disk after a restart. Return the exit code."""
    images = images_of(options.images, options.layer_bytes)
    failed = False
    async with unruly() as registry:
        publish(registry, images)
        config = configuration(folder, registry.url, server=server_keys(options))
        for rounds in (["cold", "warm"], ["restarted", "warm again"]):
            async with serving(config) as served:
                for name in rounds:
                    idle = served.memory()
                    outcome = await all_at_once(served.registry, images, options.pulls)
                    asked = fetches(registry, images)
                    print(_load_line(name, outcome, served, idle, asked), flush=True)
                    # Each worker may fetch a blob that all of them are asked for at the same time.
                    failed = (
                        failed or bool(outcome.failures) or not 1 <= min(asked) <= max(asked) <= max(1, options.workers)
                    )
    return 1 if failed else 0


def _load_line(name: str, outcome: Outcome, served: Serving, idle: float, asked: list[int]) -> str:
    first = "".join(f"\n    {failure!r}" for failure in outcome.failures[:_WRONG_SHOWN])
    return (
        f"{name:<11}{outcome.pulls:>5} pulls {outcome.bytes / MIB:>7,.0f} MiB {outcome.seconds:>6.1f} s"
        f" {outcome.bytes / MIB / outcome.seconds:>6,.0f} MiB/s {len(outcome.failures):>3} errors;"
        f" {len(asked)} blobs fetched {min(asked)} to {max(asked)} times;"
        f" memory before {idle:.0f} MiB, largest process {served.peak():.0f} MiB at its peak{first}"
    )


@dataclass
class Measured:
    """What a soak has shown."""

    traffic: Soak
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)
    #: Seconds, MiB of resident memory and MiB of content, while it works.
    samples: list[tuple[float, float, float]] = field(default_factory=list)
    lag: float = 0.0
    files: int = 0
    stopped: int = 0
    errors: list[str] = field(default_factory=list)

    @property
    def failures(self) -> list[str]:
        """What was wrong, in words."""
        found = self.traffic.wrong + self.errors + [f"{name} grew" for name in broken(self.before, self.after)]
        if self.after["content"] > CACHE_MIB:
            found.append("more content is kept than the limit allows")
        if self.lag > LAG_SECONDS_MAX:
            found.append("the event loop is held up")
        if self.stopped:
            found.append(f"it ended with exit code {self.stopped}")
        return found

    def table(self) -> str:
        """Return everything for a person to read."""
        lines = [f"{name:<20}{count:>10,}" for name, count in sorted(self.traffic.counts.items())]
        lines.append(f"\n{'at rest':<20}{'before':>10}{'after':>10}{'limit':>10}")
        for name, limit in LIMITS.items():
            before, after, bound = self.before[name], self.after[name], limit.bound(self.before[name])
            lines.append(f"{name:<20}{before:>10,.1f}{after:>10,.1f}{bound:>10,.1f} {limit.unit}".rstrip())
        lines.append(
            f"{'content':<20}{self.before['content']:>10,.1f}{self.after['content']:>10,.1f}{CACHE_MIB:>10,.1f} MiB"
        )
        times, memory, content = zip(*self.samples, strict=True)
        growth = slope(list(zip(times, memory, strict=True)))
        lines.append(
            f"\nat work: memory {min(memory):.0f} to {max(memory):.0f} MiB, {growth:+.2f} MiB a minute;"
            f" content up to {max(content):.0f} MiB"
        )
        lines.append(
            f"the event loop wakes up within {self.lag:g} s in {LAG_PART:.0%} of all cases ({LAG_SECONDS_MAX:g} s)"
        )
        lines.append(f"{self.files} files of content at the end, each with its digest")
        failures = self.failures
        lines.append(f"\n{len(failures)} failures")
        lines += [f"{count:>6}x {one}" for one, count in Counter(failures).most_common(_WRONG_SHOWN)]
        return "\n".join(lines)


async def soak(folder: Path, options: argparse.Namespace) -> Measured:
    """Let mixed traffic go on: a warm-up, a rest, the time that is measured, and a rest again."""
    state = folder / "state"
    async with unruly() as steady, unruly() as shaky, ClientSession() as client:
        measured = Measured(Soak(steady, shaky, seed=options.seed))
        config = configuration(folder, steady.url, server=server_keys(options), more=_tables(shaky.url))
        async with serving(config) as served:
            await measured.traffic.run(served.registry, options.seconds * WARM_UP)
            measured.before = await _rest(served, state)
            lags_before = await lags(client, served.admin)
            async with asyncio.TaskGroup() as tasks:
                sampling = tasks.create_task(_sample(served, state, measured.samples))
                await measured.traffic.run(served.registry, options.seconds * (1 - WARM_UP))
                sampling.cancel()
            measured.lag = late(lags_before, await lags(client, served.admin), LAG_PART)
            measured.after = await _rest(served, state)
            measured.stopped = await served.stop()
    measured.files = assert_clean(state)
    measured.errors = _errors(folder / "log.jsonl")
    return measured


def _tables(shaky: str) -> str:
    return (
        f'[upstreams."{SHAKY}"]\nurl = "{shaky}"\n[cache]\nsize = "{CACHE_MIB}MiB"\n'
        f'[lifetimes]\ntag = "{TAG_SECONDS}s"\nrefused = "{TAG_SECONDS}s"\n'
    )


async def _rest(served: Serving, state: Path) -> dict[str, float]:
    await asyncio.sleep(REST_SECONDS)
    return await at_rest(served, state) | {"content": held(state)}


async def _sample(served: Serving, state: Path, samples: list[tuple[float, float, float]]) -> None:
    loop = asyncio.get_running_loop()
    with suppress(asyncio.CancelledError):
        while True:
            samples.append((loop.time(), served.memory(), held(state)))
            await asyncio.sleep(SAMPLE_SECONDS)


def _errors(log: Path) -> list[str]:
    """Return the lines of the log that are errors, but for those about what the shaky registry sends."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    errors = [line for line in lines if line.get("level") in {"error", "critical"}]
    return [f"log: {line}" for line in errors if not str(line.get("image")).startswith(SHAKY)]


if __name__ == "__main__":
    sys.exit(main())
