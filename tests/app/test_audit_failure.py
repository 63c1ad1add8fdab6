"""An audit log that cannot be written: pulls go on, and its lines are in the log; or nothing new is served."""

import json
import logging
from pathlib import Path

import pytest
import structlog
from support.pulls import session
from support.stack import sign
from support.whole import configuration, settings_of

from proxy.app import running
from proxy.app.warming import warm
from proxy.demo.images import image
from proxy.demo.registry import Registry
from proxy.demo.registry import serve as serve_registry
from proxy.oci.digest import Digest
from proxy.oci.platforms import Platform
from proxy.oci.reference import Reference

GOOD = image("good")
MIRROR = {"User-Agent": "docker/20.10.24 go/go1.19.8 UpstreamClient(Docker-Client/20.10.24)"}


@pytest.fixture
async def upstream():
    registry = Registry()
    GOOD.add_to(registry, "team/good", "1")
    sign(registry, "team/good", GOOD.media_type, GOOD.body)
    image("bad").add_to(registry, "team/bad", "1")
    async with serve_registry(registry) as url:
        yield url


@pytest.fixture
def make(upstream, tmp_path):
    def make(failure: str, *, full: bool = True) -> Path:
        (tmp_path / "audit.jsonl").unlink(missing_ok=True)
        if full:
            (tmp_path / "audit.jsonl").symlink_to("/dev/full")
        server = f'audit_log = "audit.jsonl"\naudit_failure = "{failure}"'
        return configuration(tmp_path, upstream, server=server)

    yield make
    structlog.reset_defaults()
    logging.basicConfig(handlers=[], force=True)


async def ask(client, url: str) -> tuple[int, str]:
    async with client.get(url, headers=MIRROR, allow_redirects=False) as response:
        return response.status, await response.text() + str(response.headers)


async def test_pulls_go_on_and_lost_lines_are_in_the_log(make, capsys):
    async with session() as client, running(settings_of(make("serve"))) as at:
        assert (await ask(client, f"{at.registry}/v2/team/good/manifests/1"))[0] == 200
        assert (await ask(client, f"{at.registry}/v2/team/bad/manifests/1"))[0] != 200
        assert "sealgate_audit_lines_lost_total 3.0" in (await ask(client, f"{at.admin}/metrics"))[1]
        assert "3 audit lines could not be written" in (await ask(client, f"{at.admin}/"))[1]
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    events = [line["event"] for line in lines]
    assert [one for one in events if one in {"verdict", "refused_pull"}] == ["verdict", "verdict", "refused_pull"]


async def test_nothing_is_served_that_is_not_on_record(make, tmp_path, capsys):
    layer = f"blobs/{Digest.of(GOOD.blobs[1])}"
    async with session() as client, running(settings_of(make("refuse"))) as at:
        for _ in range(2):
            status, said = await ask(client, f"{at.registry}/v2/team/good/manifests/1")
            assert status in {200, 300, 307}  # the form that holds this client
            assert "the audit log cannot be written" in said
            assert GOOD.body.decode() not in said
            assert (await ask(client, f"{at.registry}/v2/team/good/{layer}"))[0] != 200
        (tmp_path / "audit.jsonl").unlink()
        status, said = await ask(client, f"{at.registry}/v2/team/good/manifests/1")
        assert status == 200
        assert GOOD.body.decode() in said
        lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
        assert [line["verdict"] for line in lines if line["event"] == "verdict"] == ["accepted"]
    assert '"event":"verdict"' in capsys.readouterr().err


class Watch:
    """Takes note of nothing."""

    def __getattr__(self, name):
        return lambda *_: None


@pytest.mark.parametrize("full", [True, False])
async def test_fetching_ahead_puts_on_record_first(make, full):
    settings = settings_of(make("refuse", full=full))
    platform = Platform.parse("linux/amd64")
    (came,) = await warm(settings, [Reference.parse("docker.io/team/good:1")], [platform], Watch())
    assert came.served is not full
