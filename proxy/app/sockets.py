"""The listening sockets: one for each worker on the same address, or what systemd opened for us.

They are made before the workers are and outlive each of them: a connection that waits for one is taken by the next.
Where there is no next one for a while, its sockets stop listening (`rest`): the connections that wait there are reset,
and the system distributes new ones to the others. The worker that takes the place listens again. Where workers become
fewer their sockets are shared out, as closing one resets the connections that wait on it. Only the first listens at
once; the others when their worker does.
"""

import errno
import os
import socket
from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from proxy.config.schema import Address

# Connections that may wait to be accepted: those of some seconds. The system may allow less (somaxconn).
BACKLOG = 1024
# sd_listen_fds(3): what is passed begins here, and has names if the unit gives them (FileDescriptorName=).
_FIRST_PASSED = 3
_ADMIN = "admin"
# The settings, for messages.
_LISTEN, _ADMIN_LISTEN = "server.listen", "server.admin_listen"

_Sockets = tuple[socket.socket, ...]


@dataclass(frozen=True, slots=True)
class Listening:
    """What one worker listens on; a host name may stand for several addresses."""

    registry: _Sockets
    admin: _Sockets


@dataclass(frozen=True, slots=True)
class _Group:
    """The sockets of one address, a set for each worker. `at` is None for those that were passed, which all share."""

    at: Address | None
    sets: Sequence[_Sockets]

    def resized(self, key: str, at: Address, number: int) -> "_Group":
        """Return so many sets for this address or more: these, where it is the same. `key` is its setting."""
        if self.at is None:
            return self
        return _open(key, at, number, self.sets if self.at == at else ())

    def of(self, worker: int, workers: int) -> _Sockets:
        sets = self.sets if self.at is None else self.sets[worker::workers]
        return tuple(one for its in sets for one in its)


@dataclass(frozen=True, slots=True)
class Sockets:
    """All listening sockets; open until `close`."""

    _registry: _Group
    _admin: _Group

    def of(self, worker: int, workers: int) -> Listening:
        """Return what one of so many workers listens on, by its number from 0."""
        return Listening(self._registry.of(worker, workers), self._admin.sets[0])

    def moved(self, listen: Address, admin_listen: Address, workers: int) -> "Sockets":
        """Return sockets for other settings; these, as far as they fit. Raises OSError, and then all is as it was."""
        registry = self._registry.resized(_LISTEN, listen, workers)
        try:
            return Sockets(registry, self._admin.resized(_ADMIN_LISTEN, admin_listen, 1))
        except OSError:
            Sockets(registry, self._admin).close(but=self)
            raise

    def rest(self, worker: int, workers: int, *, alone: bool) -> None:
        """Stop listening for one of so many workers; where it is alone, for operators too. Sockets of systemd's stay.

        On Linux a shutdown ends what `listen` began, in all processes, and the socket may listen again. On one that is
        not listening it would close what is accepted later (net/ipv4/af_inet.c, inet_shutdown).
        """
        groups = [(self._registry, self._registry.of(worker, workers))]
        groups += [(self._admin, self._admin.sets[0])] if alone else []
        for group, sockets in groups:
            for one in sockets if group.at is not None else ():
                if one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    one.shutdown(socket.SHUT_RD)

    def __iter__(self) -> Iterator[socket.socket]:
        for group in (self._registry, self._admin):
            for one_set in group.sets:
                yield from one_set

    def close(self, *, but: Iterable[socket.socket] = ()) -> None:
        """Close the sockets but these. A socket that no process has any more resets the connections that wait on it."""
        kept = set(but)
        for one in self:
            if one not in kept:
                one.close()


def open_sockets(listen: Address, admin_listen: Address, workers: int = 1) -> Sockets:
    """Listen for so many workers; raises OSError where an address is taken or not ours."""
    nothing = _Group(Address("", 0), ())
    return Sockets(nothing, nothing).moved(listen, admin_listen, workers)


def passed_sockets(
    environment: MutableMapping[str, str], listen: Address, admin_listen: Address, workers: int = 1
) -> Sockets | None:
    """Return the sockets that systemd has opened (sd_listen_fds(3)), None without any; all workers share them.

    One that is named "admin" is the admin listener's. What was not passed is opened. The environment forgets them, for
    programs that we start. Raises OSError as `open_sockets` does, and for what is no TCP socket.
    """
    number, process, names = (environment.pop(f"LISTEN_{name}", "") for name in ("FDS", "PID", "FDNAMES"))
    if process != str(os.getpid()) or not number.isdecimal() or not int(number):
        return None
    called = names.split(":")
    passed: dict[bool, list[socket.socket]] = {True: [], False: []}
    with ExitStack() as opened:
        for place in range(int(number)):
            one = opened.enter_context(socket.socket(fileno=_FIRST_PASSED + place))
            if one.family not in {socket.AF_INET, socket.AF_INET6} or one.type != socket.SOCK_STREAM:
                raise OSError(f"socket {place} of LISTEN_FDS is not TCP: ListenStream= takes an address and a port")
            one.set_inheritable(False)
            passed[called[place : place + 1] == [_ADMIN]].append(one)
        registry, admin = ([_Group(None, [tuple(found)])] if found else [] for found in (passed[False], passed[True]))
        sockets = Sockets(
            *registry or [_open(_LISTEN, listen, workers)], *admin or [_open(_ADMIN_LISTEN, admin_listen, 1)]
        )
        opened.pop_all()
        return sockets


def url(listening: _Sockets, *, tls: bool) -> str:
    """Return the URL that clients find the first of these sockets under."""
    host, port, *_ = listening[0].getsockname()
    shown = f"[{host}]" if listening[0].family == socket.AF_INET6 else host
    return f"{'https' if tls else 'http'}://{shown}:{port}"


def _open(key: str, at: Address, number: int, before: Sequence[_Sockets] = ()) -> _Group:
    with ExitStack() as opened:
        sets = list(before)
        try:
            while len(sets) < number:
                where = [(one.family, one.getsockname()) for one in sets[0]] if sets else _resolved(at)
                sets.append(tuple(_bind(family, address, opened, is_first=not sets) for family, address in where))
        except UnicodeError as err:  # a part of it is empty, or longer than 63 characters
            raise OSError(errno.EINVAL, "is no host name", f"{key} {at}") from err
        except OSError as err:
            what = os.strerror(err.errno) if isinstance(err.errno, int) and err.errno > 0 else err.strerror
            raise OSError(err.errno, what, f"{key} {at}") from err
        opened.pop_all()
        return _Group(at, sets)


def _resolved(at: Address) -> list[tuple[int, tuple[object, ...]]]:
    found = socket.getaddrinfo(at.host, at.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def _bind(family: int, address: tuple[object, ...], opened: ExitStack, *, is_first: bool) -> socket.socket:
    if is_first:
        # SO_REUSEPORT would let two programs of one user share an address without a word.
        socket.create_server(address, family=family).close()
    with _bound(family, address) as any_port:
        # One that took any port would take another when it listens again; one that asked for it keeps it.
        one = opened.enter_context(_bound(family, any_port.getsockname()))
    if is_first:
        one.listen(BACKLOG)
    return one


def _bound(family: int, address: tuple[object, ...]) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            one.setsockopt(socket.SOL_SOCKET, option, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(address)
    except BaseException:
        one.close()
        raise
    return one
