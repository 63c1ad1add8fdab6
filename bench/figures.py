"""The pictures in docs/img and the figures in docs/performance.md, from RESULTS.md and nothing else.

`python bench/figures.py` draws them again; `tests/test_bench_figures.py` sees that nothing else stands there.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment

ROOT = Path(__file__).parents[1]
RESULTS, PAGE, PICTURES = ROOT / "bench" / "RESULTS.md", ROOT / "docs" / "performance.md", ROOT / "docs" / "img"
BEGIN, END = "<!-- from bench/RESULTS.md, by bench/figures.py -->", "<!-- end -->"
# The groups on that page, of the rows that have a goal.
_TOLD = ("warm manifest", "workers", "64 MiB blob", "64 MiB blob, first time", "docker pull", "memory", "growth")
_RATIO = re.compile(r"([0-9.,]+)x")
_PEER = re.compile(r"\bto (.+?)(?:[:;]|$)")
_TITLES = {
    "warm.svg": "A warm manifest, requests a second",
    "blobs.svg": "Blobs and whole pulls by Docker, beside who does the same",
    "growth.svg": "What a hundred times as much to remember costs",
}
_BESIDE = ("64 MiB blob", "docker pull")
_WIDTH, _LABELS, _VALUES, _LINE, _TOP = 820, 310, 250, 22, 62
_SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {{ width }} {{ height }}" role="img" aria-labelledby="title">
<title id="title">{{ title }}</title>
<style>
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-size: 16px; font-weight: 600 }
.quiet { fill: #57606a }
.head { font-weight: 600 }
.ours { fill: #1a7f64 }
.peer { fill: #a8b1bb }
line { stroke: #57606a; stroke-dasharray: 3 3 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.quiet { fill: #9aa4ae }
.ours { fill: #3fb68b }
.peer { fill: #59636e }
line { stroke: #9aa4ae }
}
</style>
<text class="title" x="8" y="24">{{ title }}</text>
<text class="quiet" x="8" y="44">{{ subtitle }}</text>
{% for line in lines -%}
{% if line.bar is none -%}
<text class="head" x="8" y="{{ line.y + 15 }}">{{ line.label }}</text>
{% else -%}
<text x="{{ labels - 8 }}" y="{{ line.y + 15 }}" text-anchor="end">{{ line.label }}</text>
<rect class="{{ line.kind }}" x="{{ labels }}" y="{{ line.y + 3 }}" width="{{ line.bar }}" height="16" rx="2"/>
<text class="quiet" x="{{ [labels + line.bar, one] | max + 6 }}" y="{{ line.y + 15 }}">{{ line.value }}</text>
{% endif -%}
{% endfor -%}
<line x1="{{ one }}" y1="{{ top }}" x2="{{ one }}" y2="{{ height - 8 }}"/>
</svg>
"""
_SECTION = """\
{% for name, title in pictures -%}
![{{ title }}](img/{{ name }})

{% endfor -%}
| | Sealgate | to its peer | |
| --- | --- | --- | --- |
{% for row in rows -%}
| {{ row.part }}: {{ row.what }} | {{ row.value }} | {{ row.ratio }} | {{ row.note }} |
{% endfor -%}
"""


@dataclass(frozen=True)
class Shown:
    """A row of RESULTS.md, as it stands there."""

    part: str
    what: str
    value: str
    ratio: str
    note: str

    @property
    def times(self) -> float:
        """The ratio as a number; ValueError where there is none."""
        found = _RATIO.fullmatch(self.ratio)
        if found is None:
            raise ValueError(f"{self.what}: no ratio")
        return float(found[1].replace(",", ""))

    @property
    def peer(self) -> str:
        """What the ratio is to."""
        found = _PEER.search(self.note)
        return found[1] if found else ""

    @property
    def grown(self) -> tuple[str, str]:
        """Of a row about growth: what was measured, and with how much."""
        size, _, rest = self.what.partition(": ")
        what, _, amount = rest.partition(", of ")
        return what, f"{amount} ({size})" if amount else size

    @property
    def is_ours(self) -> bool:
        """Whether it is about Sealgate."""
        return "Sealgate" in self.what


@dataclass(frozen=True)
class _Bar:
    label: str
    value: str
    row: Shown


