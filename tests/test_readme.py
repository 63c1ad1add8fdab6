"""What the documents say is true as far as a machine can tell: commands parse, TOML loads, links lead somewhere."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from proxy.cli import main as cli
from proxy.config import load

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = README + (ROOT / "docs" / "reference.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGES, re.DOTALL | re.MULTILINE)
SHELL = [line.partition("#")[0].strip() for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()]
INLINE = re.findall(r"(?<!`)`((?:sealgate|make) [^`\n]+)`", PAGES)
COMMANDS = sorted({line for line in SHELL + INLINE if line.startswith("sealgate ")})
TARGETS = sorted({line.split()[1] for line in SHELL + INLINE if line.startswith("make ")})
TABLES = [text for kind, text in BLOCKS if kind == "toml"]


def test_there_is_something_to_check():
    assert len(COMMANDS) >= 6
    assert {"demo", "test", "setup"} <= set(TARGETS)
    assert TABLES


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_parses(command, capsys):
    # With --help the options before it are still parsed: an unknown one is an error, what they would do is not done.
    assert cli.run([*shlex.split(command)[1:], "--help"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_is_there(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("text", TABLES)
def test_every_configuration_loads(text, tmp_path):
    assert tomllib.loads(text)
    path = tmp_path / "sealgate.toml"
    path.write_text(text)
    assert load(path).warnings == ()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_to_a_file(document):
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text()) if "://" not in link]
    assert [link for link in links if not (document.parent / link.partition("#")[0]).exists()] == []


@pytest.mark.parametrize("path", ["config.example.toml", "Dockerfile", "grafana/sealgate.json", "grafana/alerts.yml"])
def test_what_is_named_is_there(path):
    assert f"`{path}`" in README
    assert (ROOT / path).is_file()
