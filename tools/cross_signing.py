"""What real cosign signs, with keys of every kind and with certificates of the tests' own Sigstore, judged by both."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from time import time
from typing import TYPE_CHECKING

from cross_cases import KINDS, PREDICATE, Asked, Workshop
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from e2e import content
from support.sigstore.authority import IDENTITY, ISSUER
from support.sigstore.draft import Shape
from support.sigstore.server import serving, signing_config, token_for

from proxy.demo.signing import SigningKey
from proxy.formats.cosign.proof import Demands

if TYPE_CHECKING:
    from cross_check import Bench

_CLASSIC = "--new-bundle-format=false"
_LOCAL = ("--use-signing-config=false", "--tlog-upload=false")
_STAMPS = "--use-signed-timestamps"


@dataclass(frozen=True)
class Signing:
    """How cosign signs, and what both are asked about the outcome."""

    name: str
    how: tuple[str, ...]
    asked: Asked
    command: str = "sign"


def signings(bench: "Bench", shop: Workshop, only: re.Pattern[str]) -> Iterator[tuple[str, bool, bool, str]]:
    """Let cosign sign in every way, and ask both; yields name, cosign's verdict, ours, and what is said against it."""
    bench.file("own-root.json", json.dumps(shop.sigstore.trusted_root()).encode())
    nothing = shop.made(Shape.BUNDLE)  # a case has an artifact; here cosign makes it
    with serving(shop.sigstore, _now) as url:
        numbers = count()
        for signing in (*_by_key(bench, url), *_keyless(bench, url)):
            if only.search(signing.name):
                repository = f"signed/{next(numbers)}"
                shop.image.add_to(content.PushTo(bench.url), repository, "1")
                image = f"{bench.place(repository)}@{shop.image.digest}"
                signed, said = bench.run(signing.command, "--allow-http-registry", "--yes", *signing.how, image)
                if not signed:
                    raise RuntimeError(f"{signing.name}: cosign did not sign: {said}")
                case = shop.case(signing.name, nothing, signing.asked)
                theirs, said = bench.theirs(case, shop, repository)
                ours, reason = bench.ours(case.wanted, shop, repository)
                yield signing.name, theirs, ours, reason if theirs else said


def _now() -> datetime:
    return datetime.fromtimestamp(int(time()), UTC)


def _by_key(bench: "Bench", url: str) -> Iterator[Signing]:
    unlogged = Demands(log=False)
    for kind in KINDS:
        key = SigningKey.generate(kind)
        private = key._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())  # noqa: SLF001 (a test's)
        prefix = str(bench.folder / f"key-{kind}")
        imported, said = bench.run(
            "import-key-pair", f"--key={bench.file(f'{kind}.pem', private)}", f"--output-key-prefix={prefix}"
        )
        if not imported:
            raise RuntimeError(f"cosign does not import a key {kind}: {said}")
        hashing = {"P-384": "sha384", "P-521": "sha512"}.get(kind)
        arguments = ("--insecure-ignore-tlog", *([f"--signature-digest-algorithm={hashing}"] if hashing else []))
        asked = Asked(key, demands=unlogged, arguments=arguments)
        by = f"--key={prefix}.key"
        yield Signing(f"signed: classic, key {kind}", (by, *_LOCAL, _CLASSIC), asked)
        yield Signing(f"signed: bundle, key {kind}", (by, *_LOCAL), asked)
        if kind == "P-256":
            predicate = bench.file("predicate.json", b'{"buildDefinition":{},"runDetails":{}}')
            how = (by, f"--predicate={predicate}", f"--type={PREDICATE}", *_LOCAL)
            asked = Asked(key, demands=unlogged, arguments=arguments, predicate=PREDICATE)
            yield Signing("signed: attestation in a bundle, key", how, asked, "attest")
            yield Signing("signed: classic attestation, key", (*how, _CLASSIC), asked, "attest")
            for name, rekor, stamped in (("Rekor 1", 1, False), ("Rekor 2 + timestamp", 2, True)):
                how = (by, *_config(bench, url, rekor, stamped=stamped))
                yield Signing(f"signed: bundle, key, {name}", how, _asked(rekor, stamped=stamped, key=key))


def _keyless(bench: "Bench", url: str) -> Iterator[Signing]:
    token = f"--identity-token={token_for(IDENTITY, ISSUER, _now())}"
    for name, rekor, stamped in (
        ("Rekor 1", 1, False),
        ("Rekor 1 + timestamp", 1, True),
        ("Rekor 2 + timestamp", 2, True),
    ):
        how = (token, *_config(bench, url, rekor, stamped=stamped))
        yield Signing(f"signed: bundle, keyless, {name}", how, _asked(rekor, stamped=stamped))
        how = (*how, f"--predicate={bench.folder}/predicate.json", f"--type={PREDICATE}")
        asked = _asked(rekor, stamped=stamped, predicate=PREDICATE)
        yield Signing(f"signed: attestation in a bundle, keyless, {name}", how, asked, "attest")
    services = (f"--fulcio-url={url}", f"--rekor-url={url}", "--use-signing-config=false", _CLASSIC)
    for name, more in (("Rekor 1", ()), ("Rekor 1 + timestamp", (f"--timestamp-server-url={url}/api/v1/timestamp",))):
        yield Signing(f"signed: classic, keyless, {name}", (token, *services, *more), _asked(1, stamped=bool(more)))


def _asked(rekor: int, *, stamped: bool, key: SigningKey | None = None, predicate: str | None = None) -> Asked:
    arguments = (_STAMPS,) if rekor > 1 else ()
    return Asked(key, demands=Demands(timestamp=stamped), arguments=arguments, predicate=predicate)


def _config(bench: "Bench", url: str, rekor: int, *, stamped: bool) -> tuple[str, str]:
    name = f"signing-{rekor}-{stamped}.json"
    file = bench.file(name, signing_config(url, rekor=rekor, stamped=stamped))
    return f"--signing-config={file}", f"--trusted-root={bench.folder}/own-root.json"
