"""Listening sockets: one for each worker, moved to other settings, and never shared with a stranger."""

import os
import socket
from contextlib import suppress

import pytest

from proxy.app.sockets import open_sockets, passed_sockets, url
from proxy.config.schema import Address

ANY = Address("127.0.0.1", 0)


def ports(sockets, workers):
    return [one.getsockname()[1] for number in range(workers) for one in sockets.of(number, workers).registry]


@pytest.fixture
def opened():
    made = []
    yield made.append
    for sockets in made:
        sockets.close()


def test_each_worker_has_its_own_on_one_address(opened):
    sockets = open_sockets(ANY, ANY, 3)
    opened(sockets)
    assert len(set(sockets)) == 4
    assert len(set(ports(sockets, 3))) == 1
    assert sockets.of(0, 3).admin == sockets.of(2, 3).admin
    assert url(sockets.of(0, 3).registry, tls=True) == f"https://127.0.0.1:{ports(sockets, 1)[0]}"


def test_a_name_is_all_of_its_addresses(opened, monkeypatch):
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 0)) for host in ("127.0.0.1", "127.0.0.2", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    sockets = open_sockets(Address("node", 0), Address("node", 0))
    opened(sockets)
    assert [one.getsockname()[0] for one in sockets.of(0, 3).registry] == ["127.0.0.1", "127.0.0.2"]


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_ipv6(opened):
    sockets = open_sockets(Address("::1", 0), ANY)
    opened(sockets)
    assert url(sockets.of(0, 3).registry, tls=False).startswith("http://[::1]:")


@pytest.mark.parametrize("reuse_port", [True, False])
def test_an_address_in_use_is_named(reuse_port):
    with socket.create_server(("127.0.0.1", 0), reuse_port=reuse_port) as other:
        at = Address("127.0.0.1", other.getsockname()[1])
        with pytest.raises(OSError, match="in use") as raised:
            open_sockets(ANY, at)
    assert raised.value.filename == f"server.admin_listen {at}"


def test_a_name_that_nobody_has(monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(OSError, match="Name or service not known") as raised:
        open_sockets(Address("nowhere", 1), ANY)
    assert raised.value.filename == "server.listen nowhere:1"


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..example"])
def test_what_is_no_name(host):
    with pytest.raises(OSError, match="is no host name") as raised:
        open_sockets(Address(host, 1), ANY)
    assert raised.value.filename == f"server.listen {host}:1"


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1), (3, 2), (2, 2)])
def test_another_number_of_workers(opened, before, after):
    sockets = open_sockets(ANY, ANY, before)
    opened(sockets)
    moved = sockets.moved(ANY, ANY, after)
    opened(moved)
    number = max(before, after)
    assert ports(moved, after) == ports(sockets, before)[:1] * number
    assert len({one for worker in range(after) for one in moved.of(worker, after).registry}) == number
    assert len(set(sockets) & set(moved)) == before + 1
    sockets.close(but=moved)
    assert all(one.fileno() >= 0 for one in (*sockets, *moved))


def test_only_the_first_listens_at_once(opened):
    """The others would take connections that nobody answers, where a worker does not start."""
    sockets = open_sockets(ANY, ANY, 3)
    opened(sockets)
    listens = [one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) for one in sockets]
    assert listens == [1, 0, 0, 1]


def answers(at):
    """Connect to a port and be sent a byte by what accepts; say what came of it."""
    try:
        with socket.create_connection(at, timeout=5) as client:
            return client.recv(1)
    except OSError as err:
        return type(err)


