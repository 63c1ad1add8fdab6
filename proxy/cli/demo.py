"""`sealgate demo`: run the stage, show what each client got, and leave it standing to be tried."""

import asyncio
import signal
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, redirect_stderr
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.table import Table
from rich.text import Text

from proxy.cli import render
from proxy.cli.documents import outcome
from proxy.demo import machine
from proxy.demo.clients import Style
from proxy.demo.examples import Hand
from proxy.demo.run import Outcome, Stage, machine_pulls, pulls, signers, stage, verdicts, works_here
from proxy.oci.reference import DOCKER_HUB
from proxy.ops.log import configure
from proxy.verdict import Verdict

# Log and audit lines, which would stand between the tables.
LOG = "log.jsonl"
_MARKS = {True: Text("pulled", style="green"), False: Text("refused", style="red")}
# Where the client itself was run, what it said is shown in place of what it would say.
_PLAYED: Mapping[str, str] = {
    "docker": Style.DOCKER,
    "containerd": Style.CONTAINERD,
    "podman": Style.PODMAN,
    "skopeo": Style.PODMAN,
}
_UNEXPECTED = Text("UNEXPECTED", style="bold white on red")


async def run(program: str, *, once: bool) -> bool:
    """Show everything; say whether every outcome was as expected. Without `once` it goes on until SIGTERM or Ctrl-C.

    `program` is how the user called us, for commands to copy. Raises CancelledError where SIGTERM comes before that.
    """
    _end_tidily()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="sealgate-demo-", ignore_cleanup_errors=True)))
        lines = stack.enter_context((folder / LOG).open("w", encoding="utf-8"))
        configure(stream=lines)
        with redirect_stderr(lines):  # where the audit log goes, from now on
            on = await stack.enter_async_context(stage(folder))
        judged = await verdicts(on)
        outcomes = await _pull_all(on)
        _show(on, judged, outcomes)
        if not once:
            render.result(*_to_try(on, program, folder / LOG))
            await _until_told()
    return all(one.as_expected for one in outcomes)


def _end_tidily() -> None:
    """Let SIGTERM and a closed terminal cancel: the clients' daemons are sessions of their own and would stay."""
    task = asyncio.current_task()
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, lambda: task and task.cancel())


async def _until_told() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()


async def _pull_all(on: Stage) -> Sequence[Outcome]:
    with render.busy("pulling as each client does"):
        outcomes = [one async for one in pulls(on)]
    for client in machine.CLIENTS:
        if client.is_here:
            with render.busy(f"pulling with {client.name}, set apart from this machine's own"):
                works = await works_here(on, client)
                outcomes += [one async for one in machine_pulls(on, client)] if works else []
            if not works:
                render.note(f"{client.name} is here, but cannot be run apart from its state: left out")
    return outcomes


def _show(on: Stage, judged: Mapping[str, Verdict], outcomes: Sequence[Outcome]) -> None:
    good = sum(one.as_expected for one in outcomes)
    whole = good == len(outcomes)
    render.result(
        "",
        Text.assemble(
            ("Sealgate", "bold"), f" at {on.addresses.registry}, in front of a registry in Docker Hub's place"
        ),
        Text(f"{good} of {len(outcomes)} pulls as expected", style="green" if whole else "bold red"),
        "",
        _table(on, judged, outcomes),
        "",
        *_seen(outcomes),
    )


def _table(on: Stage, judged: Mapping[str, Verdict], outcomes: Sequence[Outcome]) -> Table:
    table = render.table("", *(example.repository for example in on.shown))
    words = [outcome(judged[example.name]) for example in on.shown]
    table.add_row("verdict", *(render.verdict(word) for word in words))
    table.add_row("signed by", *(_signed_by(judged[one.name], one.hand) for one in on.shown), end_section=True)
    rows: dict[str, list[Text]] = {}
    for one in outcomes:
        rows.setdefault(one.client, []).append(_MARKS[one.pull.digest is not None] if one.as_expected else _UNEXPECTED)
    for client, marks in rows.items():
        table.add_row(client if client in set(Style) else f"{client} itself", *marks)
    return table


def _signed_by(verdict: Verdict, hand: Hand) -> str:
    return ", ".join(signers(verdict)) or {Hand.NOBODY: "nobody"}.get(hand, "nobody trusted")


def _seen(outcomes: Sequence[Outcome]) -> Sequence[Text]:
    """Return what each client showed of its first refusal, and of whatever was not expected."""
    lines: dict[str, Text] = {}
    itself = {_PLAYED[one.client] for one in outcomes if one.client in _PLAYED}
    for one in outcomes:
        if one.client not in lines and one.client not in itself and not one.example.is_served:
            lines[one.client] = Text.assemble((f"{one.client}: ", "cyan"), render.foreign(one.pull.message))
    wrong = [
        Text(
            f"unexpected: {one.client}, {one.example.name}: {one.pull.digest or render.foreign(one.pull.message)}",
            style="bold red",
        )
        for one in outcomes
        if not one.as_expected
    ]
    return [Text("what the clients saw", style="bold"), *lines.values(), *wrong]


def _to_try(on: Stage, program: str, log: Path) -> Sequence[str | Text]:
    host = on.addresses.registry.partition("://")[2]
    return (
        "",
        Text("try it", style="bold"),
        f"  docker pull {host}/{DOCKER_HUB}/demo/signed:1",
        f"  docker pull {host}/{DOCKER_HUB}/demo/unsigned:1",
        f"  skopeo inspect --tls-verify=false docker://{host}/{DOCKER_HUB}/demo/stranger:1",
        f"  {program} verify {DOCKER_HUB}/demo/stranger:1 --config {on.config}",
        f"  {program} client-config docker --endpoint {on.addresses.registry}",
        f"  curl {on.addresses.admin}/metrics",
        f"  tail -f {log}",
        f"status page: {on.addresses.admin}/",
        "Ctrl-C ends it and leaves nothing behind",
    )
