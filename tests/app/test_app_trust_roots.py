"""A keyless image, a trust root that comes and goes, and a proxy that runs all the while."""

import asyncio
import json
import os
from datetime import UTC, datetime
from time import time

import pytest
from aiohttp import ClientSession
from support.sigstore.authority import IDENTITY, ISSUER, Request
from support.sigstore.draft import signature_of
from support.sigstore.private import Sigstore
from support.tuf import TufServer, serve_tuf

from proxy.app import running, verify
from proxy.config import load
from proxy.demo.images import image
from proxy.demo.registry import Registry
from proxy.demo.registry import serve as serve_registry
from proxy.demo.signing import SigningKey
from proxy.oci.digest import Digest
from proxy.oci.manifest import Descriptor
from proxy.oci.reference import Reference
from proxy.verdict import Accepted, Refused, Undetermined

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
SIGSTORE, OTHER = Sigstore.create(), Sigstore.create()
IMAGE = image("keyless")
WHO = Request(key=SigningKey.generate(), at=AT)
MANIFEST = "/v2/docker.io/team/app/manifests/1"


def document(sigstore):
    return json.dumps(sigstore.trusted_root()).encode()


@pytest.fixture
async def upstream():
    registry = Registry()
    IMAGE.add_to(registry, "team/app", "1")
    subject = Descriptor(IMAGE.media_type, Digest.of(IMAGE.body), len(IMAGE.body))
    made = SIGSTORE.sign(signature_of(subject), WHO, AT).artifact()
    for blob in made.blobs.values():
        registry.add_blob("team/app", blob)
    registry.add_manifest("team/app", made.media_type, made.manifest_body, made.tag)
    async with serve_registry(registry) as url:
        yield url


def configuration(folder, upstream, trust_root, rule=""):
    path = folder / "sealgate.toml"
    path.write_text(f"""
[server]
listen = "127.0.0.1:0"
admin_listen = "127.0.0.1:0"
state_dir = "state"
audit_log = "audit.jsonl"

[upstreams."docker.io"]
url = "{upstream}"

[trust_roots.private]
{trust_root}

[signers.ci]
type = "cosign-keyless"
issuer = "{ISSUER}"
subject = "{IDENTITY}"
trust_root = "private"

[[rules]]
name = "everything"
images = ["**"]
require = "ci"
{rule}
""")
    return path


async def test_a_private_trust_root_from_a_file(tmp_path, upstream):
    (tmp_path / "root.json").write_bytes(document(SIGSTORE))
    (tmp_path / "other.json").write_bytes(document(OTHER))
    seen = await verify(load(configuration(tmp_path, upstream, 'file = "root.json"')), Reference.parse("team/app:1"))
    assert isinstance(seen.verdict, Accepted)
    (evidence,) = seen.verdict.evidence
    assert (evidence.subject, evidence.issuer) == (IDENTITY, ISSUER)
    assert (evidence.signed_at, evidence.time_source) == (AT, "log rekor.private.test")
    seen = await verify(load(configuration(tmp_path, upstream, 'file = "other.json"')), Reference.parse("team/app:1"))
    assert isinstance(seen.verdict, Refused)


@pytest.mark.parametrize(("age", "verdict"), [(6, Accepted), (8, Undetermined)])
async def test_a_trust_root_that_is_older_than_the_rule_allows(tmp_path, upstream, age, verdict):
    root = tmp_path / "root.json"
    root.write_bytes(document(SIGSTORE))
    os.utime(root, (time() - age * 86400,) * 2)
    path = configuration(tmp_path, upstream, 'file = "root.json"', 'trust_root_max_age = "7d"')
    seen = await verify(load(path), Reference.parse("team/app:1"))
    assert isinstance(seen.verdict, verdict)
    if verdict is Undetermined:
        assert seen.unreached == ("trust root private was last confirmed 8d ago, trust_root_max_age is 7d",)


async def test_a_trust_root_that_is_refreshed_counts(tmp_path, upstream):
    """It has never been here, so that nothing can be judged until the first refresh."""
    server = TufServer(document(SIGSTORE))
    (tmp_path / "tuf-root.json").write_bytes(server.bootstrap)
    async with serve_tuf(server) as url:
        tuf = f'tuf_url = "{url}"\ntuf_root = "tuf-root.json"'
        path = configuration(tmp_path, upstream, tuf, 'trust_root_max_age = "7d"')
        seen = await verify(load(path), Reference.parse("team/app:1"))
        assert isinstance(seen.verdict, Undetermined)
        async with running(load(path)) as at:
            await asked(at, 200)


async def asked(at, wanted):
    """Ask until the answer is the one that is wanted, or five seconds of waiting are over."""
    async with ClientSession() as session:
        for _ in range(500):
            async with session.get(at.registry + MANIFEST, allow_redirects=False) as response:
                if response.status == wanted:
                    return
            await asyncio.sleep(0.01)
    pytest.fail(f"never answered with {wanted}")


async def test_a_refreshed_trust_root_holds_at_once(tmp_path, upstream):
    server = TufServer(document(SIGSTORE))
    (tmp_path / "tuf-root.json").write_bytes(server.bootstrap)
    async with serve_tuf(server) as url:
        path = configuration(tmp_path, upstream, f'tuf_url = "{url}"\ntuf_root = "tuf-root.json"')
        settings = load(path)
        assert settings.warnings == (
            "trust_roots.private: is not here yet, and proves nothing until its first refresh",
        )
        async with running(settings) as at:
            await asked(at, 200)
            async with ClientSession() as session, session.get(f"{at.admin}/metrics") as response:
                metrics = await response.text()
        assert 'sealgate_trust_root_refreshes_total{outcome="changed",root="private"} 1.0' in metrics
        # What was refreshed is there after a restart, without network.
        assert load(path).warnings == ()
        server.set(document(OTHER))
        server.publish()
        async with running(load(path)) as at:
            await asked(at, 403)
