"""`sealgate cache warm`: judged as a pull would be, fetched once, and of use to who serves."""

import asyncio
import json
import re
import sys

import pytest
from aiohttp import ClientSession
from support.content import Told
from support.fakes import START
from support.stack import KEY, rule, sign
from support.whole import configuration

from proxy.app import open_content, running
from proxy.app import warming as module
from proxy.cli import bars, cache, warmed
from proxy.cli import main as cli
from proxy.config import load
from proxy.demo.images import Image, image, index
from proxy.demo.registry import Registry, serve
from proxy.demo.signing import classic_signature
from proxy.gate import Pulled
from proxy.oci.digest import Digest
from proxy.oci.manifest import Descriptor, Manifest
from proxy.oci.platforms import Platform
from proxy.oci.reference import Reference
from proxy.policy.model import Decision, Mode, OnOutage
from proxy.policy.rules import Rules
from proxy.stores.incoming import Incoming
from proxy.verdict import Subject, Undetermined

GOOD, BAD, WARNED = image("good"), image("bad"), image("warned")
MULTI = index([image(f"multi {one}", architecture=one) for one in ("amd64", "arm64", "s390x")])


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    monkeypatch.setattr(cache.machine, "machine", lambda: "x86_64")


@pytest.fixture
def registry():
    made = Registry()
    for name, one, signed in (
        ("good", GOOD, True),
        ("bad", BAD, False),
        ("warned", WARNED, False),
        ("multi", MULTI, True),
    ):
        one.add_to(made, f"team/{name}", "1")
        if signed:
            sign(made, f"team/{name}", one.media_type, one.body)
    return made


@pytest.fixture
async def url(registry):
    async with serve(registry) as url:
        yield url


# Beside the rule for everything.
MORE = """
[upstreams."away.test"]
url = "http://127.0.0.1:1"
insecure_http = true
[[rules]]
name = "seen-only"
images = ["docker.io/team/warned"]
require = "release"
mode = "warn"
[[rules]]
name = "open"
images = ["away.test/**"]
require = "insecure_allow_unverified"
[cache]
size = "10GiB"
"""


@pytest.fixture
def config(tmp_path, url):
    return configuration(tmp_path, url, server='audit_log = "audit.log"', more=MORE)


@pytest.fixture
def warm(config, capfd):
    """Run the command; return its exit code and both outputs."""

    async def warm(*arguments):
        capfd.readouterr()
        code = await asyncio.to_thread(cli.run, ["cache", "warm", "--config", str(config), *arguments])
        out, err = capfd.readouterr()
        return code, out, err

    return warm


def asked_for(registry, what):
    return [path for _, path in registry.requests if f"/{what}/" in path]


def kept(config):
    with open_content(load(config), Told()) as store:
        return {one.digest for one in store.entries()}


def digests(*blobs):
    return {Digest.of(blob) for blob in blobs}


async def test_what_is_accepted_comes_in_and_what_is_refused_does_not(warm, config, registry):
    code, out, err = await warm("team/good:1", "team/bad:1")
    size = f"{sum(map(len, GOOD.blobs)) / 1000:.1f} kB"
    assert (code, err) == (1, "")
    assert out.splitlines() == [
        f"accepted docker.io/team/good:1@{GOOD.digest}: signed by release; 3 blobs of {size}: 3 fetched ({size})",
        f"refused docker.io/team/bad:1@{BAD.digest}: not signed",
    ]
    assert kept(config) == digests(*GOOD.blobs)
    assert not any("/team/bad/" in path for path in asked_for(registry, "blobs"))


async def test_what_is_there_is_not_fetched_again(warm, registry):
    assert (await warm("team/good:1"))[0] == 0
    registry.requests.clear()
    code, out, _ = await warm("team/good:1")
    assert code == 0
    assert out.endswith(": 3 there already\n")
    assert asked_for(registry, "blobs") == []


async def test_who_serves_needs_neither_the_signatures_nor_the_blobs(warm, config, registry):
    assert (await warm("team/multi:1"))[0] == 0
    registry.requests.clear()
    child = MULTI.children[0]
    async with running(load(config)) as at, ClientSession(at.registry) as client:
        for path in ("manifests/1", f"manifests/{child.digest}", *(f"blobs/{Digest.of(one)}" for one in child.blobs)):
            async with client.get(f"/v2/team/multi/{path}") as response:
                assert response.status == 200
                await response.read()
    assert asked_for(registry, "blobs") == []
    assert asked_for(registry, "referrers") == []
    assert not any("sha256-" in path for path in asked_for(registry, "manifests"))


