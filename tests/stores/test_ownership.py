"""Who may write the state: what is refused, with the command that repairs it, beside what must be accepted."""

import os
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

import pytest

from proxy.stores import ownership as module
from proxy.stores.database import DATABASE, StoreError, open_database
from proxy.stores.ownership import User, is_private, unsafe_path, unsafe_state, unwritable
from proxy.stores.state import PARTS, prepare_state_dir, unsafe_file, unsafe_state_dir

IS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not IS_ROOT, reason="only root can give files to another user")
# Nobody has these.
STRANGER, FOREIGN_GROUP = 987_001, 987_002
US = User.current()


@pytest.fixture
def state(tmp_path):
    """A state directory as Sealgate leaves it."""
    folder = tmp_path / "place" / "state"
    (folder / "content" / "sha256" / "ab").mkdir(parents=True)
    (folder / "content" / "incoming").mkdir()
    (folder / "trust" / "public-good" / "metadata" / "root_history").mkdir(parents=True)
    open_database(folder / DATABASE).close()
    for name in ("lock", f"{DATABASE}-wal", "trust/public-good/trusted_root.json", "trust/public-good/metadata/1.json"):
        (folder / name).touch()
    (folder / "content" / "sha256" / "ab" / "abcd").touch()
    for path in (tmp_path / "place", folder, *folder.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
    return folder


def fault_of(folder, user=US):
    return unsafe_state(folder, PARTS, user)


PLACES = [
    ".",
    DATABASE,
    f"{DATABASE}-wal",
    "lock",
    "content",
    "content/incoming",
    "content/sha256",
    "content/sha256/ab",
    "trust",
    "trust/public-good",
    "trust/public-good/trusted_root.json",
    "trust/public-good/metadata/1.json",
    "trust/public-good/metadata/root_history",
]


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o770, 0o2770, 0o750])
@pytest.mark.parametrize("place", PLACES)
def test_what_only_we_or_our_group_may_write_is_believed(state, place, mode):
    (state / place).chmod(mode)
    assert fault_of(state) is None


@pytest.mark.parametrize("mode", [0o777, 0o702, 0o1777])
@pytest.mark.parametrize("place", PLACES)
def test_what_every_user_may_write_is_not(state, place, mode):
    (state / place).chmod(mode)
    found = fault_of(state)
    assert found.what == f"{(state / place)} may be written by every user (mode {mode:04o})"
    assert found.repair == f"run: chmod -R o-w {state}"


@pytest.mark.parametrize("place", PLACES)
def test_the_command_that_is_named_repairs_it(state, place):
    (state / place).chmod(0o777)
    subprocess.run(["sh", "-c", fault_of(state).repair.removeprefix("run: ")], check=True)  # noqa: S603, S607 (our own)
    assert fault_of(state) is None


@needs_root
@pytest.mark.parametrize("place", PLACES)
def test_what_another_user_owns_is_not_believed(state, place):
    os.chown(state / place, STRANGER, 0)
    found = fault_of(state)
    assert found.what == f"{state / place} belongs to user {STRANGER}, and this is user root"
    assert f"sudo -u #{STRANGER}" in found.repair
    subprocess.run(["sh", "-c", found.repair.rpartition("run: ")[2]], check=True)  # noqa: S603, S607 (our own)
    assert fault_of(state) is None


@needs_root
@pytest.mark.parametrize("place", PLACES)
def test_what_another_group_may_write_is_not_believed(state, place):
    os.chown(state / place, -1, FOREIGN_GROUP)
    (state / place).chmod(0o770)
    found = fault_of(state)
    assert found.what == f"{state / place} may be written by group {FOREIGN_GROUP} (mode 0770)"
    assert found.repair == f"run: chmod -R g-w {state}"
    assert fault_of(state, User(0, frozenset({0, FOREIGN_GROUP}))) is None
    (state / place).chmod(0o777)
    assert fault_of(state).repair == f"run: chmod -R go-w {state}"


