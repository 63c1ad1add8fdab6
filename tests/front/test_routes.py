"""What a request line means, and what it must not mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.front.routes import Asked, Dialect, Kind, Namespaces, guess, parse
from proxy.oci.errors import MalformedError, UnknownUpstreamError

DIGEST = "sha256:" + "a" * 64
NAMES = Namespaces(frozenset({"docker.io", "ghcr.io", "localhost:5000"}), "docker.io")
CI = {"Docker-Distribution-API-Version": "registry/2.0"}


@pytest.mark.parametrize(
    ("method", "path", "kind", "name", "reference"),
    [
        ("GET", "/v2/", "ping", "", ""),
        ("GET", "/v2", "ping", "", ""),
        ("HEAD", "/v2/app/manifests/v1", "manifests", "app", "v1"),
        ("GET", f"/v2/team/app/manifests/{DIGEST}", "manifests", "team/app", DIGEST),
        ("GET", f"/v2/team/app/blobs/{DIGEST}", "blobs", "team/app", DIGEST),
        ("GET", "/v2/team/manifests/manifests/v1", "manifests", "team/manifests", "v1"),
        ("GET", "/v2/app/tags/list?n=5", "tags", "app", ""),
        ("GET", f"/v2/app/referrers/{DIGEST}?artifactType=x", "referrers", "app", DIGEST),
        ("GET", "/v2/_catalog", "unsupported", "", ""),
        ("GET", "/v1/search", "unsupported", "", ""),
        ("GET", "/", "unsupported", "", ""),
        ("PUT", "/v2/app/manifests/v1", "unsupported", "", ""),
        ("DELETE", f"/v2/app/manifests/{DIGEST}", "unsupported", "", ""),
        ("POST", "/v2/app/blobs/uploads/", "unsupported", "", ""),
        ("POST", "/v2/app/blobs/uploads", "unsupported", "", ""),
        ("GET", "/v2/app/manifests", "unsupported", "", ""),
    ],
)
def test_endpoints(method, path, kind, name, reference):
    asked = parse(method, path, {})
    assert (asked.method, asked.kind, asked.name, asked.reference) == (method, kind, name, reference)


@pytest.mark.parametrize(
    ("path", "headers", "dialect"),
    [
        ("/v2/app/manifests/v1", {}, Dialect.DOCKER),
        ("/v2/app/manifests/v1?ns=docker.io", {}, Dialect.CONTAINERD),
        ("/v2/app/manifests/v1", CI, Dialect.CONTAINERS_IMAGE),
        ("/v2/app/manifests/v1?ns=docker.io", CI, Dialect.CONTAINERS_IMAGE),
    ],
)
def test_the_dialect_is_told_by_what_a_client_sends(path, headers, dialect):
    assert parse("GET", path, headers).dialect is dialect


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/v2/a%2fb/manifests/v1", "%"),
        ("/v2/a//b/manifests/v1", "//"),
        ("/v2/a/../b/manifests/v1", ".."),
        ("/v2/app/manifests/", "not that of"),
        ("/v2/app/manifests/v1/", "not that of"),
        ("/v2/manifests/v1", "not that of"),
        ("/v2/app/blobs/uploads", "not that of"),
        ("/V2/app/MANIFESTS/v1", "not that of"),
        ("/v2/app/manifests/v1?ns=a&ns=b", "twice"),
        ("/v2/app/manifests/v1?ns", "query"),
        ("/v2/app/manifests/v1?" + "&".join(f"x{n}=1" for n in range(9)), "query"),
    ],
)
def test_what_names_nothing(path, word):
    with pytest.raises(MalformedError, match=word.replace(".", r"\.")):
        parse("GET", path, {})


# What a client may send that cannot be read, and what it looks like all the same.
UNREADABLE = [
    ("/v2/a%2fb/manifests/v1", {}, "manifests", "v1", Dialect.DOCKER),
    ("/v2/a//b/manifests/v1", {}, "manifests", "v1", Dialect.DOCKER),
    ("//v2/app/manifests/v1", {}, "manifests", "v1", Dialect.DOCKER),
    ("/v2/../app/manifests/v1", {}, "manifests", "v1", Dialect.DOCKER),
    ("/v2/app/manifests/v1/", {}, "manifests", "v1/", Dialect.DOCKER),
    ("/v2/app/manifests/", {}, "manifests", "", Dialect.DOCKER),
    ("/v2/manifests/v1", {}, "manifests", "v1", Dialect.DOCKER),
    ("/app/manifests/v1", {}, "manifests", "v1", Dialect.DOCKER),
    ("/V2/App/Manifests/v1", {}, "manifests", "v1", Dialect.DOCKER),
    ("http://sealgate/v2/app/manifests/v1", {}, "manifests", "v1", Dialect.DOCKER),
    ("/v2/docker.io/a%2fb/manifests/v1", {}, "manifests", "v1", Dialect.DOCKER),
    ("/v2/a%2fb/manifests/v1", CI, "manifests", "v1", Dialect.CONTAINERS_IMAGE),
    (f"/v2/app/manifests/{DIGEST}/", CI, "manifests", f"{DIGEST}/", Dialect.CONTAINERS_IMAGE),
    ("/v2/app/manifests/v1?ns=a&ns=b", {}, "manifests", "v1", Dialect.CONTAINERD),
    ("/v2/app/manifests/v1?ns", {}, "manifests", "v1", Dialect.CONTAINERD),
    ("/v2/app/manifests/v1?&ns=a", {}, "manifests", "v1", Dialect.CONTAINERD),
    ("/v2/app/manifests/v1?dns", {}, "manifests", "v1", Dialect.DOCKER),
    ("/v2/app/manifests/v1?ns=a&ns=b", CI, "manifests", "v1", Dialect.CONTAINERS_IMAGE),
    ("/v2/app/blobs/uploads", {}, "blobs", "uploads", Dialect.DOCKER),
    (f"/v2/app/blobs/{DIGEST}/", {}, "blobs", f"{DIGEST}/", Dialect.DOCKER),
    (f"/v2/app/blobs/{DIGEST}?ns=a&ns=b", {}, "blobs", DIGEST, Dialect.CONTAINERD),
]


@pytest.mark.parametrize(("path", "headers", "kind", "reference", "dialect"), UNREADABLE)
def test_what_cannot_be_read_is_still_told_apart(path, headers, kind, reference, dialect):
    for method in ("GET", "HEAD"):
        with pytest.raises(MalformedError):
            parse(method, path, headers)
        asked = guess(method, path, headers)
        assert (asked.method, asked.kind, asked.reference, asked.dialect) == (method, kind, reference, dialect)
        assert not asked.is_explicit


@pytest.mark.parametrize("path", ["/v2/app/tags/list?n", f"/v2/app/referrers/{DIGEST}?n", "/v2/_catalog"])
def test_what_is_no_pull_is_none_either_if_it_cannot_be_read(path):
    assert guess("GET", path, {}).kind is Kind.UNSUPPORTED


@pytest.mark.parametrize(
    ("name", "ns", "repository"),
    [
        ("alpine", None, "docker.io/library/alpine"),
        ("library/alpine", None, "docker.io/library/alpine"),
        ("team/app", None, "docker.io/team/app"),
        ("team/app", "docker.io", "docker.io/team/app"),
        ("team/app", "registry-1.docker.io", "docker.io/team/app"),
        ("team/app", "ghcr.io", "ghcr.io/team/app"),
        ("ghcr.io/team/app", None, "ghcr.io/team/app"),
        ("ghcr.io/team/app", "ghcr.io", "ghcr.io/team/app"),
        ("index.docker.io/alpine", None, "docker.io/library/alpine"),
        ("localhost:5000/app", None, "localhost:5000/app"),
    ],
)
def test_the_repository_that_is_meant(name, ns, repository):
    asked = Asked("GET", Kind.MANIFESTS, name, "v1", {"ns": ns} if ns else {})
    assert str(NAMES.repository(asked)) == repository


@pytest.mark.parametrize(
    ("name", "ns", "error"),
    [
        ("team/app", "evil.example", UnknownUpstreamError),
        ("team/app", "169.254.169.254", UnknownUpstreamError),
        ("evil.example/app", None, UnknownUpstreamError),
        ("evil.example:80/app", None, UnknownUpstreamError),
        ("ghcr.io/team/app", "docker.io", MalformedError),
        ("team/app", "http://evil.example", MalformedError),
        ("team/app", "docker.io@evil.example", MalformedError),
        ("Team/App", None, MalformedError),
        ("team/app", "ghcr.io/x", MalformedError),
        ("a/" * 130 + "a", None, MalformedError),
        ("ghcr.io/", None, MalformedError),
    ],
)
def test_what_is_not_in_the_closed_table_is_never_meant(name, ns, error):
    with pytest.raises(error):
        NAMES.repository(Asked("GET", Kind.MANIFESTS, name, "v1", {"ns": ns} if ns else {}))


@pytest.mark.parametrize(
    ("name", "dialect", "explicit"),
    [
        ("ghcr.io/team/app", Dialect.DOCKER, True),
        ("team/app", Dialect.DOCKER, False),
        ("ghcr.io/team/app", Dialect.CONTAINERD, False),
        ("ghcr.io/team/app", Dialect.CONTAINERS_IMAGE, False),
    ],
)
def test_only_a_client_that_cannot_have_a_fallback_is_explicit(name, dialect, explicit):
    assert Asked("GET", Kind.MANIFESTS, name, "v1", {}, dialect).is_explicit is explicit


DOCKER = "docker/20.10.24 go/go1.19.8 os/linux arch/amd64 UpstreamClient(Docker-Client/20.10.24)"
STORE = "docker/29.0.0 go/go1.25.1 os/linux arch/amd64 containerd-client/v2.3.3 storage-driver/overlayfs"


@pytest.mark.parametrize(
    ("name", "agent", "explicit"),
    [
        ("ghcr.io/team/app", "curl/8", True),
        ("ghcr.io/team/app", STORE, True),
        ("ghcr.io/team/app", DOCKER, False),
        ("ghcr.io/team/app", f"{STORE} UpstreamClient(docker/29)", True),
        # what a program that uses Docker says of itself
        ("ghcr.io/team/app", "docker/29.0.0 go/go1.25.1 UpstreamClient(x containerd-client/v2.3.3)", False),
        ("ghcr.io/team/app", "docker/29.0.0 UpstreamClient(x UpstreamClient(containerd-client/v2.3.3)", False),
        ("ghcr.io/team/app", "docker/29.0.0 my-containerd-client/1", False),
        ("GHCR.IO/team/app", "", True),
        ("index.docker.io/app", "", True),
        ("localhost:5000/app", "", True),
        ("localhost:5000/app", DOCKER, True),  # a port cannot stand in the path of an image at Docker Hub
        ("localhost:5001/app", "", False),
        ("localhost/app", "", False),
        ("with.dot/app", "", False),
        ("-.dot/app", "", False),
        ("localhost", "", False),
        ("ghcr.io", "", False),
        ("team/app", "", False),
    ],
)
def test_a_registry_in_the_path_counts_if_it_is_configured_and_cannot_be_a_namespace(name, agent, explicit):
    asked = parse("GET", f"/v2/{name}/manifests/v1", {"User-Agent": agent})
    assert NAMES.placed(asked).is_explicit is explicit


@given(st.text(max_size=200))
def test_any_path_is_read_or_refused(text):
    try:
        asked = parse("GET", "/v2/" + text, {})
        if asked.name:
            NAMES.repository(asked)
    except (MalformedError, UnknownUpstreamError):
        guess("GET", "/v2/" + text, {})
