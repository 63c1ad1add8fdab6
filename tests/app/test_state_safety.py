"""A state that others may write is used by no command: `serve`, `check-config` and `cache` refuse it alike."""

import asyncio
import json
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.pulls import session
from support.serving import serving as started
from support.stores import evidence
from support.whole import configuration, serving, settings_of

from proxy.app import running
from proxy.app.judging import open_state
from proxy.cli import main as cli
from proxy.demo.images import image
from proxy.demo.registry import Registry
from proxy.demo.registry import serve as serve_registry
from proxy.oci.reference import Repository
from proxy.stores.database import StoreError
from proxy.stores.verdicts import Remembered, SqliteVerdicts, VerdictKey
from proxy.verdict import Accepted, Subject

IS_ROOT = os.geteuid() == 0
STRANGER = 987_001
BAD = image("bad")
TEAM = Repository("docker.io", "team/bad")


def give_away(state: Path) -> None:
    os.chown(state / "sealgate.sqlite3", STRANGER, -1)


UNSAFE = {
    "0777": (lambda state: state.chmod(0o777), "may be written by every user (mode 0777)"),
    "a file 0666": (lambda state: (state / "sealgate.sqlite3").chmod(0o666), "may be written by every user"),
    "content 0777": (lambda state: (state / "content").chmod(0o777), "may be written by every user"),
    "a parent 0777": (lambda state: state.parent.chmod(0o777), "may be written by every user"),
    "another's file": (give_away, f"belongs to user {STRANGER}"),
}
ATTACKS = [
    pytest.param(*UNSAFE[name], id=name, marks=pytest.mark.skipif(
        not IS_ROOT and name == "another's file", reason="only root can give a file to another user"))
    for name in UNSAFE
]  # fmt: skip


@pytest.fixture
async def config(tmp_path):
    """A state in which somebody has written that an unsigned image is accepted."""
    registry = Registry()
    BAD.add_to(registry, "team/bad", "1")
    async with serve_registry(registry) as url:
        (tmp_path / "place").mkdir(mode=0o700)
        path = configuration(tmp_path / "place", url)
        await forge(path)
        (path.parent / "state" / "content").mkdir(mode=0o700)
        yield path
        (tmp_path / "place").chmod(0o700)


async def forge(config: Path) -> None:
    settings = settings_of(config)
    database = open_state(settings, pytest.fail, pytest.fail)
    key = VerdictKey(TEAM, BAD.digest, None, settings.rules.match(TEAM).fingerprint)
    now = datetime.now(UTC)  # noqa: TID251 (what serves has no other)
    verdict = Accepted(Subject(TEAM, BAD.digest, "1"), "everything", (evidence(),), now + timedelta(hours=1))
    await SqliteVerdicts(database).put(key, Remembered("f0f0f0f0", verdict, now - timedelta(seconds=1)))
    database.close()


async def status_of(at: str) -> int:
    async with session() as client, client.get(f"{at}/v2/team/bad/manifests/1", allow_redirects=False) as response:
        return response.status


async def test_what_we_have_written_ourselves_is_believed(config):
    async with running(settings_of(config)) as at:
        assert await status_of(at.registry) == 200
    async with serving(config) as served:
        assert await status_of(served.registry) == 200


@pytest.mark.parametrize(("spoil", "said"), ATTACKS)
async def test_no_command_uses_what_others_may_write(config, capsys, spoil, said):
    spoil(config.parent / "state")
    for command in (["serve"], ["check-config"], ["cache", "ls"], ["cache", "warm", "docker.io/team/bad:1"]):
        code, out, err = run(capsys, *command, "--config", str(config))
        assert (code, out) == (2, "")
        assert said in err
        assert "server.state_dir" in err
        assert "sealgate: hint: run" in err


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    code = cli.run(arguments)
    return code, *capsys.readouterr()


@pytest.mark.parametrize(("spoil", "said"), ATTACKS)
async def test_what_was_read_before_is_looked_at_again_when_it_starts(config, spoil, said):
    settings = settings_of(config)
    spoil(config.parent / "state")
    with pytest.raises(StoreError) as raised:
        async with running(settings):
            pytest.fail("it serves")
    assert said in str(raised.value)
    assert "run: " in str(raised.value)


async def test_an_audit_log_that_others_may_write(config, capsys):
    arguments = (capsys, "check-config", "--config", str(config))
    folder = config.parent / "logs"
    folder.mkdir(mode=0o755)
    text = config.read_text().replace("[server]\n", '[server]\naudit_log = "logs/audit.jsonl"\n')
    config.write_text(text)
    assert run(*arguments)[0] == 0
    folder.chmod(0o777)
    code, _, err = run(*arguments)
    assert code == 2
    assert f"server.audit_log: {folder} may be written by every user (mode 0777)" in err
    assert f"hint: run: chmod o-w {folder}" in err
    folder.chmod(0o755)
    (folder / "audit.jsonl").touch()
    (folder / "audit.jsonl").chmod(0o666)
    assert "run: chmod o-w" in run(*arguments)[2]


@pytest.mark.skipif(shutil.which("sh") is None, reason="no shell here")
async def test_what_is_made_is_private_whatever_the_umask(config):
    shutil.rmtree(config.parent / "state")
    config.write_text(config.read_text().replace("[server]\n", '[server]\naudit_log = "audit.jsonl"\nworkers = 2\n'))
    async with started(config, "sh", "-c", 'umask 0; exec "$@"', "sh") as it:
        await it.ready()
        await status_of(it.registry)
        made = [config.parent / "state", *(config.parent / "state").rglob("*")]
        assert [str(one) for one in made if one.stat().st_mode & 0o077] == []
        assert (config.parent / "audit.jsonl").stat().st_mode & 0o777 == 0o640
        (config.parent / "audit.jsonl").rename(config.parent / "audit.jsonl.1")
        await status_of(it.registry)
        async with asyncio.timeout(20):
            while not (config.parent / "audit.jsonl").exists():  # noqa: ASYNC110 (another process writes it)
                await asyncio.sleep(0.02)
    assert (config.parent / "audit.jsonl").stat().st_mode & 0o777 == 0o640
    assert json.loads((config.parent / "audit.jsonl").read_text().splitlines()[0])["event"]
