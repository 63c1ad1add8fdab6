"""The next page of a list: `Link: <...>; rel="next"` (RFC 8288; distribution-spec 1.1, Listing Tags).

Registries page by `last`, by tokens of their own (`next_page`, `nextToken`), and write relative or absolute URLs, some
with an address at which only they know themselves. Only the query is taken: it is sent to where the first page is.
"""

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl

from aiohttp import ClientResponse, hdrs
from yarl import URL

from proxy.oci.errors import MalformedError, UnavailableError

# Tokens in use have some hundred characters; a request line may have 8190 at common front servers.
QUERY_CHARS_MAX = 4096
# RFC 3986, section 3.4, without the quotes that RFC 8288 needs none of.
_QUERY = re.compile(r"[A-Za-z0-9\-._~!$&'()*+,;=:@/?%\[\]|]+", re.ASCII)
_VALUE = r"(?:\"(?:[^\"\\]|\\.)*\"|[^\s;,\"]*)"
_LINK = re.compile(rf"<(?P<target>[^<>]*)>(?P<parameters>(?:\s*;\s*[^;,=\s]+(?:\s*=\s*{_VALUE})?)*)")
_PARAMETER = re.compile(rf";\s*(?P<name>[^;,=\s]+)(?:\s*=\s*(?P<value>{_VALUE}))?")


@dataclass(frozen=True, slots=True)
class Continuation:
    """The query for the next page, exactly as the registry wrote it; raises MalformedError for what is no query."""

    query: str

    def __post_init__(self) -> None:
        """Check what may come back from anywhere."""
        if len(self.query) > QUERY_CHARS_MAX or not _QUERY.fullmatch(self.query):
            raise MalformedError("the continuation of the list is not the query of a URL")

    @property
    def last(self) -> str | None:
        """The tag after which the next page begins, where the query says nothing else that is not said anyway."""
        pairs = parse_qsl(self.query, keep_blank_values=True)
        values = dict(pairs)
        is_plain = len(values) == len(pairs) and values.keys() <= {"n", "last"} and "+" not in self.query
        return (values.get("last") or None) if is_plain else None


def next_query(response: ClientResponse, server: str, asked: URL) -> Continuation | None:
    """Return what to ask for the next page with, None where there is none.

    UnavailableError where it is at another host, cannot be read, or is what was asked for: such a list has no end.
    """
    target = next_target(response)
    if target is None:
        return None
    try:
        url = asked.join(URL(target, encoded=True))
        following = Continuation(url.raw_query_string)
    except ValueError:  # MalformedError is one
        raise UnavailableError(f"{server} names a next page that cannot be read") from None
    if url.host != asked.host:
        raise UnavailableError(f"{server} names a next page that is not its own")
    if following.query == asked.raw_query_string:
        raise UnavailableError(f"{server} names the page that was asked for as the next one")
    return following


def with_query(url: URL, query: str) -> URL:
    """Return the URL with a query exactly as it is written."""
    return URL(f"{url.with_query(None)}?{query}", encoded=True)


def next_target(response: ClientResponse) -> str | None:
    """Return the target of the first `Link` whose relations include `next`, as it is written; None where none has.

    A link with a query and without any relation counts where no other does: containers/image and go-containerregistry
    look at no relation, and a list must not end in silence where theirs goes on.
    """
    unnamed = None
    for header in response.headers.getall(hdrs.LINK, []):
        for link in _LINK.finditer(header):
            relations = _relations(link["parameters"])
            if relations is None:
                unnamed = unnamed or (link["target"].strip() if "?" in link["target"] else None)
            elif "next" in relations:
                return link["target"].strip()
    return unnamed


def _relations(parameters: str) -> list[str] | None:
    """Return the relations of a link, in lower case; None where it states none.

    The first `rel` counts (RFC 8288, section 3.3).
    """
    for one in _PARAMETER.finditer(parameters):
        if one["name"].lower() == "rel":
            return (one["value"] or "").strip("\"'").lower().split()
    return None
