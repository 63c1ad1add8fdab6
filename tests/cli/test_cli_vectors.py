"""Every shared snapshot through `sealgate verify`, from the settings to the exit code, over HTTP."""

import asyncio
import json
import ssl
import threading
from contextlib import contextmanager
from functools import cache

import pytest
from support.snapshot import REGISTRY, all_cases, load_registry
from support.vectors import or_skipped

from proxy.cli import main as cli
from proxy.demo import registry as demo
from proxy.oci.digest import Digest
from proxy.verdict import Reason

# The bytes of these are not what was asked for: nothing was found out about the image.
UNDECIDED = {"tampered-manifest-mismatch-image"}


@pytest.fixture(scope="module")
def loop():
    """Serve on a thread: the command has an event loop of its own."""
    made = asyncio.new_event_loop()
    thread = threading.Thread(target=made.run_forever)
    thread.start()
    yield made
    made.call_soon_threadsafe(made.stop)
    thread.join()
    made.close()


@pytest.fixture(scope="module", autouse=True)
def certificates():
    """Read this machine's certificates once: that takes as long as all else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", cache(ssl.create_default_context))
        yield


@contextmanager
def serving(loop, snapshot, *, referrers_api):
    """Serve a snapshot, with the digests that it says, right or wrong; yield the URL."""
    registry = demo.Registry(referrers_api=referrers_api)
    for name, content in snapshot.items():
        there = registry._repositories[name]
        there.manifests |= {digest: demo._Stored(*stored) for digest, stored in content["manifests"].items()}
        there.blobs |= content["blobs"]
        there.tags |= content["tags"]
    served = demo.serve(registry)
    url = asyncio.run_coroutine_threadsafe(served.__aenter__(), loop).result()
    try:
        yield url
    finally:
        asyncio.run_coroutine_threadsafe(served.__aexit__(None, None, None), loop).result()


def signer(case):
    """Write the snapshot's policy as a signer of the configuration."""
    policy = case.policy
    demanded = policy["tlog"] == "required"
    if policy["type"] == "key":
        lines = {"type": "cosign-key", "key_file": str(case.path / policy["key"]), "require_log": demanded}
    else:
        lines = {"type": "cosign-keyless", "issuer": policy["issuer"], "insecure_no_log": not demanded}
        name = "subject" if "subject" in policy else "subject_regex"
        lines[name.replace("regex", "pattern")] = policy[name]
    lines["require_timestamp"] = policy["tsa"] == "required"
    if "trusted_root" in policy and (policy["type"] == "keyless" or demanded or lines["require_timestamp"]):
        lines["trust_root"] = "own"
    if "signature_repository" in policy:
        lines["signature_repository"] = f"{REGISTRY}/{policy['signature_repository']}"
    tables = {"": lines, ".annotations": policy.get("annotations", {})}
    if "attestation" in policy:
        tables[".attestation"] = {"predicate": policy["attestation"]["predicateType"]}
    return "".join(_table(f"signers.release{name}", members) for name, members in tables.items() if members)


def configuration(case, url, state):
    root = case.policy.get("trusted_root")
    return "".join(
        (
            _table("server", {"state_dir": str(state), "default_upstream": REGISTRY}),
            _table(f'upstreams."{REGISTRY}"', {"url": url, "insecure_http": True}),
            _table("trust_roots.own", {"file": str(case.path / root)}) if root else "",
            signer(case),
            '[[rules]]\nname = "all"\nimages = ["**"]\nrequire = "release"\n',
        )
    )


def _table(name, members):
    # What JSON writes of texts and truth values, TOML reads.
    lines = (f"{json.dumps(key)} = {json.dumps(value)}\n" for key, value in members.items())
    return f"[{name}]\n{''.join(lines)}"


@pytest.mark.parametrize("referrers_api", [True, False], ids=["api", "tag"])
@pytest.mark.parametrize("case", or_skipped(all_cases()), ids=lambda case: case.name)
def test_case(case, referrers_api, loop, tmp_path, capsys):
    config = tmp_path / "sealgate.toml"
    image = f"{case.repository}@{case.digest}"
    with serving(loop, load_registry(case.path / "registry.json"), referrers_api=referrers_api) as url:
        config.write_text(configuration(case, url, tmp_path))
        code = cli.run(["verify", image, "--config", str(config), "--json"])
    out, err = capsys.readouterr()
    if case.name in UNDECIDED:
        assert (code, out) == (3, "")
        return
    seen = json.loads(out)
    assert (code, seen["verdict"]) in {(0, "accepted"), (1, "refused")}, err
    assert (code == 0) == case.accept or case.tolerated
    check(case, seen)


def check(case, seen):
    """Whoever accepts says who signed; whoever refuses says why, in public words."""
    assert Digest.parse(seen["digest"]) == case.digest
    if seen["verdict"] == "accepted":
        assert seen["evidence"]
        for one in seen["evidence"]:
            assert one["issuer"] == case.policy.get("issuer")
            assert one["subject"] == case.policy.get("subject", one["subject"])
            assert (one["signed_at"] is not None) >= (case.policy["type"] == "keyless")
    else:
        assert seen["rejections"]
        assert {one["reason"] for one in seen["rejections"]} <= {reason.value for reason in Reason}
    for one in seen["candidates"]:
        assert one["counted"] == (one["rejection"] is None) == (one["evidence"] is not None)
