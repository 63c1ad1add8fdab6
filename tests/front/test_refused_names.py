"""A repository that the policy refuses as a whole gives nothing out, and nothing of it is asked for upstream."""

import json
from collections.abc import Iterator

import pytest
from support.stack import rule, running, sign

from proxy.demo.images import image, index
from proxy.demo.registry import Registry, serve
from proxy.oci.digest import Digest
from proxy.policy.match import Pattern
from proxy.policy.model import InsecureAllowUnverified, Mode, Refuse, Rule
from proxy.policy.rules import Rules

SIGNED, CLASSIC = image("signed"), image("classic", docker=True)
MULTI = index([image("multi", architecture=one) for one in ("amd64", "arm64")])
REFUSE = Rule("nothing", (Pattern.parse("**"),), Refuse())
ELSEWHERE = Rule("elsewhere", (Pattern.parse("ghcr.io/**"),), InsecureAllowUnverified())
CI = {"Docker_Distribution_API_Version": "registry/2.0"}
# How the three kinds of clients ask for the same thing, and one that was told our own name.
WAYS: list[tuple[str, str, dict[str, str]]] = [
    ("/v2", "", {}),
    ("/v2", "?ns=docker.io", {}),
    ("/v2", "", CI),
    ("/v2/docker.io", "", {}),
]


def registry() -> Registry:
    made = Registry()
    for one, kind in ((SIGNED, "bundle"), (CLASSIC, "classic"), (MULTI, "bundle")):
        one.add_to(made, "library/app", one.digest.hex[:8])
        sign(made, "library/app", one.media_type, one.body, kind=kind)
    return made


def reads(made: Registry) -> Iterator[tuple[str, bytes | None]]:
    """Every path of the repository, and its content where it has one."""
    held = made._repositories["library/app"]
    for tag, digest in held.tags.items():
        yield f"manifests/{tag}", held.manifests[digest].body
    for digest, stored in held.manifests.items():
        yield f"manifests/{digest}", stored.body
        yield f"referrers/{digest}", None
    for digest, blob in held.blobs.items():
        yield f"blobs/{digest}", blob
    yield "tags/list", None


@pytest.mark.parametrize("said", [(REFUSE, "nothing", "by the rule"), (ELSEWHERE, "none", "no rule")])
@pytest.mark.parametrize("way", WAYS)
async def test_no_read_of_a_refused_repository_is_answered(said, way):
    (refusing, name, words), (prefix, query, headers) = said, way
    made = registry()
    async with serve(made) as url, running(url, refusing) as stack:
        for path, content in reads(made):
            for method in ("GET", "HEAD"):
                status, response, body = await stack.get(f"{prefix}/library/app/{path}{query}", method, **headers)
                answer = body.decode() + (response.reason or "") + response.headers.get("Location", "")
                assert content is None or content not in body, path
                assert "Docker-Content-Digest" not in response.headers
                assert f"refused by rule {name}: " in answer or method == "HEAD", (path, status)
                assert words in answer or method == "HEAD"
                assert status != 200 or body or method == "HEAD"
    assert made.requests == []


async def test_the_same_reads_of_a_repository_that_may_hold_accepted_images_are_answered():
    """The twin: nothing but the rule differs. Blobs come after their manifests."""
    made = registry()
    async with serve(made) as url, running(url) as stack:
        for path, content in reads(made):
            status, _, body = await stack.get(f"/v2/library/app/{path}")
            assert status == 200, path
            assert content in {None, body}
    assert made.requests != []


@pytest.mark.parametrize("mode", [Mode.WARN, Mode.AUDIT])
async def test_a_rule_that_only_warns_refuses_no_read(mode):
    made = registry()
    warning = Rule("nothing", (Pattern.parse("**"),), Refuse(), mode=mode)
    async with serve(made) as url, running(url, warning) as stack:
        for path, _ in reads(made):
            assert (await stack.get(f"/v2/library/app/{path}"))[0] == 200, path


@pytest.mark.parametrize(("prefix", "query", "headers"), WAYS)
async def test_what_was_served_is_refused_when_a_new_rule_refuses_its_repository(prefix, query, headers):
    """Warm responses, grants and marks of signature artifacts all end with the old rules."""
    made = registry()
    async with serve(made) as url, running(url, rule()) as stack:
        for path, _ in [*reads(made), *reads(made)]:
            assert (await stack.get(f"/v2/library/app/{path}"))[0] == 200
            await stack.get(f"{prefix}/library/app/{path}{query}", **headers)
        asked = len(made.requests)
        stack.use(Rules([REFUSE]))
        for path, content in reads(made):
            status, response, body = await stack.get(f"{prefix}/library/app/{path}{query}", **headers)
            assert content is None or content not in body, path
            assert "Docker-Content-Digest" not in response.headers
            assert "refused by rule nothing" in body.decode() + response.headers.get("Location", ""), (path, status)
    assert len(made.requests) == asked


async def test_the_refusal_is_told_with_the_rule():
    async with serve(registry()) as url, running(url, REFUSE) as stack:
        status, _, body = await stack.get(f"/v2/docker.io/library/app/blobs/{Digest.of(b'x')}")
        error = json.loads(body)["errors"][0]
        assert (status, error["code"]) == (403, "DENIED")
        assert "refused by rule nothing: refused by the rule, whoever signed it (id id" in error["message"]
        assert [(label, form) for _, label, form in stack.watch.refusals] == [("refused_by_rule", "plain")]
