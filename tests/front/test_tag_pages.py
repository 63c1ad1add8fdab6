"""Lists of tags, as registries page them: the client follows our Links to the end, and no further."""

import json
from base64 import urlsafe_b64encode
from urllib.parse import parse_qs

import pytest
from aiohttp import web
from support.stack import listening, running

from proxy.front.positions import PAGES_MAX, Position
from proxy.oci.errors import MalformedError, UnavailableError
from proxy.upstream.links import Continuation

PAGES = [["a", "b"], ["c"], [], ["-odd", "d"]]
ALL = ["a", "b", "c", "d"]


def by_last(number, url, path):
    return f"{path}?n=2&last={['b', 'c', 'c0'][number]}"


def opaque(words):
    return lambda number, url, path: words.format(number=number, url=url, path=path, text="a/+=%2F%20" * 3)


# How a registry names the page after this one: its query comes back as it is.
LINKS = {
    "by last": by_last,
    "by a token": opaque("{path}?next_page=p{number}"),
    "by an opaque last": opaque("{path}?n=2&last=%2B{number}%3D%3D"),
    "by last, in an order of its own": lambda number, _, path: f"{path}?n=2&last={['z', 'y', 'x'][number]}",
    "absolute": opaque("{url}{path}?n=2&next_page={number}"),
    "absolute, as behind a front server": opaque("https://127.0.0.1:5000/v2/other/tags/list?token={number}"),
    "with characters of all kinds": opaque("{path}?token={number}{text}&x=[1]|2"),
    "a query alone": opaque("?page={number}"),
}


def registry(link, seen):
    """Serve PAGES; `link` names the next one."""

    async def handle(request):
        seen.append(request.path_qs)
        url = f"http://{request.host}"
        links = [link(number, url, request.path) for number in range(len(PAGES) - 1)]
        query = request.raw_path.partition("?")[2]
        number = next((n + 1 for n, one in enumerate(links) if one.partition("?")[2] == query), 0)
        headers = {"Link": f'<{links[number]}>; rel="next"'} if number < len(links) else {}
        return web.json_response({"name": "x", "tags": PAGES[number]}, headers=headers)

    return handle


async def follow(stack, path, most=20):
    """Return all tags, and the Links that led to them."""
    tags, links = [], []
    for _ in range(most):
        status, response, body = await stack.get(path)
        assert status == 200, body
        tags += json.loads(body)["tags"]
        link = response.headers.get("Link")
        if link is None:
            return tags, links
        assert link.startswith("</v2/team/app/tags/list?")
        assert link.endswith('>; rel="next"')
        path = link[1 : link.index(">")]
        links.append(path)
    raise AssertionError("the list has no end")


@pytest.mark.parametrize("name", LINKS)
@pytest.mark.parametrize("ns", ["", "&ns=docker.io"])
async def test_a_list_is_followed_to_its_end(name, ns):
    seen = []
    async with listening(registry(LINKS[name], seen)) as url, running(url) as stack:
        tags, links = await follow(stack, f"/v2/team/app/tags/list?n=2{ns}")
    assert (tags, len(links), len(seen)) == (ALL, 3, 4)
    assert all(parse_qs(link.partition("?")[2]).get("ns") == (["docker.io"] if ns else None) for link in links)
    assert sum("continuation" in link for link in links) == {"by last": 0, "by last, in an order of its own": 2}.get(
        name, 3
    )


LOOPS = {
    "to itself": lambda number: "p=1",
    "of two": lambda number: f"p={number % 2}",
    "by last": lambda number: f"n=1000&last={'ab'[number % 2]}",
}


@pytest.mark.parametrize("name", LOOPS)
async def test_no_list_goes_on_for_ever(name, monkeypatch):
    monkeypatch.setattr("proxy.front.positions.PAGES_MAX", 5)
    asked = 0

    async def handle(_request):
        nonlocal asked
        asked += 1
        return web.json_response({"tags": ["a"]}, headers={"Link": f'<?{LOOPS[name](asked)}>; rel="next"'})

    async with listening(handle) as url, running(url) as stack:
        with pytest.raises(AssertionError, match="UNAVAILABLE"):
            await follow(stack, "/v2/team/app/tags/list")
    assert asked <= 8


