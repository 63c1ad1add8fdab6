"""The way in and the only way out: arguments to an exit code, errors to lines on stderr.

0 ok or accepted, 1 refused, 2 usage or configuration, 3 could not decide, 130 interrupted, 141 nobody reads the output,
143 terminated.
"""

import errno
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import typer

from proxy.app import StartError
from proxy.cli import render
from proxy.cli.clients import InputError
from proxy.cli.commands import app
from proxy.cli.usage import usage_fault, usage_hint
from proxy.config import ConfigError
from proxy.oci.errors import RegistryError, UnknownUpstreamError
from proxy.stores.database import StoreError
from proxy.upstream.answers import UnreachableError

USAGE = 2
UNDECIDED = 3
# What a shell reports for a program that SIGPIPE ended.
BROKEN_PIPE = 141
# Why an address cannot be listened on, and what helps.
_ADDRESS_HINTS = {
    errno.EADDRINUSE: "another program listens there, perhaps another sealgate: stop it, or give this one another port",
    errno.EADDRNOTAVAIL: "this machine has no such address; 0.0.0.0 and [::] stand for all that it has",
    errno.EACCES: "a port below 1024 needs the right to it: take a higher one, or let sealgate.socket open it",
}
_FILE_HINTS = {
    errno.ENOENT: "check the path; it counts from the current folder",
    errno.EISDIR: "name a file in it",
    errno.ENOTDIR: "a part of the path is a file",
    errno.EACCES: "run it as the user that may, or change the file's owner or mode",
    errno.EPERM: "run it as the user that may, or change the file's owner or mode",
    errno.EROFS: "the file system is mounted read-only: name another place",
    errno.ENOSPC: "make room on this disk, or name another place",
}

# What a user can bring about. Everything else is a bug, and crashes.
_FAILURES = (typer.TyperException, InputError, ConfigError, StartError, StoreError, RegistryError, OSError)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    try:
        code = app(args=list(arguments), prog_name="sealgate", standalone_mode=False)
    except BrokenPipeError:
        return _nobody_reads()
    except _FAILURES as err:
        return _failed(err)
    except ExceptionGroup as group:
        known, bugs = group.split(_FAILURES)
        if known is None or bugs is not None:
            raise
        return max(map(_failed, _flat(known)))
    return code if isinstance(code, int) else 0


def _flat(group: ExceptionGroup[Any]) -> Iterator[Exception]:
    """Return the errors of a group: each task group of the server adds a level."""
    for one in group.exceptions:
        if isinstance(one, ExceptionGroup):
            yield from _flat(one)
        else:
            yield one


def _failed(err: Exception) -> int:
    for message, hint in _complaints(err):
        render.error(message, hint)
    undecided = isinstance(err, RegistryError) and not isinstance(err, UnknownUpstreamError)
    return UNDECIDED if undecided else USAGE


def _complaints(err: Exception) -> Iterator[tuple[str, str | None]]:
    match err:
        case typer.TyperException():
            context = getattr(err, "ctx", None)
            command = context.command_path if context else "sealgate"
            message = usage_fault(err.format_message())
            yield message, usage_hint(message, command)
        case ConfigError():
            for one in err.mistakes:
                where = f"{err.file}: {one.where}: " if one.where else f"{err.file}: "
                yield where + one.what, one.hint
        case InputError():
            yield str(err), err.hint
        case UnreachableError():
            yield str(err), "check its url and ca_file in [upstreams], the proxy and the network of this machine"
        case UnknownUpstreamError():
            yield str(err), "sealgate check-config lists the upstreams that are configured"
        case OSError(strerror=str(what), filename=where):
            hints = _FILE_HINTS if where and not str(where).startswith("server.") else _ADDRESS_HINTS
            yield f"{where}: {what.lower()}" if where else what, hints.get(err.errno or 0)
        case _:
            yield str(err), None


def _nobody_reads() -> int:
    """Let the interpreter's last flush go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return BROKEN_PIPE
