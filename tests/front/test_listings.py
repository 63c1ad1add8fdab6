"""Listings that whoever may push can make megabytes long."""

import asyncio
import json
import threading

import pytest

from proxy.formats import api
from proxy.front import listings
from proxy.front.listings import Referrers
from proxy.front.routes import Asked, Kind
from proxy.oci.digest import Digest
from proxy.oci.errors import NotFoundError, UnavailableError
from proxy.oci.manifest import OCI_MANIFEST, Descriptor, Manifest
from proxy.oci.reference import Reference, Repository
from proxy.verdict import Failure, Reason

APP = Repository.of("docker.io", "team/app")
SUBJECT = Digest.of(b"image")
FOUND = [Descriptor(OCI_MANIFEST, Digest.of(b"%d" % n), n, artifact_type=f"application/{n % 2}") for n in range(10)]


class Flooded:
    """Upstreams with referrers of one image."""

    def __init__(self) -> None:
        self.asked = 0
        self.fault: Exception | None = None
        self.cut: Failure | None = None

    async def manifest(self, reference: Reference) -> Manifest:
        raise NotFoundError(str(reference))

    async def referrers(self, repository: Repository, digest: Digest) -> api.Referrers:
        assert (repository, digest) == (APP, SUBJECT)
        self.asked += 1
        await asyncio.sleep(0)
        if self.fault:
            raise self.fault
        return api.Referrers(tuple(FOUND), self.cut)


def ask(artifact_type: str | None = None) -> Asked:
    query = {} if artifact_type is None else {"artifactType": artifact_type}
    return Asked("GET", Kind.REFERRERS, "team/app", str(SUBJECT), query)


async def test_many_who_ask_at_once_cause_one_request_and_one_writing_each_beside_the_loop(monkeypatch):
    written = []
    index_of = listings._index

    def write(*args: object) -> bytes:
        written.append(threading.current_thread())
        return index_of(*args)

    monkeypatch.setattr(listings, "_index", write)
    upstreams = Flooded()
    async with asyncio.TaskGroup() as tasks:
        referrers = Referrers(upstreams, tasks)
        kinds = [None, "application/0", "application/2"] * 20
        answers = await asyncio.gather(*(referrers.response(ask(kind), APP) for kind in kinds))
        await referrers.response(ask(), APP)
    assert [len(json.loads(answer.body)["manifests"]) for answer in answers] == [10, 5, 0] * 20
    assert upstreams.asked == 2
    assert len(written) == 4
    assert threading.main_thread() not in written


async def test_all_hear_of_an_outage():
    upstreams = Flooded()
    upstreams.fault = UnavailableError("the registry is down")
    async with asyncio.TaskGroup() as tasks:
        referrers = Referrers(upstreams, tasks)
        for _ in range(2):
            with pytest.raises(UnavailableError):
                await referrers.response(ask(), APP)
        upstreams.fault = NotFoundError("no such API")
        answer = await referrers.response(ask(), APP)
    assert json.loads(answer.body)["manifests"] == []


async def test_part_of_a_list_is_not_served_as_the_list():
    upstreams = Flooded()
    upstreams.cut = Failure(Reason.OVER_LIMIT, "more than 20 pages")
    async with asyncio.TaskGroup() as tasks:
        with pytest.raises(UnavailableError, match="more than 20 pages"):
            await Referrers(upstreams, tasks).response(ask(), APP)
