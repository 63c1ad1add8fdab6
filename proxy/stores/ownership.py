"""Check that no other user can write what Sealgate trusts: its state directory (verdicts, trust roots), its audit log.

Who can write there can write an acceptance. So every directory on the way, every symbolic link and every file of the
state belongs to us or to root, and nobody else may write it. A group that we are in may: Kubernetes gives a volume to
the Pod's `fsGroup` and leaves it to root (kubernetes.io/docs/tasks/configure-pod-container/security-context).
"""

import grp
import os
import pwd
import shlex
import stat
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from errno import ELOOP
from pathlib import Path

ROOT = 0
# As many as Linux follows (path_resolution(7), MAXSYMLINKS).
LINKS_MAX = 40
# Folders below a part of the state that are looked into: content/sha256/ab, trust/NAME/metadata/root_history.
DEPTH_MAX = 4
# Directories that distributions let a group of daemons write (Ubuntu: /var/log, syslog; Debian: the others, staff).
_DISTRIBUTION = frozenset({"/var/log", "/var/local", "/usr/local"})
# Groups below are the system's (login.defs, GID_MIN).
_ORDINARY_GROUP_MIN = 1000
_ACL_USER, _ACL_GROUP, _ACL_WRITE = 0x02, 0x08, 0x02
_OVERFLOW, _MAP = Path("/proc/sys/kernel/overflowuid"), Path("/proc/self/uid_map")


@dataclass(frozen=True, slots=True)
class User:
    """Whom a process acts as. `unmapped` is the id that owners outside of its user namespace appear under, if any."""

    uid: int
    groups: frozenset[int]
    unmapped: int | None = None

    @classmethod
    def current(cls) -> "User":
        """Return the user of this process."""
        return cls(os.geteuid(), frozenset({os.getegid(), *os.getgroups()}), _unmapped())

    def trusts(self, owner: int) -> bool:
        """Return whether this owner is our user, or root."""
        return owner in {self.uid, ROOT}


@dataclass(frozen=True, slots=True)
class Unsafe:
    """A path that others may write: what is wrong with it, and the command that repairs it."""

    what: str
    repair: str

    def __str__(self) -> str:
        return f"{self.what}; {self.repair}"


def unsafe_state(folder: Path, parts: Iterable[str], user: User) -> Unsafe | None:
    """Return the first fault of a state directory and of these names in it; None without one, or where nothing is.

    What is in a folder is looked at down to its subfolders, but files of content, which are checked when they are
    opened. Raises OSError where the links of the path lead in a circle.
    """
    found = unsafe_path(folder, user, whole=folder)
    for path in (folder / part for part in parts):
        # Unlike Path.is_symlink never an error: not either where we may not look.
        whole = _followed(path) if os.path.islink(path) else folder  # noqa: PTH114
        found = found or unsafe_path(path, user, whole) or _unsafe_below(path, user, whole)
    return found


def unsafe_path(path: Path, user: User, whole: Path | None = None) -> Unsafe | None:
    """Return the first fault on the way to a path, or of what is there; None without one, or as far as nothing is.

    `whole` is what a repair should set right together. Raises OSError where links lead in a circle.
    """
    way, is_whole = [], False
    with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        for one in _way(path):
            way.append(one)  # noqa: PERF402 (those before an error count)
        is_whole = True
    parents, ends = (way[:-1], way[-1:]) if is_whole else (way, [])
    # Whose it is comes first: who runs a command as the wrong user is told so.
    faults = [_foreign_end(*one, user, whole or path) for one in ends]
    faults += [_unsafe_parent(*one, user) for one in parents]
    faults += [_unsafe_end(*one, user, whole or path) for one in ends]
    return next((fault for fault in faults if fault is not None), None)


def unwritable(folder: Path, user: User) -> Unsafe | None:
    """Return why we could not write to a directory that is root's; None where we can, or nothing is there."""
    with suppress(OSError):
        status = folder.stat()
        if status.st_uid == ROOT and not _shared(status, user):
            return Unsafe(
                f"{folder} belongs to root, and user {_user(user.uid)} may not write it",
                f"run it as root (sudo), or {_take(user, folder)}",
            )
    return None


def is_private(status: os.stat_result, user: User) -> bool:
    """Return whether only we, root and groups of ours may write a file with this status."""
    group = status.st_mode & stat.S_IWGRP and status.st_gid not in user.groups | {ROOT}
    return user.trusts(status.st_uid) and not group and not status.st_mode & stat.S_IWOTH


