"""Everything that is printed: results on stdout, everything else on stderr. Only `bars` of this room writes too."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from threading import Timer
from typing import Any, NoReturn, TextIO

from rich import box, filesize
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from proxy.app import Addresses
from proxy.cli.clients import Endpoint, Setup, egress_rule
from proxy.cli.documents import limits
from proxy.config import Settings

# What is piped has no width; a table that is cut at 80 columns would lose digests.
_PIPE_WIDTH = 240
# How long a command is silent without a terminal: a lookup of an unreachable name server takes ten seconds.
QUIET_SECONDS = 1.5
# Texts that a registry chose: no longer than this, and nothing in them that a terminal obeys.
_FOREIGN_MAX = 300

_COLOURS = {"accepted": "green", "insecure_unverified": "yellow", "refused": "red", "undetermined": "magenta"}


class Terminal(Console):
    """A rich console that leaves a closed pipe to the one who decides about exits."""

    def __init__(self, file: TextIO | None) -> None:
        width = None if file is not None and file.isatty() else _PIPE_WIDTH
        super().__init__(file=file, width=width, soft_wrap=True, highlight=False, markup=False, emoji=False)

    def on_broken_pipe(self) -> NoReturn:
        """Raise BrokenPipeError."""
        raise BrokenPipeError


def result(*parts: RenderableType) -> None:
    """Print to stdout, one part a line."""
    Terminal(sys.stdout).print(*parts, sep="\n")


def document(value: Any) -> None:  # noqa: ANN401 (whatever JSON can hold)
    """Print JSON to stdout."""
    result(json.dumps(value, indent=2))


def documents(values: Iterable[dict[str, Any]]) -> None:
    """Print a JSON array to stdout, an object a line, as they come: there may be a million."""
    before = "["
    for value in values:
        sys.stdout.write(before + json.dumps(value))
        before = ",\n "
    sys.stdout.write("[]\n" if before == "[" else "]\n")


def lines(texts: Iterable[str]) -> None:
    """Print lines to stdout as they come: of ours, nothing in them that a terminal obeys."""
    for text in texts:
        sys.stdout.write(f"{text}\n")


def error(message: str, hint: str | None = None) -> None:
    """Print what went wrong and what would help to stderr: lower case, without a full stop."""
    terminal = Terminal(sys.stderr)
    terminal.print(f"sealgate: error: {_sentence(message)}", style="red")
    if hint:
        terminal.print(f"sealgate: hint: {_sentence(hint)}")


def note(message: str) -> None:
    """Print a line about what is going on to stderr."""
    Terminal(sys.stderr).print(f"sealgate: {message}")


def ready(addresses: Addresses) -> None:
    """Say where it listens, to a person; what is not a person reads the log."""
    if sys.stderr is not None and sys.stderr.isatty():
        note(f"serving {addresses.registry}, status and metrics at {addresses.admin}")


def busy(what: str) -> AbstractContextManager[object]:
    """Show that something is under way: a spinner on a terminal, elsewhere a line if it takes long."""
    terminal = Terminal(sys.stderr)
    return terminal.status(what) if terminal.is_terminal else _note_late(what)


@contextmanager
def _note_late(what: str) -> Iterator[None]:
    timer = Timer(QUIET_SECONDS, note, [f"still {what}"])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def size(count: int) -> str:
    """Write a number of bytes for people."""
    return filesize.decimal(count)


def _sentence(text: str) -> str:
    """Write a message of ours or of a library in the one form; an acronym keeps its capitals."""
    text = text.strip().removesuffix(".")
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def verdict(word: str) -> Text:
    """Return a verdict's word in its colour."""
    return Text(word.replace("_", " "), style=f"bold {_COLOURS[word]}")


def settings(read: Settings) -> None:
    """Print what a configuration means, and last what in it is doubtful or insecure."""
    server = read.server
    scheme = "https" if server.tls_certificate else "http"
    result(
        grid(
            [
                ("listen", f"{scheme}://{server.listen}, status and metrics at http://{server.admin_listen}"),
                ("refusal", str(server.refusal)),
                ("state", str(server.state_dir)),
                ("workers", str(server.workers)),
            ]
        )
    )
    upstreams = table("upstream", "url", "credentials")
    for name, one in read.upstreams.items():
        default = " (default)" if name == server.default_upstream else ""
        through = f" through {one.proxy.url}" if one.proxy else ""
        who = one.credentials.username if one.credentials else "none"
        upstreams.add_row(f"{name}{default}", f"{one.url}{through}", who)
    roots = table("trust root", "from", "newest on", "refreshed from")
    for name, known in read.trust_roots.items():
        source, on = (
            (str(known.stored.source), f"{known.stored.confirmed_at:%Y-%m-%d}") if known.stored else ("none", "")
        )
        roots.add_row(name, source, on, known.repository.url if known.repository else "not refreshed")
    signers = table("signer", "who", "trust root")
    for name in sorted(read.signers):
        signers.add_row(name, "\n".join(read.who[name]), read.relying.get(name, ""))
    rules = table("rule", "images", "require", "mode", "on outage")
    for rule in read.rules:
        outage = [str(rule.on_outage), *(f"{name} {time}" for name, time in limits(rule).items() if time)]
        rules.add_row(rule.name, "\n".join(map(str, rule.images)), str(rule.require), str(rule.mode), "\n".join(outage))
    result(
        "", upstreams, "", *((roots, "") if read.trust_roots else ()), *((signers, "") if read.signers else ()), rules
    )
    for text in read.warnings:
        result(Text(f"warning: {text}", style="yellow"))
    for text in read.relaxations:
        result(Text(f"insecure: {text}", style="bold yellow"))
    result(Text("ok", style="green"))


def client_config(endpoint: Endpoint, made: Sequence[Setup]) -> None:
    """Print set-ups: files under headers that name their paths, then steps and warnings, then the egress rule."""
    for setup in made:
        style = "bold green" if setup.hold == "sealed" else "bold yellow"
        result(Text(f"{setup.title}: {setup.hold}", style=style), setup.statement, "")
        for file in setup.files:
            result(Text(f"==> {file.path} <==", style="bold cyan"), f"({file.why})", file.content)
        _list("then", setup.steps)
        _list("know", setup.warnings)
    result(Text("egress, for every set-up", style="bold"), egress_rule(endpoint))


def _list(title: str, items: Sequence[str]) -> None:
    result(Text(title, style="bold"), *(f"- {item}" for item in items), "")


def grid(rows: Iterable[tuple[str, str | Text]]) -> Table:
    """Return names and their values side by side. Texts may be a stranger's."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, foreign(value) if isinstance(value, str) else value)
    return table


def table(*columns: str) -> Table:
    """Return an empty table of the one kind that is printed."""
    made = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def foreign(text: str) -> str:
    """Return a text that somebody else chose, fit for a terminal."""
    plain = "".join(char if char.isprintable() else "?" for char in text)
    return plain if len(plain) <= _FOREIGN_MAX else plain[: _FOREIGN_MAX - 3] + "..."
