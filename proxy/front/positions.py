"""A client's position in a list of tags: after a tag, or at the upstream's own continuation.

A continuation goes through the client as text and comes back from anywhere. So it is only ever the query of a request
to the same list of the same upstream, checked to be one, and counted, so that no list goes on for ever.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from urllib.parse import urlencode

from proxy.oci.errors import MalformedError, UnavailableError
from proxy.oci.reference import check_tag, is_tag
from proxy.upstream.links import QUERY_CHARS_MAX, Continuation

# Of 60,000 tags in pages of ten, which is the smallest that is known, and some.
PAGES_MAX = 10_000
_TEXT = re.compile(rf"([0-9]{{1,5}})\.([A-Za-z0-9_-]{{1,{QUERY_CHARS_MAX * 4 // 3 + 1}}})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Position:
    """`last` is where the page begins, None for the first; `page` counts pages by continuation."""

    last: str | Continuation | None = None
    page: int = 0

    @classmethod
    def parse(cls, last: str | None, continuation: str | None) -> "Position":
        """Read what a client asks for; raises MalformedError for what is neither a tag nor from a Link of ours."""
        if not continuation:
            return cls(check_tag(last)) if last else cls()
        found = _TEXT.fullmatch(continuation)
        if found is None:
            raise MalformedError("continuation= is not from a Link of this proxy")
        try:
            query = urlsafe_b64decode(found[2] + "=" * (-len(found[2]) % 4)).decode("ascii")
        except ValueError:
            raise MalformedError("continuation= is not from a Link of this proxy") from None
        return cls(Continuation(query), int(found[1]))

    def after(self, following: str | Continuation, n: str) -> dict[str, str]:
        """Return the query for the page that begins there; raises UnavailableError where there are too many pages.

        A tag is passed on as `last` where the list continues in the order of tags, and so ends; else pages are counted.
        """
        if self.page >= PAGES_MAX:
            raise UnavailableError(f"the list of tags has more than {PAGES_MAX} pages")
        if isinstance(following, Continuation):
            query = following.query
        elif self._is_before(following):
            return {"n": n, "last": following}
        else:
            query = urlencode({"n": n, "last": following})
        return {"n": n, "continuation": f"{self.page + 1}.{urlsafe_b64encode(query.encode()).decode().rstrip('=')}"}

    def _is_before(self, following: str) -> bool:
        here = self.last if self.last is not None else ""
        return is_tag(following) and isinstance(here, str) and here < following