async def test_what_is_warm_is_served_when_the_registry_is_away(warm, config, url):
    assert (await warm("team/multi:1", "--platform", "linux/arm64"))[0] == 0
    config.write_text(config.read_text().replace(url, "http://127.0.0.1:1"))
    child = MULTI.children[1]
    async with running(load(config)) as at, ClientSession(at.registry) as client:
        for path in ("manifests/1", f"manifests/{child.digest}", *(f"blobs/{Digest.of(one)}" for one in child.blobs)):
            async with client.get(f"/v2/team/multi/{path}") as response:
                assert response.status == 200
                assert Digest.of(await response.read()) in {MULTI.digest, child.digest, *digests(*child.blobs)}


async def test_it_runs_beside_who_serves(warm, config, registry):
    async with running(load(config)) as at, ClientSession(at.registry) as client:
        assert (await warm("team/good:1"))[0] == 0
        registry.requests.clear()
        async with client.get("/v2/team/good/manifests/1") as response:
            assert response.status == 200
        async with client.get(f"/v2/team/good/blobs/{Digest.of(GOOD.blobs[1])}") as response:
            assert await response.read() == GOOD.blobs[1]
    assert asked_for(registry, "blobs") == []


@pytest.mark.parametrize(
    ("arguments", "children", "named"),
    [
        ((), [0], "linux/amd64: "),
        (("--platform", "linux/arm64/v8", "--platform", "linux/s390x"), [1, 2], "linux/arm64, linux/s390x: "),
        (("--platform", "all"), [0, 1, 2], "linux/amd64, linux/arm64, linux/s390x: "),
    ],
)
async def test_of_an_index_what_is_wanted(warm, config, arguments, children, named):
    code, out, _ = await warm("team/multi:1", *arguments)
    assert code == 0
    assert named in out
    assert kept(config) == digests(*(blob for n in children for blob in MULTI.children[n].blobs))


async def test_an_index_without_what_is_wanted(warm, config):
    code, out, _ = await warm("team/multi:1", "--platform", "linux/riscv64")
    assert code == 3
    assert "  missing linux/riscv64: the index has linux/amd64, linux/arm64, linux/s390x" in out.splitlines()
    assert kept(config) == set()


def add_index(registry, *children):
    body = index(children)
    body.add_to(registry, "team/odd", "1")
    sign(registry, "team/odd", body.media_type, body.body)


async def test_an_index_in_an_index(warm, config, registry):
    add_index(registry, MULTI)
    assert (await warm("team/odd:1"))[0] == 0
    assert kept(config) == digests(*MULTI.children[0].blobs)


async def test_an_index_with_attestations(warm, config, registry):
    made = classic_signature(KEY, Descriptor(GOOD.media_type, GOOD.digest, len(GOOD.body)))
    attestation = Image(made.media_type, made.manifest_body, tuple(made.blobs.values()), architecture="unknown")
    add_index(registry, GOOD, attestation)
    assert (await warm("team/odd:1"))[0] == 0
    assert kept(config) == digests(*GOOD.blobs)
    assert (await warm("team/odd:1", "--platform", "all"))[0] == 0
    assert kept(config) == digests(*GOOD.blobs, *attestation.blobs)


@pytest.mark.parametrize("wrong", ["lost", "refused", "many"])
async def test_a_child_that_does_not_come(warm, config, registry, monkeypatch, wrong):
    child = MULTI.children[0].digest
    cause = {"lost": "docker.io", "refused": "is refused by itself", "many": "there are more than 0 manifests"}[wrong]
    if wrong == "lost":
        del registry._repositories["team/multi"].manifests[str(child)]
    elif wrong == "refused":
        monkeypatch.setattr("proxy.gate.gate.PARENTS_TRIED_MAX", 0)
        monkeypatch.setattr("proxy.gate.indexes.INDEXES_TRIED_MAX", 0)
        monkeypatch.setattr("proxy.gate.indexes.INDEX_TAGS_TRIED_MAX", 0)
    else:
        monkeypatch.setattr(module, "DESCRIPTORS_MAX", 0)
    code, out, _ = await warm("team/multi:1")
    assert code == 3
    assert f"\n  missing {child}: {cause}" in out
    assert kept(config) == set()


async def test_what_does_not_stay(warm, config, monkeypatch):
    """Whoever else fills the store at the same time: what is not there in the end is not said to be."""
    keep = module.Transfers.keep

    async def lost(transfers, repository, digest, size, arrived):
        kept = await keep(transfers, repository, digest, size, arrived)
        transfers._store.remove(digest)
        return kept

    monkeypatch.setattr(module.Transfers, "keep", lost)
    code, out, _ = await warm("team/good:1")
    assert code == 3
    assert out.count("there was no room for it to stay") == 3
    assert kept(config) == set()


