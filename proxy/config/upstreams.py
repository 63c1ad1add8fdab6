"""[upstreams."NAME"]: the closed table of registries."""

import os
import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from proxy.config.files import read_file
from proxy.config.mistakes import Mistake, key_path, read_table
from proxy.config.schema import SignatureRegistry, Upstream
from proxy.oci.errors import MalformedError
from proxy.oci.reference import DOCKER_HUB
from proxy.upstream.endpoint import Credentials, Endpoint
from proxy.upstream.forward_proxy import DIRECT, NONE, Proxies, Proxy
from proxy.upstream.tls import check_client_certificate

# Docker Hub's name in image names is not where its API is.
# The authorities of Debian, all in one file, are 220 kB.
_CA_BYTES_MAX = 4 * 1024 * 1024
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_DOCKER_HUB_URL = "https://registry-1.docker.io"


def read_upstreams(
    tables: Mapping[str, Mapping[str, Any]], folder: Path, mistakes: list[Mistake]
) -> dict[str, Endpoint]:
    """Read every upstream by its name, without those that are wrong."""
    upstreams: dict[str, Endpoint] = {}
    for name, table in tables.items():
        where = ("upstreams", name)
        read = read_table(Upstream, table, where, folder, mistakes)
        if read is None:
            continue
        endpoint = _endpoint(name, read, where, mistakes)
        if endpoint is not None and read.signatures is not None:
            endpoint = _with_signatures(endpoint, read.signatures, folder, mistakes)
        if endpoint is not None:
            upstreams[name] = endpoint
    return upstreams


def _with_signatures(mirror: Endpoint, table: Mapping[str, Any], folder: Path, mistakes: list[Mistake]) -> Endpoint:
    where = ("upstreams", mirror.name, "signatures")
    read = read_table(SignatureRegistry, table, where, folder, mistakes)
    canonical = _endpoint(mirror.name, read, where, mistakes) if read is not None else None
    if canonical is not None and canonical.base == mirror.base:
        what = f"{canonical.url} is where the images come from too"
        hint = "signatures are looked for there anyway; this table is for the registry that a mirror at url stands for"
        mistakes.append(Mistake(key_path(*where, "url"), what, hint))
    return replace(mirror, signatures=canonical)


def _endpoint(name: str, read: SignatureRegistry, where: Sequence[str], mistakes: list[Mistake]) -> Endpoint | None:
    try:
        _check_files(read)
        return Endpoint(
            name,
            read.url if read.url is not None else _DOCKER_HUB_URL if name == DOCKER_HUB else f"https://{name}",
            read.ca_file,
            _credentials(read),
            read.insecure_http,
            frozenset(read.token_realms),
            frozenset(read.redirect_hosts),
            proxies=read_proxies(read.proxy),
            client_certificate=read.client_certificate,
            client_key=read.client_key,
            denied_is_absent=read.denied_is_absent,
        )
    except MalformedError as err:
        what, _, hint = str(err).partition("; ")
        mistakes.append(Mistake(key_path(*where), what, hint))
        return None


def _check_files(read: SignatureRegistry) -> None:
    if read.ca_file is not None:
        check_ca_file(read.ca_file)
    if (read.client_certificate is None) != (read.client_key is None):
        raise MalformedError("client_certificate and client_key go together; give both or none")
    if read.client_certificate is not None and read.client_key is not None:
        check_client_certificate(read.client_certificate, read.client_key)


def _credentials(read: SignatureRegistry) -> Credentials | None:
    given = [key for key in (read.password_file, read.password_env) if key is not None]
    if read.username is None and not given:
        return None
    if not read.username or len(given) != 1:
        raise MalformedError("username needs either password_file or password_env beside it, and neither goes without")
    if read.password_file is not None:
        return Credentials.read(read.username, read.password_file)
    if not _VARIABLE.fullmatch(read.password_env or ""):
        raise MalformedError("password_env is the name of an environment variable; without $, as in GHCR_TOKEN")
    password = os.environ.get(read.password_env or "", "")
    if not password:
        raise MalformedError(
            f"the password in {read.password_env} is empty or not there; set this environment variable for Sealgate"
        )
    return Credentials(read.username, password)


def read_proxies(text: str | None) -> Proxies:
    """Read the key `proxy`; without it the environment decides. Raises MalformedError, which has no password in it."""
    if text is None:
        return Proxies.of_environment(os.environ)
    if text == NONE:
        return DIRECT
    try:
        return Proxies(always=Proxy.parse(text))
    except MalformedError as err:
        raise MalformedError(f"proxy {err}") from None


def check_ca_file(path: Path) -> None:
    """Raise MalformedError where the file is not there or has no certificate in PEM."""
    content = read_file(path, _CA_BYTES_MAX)
    try:
        ssl.create_default_context(cafile=path)
    except ssl.SSLError:
        der = "; it is DER: openssl x509 -inform DER -in FILE prints PEM" if content.startswith(b"\x30") else ""
        raise MalformedError(
            f"{path}: has no certificate in PEM{der or '; it begins with -----BEGIN CERTIFICATE-----'}"
        ) from None
    except OSError as err:
        raise MalformedError(f"{path}: {(err.strerror or 'cannot be read').lower()}") from None