LINKED = ["content", "content/sha256", "content/sha256/ab", "trust", "trust/public-good", "trust/public-good/metadata"]
LINKED_FILES = [DATABASE, "trust/public-good/trusted_root.json", "trust/public-good/metadata/1.json"]


def moved_behind_a_link(state, part):
    """Move a part of the state elsewhere, with a link in its place; return the folder that it is in."""
    elsewhere = state.parent.parent / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    shutil.move(state / part, elsewhere / "part")
    (state / part).symlink_to(elsewhere / "part")
    return elsewhere


@pytest.mark.parametrize("part", [*LINKED, *LINKED_FILES])
def test_what_a_link_in_the_state_leads_to_is_looked_at(state, part):
    elsewhere = moved_behind_a_link(state, part)
    assert fault_of(state) is None
    elsewhere.chmod(0o777)
    assert fault_of(state).what == f"{elsewhere} may be written by every user (mode 0777)"
    elsewhere.chmod(0o700)
    (elsewhere / "part").chmod(0o666 if part in LINKED_FILES else 0o777)
    assert f"{elsewhere / 'part'} may be written by every user" in fault_of(state).what


@pytest.mark.parametrize("part", ["trust", "trust/public-good"])
def test_what_lies_behind_a_link_in_the_state_is_looked_at(state, part):
    moved_behind_a_link(state, part)
    (state / "trust/public-good/trusted_root.json").chmod(0o666)
    found = fault_of(state)
    assert "trusted_root.json may be written by every user (mode 0666)" in found.what
    subprocess.run(["sh", "-c", found.repair.removeprefix("run: ")], check=True)  # noqa: S603, S607 (our own)
    assert fault_of(state) is None


@needs_root
@pytest.mark.parametrize("part", [*LINKED, *LINKED_FILES])
def test_what_a_link_in_the_state_leads_to_is_no_strangers(state, part):
    elsewhere = moved_behind_a_link(state, part)
    os.chown(elsewhere / "part", STRANGER, 0)
    found = fault_of(state)
    assert f"{elsewhere / 'part'} belongs to user {STRANGER}" in found.what
    subprocess.run(["sh", "-c", found.repair.rpartition("run: ")[2]], check=True)  # noqa: S603, S607 (our own)
    assert fault_of(state) is None


@needs_root
def test_a_state_of_root_is_named_as_such_to_who_may_not_look_into_it():
    with tempfile.TemporaryDirectory() as place:  # not below tmp_path, into which only root may look
        Path(place).chmod(0o755)
        state = Path(place) / "state"
        state.mkdir(mode=0o700)
        os.seteuid(STRANGER)
        try:
            assert fault_of(state, User.current()) is None
            assert f"{state} belongs to root" in unsafe_state_dir(state, writes=True)
        finally:
            os.seteuid(0)


def test_links_in_the_state_that_lead_nowhere_or_in_a_circle(state):
    (state / "trust" / "gone").symlink_to("nowhere")
    assert fault_of(state) is None
    (state / "trust" / "circle").symlink_to("circle")
    with pytest.raises(OSError, match="Too many levels"):
        fault_of(state)


@needs_root
def test_a_volume_of_kubernetes_is_believed(state):
    """It is root's, of the Pod's fsGroup, with the setgid bit; what is in it is ours."""
    us = User(STRANGER, frozenset({FOREIGN_GROUP}))
    for path in (state, *state.rglob("*")):
        os.chown(path, STRANGER, FOREIGN_GROUP)
        path.chmod(0o2770 if path.is_dir() else 0o660)
    os.chown(state, 0, FOREIGN_GROUP)
    assert fault_of(state, us) is None
    found = fault_of(state, User(STRANGER, frozenset({FOREIGN_GROUP + 1})))
    assert "may be written by group" in found.what
    assert unwritable(state, us) is None
    state.chmod(0o755)
    assert fault_of(state, us) is None  # to be read, by another user's `sealgate verify`
    found = unwritable(state, us)
    assert found.what == f"{state} belongs to root, and user {STRANGER} may not write it"
    assert found.repair == f"run it as root (sudo), or run: sudo chown -R {STRANGER}: {state}"
    assert unwritable(state / "nothing", us) is None


