"""An image is judged as a pull would judge it, by what serves and by the command line."""

import time

from proxy.app.clock import clock
from proxy.config import Settings
from proxy.gate import Examination, Judge
from proxy.oci.reference import Reference
from proxy.upstream.retry import Backoff
from proxy.upstream.table import Upstreams
from proxy.verdict import Subject


async def verify(settings: Settings, reference: Reference) -> Examination:
    """Judge an image as a pull would, without listening, remembering or telling anybody.

    Raises oci.errors as `Gate.pull` does.
    """
    async with Upstreams(settings.upstreams.values(), Backoff(time.monotonic)) as upstreams:
        manifest = await upstreams.manifest(reference)
        rule = settings.rules.match(reference.repository)
        subject = Subject(reference.repository, manifest.digest, reference.tag)
        return await make_judge(settings, upstreams).examine(rule, subject)


def make_judge(settings: Settings, upstreams: Upstreams) -> Judge:
    """Make the judge that these settings ask for."""
    limits = settings.limits
    seconds = limits.verification_time.total_seconds()
    most = limits.verifications_at_once
    return Judge(upstreams, clock, settings.lifetimes, seconds=seconds, at_once=most, canonical=upstreams.canonical)
