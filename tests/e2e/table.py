"""What was measured, as docs/bypass.md shows it."""

import re
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from e2e.clients import CLIENTS, Client
from e2e.lab import Record
from e2e.packages import toolbox

DOCUMENT = Path(__file__).parents[2] / "docs" / "bypass.md"
BEGIN, END = "<!-- table: make e2e ARGS=--table -->", "<!-- end of table -->"
CASES = {
    "mirror dead": "mirror dead by tag",
    "plain 403": "plain 403 by tag",
    "plain 403, digest": "plain 403 by digest",
    "verified": "verified by tag",
    "verified, digest": "verified by digest",
    "refused": "refused by tag",
    "refused, digest": "refused by digest",
    "registry away": "registry away by tag",
    "registry away, digest": "registry away by digest",
}
_DAEMONS = {"docker": "dockerd"}


def write_table(records: Sequence[Record]) -> None:
    """Put the table, and what the user of each client with a way round saw, between the marks in the document."""
    before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    body = f"{BEGIN}\n{_table(records)}{_messages(records)}{END}"
    DOCUMENT.write_text(before + body + after, encoding="utf-8")


def _table(records: Sequence[Record]) -> str:
    rows = [("client", *CASES), ("---",) * (len(CASES) + 1)]
    for client in CLIENTS:
        outcomes = [
            _outcome(one for one in records if one.client == client and one.case == case) for case in CASES.values()
        ]
        rows.append((f"{client.name} ({_version(client)})", *outcomes))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _outcome(records: Iterable[Record]) -> str:
    return ", ".join(sorted({str(record.outcome) for record in records})) or "-"


def _version(client: Client) -> str:
    program = client.name.split()[0]
    command = [toolbox().find(_DAEMONS.get(program, program)), "--version"]
    said = subprocess.run(  # noqa: S603 (the clients under test)
        command, capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"\d+\.\d+\.\d+", said)
    return found[0] if found else said.strip()


def _messages(records: Sequence[Record]) -> str:
    text = ""
    for case in ("refused by tag", "refused by digest"):
        text += f"\nWhat the user sees, {case}:\n"
        seen = {one.client: one.pull.output for one in records if (one.case, one.image) == (case, "library/unsigned")}
        for client in CLIENTS:
            if client in seen and not client.sealed:
                text += f"\n- {client.name}:\n\n      {_message(seen[client])}\n"
    return text + "\n"


def _message(output: str) -> str:
    """Return the line with our message in it, as it was."""
    lines = [line.strip() for line in re.split(r"[\r\n]+", output) if "sealgate: " in line]
    text = lines[-1] if lines else output.strip().splitlines()[-1]
    return re.sub(r"\(id \w+\)", "(id ...)", re.sub(r'time="[^"]*"', 'time="..."', text))