@needs_root
def test_whose_it_is_comes_before_what_is_above(state):
    for path in (state.parent, state):
        os.chown(path, STRANGER, 0)
    assert fault_of(state).what == f"{state} belongs to user {STRANGER}, and this is user root"


@pytest.mark.parametrize(("mode", "is_safe"), [(0o755, True), (0o1777, True), (0o775, True), (0o777, False)])
def test_a_directory_above(state, mode, is_safe):
    state.parent.chmod(mode)
    found = fault_of(state)
    assert (found is None) == is_safe
    if found is not None:
        assert found.what == f"{state.parent} may be written by every user (mode 0777)"
        assert found.repair == f"run: chmod o-w {state.parent}"


@pytest.mark.parametrize("mode", [0o755, 0o777])
def test_a_directory_above_of_what_is_not_there_yet(state, mode):
    state.parent.chmod(mode)
    assert (fault_of(state.parent / "later" / "state") is None) == (mode == 0o755)
    assert (unsafe_file(state.parent / "later" / "audit.jsonl") is None) == (mode == 0o755)


@needs_root
def test_a_directory_above_that_a_stranger_owns(state):
    os.chown(state.parent, STRANGER, 0)
    found = fault_of(state)
    assert found.what == f"{state.parent} belongs to user {STRANGER}, who can replace what is in it"
    assert found.repair.endswith(f"run: chown root: {state.parent}")
    # In a user namespace, whoever made it may own what has no id in it.
    assert fault_of(state, User(0, frozenset({0}), unmapped=STRANGER)) is None
    os.chown(state, STRANGER, 0)
    assert fault_of(state, User(0, frozenset({0}), unmapped=STRANGER)) is not None


@needs_root
@pytest.mark.parametrize(
    ("given", "is_safe"),
    [
        ((0, 50, 0o2775), True),
        ((0, 50, 0o777), False),
        ((0, FOREIGN_GROUP, 0o775), False),
        ((STRANGER, 50, 0o775), False),
    ],
)
def test_what_distributions_let_daemons_write(state, monkeypatch, given, is_safe):
    owner, group, mode = given
    monkeypatch.setattr(module, "_DISTRIBUTION", frozenset({str(state.parent)}))
    os.chown(state.parent, owner, group)
    state.parent.chmod(mode)
    assert (fault_of(state) is None) == is_safe
    monkeypatch.setattr(module, "_DISTRIBUTION", frozenset())
    assert fault_of(state) is not None


@pytest.mark.parametrize("relative", [True, False])
def test_links_are_followed_to_what_they_mean(state, tmp_path, relative):
    link = tmp_path / "link"
    link.symlink_to("./place/../place/state" if relative else state)
    assert fault_of(link) is None
    state.parent.chmod(0o777)
    assert "may be written by every user" in fault_of(link).what
    state.parent.chmod(0o700)
    (tmp_path / "elsewhere").mkdir()
    (state / "content").rename(tmp_path / "elsewhere" / "content")
    (state / "content").symlink_to(tmp_path / "elsewhere" / "content")
    assert fault_of(link) is None
    (tmp_path / "elsewhere").chmod(0o777)
    assert fault_of(link).what.startswith(f"{tmp_path}/elsewhere may be written")


