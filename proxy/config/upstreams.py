"""[upstreams."NAME"]: the closed table of registries."""

import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from proxy.config.mistakes import Mistake, key_path, read_table
from proxy.config.schema import Upstream
from proxy.config.signers import read_file
from proxy.oci.errors import MalformedError
from proxy.oci.reference import DOCKER_HUB
from proxy.upstream.endpoint import Credentials, Endpoint

# Docker Hub's name in image names is not where its API is.
_DOCKER_HUB_URL = "https://registry-1.docker.io"
# Identity tokens are the longest passwords; 16 KiB is what a header may have.
PASSWORD_BYTES_MAX = 16 * 1024


def read_upstreams(
    tables: Mapping[str, Mapping[str, Any]], folder: Path, mistakes: list[Mistake]
) -> dict[str, Endpoint]:
    """Read every upstream by its name, without those that are wrong."""
    upstreams: dict[str, Endpoint] = {}
    for name, table in tables.items():
        read = read_table(Upstream, table, ("upstreams", name), folder, mistakes)
        try:
            if read is not None:
                upstreams[name] = _endpoint(name, read)
        except MalformedError as err:
            what, _, hint = str(err).partition("; ")
            mistakes.append(Mistake(key_path("upstreams", name), what, hint))
    return upstreams


def _endpoint(name: str, read: Upstream) -> Endpoint:
    if read.ca_file is not None:
        check_ca_file(read.ca_file)
    return Endpoint(
        name,
        read.url if read.url is not None else _DOCKER_HUB_URL if name == DOCKER_HUB else f"https://{name}",
        read.ca_file,
        _credentials(read),
        read.insecure_http,
        frozenset(read.token_realms),
        frozenset(read.redirect_hosts),
    )


def _credentials(read: Upstream) -> Credentials | None:
    given = [key for key in (read.password_file, read.password_env) if key is not None]
    if read.username is None and not given:
        return None
    if read.username is None or len(given) != 1:
        raise MalformedError("username needs either password_file or password_env beside it, and neither goes without")
    if read.password_file is not None:
        content = read_file(read.password_file, PASSWORD_BYTES_MAX)
        try:
            password = content.decode().rstrip("\r\n")
        except UnicodeDecodeError:
            raise MalformedError(f"{read.password_file}: is not UTF-8") from None
    else:
        password = os.environ.get(read.password_env or "", "")
    if not password:
        raise MalformedError(f"the password in {read.password_file or read.password_env} is empty or not there")
    return Credentials(read.username, password)


def check_ca_file(path: Path) -> None:
    """Raise MalformedError where the file is not there or has no certificate in PEM."""
    try:
        ssl.create_default_context(cafile=path)
    except ssl.SSLError:
        raise MalformedError(f"{path}: has no certificate in PEM") from None
    except OSError as err:
        raise MalformedError(f"{path}: {(err.strerror or 'cannot be read').lower()}") from None