async def test_room_is_made_for_what_comes(warm, config):
    config.write_text(config.read_text().replace('"10GiB"', '"4KiB"'))
    assert (await warm("team/good:1"))[0] == 0
    assert (await warm("team/multi:1"))[0] == 0
    assert len(kept(config)) < 6
    assert kept(config) >= digests(*MULTI.children[0].blobs)


async def test_a_refusal_that_only_warns(warm, config):
    code, out, _ = await warm("team/warned:1")
    assert code == 0
    assert "refused docker.io/team/warned:1" in out
    assert "not signed; served all the same, for the rule's mode is warn; 3 blobs" in out
    assert kept(config) == digests(*WARNED.blobs)


async def test_what_could_not_be_found_out(warm, registry):
    code, out, _ = await warm("away.test/app:1", "team/none:1", "team/good:1")
    assert code == 3
    assert re.search(r"^failed away.test/app:1: away.test could not be reached", out, re.MULTILINE)
    assert re.search(r"^failed docker.io/team/none:1: docker.io", out, re.MULTILINE)
    assert re.search(r"^accepted docker.io/team/good:1@", out, re.MULTILINE)
    # what is refused is told before what could not be found out
    assert (await warm("team/none:1", "team/bad:1"))[0] == 1


async def test_as_json(warm):
    code, out, _ = await warm("team/good:1", "team/bad:1", "team/none:1", "--json")
    good, bad, none = json.loads(out)
    size = sum(map(len, GOOD.blobs))
    assert code == 1
    assert good == {
        "image": "docker.io/team/good",
        "tag": "1",
        "digest": str(GOOD.digest),
        "rule": "everything",
        "mode": "enforce",
        "verdict": "accepted",
        "reason": None,
        "explanation": "signed by release",
        "served": True,
        "platforms": [],
        "blobs": 3,
        "bytes": size,
        "came": 3,
        "came_bytes": size,
        "missing": [],
    }
    assert (bad["verdict"], bad["reason"], bad["served"], bad["blobs"]) == ("refused", "not_signed", False, 0)
    assert (none["verdict"], none["digest"], none["served"]) == (None, None, False)


async def test_the_audit_log_has_the_verdicts(warm, config):
    await warm("team/good:1", "team/bad:1")
    lines = [json.loads(line) for line in (config.parent / "audit.log").read_text().splitlines()]
    assert {(line["event"], line["image"], line["verdict"], line["client"]) for line in lines} == {
        ("verdict", "docker.io/team/good", "accepted", "sealgate cache warm"),
        ("verdict", "docker.io/team/bad", "refused", "sealgate cache warm"),
    }


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        (("nobody.test/app:1",), "nobody.test is not one of the configured upstreams", "check-config lists"),
        (("team/good:1", "Team/App"), "has upper case letters", "write it in lower case"),
        (("team/good:1", "--platform", "amd64"), "platform 'amd64' is not", "write it as linux/amd64"),
        ((), "missing argument", "sealgate cache warm --help"),
    ],
)
async def test_mistakes_are_told_before_anything_is_asked(warm, registry, arguments, error, hint):
    code, out, err = await warm(*arguments)
    assert (code, out) == (2, "")
    assert error in err.lower() if error == "missing argument" else error in err
    assert hint in err
    assert registry.requests == []


async def test_a_cache_that_is_off(warm, config, registry):
    config.write_text(config.read_text().replace('"10GiB"', "0"))
    code, _, err = await warm("team/good:1")
    assert (code, registry.requests) == (2, [])
    assert err.splitlines() == [
        "sealgate: error: the cache is off ([cache] size = 0), so nothing can be kept",
        "sealgate: hint: give it a size, as in '10GiB'",
    ]


async def test_more_than_may_be_kept(warm, config, registry):
    config.write_text(config.read_text().replace('"10GiB"', '"1KiB"'))
    code, out, err = await warm("team/good:1")
    assert (code, out) == (2, "")
    assert re.match(r"sealgate: error: the images take \S+ kB, and \[cache\] size allows 1.0 kB: nothing was", err)
    assert "--platform" in err
    assert kept(config) == set()


async def test_more_than_the_disk_takes(warm, config, monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 100}))
    code, _, err = await warm("team/good:1")
    assert code == 2
    assert re.match(r"sealgate: error: the images take \S+ kB more, and the disk of \S+/state has room for 100 b", err)


