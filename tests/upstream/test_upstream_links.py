"""What registries write of the next page of a list."""

import pytest
from support.faulty import Reply, faulty
from support.upstreams import REPOSITORY, upstream_at

from proxy.oci.errors import MalformedError, UnavailableError
from proxy.upstream.links import Continuation

TAGS = "/v2/team/app/tags/list"


@pytest.mark.parametrize("query", ["next_page=gAAA", "n=2&last=%2F%2B==", "last=a+b&x=[1]", "token=a%20b"])
async def test_a_continuation_is_sent_as_it_came(query):
    async with faulty({TAGS: Reply(body=b"{}")}) as (server, url), upstream_at(url) as upstream:
        assert await upstream.tags(REPOSITORY, 7, Continuation(query)) == ([], None)
    assert server.seen[0].target == f"{TAGS}?{query}"


@pytest.mark.parametrize(
    ("link", "text"),
    [
        ("https://other.test/v2/team/app/tags/list?last=b", "not its own"),
        ("//other.test?last=b", "not its own"),
        ("?n=2&last=a", "the page that was asked for"),
        ("/v2/team/app/tags/list", "cannot be read"),
        ("", "the page that was asked for"),
        ("http://[::1?last=b", "cannot be read"),
        ("?last=\x01", "cannot be read"),
        ("?last=" + "a" * 5000, "cannot be read"),
    ],
)
async def test_no_next_page(link, text):
    answers = {TAGS: Reply(200, {"Link": f'<{link}>; rel="next"'}, b'{"tags": ["a"]}')}
    async with faulty(answers) as (_, url), upstream_at(url) as upstream:
        with pytest.raises(UnavailableError, match=text):
            await upstream.tags(REPOSITORY, 2, "a")


@pytest.mark.parametrize(
    ("link", "following"),
    [
        ('<?last=b>; rel="next"', "b"),
        ("<?last=b>; rel=next", "b"),
        ("<?last=b>;rel=NEXT;title=x", "b"),
        ('<?last=b>; title="a, b"; rel="x next"', "b"),
        ('<?last=a>; rel="prev", <?last=b>; rel="next"', "b"),
        ('<?last=b>; rel="prev"', None),
        ("<?last=b>", "b"),
        ("<?last=b>; title=x", "b"),
        ("<https://docs.test/tags>, <?last=b>, <?last=c>", "b"),
        ("<https://docs.test/tags>", None),
        ("<?last=b>; rel='next'", "b"),
        ("< ?last=b >; rel=next;", "b"),
        ('<?last=b>; title="a \\" b"; rel="next"', "b"),
        ('<?last=a>, <?last=b>; rel="next"', "b"),
        ('<?last=a>; title="; rel=next"; rel="prev", <?last=b>; rel="next"', "b"),
        ('<?last=a>; title="; rel=next"; rel="prev"', None),
        ('<?last=a>; rel="prev"; rel="next"', None),
        ("<?last=a>; rel", None),
        ('<?last=a>; rel=""', None),
        ("?last=b; rel=next", None),
    ],
)
async def test_how_links_are_written(link, following):
    async with faulty({TAGS: Reply(200, {"Link": link}, b'{"tags": ["a"]}')}) as (_, url), upstream_at(url) as upstream:
        assert await upstream.tags(REPOSITORY) == (["a"], following)


@pytest.mark.parametrize("query", ["", "a b", "a#b", "a\r\nHost: x", "ä", '"', "a" * 4097])
def test_what_is_no_query(query):
    with pytest.raises(MalformedError):
        Continuation(query)