def test_one_that_rests_loses_nobody_who_comes_later(opened):
    sockets = open_sockets(ANY, ANY, 2)
    opened(sockets)
    (first,), (second,) = (sockets.of(number, 2).registry for number in (0, 1))
    second.listen(100)
    at = first.getsockname()
    waiting = [socket.create_connection(at, timeout=5) for _ in range(50)]
    for _ in range(2):  # a place may be left again before anybody took it
        sockets.rest(0, 2, alone=False)
    came = []
    for one in waiting:
        one.settimeout(0.01)
        with one, suppress(TimeoutError):
            try:
                came.append(one.recv(1))
            except ConnectionResetError as err:
                came.append(type(err))
    assert came == [ConnectionResetError] * len(came)  # the others wait for the second
    assert 0 < len(came) < 50
    sockets.rest(1, 2, alone=True)
    assert [one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) for one in sockets] == [0, 0, 0]
    assert answers(at) is ConnectionRefusedError
    first.listen(100)
    assert first.getsockname() == at
    with socket.create_connection(at, timeout=5) as client:
        client.sendall(b"x")
        accepted, _ = first.accept()
        with accepted:
            assert accepted.recv(1) == b"x"


def test_what_systemd_opened_never_rests(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as one:
        monkeypatch.setattr("proxy.app.sockets._FIRST_PASSED", os.dup(one.fileno()))
        sockets = passed_sockets({"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}, ANY, ANY)
        sockets.rest(0, 1, alone=True)
        assert [it.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) for it in sockets] == [1, 0]
        sockets.close()


def test_another_address(opened):
    sockets = open_sockets(ANY, ANY)
    opened(sockets)
    moved = sockets.moved(Address("127.0.0.2", 0), ANY, 1)
    opened(moved)
    assert url(moved.of(0, 3).registry, tls=False).startswith("http://127.0.0.2:")
    assert moved.of(0, 3).admin == sockets.of(0, 3).admin


def test_a_move_that_fails_leaves_all_as_it_was(opened):
    sockets = open_sockets(ANY, ANY)
    opened(sockets)
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(OSError, match="in use"):
        sockets.moved(Address("127.0.0.2", 0), Address("127.0.0.1", other.getsockname()[1]), 2)
    assert all(one.fileno() >= 0 for one in sockets)


@pytest.mark.parametrize(
    "environment",
    [{}, {"LISTEN_FDS": "1"}, {"LISTEN_FDS": "1", "LISTEN_PID": "1"}, {"LISTEN_FDS": "0"}, {"LISTEN_FDS": "x"}],
)
def test_nothing_was_passed(environment):
    given = (
        {"LISTEN_PID": str(os.getpid())} | environment if environment.get("LISTEN_FDS") in {"0", "x"} else environment
    )
    assert passed_sockets(given, ANY, ANY) is None
    assert given == {}


@pytest.mark.parametrize(
    ("names", "registry", "admin"),
    [("sealgate.socket:admin", 1, 1), ("", 2, 0), ("admin:x", 1, 1), ("admin", 1, 1)],
)
def test_what_was_passed(opened, monkeypatch, names, registry, admin):
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        copies = [os.dup(it.fileno()) for it in (one, other)]
        first = min(copies)
        assert copies == [first, first + 1]
        monkeypatch.setattr("proxy.app.sockets._FIRST_PASSED", first)
        environment = {"LISTEN_FDS": "2", "LISTEN_PID": str(os.getpid()), "LISTEN_FDNAMES": names}
        sockets = passed_sockets(environment, ANY, ANY, 2)
        opened(sockets)
        passed = {it.getsockname() for it in (one, other)}
        assert [it.getsockname() in passed for it in sockets.of(0, 3).registry] == [True] * registry
        assert [it.getsockname() in passed for it in sockets.of(0, 3).admin] == [admin == 1]
        assert not any(os.get_inheritable(it.fileno()) for it in sockets)
        assert sockets.of(1, 3) == sockets.of(0, 3)
        moved = sockets.moved(Address("127.0.0.1", 1), ANY, 3)
        opened(moved)
        assert moved.of(2, 3).registry == sockets.of(0, 3).registry


def test_what_is_no_tcp_is_refused(monkeypatch):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        monkeypatch.setattr("proxy.app.sockets._FIRST_PASSED", os.dup(one.fileno()))
        environment = {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
        with pytest.raises(OSError, match="socket 0 of LISTEN_FDS is not TCP"):
            passed_sockets(environment, ANY, ANY)
