"""A mirror that lost the signatures, and the registry that it stands for: real registries, judged as a pull is."""

from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
from support.fakes import Clock
from support.stack import KEY, STRANGER, no_sleep, rule, sign

from proxy.demo.images import image
from proxy.demo.registry import Registry, serve
from proxy.gate.judge import Examination, Judge
from proxy.oci.reference import Repository
from proxy.policy.evaluate import Lifetimes
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.retry import Backoff
from proxy.upstream.table import Upstreams
from proxy.verdict import Accepted, Reason, Refused, Subject, Undetermined

APP = image("app")
SUBJECT = Subject(Repository.of("docker.io", "team/app"), APP.digest, "v1")
KINDS = ["classic", "classic-referrer", "bundle"]
DOWN = "http://127.0.0.1:1"


def signed(registry: Registry, kind: str = "classic", key=KEY) -> None:
    sign(registry, "team/app", APP.media_type, APP.body, key=key, kind=kind)


@dataclass
class Places:
    """The mirror, which has the image, and its registry; where one is None, nothing listens."""

    mirror: Registry | None
    canonical: Registry | None

    async def examine(self) -> Examination:
        clock = Clock()
        async with AsyncExitStack() as stack:
            at, beyond = [
                await stack.enter_async_context(serve(one)) if one else DOWN for one in (self.mirror, self.canonical)
            ]
            endpoint = Endpoint("docker.io", at, signatures=Endpoint("docker.io", beyond))
            backoff = Backoff(lambda: 0.0, no_sleep)
            ups = await stack.enter_async_context(Upstreams([endpoint], backoff))
            judge = Judge(ups, clock, Lifetimes(), seconds=10, at_once=1, canonical=ups.canonical)
            return await judge.examine(rule(), SUBJECT)


def places() -> Places:
    made = Places(Registry(), Registry())
    for one in (made.mirror, made.canonical):
        APP.add_to(one, "team/app", "v1")
    return made


@pytest.mark.parametrize("kind", KINDS)
async def test_signatures_of_the_canonical_registry_count(kind):
    both = places()
    signed(both.canonical, kind)
    verdict = (await both.examine()).verdict
    assert isinstance(verdict, Accepted)
    assert verdict.evidence[0].signature.endswith(" at the canonical registry")


async def test_those_of_a_stranger_do_not():
    both = places()
    signed(both.canonical, key=STRANGER)
    verdict = (await both.examine()).verdict
    assert isinstance(verdict, Refused)
    assert verdict.rejections[0].signature.endswith(".sig at the canonical registry")


async def test_without_any_the_image_is_not_signed():
    verdict = (await places().examine()).verdict
    assert isinstance(verdict, Refused)
    assert verdict.rejections[0].reason is Reason.NOT_SIGNED


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("true_one", ["mirror", "canonical"])
async def test_a_decoy_in_one_place_hides_nothing_in_the_other(kind, true_one):
    """A28: a mirror keeps an older content of the tag, or somebody signs in the one place where they may push."""
    both = places()
    for name in ("mirror", "canonical"):
        signed(getattr(both, name), kind, key=KEY if name == true_one else STRANGER)
    examination = await both.examine()
    assert isinstance(examination.verdict, Accepted)
    assert len(examination.candidates) == 2


@pytest.mark.parametrize("kind", KINDS)
async def test_what_lies_in_both_is_one_candidate(kind):
    registry = places().mirror
    signed(registry, kind)
    examination = await Places(registry, registry).examine()
    assert isinstance(examination.verdict, Accepted)
    (candidate,) = examination.candidates
    assert "canonical" not in candidate.signature.location


async def test_an_unreached_canonical_registry_leaves_it_open():
    both = places()
    both.canonical = None
    verdict = (await both.examine()).verdict
    assert isinstance(verdict, Undetermined)
    assert verdict.cause.startswith("the canonical registry: ")


@pytest.mark.parametrize(("down", "up"), [("canonical", "mirror"), ("mirror", "canonical")])
async def test_evidence_in_one_place_is_enough_when_the_other_is_down(down, up):
    both = places()
    signed(getattr(both, up))
    setattr(both, down, None)
    assert isinstance((await both.examine()).verdict, Accepted)


async def test_an_unreached_mirror_leaves_it_open():
    both = places()
    both.mirror = None
    assert isinstance((await both.examine()).verdict, Undetermined)
