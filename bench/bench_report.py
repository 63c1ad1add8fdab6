"""The table, and RESULTS.md."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One number.

    `ratio` is to the part's peer. `goal` is what the ratio should be at least, `limit` what the value may be at most.
    """

    part: str
    what: str
    value: float
    unit: str
    ratio: float | None = None
    goal: float | None = None
    note: str = ""
    limit: float | None = None

    @property
    def verdict(self) -> str:
        """Say how the goal fares."""
        said = self.note
        if self.limit is not None:
            reached = "reached" if self.value <= self.limit else "NOT REACHED"
            said = f"at most {self.limit:g} {self.unit}: {reached}" + (f"; {said}" if said else "")
        if self.goal is None or self.ratio is None:
            return said
        reached = "reached" if self.ratio >= self.goal else "NOT REACHED"
        return f"goal {self.goal:g}x{' ' + said if said else ''}: {reached}"


def _cells(row: Row) -> tuple[str, str, str, str, str]:
    digits = 0 if row.value >= 100 else 1 if row.value >= 10 else 2  # noqa: PLR2004 (three digits say enough)
    value = f"{row.value:,.{digits}f}"
    relative = f"{row.ratio:.2f}x" if row.ratio is not None else ""
    return row.part, row.what, f"{value} {row.unit}", relative, row.verdict


def table(rows: Sequence[Row]) -> str:
    """Write the table as Markdown that can be read as it is."""
    head = ("part", "what", "median", "to its peer", "")
    cells = [head, *map(_cells, rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Run:
    """What was measured, what it was measured on, and what could not be."""

    rows: Sequence[Row]
    where: Sequence[str]
    left_out: Sequence[str]


def report(run: Run, date: str) -> str:
    """Write RESULTS.md; what the numbers mean stands in NOTES.md."""
    notes = Path(__file__).with_name("NOTES.md").read_text(encoding="utf-8")
    machine = "".join(f"- {line}\n" for line in (*run.where, *run.left_out))
    command = f'make bench ARGS="--write {date}"'
    return f"# Measured on {date}\n\n    {command}\n\n{machine}\n{table(run.rows)}\n{notes}"
