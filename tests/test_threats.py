"""docs/threats.md says of every attack where it is tested, and the tests that name one are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
THREATS = ROOT / "docs" / "threats.md"
CORPORA = sorted((ROOT / "tests" / "formats" / "cosign").glob("test_*attacks*.py"))


def rows():
    """Every row by its number: the files that it links."""
    lines = THREATS.read_text().splitlines()
    numbered = [match for line in lines if (match := re.match(r"\| (A\d+) \|", line))]
    return [(match[1], re.findall(r"\]\(([^)]+)\)", match.string)) for match in numbered]


def test_one_row_a_number():
    assert sorted(number for number, _ in rows()) == sorted(f"A{number}" for number in range(1, 41))


def test_every_link_leads_somewhere():
    linked = re.findall(r"\]\(([^)]+)\)", THREATS.read_text())
    assert [one for one in linked if not (THREATS.parent / one).is_file()] == []


def test_every_attack_that_is_tested_is_linked():
    linked = {(number, Path(one).name) for number, files in rows() for one in files}
    tested = {(number, path.name) for path in CORPORA for number in re.findall(r'"(A\d+)"', path.read_text())}
    assert tested - linked == set()


def test_only_what_is_not_prevented_is_without_a_test():
    assert [number for number, files in rows() if not files] == ["A19"]
