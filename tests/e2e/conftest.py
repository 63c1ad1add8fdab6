"""One lab for all end-to-end tests; or a skip that names what is missing, which is a failure where CI is set."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from e2e import lab, sandbox
from e2e.packages import MissingError, toolbox
from e2e.stage import Stage, stage
from e2e.table import write_table

_HERE = Path(__file__).parent
# Fetching the packages counts into the first test's time.
_SECONDS = 900


_records = pytest.StashKey[list[lab.Record]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what `make e2e ARGS=--table` says."""
    parser.addoption("--table", action="store_true", help="write what was measured into docs/bypass.md")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Write the table at the end."""
    if config.getoption("--table") and _records in config.stash:
        write_table(config.stash[_records])
        terminalreporter.write_line("written to docs/bypass.md")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is in this folder."""
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(_SECONDS))
            item.add_marker(pytest.mark.allow_hosts(["127.0.0.1", "127.77.0.1"]))


@pytest.fixture(scope="session")
def the_lab(pytestconfig: pytest.Config) -> Iterator[lab.Lab]:
    """A registry, a fake Docker Hub, and room for clients; nothing of it is left at the end."""
    try:
        sandbox.check_namespaces()
        tools = toolbox()
    except MissingError as err:
        give_up = pytest.fail if os.environ.get("CI") else pytest.skip
        why = f"end-to-end tests cannot run: {err}"
    else:
        with lab.running(tools) as running:
            pytestconfig.stash[_records] = running.records
            yield running
        assert sandbox.left_behind() == []
        return
    give_up(why)


@pytest.fixture(scope="session")
def the_stage(the_lab: lab.Lab) -> Stage:
    """The lab with all images in place."""
    return stage(the_lab)


@pytest.fixture(scope="session")
def sealgate(the_stage: Stage) -> Iterator[str]:
    """Sealgate in front of the registry."""
    with _sealgate(the_stage, 5000, the_stage.lab.upstream) as url:
        yield url


@pytest.fixture
def fresh_sealgate(the_stage: Stage) -> Iterator[str]:
    """One that was never asked anything."""
    with _sealgate(the_stage, 5020, the_stage.lab.upstream) as url:
        yield url


@pytest.fixture(scope="session")
def blind(the_stage: Stage) -> Iterator[str]:
    """A Sealgate whose registry is away."""
    with _sealgate(the_stage, 5010, lab.DEAD) as url:
        yield url


def _sealgate(on: Stage, port: int, upstream: str) -> AbstractContextManager[str]:
    folder = Path(tempfile.mkdtemp(dir=on.lab.folder)) / "sealgate"
    return lab.sealgate(on.lab.tools, folder, port, upstream, on.key.public_pem)