@dataclass(frozen=True)
class _Line:
    y: int
    label: str
    kind: str = ""
    value: str = ""
    bar: float | None = None


def rows(results: str) -> list[Shown]:
    """Read the table."""
    cells = [
        [cell.strip() for cell in line.strip("|\n").split("|")] for line in results.splitlines() if line[:1] == "|"
    ]
    return [Shown(*row) for row in cells[2:]]


def pictures(shown: Sequence[Shown]) -> Mapping[str, str]:
    """Draw every picture for which there is something; by the name of its file."""
    warm = [row for row in shown if row.part == "warm manifest" and row.peer == _peer_of_most(shown)]
    beside: dict[str, list[Shown]] = {}
    grown: dict[str, list[Shown]] = {}
    for row in shown:
        if row.is_ours and row.part.startswith(_BESIDE):
            beside.setdefault(row.part, []).append(row)
        elif row.part == "growth":
            grown.setdefault(row.grown[0], []).append(row)
    drawn = {
        "warm.svg": _picture(
            _TITLES["warm.svg"],
            f"one that was verified before, while its verdict holds; the line is {_peer_of_most(shown)}",
            {"": [_Bar(row.what, f"{row.ratio}, {row.value}", row) for row in warm]},
        ),
        "blobs.svg": _picture(
            _TITLES["blobs.svg"],
            "longer is faster; the line is the peer of each",
            {part: [_Bar(_alone(row), f"{row.ratio} {row.peer}", row) for row in its] for part, its in beside.items()},
        ),
        "growth.svg": _picture(
            _TITLES["growth.svg"],
            "the time of each look-up as a multiple of that with the least; for warm manifests, requests a second",
            {
                what: [_Bar(row.grown[1], f"{row.ratio}, {row.value}", row) for row in its]
                for what, its in grown.items()
            },
        ),
    }
    return {name: picture for name, picture in drawn.items() if picture}


def _peer_of_most(shown: Sequence[Shown]) -> str:
    return next((row.peer for row in shown if row.part == "warm manifest"), "")


def _alone(row: Shown) -> str:
    return row.what.replace("Sealgate, ", "").replace(", through Sealgate", "")


def _picture(title: str, subtitle: str, groups: Mapping[str, Sequence[_Bar]]) -> str:
    most = max((bar.row.times for group in groups.values() for bar in group), default=0.0)
    if not most:
        return ""
    scale = (_WIDTH - _LABELS - _VALUES) / max(most, 1.0)
    lines, y = [], _TOP
    for name, group in groups.items():
        if name:
            lines.append(_Line(y, name))
            y += _LINE
        for bar in group:
            kind = "ours" if bar.row.is_ours or bar.row.part == "growth" else "peer"
            lines.append(_Line(y, bar.label, kind, bar.value, round(bar.row.times * scale, 1)))
            y += _LINE
    template = Environment(autoescape=True).from_string(_SVG)
    one = round(_LABELS + scale, 1)
    return template.render(
        title=title, subtitle=subtitle, lines=lines, one=one, top=_TOP, height=y + 12, width=_WIDTH, labels=_LABELS
    )


def section(shown: Sequence[Shown]) -> str:
    """Write the figures of the page: every row that has a goal or a limit, also where it is not reached."""
    told = [row for row in shown if row.part.startswith(_TOLD) and ("goal" in row.note or "at most" in row.note)]
    template = Environment(autoescape=False).from_string(_SECTION)  # noqa: S701 (Markdown, of our own rows)
    drawn = pictures(shown)
    return template.render(rows=told, pictures=[(name, title) for name, title in _TITLES.items() if name in drawn])


def with_section(readme: str, figures: str) -> str:
    """Put the figures where the page has them; raises ValueError where it has no place for them."""
    before, begin, rest = readme.partition(BEGIN + "\n")
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN} and {END}")
    return f"{before}{begin}{figures}{end}{after}"


def draw() -> None:
    """Write the pictures, and the figures in docs/performance.md."""
    shown = rows(RESULTS.read_text(encoding="utf-8"))
    PICTURES.mkdir(exist_ok=True)
    for name, picture in pictures(shown).items():
        (PICTURES / name).write_text(picture, encoding="utf-8")
    PAGE.write_text(with_section(PAGE.read_text(encoding="utf-8"), section(shown)), encoding="utf-8")


if __name__ == "__main__":
    draw()
