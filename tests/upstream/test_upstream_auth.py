"""Who is shown what: the credentials, the tokens, and every server that must not see them."""

import asyncio
import base64
import json
import logging

import pytest
from support.faulty import Reply, faulty
from support.upstreams import REPOSITORY, MadeTime, upstream_at

from proxy.demo.images import image
from proxy.demo.registry import Registry, serve
from proxy.oci.digest import Digest
from proxy.oci.errors import MalformedError, UnavailableError, UpstreamDeniedError
from proxy.oci.manifest import OCI_MANIFEST
from proxy.oci.reference import Reference, Repository
from proxy.upstream.auth import TOKEN_CHARS_MAX
from proxy.upstream.endpoint import Credentials

IMAGE = image("web")
TAG = Reference(REPOSITORY, tag="v1")
NAME = REPOSITORY.path
MANIFEST = f"/v2/{NAME}/manifests/v1"
SECRET = Credentials("ann", "s3cret")
BASIC = "Basic " + base64.b64encode(b"ann:s3cret").decode()
GOOD = Reply(200, {"Content-Type": OCI_MANIFEST}, IMAGE.body)
SCOPE = f"repository:{NAME}:pull"


def challenge(text):
    return Reply(401, {"WWW-Authenticate": text})


def bearer(url, scope=SCOPE):
    return challenge(f'Bearer realm="{url}/token",service="reg",scope="{scope}"')


def token(value="t1", **members):
    return Reply(body=json.dumps({"token": value, **members}).encode())


def guarded(url, *tokens):
    """Answers of a registry that takes these tokens, and gives them out in this order."""
    answers = {MANIFEST: [bearer(url)], "/token": [token(value) for value in tokens]}
    return answers | {f"{MANIFEST} Bearer {value}": [GOOD] for value in tokens}


AUTH = {
    "anonymous": ({}, None),
    "anonymous token": ({"token_auth": True}, None),
    "basic": ({"credentials": ("ann", "s3cret")}, SECRET),
    "token": ({"token_auth": True, "credentials": ("ann", "s3cret")}, SECRET),
}


@pytest.mark.parametrize("case", AUTH)
async def test_each_way_to_authenticate(case):
    options, credentials = AUTH[case]
    registry = Registry(**options)
    for name in (NAME, "team/other"):
        IMAGE.add_to(registry, name, "v1")
    other = Repository(REPOSITORY.registry, "team/other")
    async with serve(registry) as url, upstream_at(url, credentials=credentials) as upstream:
        assert (await upstream.manifest(TAG)).digest == IMAGE.digest
        assert await upstream.resolve(TAG) == IMAGE.digest
        assert (await upstream.manifest(Reference(other, tag="v1"))).digest == IMAGE.digest
        async with upstream.open_blob(other, Digest.of(IMAGE.blobs[0])) as stream:
            assert stream.status == 200
    asked = [path for _, path in registry.requests]
    assert asked.count("/token") == (2 if "token" in case else 0)
    assert asked.count(MANIFEST) == (2 if case == "anonymous" else 3)
    assert asked.count("/v2/team/other/manifests/v1") == 1  # the challenge was remembered


@pytest.mark.parametrize(
    ("options", "credentials", "text"),
    [
        ({"credentials": ("ann", "s3cret")}, None, "asks for a user name and password, and none is configured"),
        ({"credentials": ("ann", "s3cret")}, Credentials("ann", "wrong"), "registry.test refuses"),
        ({"token_auth": True, "credentials": ("ann", "s3cret")}, None, "the token service 127.0.0.1 refuses us"),
        ({"token_auth": True, "credentials": ("ann", "s3cret")}, Credentials("ann", "wrong"), "the token service"),
    ],
)
async def test_wrong_credentials_are_denied(options, credentials, text):
    registry = Registry(**options)
    IMAGE.add_to(registry, NAME, "v1")
    async with serve(registry) as url, upstream_at(url, credentials=credentials) as upstream:
        for _ in range(2):
            with pytest.raises(UpstreamDeniedError, match=text):
                await upstream.manifest(TAG)
    assert len(registry.requests) <= 5


async def test_concurrent_requests_share_one_token_request():
    registry = Registry(token_auth=True)
    IMAGE.add_to(registry, NAME, "v1")
    async with serve(registry) as url, upstream_at(url) as upstream:
        found = await asyncio.gather(*(upstream.manifest(TAG) for _ in range(20)))
    assert {manifest.digest for manifest in found} == {IMAGE.digest}
    assert registry.requests.count(("GET", "/token")) == 1


