"""Where clients run: network, mount and process namespaces and an /etc of their own, and nothing beyond loopback.

The network namespace is that of the whole run (`own_network`), so that the clients, the fake hub and the proxy see each
other and nothing else does. Each command gets mount and process namespaces of its own: when its first process ends,
all end.
"""

import contextlib
import ctypes
import datetime as dt
import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from e2e.packages import MissingError, Toolbox

# Stands in the environment of every process that is started, so that one left behind is found.
RUN = f"SEALGATE_E2E_RUN={uuid.uuid4()}"
_CLONE_NEWNET = 0x40000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1
_READY_SECONDS = 30
_UNSHARE = ("unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child")
_HIDE = """\
set -e
mount -n --bind "$E2E_ETC" /etc
for folder in /run /var/lib /var/log; do mount -n -t tmpfs -o mode=755 e2e "$folder"; done
exec "$@"
"""
# Hidden from the clients, so what they need must not lie there.
_HIDDEN = ("/etc", "/run", "/var/lib", "/var/log")
_KEPT_OF_ETC = ("passwd", "group", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives")


@contextlib.contextmanager
def own_network() -> Iterator[None]:
    """Give this thread, and all that it starts, a network of nothing but loopback; MissingError without the right."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/thread-self/ns/net").open() as before:
        if libc.unshare(_CLONE_NEWNET):
            raise MissingError(f"no namespaces without root or CAP_SYS_ADMIN ({os.strerror(ctypes.get_errno())})")
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
                request = fcntl.ioctl(any_socket, _SIOCGIFFLAGS, struct.pack("16sh14x", b"lo", 0))
                flags = struct.unpack("16sh14x", request)[1]
                fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))
            yield
        finally:
            libc.setns(before.fileno(), _CLONE_NEWNET)


def check_namespaces() -> None:
    """Raise MissingError where mount and process namespaces cannot be made."""
    trial = subprocess.run(  # noqa: S603 (as the clients will be run)
        [*_UNSHARE, "mount", "-n", "-t", "tmpfs", "e2e", "/run"], capture_output=True, text=True, check=False
    )
    if trial.returncode:
        raise MissingError(f"no namespaces without root or CAP_SYS_ADMIN ({trial.stderr.strip()})")


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit code, None where it had to be stopped; output and errors as the user saw them."""

    code: int | None
    output: str


@dataclass
class Box:
    """One client's world: a folder of its own, an /etc of its own in it."""

    tools: Toolbox
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def etc(self) -> Path:
        """What the client sees as /etc."""
        return self.folder / "etc"

    def write(self, path: str, content: str) -> None:
        """Write a file; an absolute path must be below /etc."""
        target = self.folder / path.removeprefix("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content, encoding="utf-8")

    def command(self, *command: str) -> list[str]:
        """Return the command line that runs a program in here."""
        return [*_UNSHARE, "sh", "-c", _HIDE, "sh", self.tools.find(command[0]), *command[1:]]

    def run(self, *command: str, seconds: float = 60) -> Ended:
        """Run a program to its end, or stop it after that time."""
        process = subprocess.Popen(  # noqa: S603 (the clients under test)
            self.command(*command),
            cwd=self.folder,
            env=dict(self.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        try:
            output, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            return Ended(None, process.communicate()[0])
        return Ended(process.returncode, output)

    @contextlib.contextmanager
    def daemon(self, *command: str, ready: Callable[[], bool]) -> Iterator[None]:
        """Run a program until the block ends; it has begun when `ready` says so."""
        log = self.folder / f"{command[0]}.log"
        with log.open("a") as output:
            process = subprocess.Popen(  # noqa: S603 (the clients under test)
                self.command(*command),
                cwd=self.folder,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            wait_until(ready, process, log)
            yield
        finally:
            end_inner(process)


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until something that was started answers; raises RuntimeError with the end of its log if it does not."""
    end = time.monotonic() + _READY_SECONDS
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError):
            if ready():
                return
        time.sleep(0.02)
    raise RuntimeError(f"{process.args} did not begin to serve:\n{log.read_text(errors='replace')[-3000:]}")


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process that we started: politely, then not."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def end_inner(process: subprocess.Popen[bytes]) -> None:
    """End what runs under `unshare`, which itself heeds no SIGTERM: its child is the first process of the namespace."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split():
            os.kill(int(child), signal.SIGTERM)
        process.wait(10)
    process.kill()
    process.wait()


def listening(address: tuple[str, int]) -> bool:
    """Say whether something accepts connections there; raises OSError if not."""
    with socket.create_connection(address, timeout=1):
        return True


def listening_unix(path: Path) -> bool:
    """Say whether something accepts connections at this socket; raises OSError if not."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        return True


def left_behind() -> list[str]:
    """Return the processes of this run that are still there."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if RUN.encode() in (entry / "environ").read_bytes() and int(entry.name) != os.getpid():
                found.append(f"{entry.name}: {(entry / 'cmdline').read_bytes().replace(bytes(1), b' ').decode()}")
    return found


@contextlib.contextmanager
def fresh_box(tools: Toolbox, hosts: Mapping[str, str], ca: Path) -> Iterator[Box]:
    """Make a world in which these names have these addresses, no other name has any, and this CA is the only one."""
    # A unix socket's path may have 108 bytes: the folder's name is short.
    folder = Path(tempfile.mkdtemp(prefix="e2e-"))
    needed = (folder, ca, *map(Path, tools.libraries))
    hidden = [path for path in needed if any(path.is_relative_to(root) for root in _HIDDEN)]
    if hidden:
        raise MissingError(f"{hidden[0]} is hidden from the clients: set TMPDIR or XDG_CACHE_HOME to another place")
    home = folder / "home"
    home.mkdir()
    run, value = RUN.split("=")
    environment = {
        **tools.environment(),
        run: value,
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "TMPDIR": str(folder),
        "XDG_RUNTIME_DIR": str(home),
        "SSL_CERT_FILE": str(ca),
        "SSL_CERT_DIR": str(home),
        "DOCKER_BUILDKIT": "1",  # the default from Docker 23 on
        "E2E_ETC": str(folder / "etc"),
    }
    try:
        box = Box(tools, folder, environment)
        _furnish(box.etc, hosts)
        if tools.libraries:
            _know_libraries(box.etc, tools.libraries)
        yield box
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _furnish(etc: Path, hosts: Mapping[str, str]) -> None:
    etc.mkdir()
    for name in _KEPT_OF_ETC:
        source = Path("/etc") / name
        if source.is_dir():
            shutil.copytree(source, etc / name, symlinks=True)
        elif source.exists():
            shutil.copy(source, etc / name)
    lines = [f"127.0.0.1 localhost {socket.gethostname()}", *(f"{address} {name}" for name, address in hosts.items())]
    (etc / "hosts").write_text("".join(line + "\n" for line in lines), encoding="ascii")
    (etc / "nsswitch.conf").write_text("hosts: files dns\n", encoding="ascii")
    (etc / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n", encoding="ascii")


def _know_libraries(etc: Path, libraries: tuple[str, ...]) -> None:
    """Let programs find libraries by the cache too: Docker starts parts of itself with an empty environment."""
    conf = etc / "ld.so.conf"
    conf.write_text("\n".join([*libraries, "include /etc/ld.so.conf.d/*.conf", ""]), encoding="utf-8")
    subprocess.run(  # noqa: S603 (its own cache, in its own folder)
        ["/sbin/ldconfig", "-f", conf, "-C", etc / "ld.so.cache"], check=True, capture_output=True
    )


def throwaway_ca(folder: Path, names: tuple[str, ...]) -> tuple[Path, Path, Path]:
    """Write a CA, and a certificate for these names with its key, valid for two days; return their paths."""
    now = dt.datetime.now(dt.UTC)  # noqa: TID251 (the certificate must be valid for real clients)
    day = dt.timedelta(days=1)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "throw-away CA of an end-to-end test")])

    def certificate(subject: x509.Name, public_key: ec.EllipticCurvePublicKey, extension: x509.ExtensionType) -> bytes:
        builder = x509.CertificateBuilder(issuer, subject, public_key, x509.random_serial_number())
        builder = builder.not_valid_before(now - day).not_valid_after(now + day)
        signed = builder.add_extension(extension, critical=True).sign(ca_key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)

    paths = folder / "ca.pem", folder / "hub.pem", folder / "hub.key"
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    paths[0].write_bytes(certificate(issuer, ca_key.public_key(), x509.BasicConstraints(ca=True, path_length=0)))
    paths[1].write_bytes(certificate(subject, key.public_key(), alternatives))
    paths[2].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths
