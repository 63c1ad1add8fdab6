"""Verification is off the event loop, in one thread: more would only keep the loop waiting longer."""

import asyncio
import threading
from dataclasses import dataclass, field
from datetime import timedelta

from support.fakes import Clock, FakeRegistry, FakeSigner, Notebook, image_body
from support.policy import rule

from proxy.gate import Judge
from proxy.oci.reference import Repository
from proxy.policy.evaluate import Lifetimes
from proxy.verdict import Accepted, Subject

APP = Repository.of("docker.io", "team/app")
IMAGES = 20


@dataclass(frozen=True)
class Watched(FakeSigner):
    """A signer that notes which thread it works in."""

    threads: set[int] = field(default_factory=set, compare=False)

    def verify(self, subject, signature, now):
        self.threads.add(threading.get_ident())
        return super().verify(subject, signature, now)


async def test_all_images_are_verified_in_one_thread_that_is_not_the_loops():
    registry, notebook = FakeRegistry(), Notebook()
    signer = Watched("release", notebook)
    lifetimes = Lifetimes(accepted=timedelta(hours=1), refused=timedelta(seconds=30))
    judge = Judge(registry, Clock(), lifetimes, seconds=5, at_once=IMAGES)
    digests = [registry.add(APP, image_body(f"image {number}")) for number in range(IMAGES)]
    notebook.signed.update(dict.fromkeys(digests, ("release",)))
    wanted = rule("release", release=signer)
    seen = await asyncio.gather(*(judge.examine(wanted, Subject(APP, digest)) for digest in digests))
    assert all(isinstance(one.verdict, Accepted) for one in seen)
    assert len(signer.threads) == 1
    assert threading.get_ident() not in signer.threads
