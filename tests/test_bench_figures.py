"""docs/performance.md and its pictures say what bench/RESULTS.md says, and nothing else."""

import importlib.util
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

ROOT = Path(__file__).parents[1]


def _script(name):
    spec = importlib.util.spec_from_file_location(f"bench_{name}", ROOT / "bench" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


figures, report = _script("figures"), _script("bench_report")
SHOWN = figures.rows((ROOT / "bench" / "RESULTS.md").read_text())
PICTURES = figures.pictures(SHOWN)
PAGE = (ROOT / "docs" / "performance.md").read_text()


def test_the_page_has_the_figures_of_the_last_run():
    assert figures.with_section(PAGE, figures.section(SHOWN)) == PAGE


def test_every_picture_is_of_the_last_run():
    drawn = {path.name: path.read_text() for path in (ROOT / "docs" / "img").glob("*.svg")}
    assert drawn == dict(PICTURES)


@pytest.mark.parametrize("name", PICTURES)
def test_picture_is_shown_and_can_be_read(name):
    assert f"](img/{name})" in PAGE
    assert "prefers-color-scheme: dark" in PICTURES[name]
    assert ET.fromstring(PICTURES[name]).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 (our own)


def test_the_rows_are_read_as_they_were_measured():
    measured = [
        report.Row("warm manifest", "docker-registry by digest", 1234.5, "req/s", 1.0, None, "to docker-registry"),
        report.Row("warm manifest", "Sealgate by tag", 24_000, "req/s", 19.44, 12.0, "to docker-registry by digest"),
        report.Row("growth", "100x: a rule found, of 10,000", 10.25, "us", 1.02, None, "to 1x", 20.0),
        report.Row("memory", "a process", 151.0, "MB", limit=150.0),
    ]
    docker, ours, rule, memory = figures.rows(report.table(measured))
    assert (docker.value, docker.times, docker.is_ours) == ("1,234 req/s", 1.0, False)
    assert (ours.value, ours.times, ours.is_ours) == ("24,000 req/s", 19.44, True)
    assert ours.peer == "docker-registry by digest"
    assert (rule.grown, rule.note) == (("a rule found", "10,000 (100x)"), "at most 20 us: reached; to 1x")
    assert memory.note == "at most 150 MB: NOT REACHED"


def test_what_is_not_reached_is_told_in_the_readme_too():
    slow = report.Row("64 MiB blob", "Sealgate, from its store", 900e6, "MB/s", 0.5, 0.95, "to nginx")
    assert "NOT REACHED" in figures.section(figures.rows(report.table([slow])))
