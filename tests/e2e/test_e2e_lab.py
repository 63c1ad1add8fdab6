"""The lab can fail: a mirror that refuses as most do is gone round by every client, and the lab says so."""

import socket
import ssl
from collections.abc import Iterator

import pytest
from e2e import content, hub
from e2e.clients import CLIENTS, Client, Pull
from e2e.lab import DEAD, Lab, Outcome, judge
from e2e.stage import Stage

MIRRORED = [client for client in CLIENTS if not client.sealed]
SEALED = [client for client in CLIENTS if client.sealed]
_NAIVE = ("127.0.0.1", 5999)


@pytest.fixture(scope="module")
def naive(the_stage: Stage) -> Iterator[str]:
    """A mirror that answers 403 DENIED for the unsigned image, and serves the rest."""
    refusing = hub.Registry(_NAIVE, the_stage.lab.shelf, refused=frozenset({"library/unsigned"}))
    with hub.serving(refusing):
        yield f"http://{_NAIVE[0]}:{_NAIVE[1]}"


@pytest.mark.parametrize("client", MIRRORED, ids=lambda client: client.name)
def test_dead_mirror_is_gone_round(the_stage: Stage, client: Client) -> None:
    """The control: the way to the hub is open, so that a client that does not take it was held."""
    image = the_stage.images["unsigned"]
    record = the_stage.lab.pull("mirror dead", client, DEAD, image, "by_tag")
    assert record.outcome is Outcome.VIA_HUB, str(record)


@pytest.mark.parametrize("client", SEALED, ids=lambda client: client.name)
def test_dead_proxy_of_a_sealed_client_is_not_gone_round(the_stage: Stage, client: Client) -> None:
    image = the_stage.images["unsigned"]
    record = the_stage.lab.pull("mirror dead", client, DEAD, image, "by_tag")
    assert record.outcome is Outcome.HELD, str(record)


@pytest.mark.parametrize("by", ["by_tag", "by_digest"])
@pytest.mark.parametrize("client", MIRRORED, ids=lambda client: client.name)
def test_plain_refusal_is_gone_round(the_stage: Stage, naive: str, client: Client, by: str) -> None:
    image = the_stage.images["unsigned"]
    record = the_stage.lab.pull("plain 403", client, naive, image, by)
    assert record.outcome is Outcome.VIA_HUB, str(record)
    assert record.pull.code == 0, str(record)


def test_failed_handshakes_and_empty_connections_count(the_lab: Lab) -> None:
    the_lab.hub.settle()
    address = the_lab.hub.server_address[:2]
    with socket.create_connection(address):
        pass
    context = ssl.create_default_context()  # which does not know the throw-away CA
    with socket.create_connection(address) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain, server_hostname="registry-1.docker.io")
    assert len(the_lab.hub.settle()) == 2
    assert the_lab.hub.settle() == []


def test_clients_see_an_own_etc_and_no_network_but_loopback(the_lab: Lab) -> None:
    show = "tail -n +3 /proc/net/dev | cut -d: -f1; ls -A /run; ls -A /var/lib; echo $$; grep registry-1 /etc/hosts"
    with the_lab.box() as box:
        seen = box.run("sh", "-c", show)
    assert seen.output.split() == ["lo", "1", "127.77.0.1", "registry-1.docker.io"]
    assert not box.folder.exists()


@pytest.mark.parametrize(
    ("code", "has", "asked", "outcome"),
    [
        (0, {"sha256:right"}, False, Outcome.OK),
        (0, {"sha256:right"}, True, Outcome.VIA_HUB),
        (0, {"sha256:wrong"}, False, Outcome.OTHER_IMAGE),
        (1, {"sha256:right"}, True, Outcome.VIA_HUB),
        (1, set(), False, Outcome.HELD),
        (None, set(), False, Outcome.HELD),
        (1, set(), True, Outcome.ASKED_HUB),
        (0, set(), False, Outcome.SILENT),
    ],
)
def test_judge(code: int | None, has: set[str], asked: bool, outcome: Outcome) -> None:  # noqa: FBT001 (a table)
    assert judge(Pull(code, "", frozenset(has)), "sha256:right", asked=asked) is outcome


def test_images_are_what_their_names_say() -> None:
    image = content.multi("multi")
    assert image.own_platform.architecture == content.ARCHITECTURE
    assert image.by_digest == f"docker.io/library/multi@{image.image.digest}"
    assert image.diff_id.startswith("sha256:")
