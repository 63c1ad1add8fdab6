"""Where the real clients come from: the machine's own, or Debian packages unpacked into a private folder.

Nothing is installed. What is missing is fetched by apt, which checks the archive's signature and hashes, and unpacked
with `dpkg -x` into `$XDG_CACHE_HOME/sealgate/e2e/<hash of package names and system>`, once. `SEALGATE_E2E_PRIVATE=1`
does so even where everything is installed. What the machine's apt and dpkg keep is read and never written.
`SEALGATE_E2E_PATH` names folders in which programs are looked for first: other versions of the clients.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# Program: the Debian package that has it.
PROGRAMS = {
    "dockerd": "docker.io",
    "docker": "docker.io",
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "podman": "podman",
    "skopeo": "skopeo",
    "buildah": "buildah",
    "docker-registry": "docker-registry",
}
# Debian's folders come first: what is tested is the packages, and a docker from elsewhere may not fit their dockerd.
SYSTEM_PATH = ("/usr/sbin", "/usr/bin", "/sbin", "/bin")
# From Debian 13 on the command line and BuildKit's part of it are packages of their own.
_SPLIT_OFF = ("docker-cli", "docker-buildx")
_LIBRARIES = ("usr/lib/{}-linux-gnu", "lib/{}-linux-gnu", "usr/lib", "lib")
_APT_SECONDS = 900


class MissingError(Exception):
    """Programs that are needed and cannot be had; the text names them, their packages and the reason."""


@dataclass(frozen=True)
class Toolbox:
    """Where programs are looked for, and the libraries that unpacked ones need."""

    path: tuple[str, ...]
    libraries: tuple[str, ...] = ()

    def find(self, program: str) -> str:
        """Return the full path of a program that is known to be there."""
        found = shutil.which(program, path=os.pathsep.join(self.path))
        if found is None:
            raise MissingError(f"{program} is not in {os.pathsep.join(self.path)}")
        return found

    def environment(self) -> dict[str, str]:
        """Return what a started program needs to find the rest."""
        environment = {"PATH": os.pathsep.join(self.path)}
        if self.libraries:
            environment["LD_LIBRARY_PATH"] = os.pathsep.join(self.libraries)
        return environment


def toolbox(programs: Mapping[str, str] = PROGRAMS) -> Toolbox:
    """Find programs, given with the packages that have them, and fetch what is missing; raises MissingError."""
    others = os.environ.get("SEALGATE_E2E_PATH", "").split(os.pathsep)
    path = tuple(filter(None, (*others, *SYSTEM_PATH, *os.environ.get("PATH", "").split(os.pathsep))))
    private = os.environ.get("SEALGATE_E2E_PRIVATE") == "1"
    missing = [name for name in programs if private or not shutil.which(name, path=os.pathsep.join(path))]
    if not missing:
        return Toolbox(path)
    packages = sorted({programs[name] for name in missing})
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        raise MissingError(
            f"missing: {', '.join(missing)} (Debian: {' '.join(packages)}), and there is no apt to get them"
        )
    try:
        root = _unpacked(packages, everything=private)
    except subprocess.CalledProcessError as err:
        said = ((err.stderr or "") + (err.stdout or "")).strip().splitlines()
        why = next((line for line in said if line.startswith("E:")), f"{err.cmd[0]} ended with {err.returncode}")
        raise MissingError(f"missing: {', '.join(missing)} (Debian: {' '.join(packages)}); apt says: {why}") from err
    machine = os.uname().machine
    return Toolbox(
        (*(str(root / folder) for folder in ("usr/sbin", "usr/bin", "sbin", "bin")), *path),
        tuple(str(root / folder.format(machine)) for folder in _LIBRARIES),
    )


def _unpacked(packages: list[str], *, everything: bool) -> Path:
    """Return a folder with the packages and those they need, beyond what the machine has."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sealgate" / "e2e"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs at once fetch once
        system = Path("/etc/os-release").read_text(encoding="utf-8") + os.uname().machine
        key = hashlib.sha256("\n".join([*packages, str(everything), system]).encode()).hexdigest()[:16]
        root = cache / key
        if not root.is_dir():
            with tempfile.TemporaryDirectory(dir=cache) as scratch:
                apt = _Apt(Path(scratch))
                wanted = apt.needed(packages) - _installed(only_required=everything)
                apt.unpack(sorted(wanted)).rename(root)
        return root


