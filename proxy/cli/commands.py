"""The commands. Each reads its arguments, calls one thing and hands the outcome to `render`."""

import asyncio
import platform
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from proxy import __version__
from proxy import app as application
from proxy.cli import bundles, cache, documents, examined, render
from proxy.cli import demo as demonstration
from proxy.cli.clients import Client, Endpoint, check_registries, setups
from proxy.cli.install import read_ca, write
from proxy.cli.interrupted import TERMINATED
from proxy.cli.options import CONFIG, AllowChain, Config, Json, NoCertificateLog, NoLog, read_reference
from proxy.config import load
from proxy.config.expiries import expiry_warnings
from proxy.formats.cosign.proof import Demands
from proxy.oci.reference import DOCKER_HUB
from proxy.verdict import Accepted, InsecureUnverified, Refused, Undetermined

# An insecure rule that lets an image through has done what it says; what it is called is in the output.
_EXIT_CODES = {Accepted: 0, InsecureUnverified: 0, Refused: 1, Undetermined: 3}

app = typer.Typer(
    name="sealgate",
    help="A pull-through registry proxy that lets only verified images reach your machines.",
    epilog="Exit codes: 0 ok or accepted, 1 refused, 2 usage or configuration, 3 could not decide.",
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

app.add_typer(cache.app, name="cache")


def _print_version(asked: bool) -> None:  # noqa: FBT001 (as typer calls it)
    if asked:
        version()
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take what may stand before a command."""


@app.command()
def serve(config: Config = CONFIG) -> None:
    """Serve until SIGTERM or Ctrl-C; SIGHUP reads the configuration again."""
    application.serve(partial(load, config), ready=render.ready)


@app.command()
def check_config(config: Config = CONFIG, *, as_json: Json = False) -> None:
    """Read the configuration and say what it means, what in it is insecure, and what expires soon."""
    settings = load(config)
    soon = expiry_warnings(settings.expiries, application.clock())
    settings = replace(settings, warnings=(*settings.warnings, *soon))
    if as_json:
        render.document(documents.settings(settings))
    else:
        render.settings(settings)


@app.command()
def verify(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="For example ghcr.io/org/app:1.")],
    config: Config = CONFIG,
    *,
    as_json: Json = False,
) -> None:
    """Judge an image as a pull would, and show every signature that was found and why it counts or not.

    Nothing is remembered.

    Exit code 0: accepted, 1: refused, 3: could not be decided. The rule's mode does not change it.
    """
    settings = load(config)
    reference = read_reference(image)
    with render.busy(f"looking for signatures of {reference}"):
        seen = asyncio.run(application.verify(settings, reference))
    if as_json:
        render.document(documents.examination(seen))
    else:
        render.result(*examined.examination(seen))
    code = _EXIT_CODES[type(seen.verdict)]
    raise typer.Exit(code if code or seen.withheld is None else _EXIT_CODES[Refused])


@app.command()
def verify_bundle(  # noqa: PLR0913, PLR0917 (the client protocol of sigstore-conformance)
    what: Annotated[
        str, typer.Argument(metavar="FILE_OR_DIGEST", help="What is signed: a file, or sha256:<hex>, sha384:, sha512:.")
    ],
    bundle: Annotated[Path, typer.Option(metavar="FILE", help="The Sigstore bundle, v0.1 to v0.3.")],
    certificate_identity: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Who is to have signed, exactly as the certificate names it.")
    ] = None,
    certificate_oidc_issuer: Annotated[
        str | None, typer.Option(metavar="URL", help="Who is to vouch for that identity.")
    ] = None,
    key: Annotated[Path | None, typer.Option(metavar="FILE", help="Or the public key that is to have signed.")] = None,
    hashing: Annotated[
        str | None,
        typer.Option("--hash", metavar="NAME", help="The hash of that key, if not the usual: sha256, sha384, sha512."),
    ] = None,
    trusted_root: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A trusted_root.json. Default: Sigstore's public-good one.")
    ] = None,
    *,
    staging: Annotated[bool, typer.Option("--staging", help="Sigstore's staging: needs --trusted-root.")] = False,
    insecure_no_log: NoLog = False,
    insecure_no_certificate_log: NoCertificateLog = False,
    insecure_allow_certificate_chain: AllowChain = False,
    as_json: Json = False,
) -> None:
    """Check a Sigstore bundle beside a file, without network and without a configuration.

    The signature needs an entry in a transparency log. Where an identity signed, every timestamp by an authority of the
    trust root must hold, and without a log entry there must be one.

    Exit code 0: accepted, 1: refused.
    """
    root = bundles.trust_root(trusted_root, staging=staging)
    signer = bundles.Signer(certificate_identity, certificate_oidc_issuer, key, hashing)
    demands = Demands(
        log=not insecure_no_log,
        certificate_log=not insecure_no_certificate_log,
        lone_certificate=not insecure_allow_certificate_chain,
    )
    checked = bundles.check(bundle, signer, root, what, application.clock(), demands)
    if as_json:
        render.document(checked.document())
    else:
        render.result(*checked.shown())
    if checked.may_need_content:
        render.note(
            "only the digest of the file is known; if it is signed by Ed25519, P-384 or P-521, give the file itself"
        )
    raise typer.Exit(0 if checked.failure is None else 1)


@app.command()
def client_config(  # noqa: PLR0913 (a command line has as many options as it has)
    client: Annotated[Client, typer.Argument(help="Whose configuration.", show_default=False)],
    endpoint: Annotated[str, typer.Option(metavar="URL", help="Sealgate, as the nodes reach it: http(s)://HOST:PORT.")],
    registry: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST", help="A registry to reach through Sealgate; repeat it. Default: docker.io."),
    ] = None,
    ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The CA of Sealgate's certificate, PEM, if it is your own.")
    ] = None,
    write_to: Annotated[
        Path | None,
        typer.Option("--write", metavar="DIR", help="Write the files under this folder; / is this machine."),
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Print what to write on a node, and say whether it is held or sealed."""
    at = Endpoint.parse(endpoint, read_ca(ca) if ca else None)
    made = setups(client, at, check_registries(registry or [DOCKER_HUB]))
    written, failed = write(write_to, (file for setup in made for file in setup.files)) if write_to else ([], [])
    if as_json:
        render.document(documents.client_config(client, at, made))
    else:
        render.client_config(at, made)
    for one in written:
        render.note(f"wrote {one.path}" + (f", what was there is now {one.backup}" if one.backup else ""))
    if failed:
        raise ExceptionGroup("not all files were written", failed)


@app.command()
def demo(
    *, once: Annotated[bool, typer.Option("--once", help="End by itself: 0 if all went as expected.")] = False
) -> None:
    """Run the whole thing on an embedded registry, on loopback, and show what each client gets."""
    try:
        as_expected = asyncio.run(demonstration.run(sys.argv[0], once=once))
    except asyncio.CancelledError:
        raise typer.Exit(TERMINATED) from None
    raise typer.Exit(0 if as_expected else 1)


@app.command()
def version(*, as_json: Json = False) -> None:
    """Print the version."""
    if as_json:
        render.document({"sealgate": __version__, "python": platform.python_version()})
    else:
        render.result(f"sealgate {__version__} (Python {platform.python_version()})")
