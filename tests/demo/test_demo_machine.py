"""The machine's own clients, played by shell scripts: what they are told, and what is made of what they say."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from proxy.demo import machine
from proxy.demo.images import image
from proxy.oci.digest import Digest

DIGEST = f"sha256:{'5' * 64}"
PROXY, REGISTRY = "http://127.0.0.1:1001", "http://127.0.0.1:1002"
MANIFEST = image("machine").body
# A daemon that listens where its configuration says (the first path that ends in .sock), until it is told to end.
DAEMON = 'touch "$(grep -oE "/[^\\"]*\\\\.sock" "$2" | head -n 1)"; exec sleep 60'


@pytest.fixture
def programs(tmp_path, monkeypatch):
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.defpath}")
    monkeypatch.setattr(machine, "_is_root", lambda: False)

    def add(**scripts):
        for name, script in scripts.items():
            program = folder / name
            program.write_text(f"#!/bin/sh\n{script}\n")
            program.chmod(0o755)

    return add


def client(name):
    (found,) = (one for one in machine.CLIENTS if one.name == name)
    return found


GOOD = {
    "skopeo": {
        "skopeo": f"for to; do :; done; d=${{to#dir:}}; mkdir $d; printf %s '{MANIFEST.decode()}' >$d/manifest.json"
    },
    "podman": {"podman": f"echo {DIGEST}"},
    "containerd": {"containerd": DAEMON, "ctr": f"echo docker.io/demo/a:1 {DIGEST}"},
    "docker": {"dockerd": DAEMON, "containerd": ":", "docker": f"echo '[demo/a@{DIGEST}]'"},
}
BAD = "echo pulling; echo 'Error: sealgate: refused'; echo 'try again'; exit 1"


@pytest.mark.parametrize("name", GOOD)
async def test_a_pull_yields_the_digest_that_the_client_has(programs, name):
    programs(**GOOD[name])
    pulled = await client(name).try_pull(PROXY, REGISTRY, "docker.io/demo/a:1")
    assert pulled.digest == (str(Digest.of(MANIFEST)) if name == "skopeo" else DIGEST)


@pytest.mark.parametrize(
    ("name", "program"), [("skopeo", "skopeo"), ("podman", "podman"), ("containerd", "ctr"), ("docker", "docker")]
)
async def test_a_failed_pull_yields_the_line_that_says_why(programs, name, program):
    programs(**(GOOD[name] | {program: BAD}))
    pulled = await client(name).try_pull(PROXY, REGISTRY, "docker.io/demo/a:1")
    assert (pulled.digest, pulled.message) == (None, "Error: sealgate: refused")


@pytest.mark.parametrize(("says", "message"), [("echo one; echo two", "two"), (":", "no message")])
async def test_without_our_word_the_last_line_is_shown(programs, says, message):
    programs(skopeo=f"{says}; exit 1")
    assert (await client("skopeo").try_pull(PROXY, REGISTRY, "docker.io/demo/a:1")).message == message


async def test_a_pull_without_a_digest_is_none(programs):
    programs(podman="echo done")
    pulled = await client("podman").try_pull(PROXY, REGISTRY, "docker.io/demo/a:1")
    assert (pulled.digest, pulled.message) == (None, "no digest in 'done'")


async def test_podman_and_skopeo_are_told_of_mirror_and_fallback(programs, tmp_path):
    seen = tmp_path / "seen"
    programs(podman=f'cat "$CONTAINERS_REGISTRIES_CONF" >{seen}; echo "$HOME $HTTPS_PROXY" >>{seen}; exit 1')
    await client("podman").try_pull(PROXY, REGISTRY, "docker.io/demo/a:1")
    conf, _, environment = seen.read_text().rpartition("\n/")
    assert 'location = "127.0.0.1:1002"\ninsecure = true\n[[registry.mirror]]\nlocation = "127.0.0.1:1001"' in conf
    home, _, way_out = environment.strip().partition(" ")
    assert way_out == "http://127.0.0.1:9"
    assert not Path("/" + home).exists()  # noqa: ASYNC240 (a test may wait)


async def test_a_client_that_does_not_end_is_ended(programs, monkeypatch):
    monkeypatch.setattr(machine, "CLIENT_SECONDS", 0.1)
    programs(skopeo="exec sleep 60")
    pulled = await client("skopeo").try_pull(PROXY, REGISTRY, "docker.io/demo/a:1")
    assert (pulled.digest, pulled.message) == (None, "no end after 0.1 s")


async def test_what_does_not_heed_the_first_signal_gets_the_second(programs, monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "_STOP_SECONDS", 0.2)
    ready = tmp_path / "ready"
    programs(stubborn=f"trap '' TERM; touch {ready}; while :; do sleep 0.05; done")
    place = machine.Place(tmp_path, PROXY, REGISTRY)
    async with place.daemon(ready, "stubborn"):
        pass
    process = await place.start(machine.asyncio.subprocess.DEVNULL, "true")
    await process.wait()
    await machine._stop(process)
    assert process.returncode == 0


async def test_who_does_not_wait_for_the_end_still_brings_it(programs, tmp_path):
    ready = tmp_path / "ready"
    programs(stubborn=f"trap '' TERM; touch {ready}; while :; do sleep 0.05; done")
    process = await machine.Place(tmp_path, PROXY, REGISTRY).start(machine.asyncio.subprocess.DEVNULL, "stubborn")
    while not ready.exists():  # noqa: ASYNC110 (another program makes it)
        await asyncio.sleep(0.01)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await machine._stop(process)
    assert await process.wait() == -signal.SIGKILL


async def test_a_daemon_that_does_not_come_up_is_ended(programs, monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "_START_SECONDS", 0.1)
    programs(lazy="exec sleep 60")
    with pytest.raises(TimeoutError):
        async with machine.Place(tmp_path, PROXY, REGISTRY).daemon(tmp_path / "never", "lazy"):
            pytest.fail("it is not there")


@pytest.mark.parametrize(("script", "words"), [("exit 3", "containerd ended with 3"), ("exec sleep 60", "come up")])
async def test_a_client_whose_daemon_fails_has_pulled_nothing(programs, monkeypatch, script, words):
    monkeypatch.setattr(machine, "_START_SECONDS", 0.3)
    programs(containerd=script, ctr=":")
    pulled = await client("containerd").try_pull(PROXY, REGISTRY, "docker.io/demo/a:1")
    assert pulled.digest is None
    assert words in pulled.message


def test_what_needs_root_is_left_out_without_it(programs, monkeypatch):
    programs(**GOOD["podman"], **GOOD["skopeo"])
    assert [client("podman").is_here, client("skopeo").is_here] == [False, True]
    monkeypatch.setattr(machine, "_is_root", lambda: True)
    programs(unshare=":")
    assert client("podman").is_here


def test_a_client_that_is_not_installed_is_not_here(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not any(one.is_here for one in machine.CLIENTS)


def test_root_is_set_apart(monkeypatch):
    monkeypatch.setattr(machine.os, "geteuid", lambda: 0)
    assert machine._is_root()