async def test_a_blob_that_the_registry_has_lost(warm, config, registry):
    del registry._repositories["team/good"].blobs[str(Digest.of(GOOD.blobs[1]))]
    code, out, _ = await warm("team/good:1", "--json")
    (only,) = json.loads(out)
    assert code == 3
    assert (only["blobs"], only["came"]) == (3, 2)
    assert [one["what"] for one in only["missing"]] == [str(Digest.of(GOOD.blobs[1]))]
    _, out, _ = await warm("team/good:1")
    assert ": 2 there already, 1 missing\n  missing sha256:" in out


async def test_the_list_says_whose_it_is(warm, config, registry, capfd):
    for name in ("a", "b", "c"):
        GOOD.add_to(registry, f"team/{name}", "1")
        sign(registry, f"team/{name}", GOOD.media_type, GOOD.body)
    assert (await warm("team/good:1", "team/a:1", "team/b:1", "team/c:1"))[0] == 0
    for option in ((), ("--json",)):
        assert cli.run(["cache", "ls", "--config", str(config), *option]) == 0
    out = capfd.readouterr().out.splitlines()
    assert out[0].endswith("  docker.io/team/a, docker.io/team/b, docker.io/team/c and 1 more")
    assert json.loads("".join(out[3:]))[0]["repositories"] == [
        f"docker.io/team/{one}" for one in ("a", "b", "c", "good")
    ]


async def test_a_blob_that_another_repository_has(warm, config, registry):
    same = image("good")
    same.add_to(registry, "team/copy", "1")
    sign(registry, "team/copy", same.media_type, same.body)
    del registry._repositories["team/good"].blobs[str(Digest.of(GOOD.blobs[1]))]
    assert (await warm("team/good:1", "team/copy:1"))[0] == 0
    assert kept(config) == digests(*GOOD.blobs)


async def test_a_disk_that_fills_up(warm, config, monkeypatch):
    monkeypatch.setattr("proxy.stores.content_folder.ContentFolder.room", lambda _: 700)
    code, out, err = await warm("team/good:1")
    assert code == 3
    assert out.count("No space left on device") == 2
    assert err.count("No space left on device") == 1
    assert f"sealgate: what came whole is kept: see to {config.parent}/state, then run the same again\n" in err


async def test_on_a_terminal_it_says_how_far_it_is(warm, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    _, out, err = await warm("team/good:1", "team/bad:1")
    assert "judging images" in err
    assert str(Digest.of(GOOD.blobs[1]))[:19] in err
    assert "judging" not in out


async def test_what_is_given_up_leaves_nothing_half(config, monkeypatch):
    stalled, write = asyncio.Event(), Incoming.write

    async def some(incoming, chunk):
        await write(incoming, chunk[:100])
        stalled.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(Incoming, "write", some)
    with bars.Warming() as watch:
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(module.warm(load(config), [Reference.parse("team/good:1")], (), watch))
            await stalled.wait()
            task.cancel()
    assert task.cancelled()
    content = config.parent / "state" / "content"
    assert list((content / "incoming").iterdir()) == []
    assert kept(config) == set()


async def test_a_signature_itself(warm, config, registry):
    (digest,) = [path for path in registry._repositories["team/good"].manifests if path != str(GOOD.digest)]
    code, out, _ = await warm(f"team/good@{digest}")
    assert code == 0
    assert out.startswith(f"signature docker.io/team/good@{digest}: served without a verdict; 2 blobs of ")
    assert json.loads((await warm(f"team/good@{digest}", "--json"))[1])[0]["verdict"] is None
    assert len(kept(config)) == 2


def test_this_machine(monkeypatch):
    monkeypatch.setattr(cache.machine, "machine", lambda: "aarch64")
    assert cache._platforms(None) == (Platform("linux", "arm64"),)


@pytest.mark.parametrize(
    ("mode", "on_outage", "code", "said"),
    [
        (Mode.ENFORCE, OnOutage.REFUSE, 3, "the registry is away"),
        (
            Mode.ENFORCE,
            OnOutage.INSECURE_ALLOW,
            0,
            "the registry is away; served all the same, by mode enforce and on_outage insecure_allow; nothing to fetch",
        ),
    ],
)
def test_what_could_not_be_judged(mode, on_outage, code, said):
    reference = Reference.parse("team/app:1")
    manifest = Manifest.parse(GOOD.digest, GOOD.media_type, GOOD.body)
    verdict = Undetermined(Subject(reference.repository, GOOD.digest, "1"), "all", "the registry is away")
    decision = Decision("id", verdict, mode, on_outage)
    seen = module.Warmed(reference, Pulled(manifest, decision, START, Rules([rule()])))
    assert warmed.exit_code([seen]) == code
    (line,) = warmed.lines(seen)
    assert line.plain == f"undetermined docker.io/team/app:1@{GOOD.digest}: could not be verified now: {said}"
