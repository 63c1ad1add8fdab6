"""The keys of the configuration, table by table, with their defaults. config.example.toml explains each.

A duration is a text of a number and a unit, `"90s"`, `"10m"`, `"24h"` or `"7d"`; a size likewise, `"500MiB"` or
`"20GiB"`. A path is relative to the file.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, ValidationInfo

from proxy.front.external import ExternalUrls
from proxy.front.refusals import Form
from proxy.oci.reference import DOCKER_HUB, canonical_registry
from proxy.policy.model import Mode, OnOutage

PORT_MAX = 65535
# More than one machine has cores to use: each is a process.
WORKERS_MAX = 256
# More would outlast every rotation of keys; an image that runs longer is pulled again long before.
DURATION_MAX = timedelta(days=30)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_DURATION = re.compile(r"([0-9]{1,7})([smhd])", re.ASCII)
# An exabyte is no disk that there is; the numbers stay exact in every tool that reads them.
SIZE_MAX = 2**60
_SIZE_UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_SIZE = re.compile(r"([0-9]{1,7})(B|KiB|MiB|GiB|TiB)", re.ASCII)
_ADDRESS = re.compile(r"(?:\[(?P<six>[0-9a-fA-F:]+)\]|(?P<host>[a-zA-Z0-9._-]+)):(?P<port>[0-9]{1,5})", re.ASCII)

_WINDOWS = re.compile(r"[A-Za-z]:[\\/]")
_LISTEN_HINT = 'as in "127.0.0.1:5000" or "[::1]:5000"; "0.0.0.0:5000" is for all addresses of this machine'


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen; port 0 takes a free one."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Say whether only this machine can connect."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def _address(value: object) -> Address:
    found = _ADDRESS.fullmatch(value) if isinstance(value, str) else None
    if found is None or int(found["port"]) > PORT_MAX:
        raise ValueError(f"should be host and port; {_LISTEN_HINT}")
    host = found["six"] or found["host"]
    if found["six"] or not host.strip("0123456789."):  # an address, or nothing
        try:
            ip_address(host)
        except ValueError:
            raise ValueError(f"has no address of this machine: {host!r}; {_LISTEN_HINT}") from None
    return Address(host, int(found["port"]))


def _duration(value: object) -> timedelta:
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError('should be a duration; as in "60s", "10m", "24h" or "7d", in quotes')
    duration = timedelta(**{_UNITS[found[2]]: int(found[1])})
    if not timedelta(seconds=1) <= duration <= DURATION_MAX:
        raise ValueError(f"is out of range; durations go from 1s to {DURATION_MAX.days}d")
    return duration


def _size(value: object) -> int:
    if value == 0 and isinstance(value, int) and not isinstance(value, bool):
        return 0
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError('should be a size; as in "500MiB" or "20GiB", in quotes, or 0')
    size = int(found[1]) * _SIZE_UNITS[found[2]]
    if size > SIZE_MAX:
        raise ValueError("is out of range; sizes go up to 1048576TiB")
    return size


def _workers(value: object) -> int | Literal["auto"]:
    if value == "auto":
        return "auto"
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= WORKERS_MAX:
        return value
    raise ValueError(f'should be a number from 1 to {WORKERS_MAX}, or "auto"; "auto" is one for each processor')


def _path(value: object, info: ValidationInfo) -> Path:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("should be a path in quotes; it is relative to the configuration file")
    if "://" in value:
        raise ValueError(
            "should be a file, and is a URL; nothing is fetched: save it, and name the file "
            "(cosign public-key --key URL > cosign.pub, for a key)"
        )
    if value.startswith(("~", "$")) or "${" in value:
        raise ValueError("should be a path as it is; neither ~ nor variables are replaced: write it out")
    if _WINDOWS.match(value):
        raise ValueError("is a path of Windows; Sealgate runs on Linux: /var/lib/sealgate")
    return Path(info.context or "", value)


def _registry(value: object) -> object:
    return canonical_registry(value) if isinstance(value, str) else value


Listen = Annotated[Address, PlainValidator(_address)]
Workers = Annotated[int | Literal["auto"], PlainValidator(_workers)]
Duration = Annotated[timedelta, PlainValidator(_duration)]
Size = Annotated[int, PlainValidator(_size)]
RelativePath = Annotated[Path, PlainValidator(_path)]
Registry = Annotated[str, BeforeValidator(_registry)]


class Table(BaseModel):
    """A table of the file: unknown keys are refused, and nothing is converted that was not written so."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class File(Table):
    """The tables. Each is read by itself, so that a mistake in one does not hide those in others."""

    server: dict[str, Any] = Field(default_factory=dict)
    upstreams: dict[str, dict[str, Any]] = {DOCKER_HUB: {}}
    trust_roots: dict[str, dict[str, Any]] = Field(default_factory=dict)
    signers: dict[str, dict[str, Any]] = Field(default_factory=dict)
    rules: list[dict[str, Any]] = Field(default_factory=list)
    lifetimes: dict[str, Any] = Field(default_factory=dict)
    cache: dict[str, Any] = Field(default_factory=dict)
    limits: dict[str, Any] = Field(default_factory=dict)


