"""Pages of referrers and tags (distribution-spec 1.1, Listing Referrers, Listing Tags; RFC 8288 for `Link`)."""

from collections.abc import Sequence

from aiohttp import ClientResponse
from yarl import URL

from proxy.oci.digest import Digest
from proxy.oci.errors import MalformedError, UnavailableError
from proxy.oci.manifest import OCI_INDEX, Descriptor, Manifest
from proxy.oci.reference import check_tag
from proxy.oci.strict_json import loads_object


def next_page(response: ClientResponse, server: str, origin: URL) -> URL | None:
    """Return the target of `Link: <...>; rel="next"`; an UnavailableError where it is no URL of the registry."""
    try:
        link = response.links.get("next")
        url = URL(link["url"]) if link is not None else None
        foreign = url is not None and url.origin() != origin
    except ValueError:
        foreign = True
    if foreign:
        raise UnavailableError(f"{server} names a next page that is not its own")
    return url


def read_referrers(body: bytes) -> Sequence[Descriptor]:
    """Read one page of the referrers API, which is an index; raises MalformedError."""
    return Manifest.parse(Digest.of(body), OCI_INDEX, body).children


def read_tags(body: bytes) -> list[str]:
    """Read one page of the tags, `null` where there are none; raises MalformedError."""
    tags = loads_object(body, "the list of tags").get("tags") or []
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise MalformedError("the list of tags is not a list of texts")
    return [check_tag(tag) for tag in tags]
