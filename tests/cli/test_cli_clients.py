"""The set-ups for nodes: exact files, since a character decides between sealed and open."""

import json
import tomllib
from pathlib import PurePosixPath

import pytest

from proxy.cli.clients import Client, Endpoint, InputError, check_registries, egress_rule, setups
from proxy.cli.clients.model import Hold

CA = "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIU\n-----END CERTIFICATE-----\n"
HTTP = Endpoint.parse("http://127.0.0.1:5000")
TLS = Endpoint.parse("https://sealgate.example:5443", CA)
ALL = [(client, endpoint) for client in Client for endpoint in (HTTP, TLS)]


def files(client, endpoint, registries=("docker.io",)):
    return {str(file.path): file.content for setup in setups(client, endpoint, registries) for file in setup.files}


@pytest.mark.parametrize(
    ("text", "scheme", "authority"),
    [
        ("http://127.0.0.1:5000", "http", "127.0.0.1:5000"),
        ("https://Sealgate.Example/", "https", "sealgate.example"),
        ("https://[fd00::1]:5000", "https", "[fd00::1]:5000"),
    ],
)
def test_an_endpoint_is_read(text, scheme, authority):
    endpoint = Endpoint.parse(text)
    assert (endpoint.scheme, endpoint.authority, endpoint.url) == (scheme, authority, f"{scheme}://{authority}")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sealgate.example:5000",
        "ftp://sealgate.example",
        "http://",
        "http://user:secret@sealgate.example",
        "http://sealgate.example:0",
        "http://sealgate.example:70000",
        "http://sealgate.example/path",
        "http://sealgate.example?x=1",
        "http://sealgate.example#x",
        'http://sealgate.example"\nskip_verify = true',
        "http://[fd00::1",
    ],
)
def test_an_endpoint_that_is_more_or_less_is_refused(text):
    with pytest.raises(InputError, match="is not http") as caught:
        Endpoint.parse(text)
    assert "--endpoint" in caught.value.hint


@pytest.mark.parametrize(("url", "ca"), [("http://a.example", CA), ("https://a.example", "no certificate")])
def test_a_ca_that_cannot_help_is_refused(url, ca):
    with pytest.raises(InputError, match="CA file"):
        Endpoint.parse(url, ca)


def test_registries_are_canonical_and_once():
    assert check_registries(["Index.docker.io", "ghcr.io", "docker.io"]) == ("docker.io", "ghcr.io")
    with pytest.raises(InputError, match="is not a host name") as caught:
        check_registries(["ghcr.io/org"])
    assert caught.value.hint == "give the host only: --registry ghcr.io"


@pytest.mark.parametrize(("client", "endpoint"), ALL)
def test_every_toml_parses_and_every_path_is_absolute(client, endpoint):
    for path, content in files(client, endpoint, ("docker.io", "ghcr.io")).items():
        assert PurePosixPath(path).is_absolute()
        if path.endswith((".toml", ".conf")):
            tomllib.loads(content)


@pytest.mark.parametrize(
    ("client", "folder", "ca"),
    [
        (Client.CONTAINERD, "/etc/containerd/certs.d", "/etc/sealgate/ca.crt"),
        (Client.DOCKER, "/etc/docker/certs.d", "/etc/docker/certs.d/sealgate.example:5443/ca.crt"),
    ],
)
def test_hosts_toml_is_the_portable_form(client, folder, ca):
    written = files(client, TLS, ("ghcr.io",))
    for registry in ("_default", "ghcr.io"):
        content = written[f"{folder}/{registry}/hosts.toml"]
        assert tomllib.loads(content) == {
            "server": "https://sealgate.example:5443",
            "capabilities": ["pull", "resolve"],
            "ca": ca,
            "host": {},
        }
        assert "referrers" not in content
        # TOML: what follows a table header belongs to the table, so the empty one has to be the last thing
        assert content.endswith("\n[host]\n")
    assert written[ca] == CA


