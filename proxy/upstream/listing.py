"""Pages of referrers and tags (distribution-spec 1.1, Listing Referrers, Listing Tags)."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from aiohttp import ClientResponse
from yarl import URL

from proxy.formats.api import Referrers
from proxy.oci.digest import Digest
from proxy.oci.errors import MalformedError, NotFoundError, OverLimitError, UnavailableError
from proxy.oci.manifest import OCI_INDEX, Descriptor, Manifest
from proxy.oci.reference import is_tag
from proxy.oci.strict_json import loads_object
from proxy.upstream.answers import media_type, off_the_loop
from proxy.upstream.blobs import OK
from proxy.upstream.links import next_target
from proxy.upstream.origins import origin_of
from proxy.upstream.transport import Request, Transport
from proxy.verdict import Failure, Reason

# All pages of referrers together. Registries cut pages at 100 to 1000 entries, which is some 300 KiB of descriptors.
LISTING_BYTES_MAX = 4 * 1024 * 1024
# One page of tags. Some registries list all whatever is asked for: of 60,000 that are as long as tags may be (128
# characters; one of a signature has 75), each a comma and a text.
TAGS_BYTES_MAX = 8 * 1024 * 1024
TAG_TOKENS_MAX = 100_000
# 20 pages of 100 hold twice as many referrers as cosign takes layers (1000); a flood of them must not hold a pull.
REFERRER_PAGES_MAX = 20
# After so many no further page is asked for where the list takes longer than LISTING_SECONDS: how many there are is up
# to those who push, how long a page takes is not. More are not looked at anyway (`formats.cosign.discover`), and the
# rest of a search (12 s unless configured) is left for what the list names. With fewer it goes on: only the registry is
# slow.
REFERRERS_ENOUGH = 64
LISTING_SECONDS = 2.0


async def all_referrers(transport: Transport, first: Request, server: str, seconds: float) -> Referrers:
    """Read page after page until the list ends, or is cut by a limit or by a page that cannot be read.

    NotFoundError where there is no first page, UnavailableError for an outage on the way; `seconds` are for each page.
    """
    found: list[Descriptor] = []
    cut = None
    try:
        async for page in _referrer_pages(transport, first, server, seconds):
            found += page
    except OverLimitError as err:
        cut = Failure(Reason.OVER_LIMIT, f"{server}'s {first.what}: {err}")
    except MalformedError as err:
        cut = Failure(Reason.MALFORMED, f"{server}'s {first.what}: {err}")
    return Referrers(tuple(found), cut)


async def _referrer_pages(
    transport: Transport, first: Request, server: str, seconds: float
) -> AsyncIterator[Sequence[Descriptor]]:
    request, left = first, LISTING_BYTES_MAX
    loop = asyncio.get_running_loop()
    begun, read = loop.time(), 0
    for _ in range(REFERRER_PAGES_MAX):
        response, body = await transport.fetch(request, left, seconds)
        if response.status != OK or media_type(response) != OCI_INDEX:
            if request is first:
                raise NotFoundError(f"{server} has no referrers API")
            raise MalformedError("a page that it names is not there")
        left -= len(body)
        if left < 0:
            raise OverLimitError(f"longer than {LISTING_BYTES_MAX} bytes")
        found = await off_the_loop(_read_referrers, body)
        yield found
        read += len(found)
        following = next_page(response, server, origin_of(first.url))
        if following is None:
            return
        if read >= REFERRERS_ENOUGH and loop.time() - begun > LISTING_SECONDS:
            raise OverLimitError(f"more than the {read} that are read in {LISTING_SECONDS:g} s")
        request = replace(first, url=following)
    raise OverLimitError(f"more than {REFERRER_PAGES_MAX} pages")


def next_page(response: ClientResponse, server: str, origin: URL) -> URL | None:
    """Return the target of `Link: <...>; rel="next"`; an UnavailableError where it is no URL of the registry.

    Scheme and port are the registry's own: behind a front server it may not know how it is reached.
    """
    try:
        target = next_target(response)
        url = response.url.join(URL(target)) if target is not None else None
        foreign = url is not None and origin_of(url).host != origin.host
    except ValueError:
        foreign = True
    if foreign:
        raise UnavailableError(f"{server} names a next page that is not its own")
    return URL(f"{origin}{url.raw_path_qs}", encoded=True) if url is not None else None


def _read_referrers(body: bytes) -> Sequence[Descriptor]:
    return Manifest.parse(Digest.of(body), OCI_INDEX, body).children


def read_tags(body: bytes) -> list[str]:
    """Read one page of the tags, `null` where there are none; raises MalformedError.

    What is no tag is left out: it cannot be pulled, and one that was pushed must not hide the others.
    """
    tags = loads_object(body, "the list of tags", TAG_TOKENS_MAX).get("tags") or []
    if not isinstance(tags, list):
        raise MalformedError("the list of tags is not a list")
    return [tag for tag in tags if isinstance(tag, str) and is_tag(tag)]