class Server(Table):
    """[server]: where clients and operators connect, and how they are told no."""

    listen: Listen = Address("127.0.0.1", 5000)
    admin_listen: Listen = Address("127.0.0.1", 5001)
    state_dir: RelativePath = Path("/var/lib/sealgate")
    workers: Workers = 1
    refusal: Annotated[Form, Field(strict=False)] = Form.HOLD
    external_urls: Annotated[ExternalUrls, Field(strict=False)] = ExternalUrls.REFUSE
    default_upstream: Registry = DOCKER_HUB
    tls_certificate: RelativePath | None = None
    tls_key: RelativePath | None = None
    audit_log: RelativePath | None = None
    audit_failure: Literal["serve", "refuse"] = "serve"
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class SignatureRegistry(Table):
    """[upstreams."NAME".signatures]: the registry that an upstream is a mirror of, which shares no key with it."""

    url: str | None = None
    ca_file: RelativePath | None = None
    username: str | None = None
    password_file: RelativePath | None = None
    password_env: str | None = None
    client_certificate: RelativePath | None = None
    client_key: RelativePath | None = None
    insecure_http: bool = False
    token_realms: list[str] = Field(default_factory=list)
    redirect_hosts: list[str] = Field(default_factory=list)
    # Not shown, for it may have a password.
    proxy: str | None = Field(default=None, repr=False)
    denied_is_absent: bool = True


class Upstream(SignatureRegistry):
    """[upstreams."NAME"]: a registry, by the name that stands in image names."""

    signatures: dict[str, Any] | None = None


class RuleTable(Table):
    """[[rules]]: what images of some names need."""

    name: str
    images: list[str]
    require: str
    mode: Annotated[Mode, Field(strict=False)] = Mode.ENFORCE
    on_outage: Annotated[OnOutage, Field(strict=False)] = OnOutage.REFUSE
    tag_max_stale: Duration = timedelta(0)
    accepted_max_stale: Duration = timedelta(0)
    trust_root_max_age: Duration | None = None


class LifetimeTable(Table):
    """[lifetimes]: how long what was found out holds."""

    tag: Duration = timedelta(seconds=60)
    accepted: Duration = timedelta(hours=24)
    refused: Duration = timedelta(seconds=60)


class Cache(Table):
    """[cache]: the blobs that are kept on disk.

    10 GiB hold some hundred images of the usual size, and are a part of the smallest disks that machines for containers
    come with (20 to 30 GB).
    """

    size: Size = 10 * 2**30
    prefetch_layers: bool = False


class Limits(Table):
    """[limits]: what one verification may take.

    12 s leave room for the image's own manifest within the 20 s that clients wait. Sixteen images of one registry at
    once hold some hundred megabytes at the very most, with the largest signatures that are read, and twice that of an
    upstream whose signatures are looked for in two places. `gate.judging_slots` says how many of all registries.
    """

    verification_time: Duration = timedelta(seconds=12)
    verifications_at_once: Annotated[int, Field(ge=1, le=1000)] = 16


# The keys of each table, by its header; those of a signer are its kind's.
TABLE_KEYS: Mapping[str, frozenset[str]] = {
    header: frozenset(model.model_fields)
    for header, model in (
        ("[server]", Server),
        ('[upstreams."NAME"]', Upstream),
        ("[[rules]]", RuleTable),
        ("[lifetimes]", LifetimeTable),
        ("[cache]", Cache),
        ("[limits]", Limits),
    )
}