def test_hosts_toml_without_a_ca_names_none():
    assert "ca" not in tomllib.loads(files(Client.CONTAINERD, HTTP)["/etc/containerd/certs.d/_default/hosts.toml"])


def test_docker_is_told_of_one_mirror():
    assert json.loads(files(Client.DOCKER, HTTP)["/etc/docker/daemon.json"]) == {
        "registry-mirrors": ["http://127.0.0.1:5000"]
    }


def test_podman_is_remapped_by_path():
    conf = tomllib.loads(files(Client.PODMAN, HTTP, ("docker.io", "ghcr.io"))[_PODMAN])
    assert conf == {
        "registry": [
            {"prefix": "docker.io", "location": "127.0.0.1:5000/docker.io", "insecure": True},
            {"prefix": "ghcr.io", "location": "127.0.0.1:5000/ghcr.io", "insecure": True},
        ]
    }


def test_podman_checks_certificates_over_https():
    written = files(Client.PODMAN, TLS)
    assert tomllib.loads(written[_PODMAN]) == {
        "registry": [{"prefix": "docker.io", "location": "sealgate.example:5443/docker.io"}]
    }
    assert written["/etc/containers/certs.d/sealgate.example:5443/ca.crt"] == CA


def test_the_podman_alternative_blocks_the_registry():
    (setup,) = setups(Client.PODMAN, TLS, ("docker.io",))
    (example,) = (warning for warning in setup.warnings if "blocked = true" in warning)
    conf = tomllib.loads(example.partition(":\n")[2])
    assert conf["registry"][0]["blocked"] is True
    assert conf["registry"][0]["mirror"] == [{"location": "sealgate.example:5443/docker.io"}]


@pytest.mark.parametrize(
    ("client", "holds"),
    [
        (Client.CONTAINERD, [Hold.SEALED]),
        (Client.DOCKER, [Hold.SEALED, Hold.HELD]),
        (Client.PODMAN, [Hold.SEALED]),
    ],
)
def test_each_setup_says_how_it_holds(client, holds):
    assert [setup.hold for setup in setups(client, TLS, ("docker.io",))] == holds


def test_what_is_held_says_that_a_dead_sealgate_is_gone_round():
    (held,) = (setup for setup in setups(Client.DOCKER, TLS, ("docker.io",)) if setup.hold is Hold.HELD)
    assert "a dead Sealgate is gone round" in held.warnings[0]
    assert any("docker pull sealgate.example:5443/ghcr.io/ORG/APP" in warning for warning in held.warnings)


@pytest.mark.parametrize("client", Client)
@pytest.mark.parametrize(("endpoint", "warned"), [(HTTP, True), (TLS, False)])
def test_plain_http_is_warned_of(client, endpoint, warned):
    for setup in setups(client, endpoint, ("docker.io",)):
        assert any(warning.startswith("plain http") for warning in setup.warnings) is warned


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("http://10.0.0.5", "ip daddr 10.0.0.5 tcp dport 80 accept"),
        ("https://[fd00::1]:5000", "ip6 daddr fd00::1 tcp dport 5000 accept"),
        ("https://sealgate.example", "ip daddr <address of sealgate.example> tcp dport 443 accept"),
    ],
)
def test_the_egress_rule_lets_sealgate_through(url, match):
    assert match in egress_rule(Endpoint.parse(url))


@pytest.mark.parametrize(
    ("url", "same_node"),
    [
        ("http://127.0.0.1:5000", True),
        ("http://127.0.0.2:5000", True),
        ("http://localhost:5000", True),
        ("https://[::1]:5000", True),
        ("http://10.0.0.5:5000", False),
        ("https://sealgate.example", False),
        ("https://localhost.example", False),
    ],
)
def test_the_egress_rule_does_not_cut_off_a_sealgate_on_the_same_node(url, same_node):
    (line,) = (line.strip() for line in egress_rule(Endpoint.parse(url)).splitlines() if "skuid" in line)
    assert line.startswith('meta skuid "sealgate" accept' if same_node else "# meta skuid")


_PODMAN = "/etc/containers/registries.conf.d/50-sealgate.conf"