@pytest.mark.parametrize(
    ("members", "seconds", "requests"),
    [
        ({}, 49, 1),
        ({}, 51, 2),
        ({"expires_in": 300}, 289, 1),
        ({"expires_in": 300}, 291, 2),
        ({"expires_in": 4}, 1, 1),
        ({"expires_in": 4}, 3, 2),
        ({"expires_in": 0}, 49, 1),
        ({"expires_in": "300"}, 51, 2),
        ({"expires_in": True}, 49, 1),
    ],
)
async def test_tokens_are_remembered_for_their_time(members, seconds, requests):
    time = MadeTime()
    async with faulty({}) as (server, url), upstream_at(url, time) as upstream:
        server.answers |= guarded(url, "t1") | {"/token": [token("t1", **members)]}
        await upstream.manifest(TAG)
        time.now += seconds
        await upstream.manifest(TAG)
    assert [seen.path for seen in server.seen].count("/token") == requests


async def test_a_token_that_is_refused_is_renewed_once():
    async with faulty({}) as (server, url), upstream_at(url) as upstream:
        server.answers |= guarded(url, "t1", "t2")
        await upstream.manifest(TAG)
        server.answers[f"{MANIFEST} Bearer t1"] = [bearer(url)]
        await upstream.manifest(TAG)
        server.answers[f"{MANIFEST} Bearer t2"] = [bearer(url)]
        with pytest.raises(UpstreamDeniedError):
            await upstream.manifest(TAG)
    shown = [seen.authorization for seen in server.seen if seen.path == MANIFEST]
    assert shown == [None, "Bearer t1", "Bearer t1", "Bearer t2", "Bearer t2"]
    assert [seen.path for seen in server.seen].count("/token") == 3


GOOD_TOKENS = {
    "token": b'{"token": "t1"}',
    "access_token": b'{"access_token": "t1"}',
    "both": b'{"token": "t1", "access_token": "t2"}',
    "empty token": b'{"token": "", "access_token": "t1"}',
}


@pytest.mark.parametrize("case", GOOD_TOKENS)
async def test_names_of_a_token(case):
    async with faulty({}) as (server, url), upstream_at(url) as upstream:
        server.answers |= guarded(url, "t1") | {"/token": [Reply(body=GOOD_TOKENS[case])]}
        assert (await upstream.manifest(TAG)).digest == IMAGE.digest


BAD_TOKENS = {
    "no JSON": (Reply(body=b"<html>"), UnavailableError, "could not be read"),
    "no object": (Reply(body=b"[]"), UnavailableError, "could not be read"),
    "gzip": (Reply(200, {"Content-Encoding": "gzip"}, b"\x1f\x8b"), UnavailableError, "could not be read"),
    "no token": (Reply(body=b"{}"), UnavailableError, "no usable token"),
    "a number": (token(1), UnavailableError, "no usable token"),
    "two lines": (token("a\r\nHost: b"), UnavailableError, "no usable token"),
    "a space": (token("a b"), UnavailableError, "no usable token"),
    "too long a token": (token("a" * (TOKEN_CHARS_MAX + 1)), UnavailableError, "no usable token"),
    "too long an answer": (Reply(body=b" " * 70_000), UnavailableError, "more than 65536 bytes"),
    "cut": (Reply(body=b'{"token": "t1"}', length=99), UnavailableError, "cut its answer short"),
    "down": (Reply(503), UnavailableError, "the token service 127.0.0.1 answered 503"),
    "busy": (Reply(429, {"Retry-After": "99"}), UnavailableError, "answered 429"),
    "elsewhere": (Reply(302, {"Location": "/other"}), UnavailableError, "answered 302"),
    "bad request": (Reply(400), UpstreamDeniedError, r"refuses us a token \(400\)"),
    "unauthorized": (Reply(401), UpstreamDeniedError, r"refuses us the token \(401\)"),
    "forbidden": (Reply(403), UpstreamDeniedError, r"refuses us the token \(403\)"),
    "not found": (Reply(404), UpstreamDeniedError, r"refuses us a token \(404\)"),
}


@pytest.mark.parametrize("case", BAD_TOKENS)
async def test_bad_answers_of_a_token_service(case):
    reply, error, text = BAD_TOKENS[case]
    async with faulty({}) as (server, url), upstream_at(url, credentials=SECRET) as upstream:
        server.answers |= guarded(url, "t1") | {"/token": [reply]}
        with pytest.raises(error, match=text):
            await upstream.manifest(TAG)
    assert {seen.path for seen in server.seen} == {MANIFEST, "/token"}


async def test_a_longest_token_is_sent():
    longest = "a" * TOKEN_CHARS_MAX
    async with faulty({}) as (server, url), upstream_at(url) as upstream:
        server.answers |= guarded(url, longest)
        assert (await upstream.manifest(TAG)).digest == IMAGE.digest


async def test_a_token_service_that_comes_back_is_asked_again():
    async with faulty({}) as (server, url), upstream_at(url) as upstream:
        server.answers |= guarded(url, "t1") | {"/token": [Reply(503), token("t1")]}
        assert (await upstream.manifest(TAG)).digest == IMAGE.digest