def _way(path: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Yield what the system passes on its way, links included (path_resolution(7)); the last is what is there."""
    at, todo, links = "/", list(reversed(path.absolute().parts[1:])), 0
    yield at, os.lstat(at)
    while todo:
        part = todo.pop()
        if part == "..":
            at = os.path.dirname(at)  # noqa: PTH120 (of a path without links)
            continue
        where = os.path.join(at, part)  # noqa: PTH118 (as above)
        status = os.lstat(where)
        yield where, status
        if not stat.S_ISLNK(status.st_mode):
            at = where
            continue
        links += 1
        if links > LINKS_MAX:
            raise OSError(ELOOP, os.strerror(ELOOP), str(path))
        target = Path(os.readlink(where))  # noqa: PTH115 (as above)
        if target.is_absolute():
            at = "/"
        todo += reversed(target.parts[1:] if target.is_absolute() else target.parts)


def _unsafe_parent(where: str, status: os.stat_result, user: User) -> Unsafe | None:
    """Check a directory or link on the way: nobody else may put something else in the place of what comes next."""
    if not user.trusts(status.st_uid) and status.st_uid != user.unmapped:
        repair = f"{_sudo(user)}chown root: {_quoted(where)}"
        return Unsafe(
            f"{where} belongs to user {_user(status.st_uid)}, who can replace what is in it",
            f"choose a path that only root and this user can change, or run: {repair}",
        )
    if stat.S_ISLNK(status.st_mode) or status.st_mode & stat.S_ISVTX:
        return None
    who = _open_to(where, status, user)
    if where in _DISTRIBUTION and status.st_uid == ROOT and status.st_gid < _ORDINARY_GROUP_MIN:
        who = who.replace("g", "")
    return _writable(who, where, status, f"{_sudo(user, status)}chmod {who}-w {_quoted(where)}")


def _foreign_end(where: str, status: os.stat_result, user: User, whole: Path) -> Unsafe | None:
    if user.trusts(status.st_uid):
        return None
    name = _user(status.st_uid)
    sudo = f"sudo -u {name if not name.isdecimal() else f'#{name}'}"
    return Unsafe(
        f"{where} belongs to user {name}, and this is user {_user(user.uid)}",
        f"run it as that user ({sudo}), or {_take(user, whole)}",
    )


def _take(user: User, whole: Path) -> str:
    return f"run: {_sudo(user)}chown -R {_user(user.uid)}: {_quoted(whole)}"


def _unsafe_end(where: str, status: os.stat_result, user: User, whole: Path) -> Unsafe | None:
    """Check what is ours to write; the sticky bit does not help there, for others could add files."""
    foreign = _foreign_end(where, status, user, whole)
    if foreign is not None:
        return foreign
    if stat.S_ISLNK(status.st_mode):
        return None
    who = _open_to(where, status, user)
    recursive = "-R " if stat.S_ISDIR(status.st_mode) or str(whole) != where else ""
    return _writable(who, where, status, f"{_sudo(user, status)}chmod {recursive}{who}-w {_quoted(whole)}")


def _unsafe_below(folder: Path, user: User, whole: Path, depth: int = DEPTH_MAX) -> Unsafe | None:
    try:
        found = sorted(os.scandir(folder), key=lambda it: it.name)
    except OSError:  # no folder, or none that we may read
        return None
    for one in found:  # files of content are many, and looked at when they are opened
        with suppress(FileNotFoundError):  # evicted just now
            fault = _unsafe_entry(one, user, whole, 0 if _holds_content(folder) else depth - 1)
            if fault is not None:
                return fault
    return None


def _unsafe_entry(entry: os.DirEntry[str], user: User, whole: Path, depth: int) -> Unsafe | None:
    """Check what is in a folder of the state. A link is ours, but what it leads to may be anybody's: it is followed."""
    status = entry.stat(follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode):
        whole = _followed(Path(entry.path))
        fault = unsafe_path(Path(entry.path), user, whole)
    else:
        fault = _unsafe_end(entry.path, status, user, whole)
    return fault or (_unsafe_below(Path(entry.path), user, whole, depth) if depth and entry.is_dir() else None)


def _followed(link: Path) -> Path:
    """Return what a repair is to set right: neither `chmod -R` nor `chown -R` follows links."""
    return Path(os.path.realpath(link))  # unlike Path.resolve, never an error


def _holds_content(folder: Path) -> bool:
    return folder.name in {"sha256", "sha512", "incoming"}


def _writable(who: str, where: str, status: os.stat_result, repair: str) -> Unsafe | None:
    if not who:
        return None
    named = " and ".join({"o": "every user", "g": f"group {_group(status.st_gid)}"}[one] for one in who)
    return Unsafe(f"{where} may be written by {named} (mode {stat.S_IMODE(status.st_mode):04o})", f"run: {repair}")


def _open_to(where: str, status: os.stat_result, user: User) -> str:
    """Return which others may write, as chmod names them. Of an ACL `g-w` takes all rights to write (acl(5), mask)."""
    group = status.st_mode & stat.S_IWGRP and (status.st_gid not in user.groups | {ROOT} or _names_others(where, user))
    return ("g" if group else "") + ("o" if status.st_mode & stat.S_IWOTH else "")


def _names_others(where: str, user: User) -> bool:
    """Return whether an ACL lets foreign users or groups write (linux/posix_acl_xattr.h: version, then entries)."""
    try:
        acl = os.getxattr(where, "system.posix_acl_access", follow_symlinks=False)
    except OSError:
        return False
    for tag, permissions, number in struct.iter_unpack("<HHI", acl[4:]):
        ours = {_ACL_USER: {user.uid, ROOT}, _ACL_GROUP: user.groups | {ROOT}}.get(tag)
        if ours is not None and permissions & _ACL_WRITE and number not in ours:
            return True
    return False


def _shared(status: os.stat_result, user: User) -> bool:
    return user.uid == ROOT or bool(status.st_mode & stat.S_IWGRP and status.st_gid in user.groups)


def _unmapped() -> int | None:
    """Return the overflow id, where it stands for users that this user namespace has no id for (user_namespaces(7))."""
    try:
        overflow = int(_OVERFLOW.read_text(encoding="ascii"))
        ranges = [list(map(int, line.split())) for line in _MAP.read_text(encoding="ascii").splitlines()]
    except (OSError, ValueError):
        return None
    return None if any(first <= overflow < first + count for first, _, count in ranges) else overflow


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _sudo(user: User, status: os.stat_result | None = None) -> str:
    """Return what a command needs before it: nothing as root, or where it changes the mode of what is ours."""
    return "" if user.uid == ROOT or (status is not None and status.st_uid == user.uid) else "sudo "


def _quoted(path: Path | str) -> str:
    return shlex.quote(str(path))
