"""Options that commands share."""

from pathlib import Path
from typing import Annotated

import typer

CONFIG = Path("/etc/sealgate/config.toml")

Config = Annotated[
    Path,
    typer.Option("--config", "-c", envvar="SEALGATE_CONFIG", metavar="FILE", help="The configuration, TOML."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