@needs_root
def test_a_link_of_a_stranger_is_not_followed(state, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(state)
    os.lchown(link, STRANGER, 0)
    assert fault_of(link).what == f"{link} belongs to user {STRANGER}, who can replace what is in it"


def test_links_in_a_circle(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        unsafe_path(tmp_path / "a", US)
    assert "symbolic links" in unsafe_state_dir(tmp_path / "a" / "state")
    assert "symbolic links" in unsafe_file(tmp_path / "a" / "audit")


def acl(*entries):
    """Return an ACL of user::rwx, group::rwx, mask::rwx, other::--- and these entries."""
    nobody = 0xFFFFFFFF
    all_entries = [(0x01, 7, nobody), (0x04, 7, nobody), (0x10, 7, nobody), (0x20, 0, nobody), *entries]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *it) for it in sorted(all_entries))


ACLS = [
    ((0x02, 7, STRANGER), False),
    ((0x02, 5, STRANGER), True),
    ((0x02, 7, US.uid), True),
    ((0x08, 6, FOREIGN_GROUP), False),
    ((0x08, 4, FOREIGN_GROUP), True),
    ((0x08, 7, next(iter(US.groups))), True),
]


@pytest.mark.parametrize(("entry", "is_safe"), ACLS)
def test_access_control_lists(state, monkeypatch, entry, is_safe):
    monkeypatch.setattr(os, "getxattr", lambda *_, **__: acl(entry))
    state.chmod(0o770)
    found = fault_of(state)
    assert (found is None) == is_safe
    assert found is None or "chmod -R g-w" in found.repair


def test_repairs_quote_names_and_say_when_they_need_root(tmp_path):
    odd = tmp_path / "a b;c"
    odd.mkdir(mode=0o700)
    odd.chmod(0o777)
    assert unsafe_path(odd, US).repair == f"run: chmod -R o-w '{odd}'"
    stranger = User(STRANGER, frozenset({STRANGER}))
    found = unsafe_path(odd, stranger)  # somebody else's in any case: root's, or an ordinary user's
    assert "sudo ch" in found.repair


@pytest.mark.parametrize("mode", [0o600, 0o666])
def test_content_that_others_may_write_is_not_there(state, mode):
    file = state / "content" / "sha256" / "ab" / "abcd"
    file.chmod(mode)
    assert is_private(file.stat(), US) == (mode == 0o600)
    assert is_private(file.stat(), User(STRANGER, frozenset())) == (mode == 0o600 and IS_ROOT)


def test_a_directory_is_made_for_us_alone(tmp_path):
    before = os.umask(0)
    try:
        prepare_state_dir(tmp_path / "new")
    finally:
        os.umask(before)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    (tmp_path / "new").chmod(0o777)
    with pytest.raises(StoreError, match=r"cannot be used: .*: run: chmod -R o-w .*/new"):
        prepare_state_dir(tmp_path / "new")


def test_devices_are_no_files_of_ours():
    assert unsafe_file(Path("/dev/null")) is None
    assert unsafe_file(Path("/dev/stderr")) is None


@pytest.mark.parametrize(
    ("overflow", "ranges", "expected"),
    [
        ("65534", "0 0 4294967295", None),
        ("65534", "0 1000 1", 65534),
        ("65534", "0 100000 65536", None),
        ("x", "", None),
    ],
)
def test_whose_the_unmapped_are(tmp_path, monkeypatch, overflow, ranges, expected):
    (tmp_path / "overflow").write_text(overflow)
    (tmp_path / "map").write_text(ranges)
    monkeypatch.setattr(module, "_OVERFLOW", tmp_path / "overflow")
    monkeypatch.setattr(module, "_MAP", tmp_path / "map")
    assert User.current().unmapped == expected


def test_a_part_that_goes_while_it_is_looked_at(state, monkeypatch):
    shutil.rmtree(state / "content")
    real = os.scandir

    class Gone:
        name, path = "gone", "gone"

        def stat(self, **_):
            raise FileNotFoundError

    monkeypatch.setattr(os, "scandir", lambda path: [Gone()] if Path(path).name == "trust" else real(path))
    assert fault_of(state) is None