@pytest.mark.parametrize(
    ("named", "asked"),
    [
        (SCOPE, SCOPE),
        ("repository:mapped/app:pull", "repository:mapped/app:pull"),
        (f"repository:{NAME}:pull,push", SCOPE),
        (f"{SCOPE} {SCOPE}", SCOPE),
        ("registry:catalog:*", SCOPE),
        ("", SCOPE),
    ],
)
async def test_the_scope_is_never_more_than_to_pull(named, asked):
    async with faulty({}) as (server, url), upstream_at(url) as upstream:
        server.answers |= guarded(url, "t1") | {MANIFEST: [bearer(url, named)]}
        await upstream.manifest(TAG)
    assert [seen.query for seen in server.seen if seen.path == "/token"] == [{"service": "reg", "scope": asked}]


async def test_the_realm_keeps_its_own_query_and_loses_its_fragment():
    async with faulty({}) as (server, url), upstream_at(url) as upstream:
        server.answers |= guarded(url, "t1") | {MANIFEST: [challenge(f'Bearer realm="{url}/token?a=b%20c#x"')]}
        await upstream.manifest(TAG)
    assert [seen.query for seen in server.seen if seen.path == "/token"] == [{"a": "b c", "scope": SCOPE}]


async def test_an_identity_token_is_posted():
    async with faulty({}) as (server, url), upstream_at(url, credentials=Credentials("<token>", "r3fresh")) as upstream:
        server.answers |= guarded(url, "t1")
        await upstream.manifest(TAG)
    posted = next(seen for seen in server.seen if seen.path == "/token")
    assert (posted.method, posted.query, posted.authorization) == ("POST", {}, None)
    form = b"grant_type=refresh_token&refresh_token=r3fresh&client_id=sealgate&service=reg&scope="
    assert posted.body.startswith(form)


CHALLENGES = {
    "on /v2/ only": ({MANIFEST: Reply(401), "/v2/": challenge('Basic realm="r"')}, None),
    "bearer and basic": ({MANIFEST: challenge('Negotiate, Basic realm="r", Digest nonce="x"')}, None),
    "nowhere": ({MANIFEST: Reply(401), "/v2/": Reply(200)}, "neither bearer nor basic, but no challenge"),
    "another scheme": ({MANIFEST: challenge("Negotiate abc=")}, "neither bearer nor basic, but negotiate"),
}


@pytest.mark.parametrize("case", CHALLENGES)
async def test_challenges(case):
    answers, text = CHALLENGES[case]
    good = {f"{MANIFEST} {BASIC}": GOOD}
    async with faulty(answers | good) as (_, url), upstream_at(url, credentials=SECRET) as upstream:
        if text is None:
            assert (await upstream.manifest(TAG)).digest == IMAGE.digest
        else:
            with pytest.raises(UpstreamDeniedError, match=text):
                await upstream.manifest(TAG)


async def test_a_challenge_that_cannot_be_read():
    async with faulty({MANIFEST: challenge('Bearer realm="x')}) as (_, url), upstream_at(url) as upstream:
        with pytest.raises(UnavailableError, match="challenge that cannot be read"):
            await upstream.manifest(TAG)


@pytest.mark.parametrize("realms", [set(), {"localhost"}, {"127.0.0.1"}, {"LISTED:PORT"}])
async def test_a_realm_on_a_foreign_host_sees_nothing_unless_it_is_listed(realms):
    async with faulty({"/token": token()}) as (elsewhere, there):
        foreign = there.replace("127.0.0.1", "localhost")
        port = foreign.rpartition(":")[2]
        allowed = frozenset({f"localhost:{port}"} if realms == {"LISTED:PORT"} else realms)
        answers = guarded(foreign, "t1")
        async with (
            faulty(answers) as (_, url),
            upstream_at(url, credentials=SECRET, token_realms=allowed) as upstream,
        ):
            if any(entry.startswith("localhost") for entry in allowed):
                assert (await upstream.manifest(TAG)).digest == IMAGE.digest
                assert [seen.authorization for seen in elsewhere.seen] == [BASIC]
            else:
                with pytest.raises(UpstreamDeniedError, match=r"localhost.* add localhost to token_realms"):
                    await upstream.manifest(TAG)
                assert elsewhere.seen == []


async def test_no_secret_is_written_anywhere(caplog):
    caplog.set_level(logging.DEBUG)
    registry = Registry(token_auth=True, credentials=("ann", "s3cret"))
    IMAGE.add_to(registry, NAME, "v1")
    async with serve(registry) as url, upstream_at(url, credentials=SECRET) as upstream:
        await upstream.manifest(TAG)
        authenticator = upstream._short._authenticator
        kept = next(iter(authenticator._tokens.values()))
    assert kept.value not in repr(kept)
    assert "s3cret" not in repr(SECRET) + repr(upstream._endpoint) + caplog.text
    assert kept.value not in caplog.text


@pytest.mark.parametrize(("username", "password"), [("a:b", "x"), ("a", "x\r\ny"), ("a\0", "x")])
def test_credentials_that_basic_cannot_carry(username, password):
    with pytest.raises(MalformedError):
        Credentials(username, password)