def _installed(*, only_required: bool) -> set[str]:
    """Return the names of installed packages; with `only_required`, of those that no Debian is without."""
    form = "${db:Status-Status} ${Priority} ${Essential} ${Package}\n"
    names = set()
    for line in _run("dpkg-query", "-W", "-f", form).splitlines():
        state, priority, *_, name = line.split()
        required = priority == "required" or " yes " in line or name.startswith(("libc6", "libgcc", "libcrypt"))
        if state == "installed" and (required or not only_required):
            names.add(name)
    return names


class _Apt:
    """The machine's sources and keys; lists, caches and state of our own; no hooks."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        for folder in ("parts", "lists/partial", "archives/partial", "debs"):
            (scratch / folder).mkdir(parents=True)
        (scratch / "status").touch()  # as if nothing were installed: every dependency is named
        machine = Path("/etc/apt")
        for part in (*sorted((machine / "apt.conf.d").glob("*")), machine / "apt.conf"):
            if part.is_file():
                shutil.copy(part, scratch / "parts")
        hooks = (
            "APT::Update::Post-Invoke",
            "APT::Update::Post-Invoke-Success",
            "DPkg::Post-Invoke",
            "DPkg::Pre-Install-Pkgs",
        )
        (scratch / "parts" / "zz-own.conf").write_text(
            "".join(f"#clear {hook};\n" for hook in hooks)
            + f'Dir::State::status "{scratch}/status";\nDir::Cache::archives "{scratch}/archives";\n'
            + 'Dir::Cache::pkgcache "";\nDir::Cache::srcpkgcache "";\nDebug::NoLocking "1";\n'
            + 'APT::Sandbox::User "root";\nAcquire::Languages "none";\nAcquire::Retries "3";\n'
        )
        (scratch / "apt.conf").write_text(f'Dir::Etc::Parts "{scratch}/parts";\nDir::Etc::main "apt.conf.none";\n')

    def _apt(self, *arguments: str, cwd: Path | None = None) -> str:
        return _run(*arguments, cwd=cwd, APT_CONFIG=str(self.scratch / "apt.conf"))

    def _knows(self, package: str) -> bool:
        policy = self._apt("apt-cache", "policy", package)
        return "Candidate:" in policy and "Candidate: (none)" not in policy

    def needed(self, packages: list[str]) -> set[str]:
        """Return the packages and all that they depend on, as `name` of the newest version."""
        if not all(self._knows(package) for package in packages):
            with (self.scratch / "parts" / "zz-own.conf").open("a") as own:
                own.write(f'Dir::State::lists "{self.scratch}/lists";\n')
            self._apt("apt-get", "-q", "update")
        more = [name for name in _SPLIT_OFF if "docker.io" in packages and self._knows(name)]
        plan = self._apt("apt-get", "-qq", "--no-install-recommends", "--print-uris", "-y", "install", *packages, *more)
        # 'URL' name_version_architecture.deb size hash
        return {line.split()[1].split("_")[0] for line in plan.splitlines() if line.startswith("'")}

    def unpack(self, packages: list[str]) -> Path:
        """Fetch the packages and return a folder in which they lie unpacked."""
        debs, root = self.scratch / "debs", self.scratch / "root"
        self._apt("apt-get", "-q", "download", *packages, cwd=debs)
        for deb in sorted(debs.glob("*.deb")):
            _run("dpkg", "-x", str(deb), str(root))
        return root


def _run(*command: str, cwd: Path | None = None, **environment: str) -> str:
    return subprocess.run(  # noqa: S603 (apt and dpkg, with names from this file)
        command,
        cwd=cwd,
        env={**os.environ, "LC_ALL": "C", **environment},
        capture_output=True,
        check=True,
        text=True,
        timeout=_APT_SECONDS,
    ).stdout