FAULTS = {
    "no JSON": (b"nonsense", {}),
    "no list": (b'{"tags": "a"}', {}),
    "duplicate": (b'{"tags": [], "tags": []}', {}),
    "another host": (b'{"tags": ["a"]}', {"Link": '<http://other.test/?last=a>; rel="next"'}),
    "unreadable Link": (b'{"tags": ["a"]}', {"Link": '<http://[>; rel="next"'}),
    "empty": (b"", {}),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_an_upstreams_fault_is_not_said_to_be_the_clients(fault):
    body, headers = FAULTS[fault]

    async def handle(_request):
        return web.Response(body=body, headers=headers)

    async with listening(handle) as url, running(url) as stack:
        status, _, answer = await stack.get("/v2/team/app/tags/list")
    assert (status, json.loads(answer)["errors"][0]["code"]) == (503, "UNAVAILABLE")


SIGNATURES = [f"sha256-{number:064x}.sig" for number in range(60_000)]


@pytest.mark.parametrize(
    "tags",
    [["a"] * 60_000, SIGNATURES, ["v1", "a/../b", "x" * 129, "", "ä", "v2\n"], ["v1", None, 1, ["a"], {"a": "b"}]],
    ids=["many", "many of signatures", "no tags", "no texts"],
)
async def test_neither_many_tags_nor_odd_ones_lose_a_list(tags):
    async def handle(_request):
        return web.json_response({"tags": tags})

    async with listening(handle) as url, running(url) as stack:
        status, _, body = await stack.get("/v2/team/app/tags/list")
    assert (status, json.loads(body)["tags"]) == (200, tags if len(tags) > 10 else ["v1"])


@pytest.mark.parametrize(
    ("n", "asked"), [("0", "0"), ("7", "7"), ("1000", "1000"), ("9" * 7, "1000"), (str(2**63 - 1), "1000")]
)
async def test_a_client_may_want_any_number_of_tags(n, asked):
    seen = []
    async with listening(registry(by_last, seen)) as url, running(url) as stack:
        assert (await stack.get(f"/v2/team/app/tags/list?n={n}"))[0] == 200
    assert seen == [f"/v2/team/app/tags/list?n={asked}"]


@pytest.mark.parametrize("n", ["", "-1", "+1", "1.0", "x", "9" * 20, "%D9%A1"])
async def test_what_is_no_number_of_tags(n):
    seen = []
    async with listening(registry(by_last, seen)) as url, running(url) as stack:
        assert (await stack.get(f"/v2/team/app/tags/list?n={n}"))[0] == 400
    assert seen == []


def token(query, page="1"):
    return f"{page}.{urlsafe_b64encode(query.encode()).decode().rstrip('=')}"


BAD_TOKENS = [
    "x",
    "1",
    "1.",
    ".YQ",
    "-1.YQ",
    "1.YQ==",
    "1.Y",
    "1.%2F%2F",
    "999999.YQ",
    token("a b"),
    token("a\r\nb"),
    token("ä"),
]


@pytest.mark.parametrize("text", [*BAD_TOKENS, token("a" * 4097)])
async def test_what_does_not_come_from_our_links_is_the_clients_fault(text):
    seen = []
    async with listening(registry(by_last, seen)) as url, running(url) as stack:
        status, _, body = await stack.get(f"/v2/team/app/tags/list?continuation={text}")
    assert (status, json.loads(body)["errors"][0]["code"]) == (400, "NAME_INVALID")
    assert seen == []


@pytest.mark.parametrize(
    "query", ["x=1", "/../../manifests/v1", "https://other.test/", "//other.test/", "@other.test", "?", "a=b&n=5"]
)
async def test_what_a_client_makes_up_is_a_query_of_the_same_list_and_nothing_else(query):
    seen = []
    async with listening(registry(by_last, seen)) as url, running(url) as stack:
        assert (await stack.get(f"/v2/team/app/tags/list?continuation={token(query)}"))[0] == 200
    assert [one.partition("?")[0] for one in seen] == ["/v2/team/app/tags/list"]


def test_positions():
    assert Position.parse(None, None) == Position.parse("", "") == Position()
    assert Position.parse("v1", None) == Position("v1")
    assert Position("a").after("b", "5") == {"n": "5", "last": "b"}
    for position, following in ((Position("b"), "a"), (Position("b"), "a+"), (Position(Continuation("x=1"), 1), "c")):
        told = position.after(following, "5")
        back = Position.parse(None, told["continuation"])
        assert (back.last.last, back.page) == (following, position.page + 1) or "+" in following
    with pytest.raises(UnavailableError):
        Position(Continuation("x=1"), PAGES_MAX).after("c", "5")
    with pytest.raises(MalformedError):
        Position.parse("-", None)
