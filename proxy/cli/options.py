"""Options and arguments that commands share."""

from pathlib import Path
from typing import Annotated

import typer

from proxy.cli.clients import InputError
from proxy.oci.errors import MalformedError
from proxy.oci.reference import Reference

CONFIG = Path("/etc/sealgate/config.toml")

Config = Annotated[
    Path,
    typer.Option("--config", "-c", envvar="SEALGATE_CONFIG", metavar="FILE", help="The configuration, TOML."),
]
NoLog = Annotated[
    bool, typer.Option("--insecure-no-log", help="Accept signatures without an entry in a transparency log.")
]
NoCertificateLog = Annotated[
    bool, typer.Option("--insecure-no-certificate-log", help="Accept certificates without an SCT of a certificate log.")
]
AllowChain = Annotated[
    bool, typer.Option("--insecure-allow-certificate-chain", help="Use CA certificates of a v0.3 bundle as links.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def read_reference(text: str) -> Reference:
    """Read an image name; raises InputError for what is none."""
    if "://" in text:
        raise InputError(f"{text!a:.80} is a URL and no image name", "leave out the part up to ://")
    try:
        return Reference.parse(text)
    except MalformedError as err:
        what, _, hint = str(err).partition("; ")
        raise InputError(what, hint or "write it as for docker pull: ghcr.io/org/app:1") from err
