"""One lab for all end-to-end tests; or a skip that names what is missing, which is a failure where CI is set."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from e2e import lab, sandbox
from e2e.packages import MissingError, toolbox
from e2e.stage import Stage, stage

_HERE = Path(__file__).parent
# Fetching the packages counts into the first test's time.
_SECONDS = 900


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is in this folder."""
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(_SECONDS))
            item.add_marker(pytest.mark.allow_hosts(["127.0.0.1", "127.77.0.1"]))


@pytest.fixture(scope="session")
def the_lab() -> Iterator[lab.Lab]:
    """A registry, a fake Docker Hub, and room for clients; nothing of it is left at the end."""
    try:
        tools = toolbox()
        with lab.running(tools) as running:
            yield running
    except MissingError as err:
        if os.environ.get("CI"):
            pytest.fail(f"end-to-end tests cannot run: {err}", pytrace=False)
        pytest.skip(f"end-to-end tests cannot run: {err}")
    assert sandbox.left_behind() == []


@pytest.fixture(scope="session")
def the_stage(the_lab: lab.Lab) -> Stage:
    """The lab with all images in place."""
    return stage(the_lab)


@pytest.fixture(scope="session")
def sealgate(the_stage: Stage) -> Iterator[str]:
    """Sealgate in front of the registry."""
    with _sealgate(the_stage, 5000, the_stage.lab.upstream) as url:
        yield url


@pytest.fixture(scope="session")
def blind(the_stage: Stage) -> Iterator[str]:
    """A Sealgate whose registry is away."""
    with _sealgate(the_stage, 5010, lab.DEAD) as url:
        yield url


def _sealgate(on: Stage, port: int, upstream: str) -> AbstractContextManager[str]:
    return lab.sealgate(on.lab.tools, on.lab.folder / str(port), port, upstream, on.key.public_pem)
