"""What attestations say: the predicates that have a name, and the same facts out of every one of them.

Sources: cosign's `--type` words (pkg/cosign/attestation), SLSA provenance v0.2 and v1 and how GitHub, Google Cloud
Build, GitLab and BuildKit fill it, cosign's vulnerability record, in-toto's vulns, SPDX, CycloneDX, OpenVEX.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from proxy.formats.cosign.dsse import Statement
from proxy.oci.errors import MalformedError
from proxy.oci.strict_json import loads

# As cosign's `--type` calls them. Any other type is named by its URI.
PREDICATE_TYPES = MappingProxyType(
    {
        "custom": "https://cosign.sigstore.dev/attestation/v1",
        "cyclonedx": "https://cyclonedx.org/bom",
        "link": "https://in-toto.io/Link/v1",
        "openvex": "https://openvex.dev/ns",
        "slsaprovenance": "https://slsa.dev/provenance/v0.2",
        "slsaprovenance02": "https://slsa.dev/provenance/v0.2",
        "slsaprovenance1": "https://slsa.dev/provenance/v1",
        "spdx": "https://spdx.dev/Document",
        "spdxjson": "https://spdx.dev/Document",
        "vuln": "https://cosign.sigstore.dev/attestation/vuln/v1",
    }
)
URI_MAX = 512

Facts = dict[str, list[str]]


def predicate_type(name: str) -> str:
    """Return the URI of a predicate type by its name, or the URI itself; raises MalformedError for anything else."""
    uri = PREDICATE_TYPES.get(name, name)
    if "://" not in uri or not uri.isascii() or not uri.isprintable() or " " in uri or len(uri) > URI_MAX:
        names = ", ".join(sorted(PREDICATE_TYPES))
        raise MalformedError(f"{name!a:.80} is no predicate type; write its URI, or one of {names}")
    return uri


@dataclass(frozen=True, slots=True)
class Form:
    """A predicate that is understood: whether one is what it is called, and which facts it can state.

    `read` raises MalformedError where it is not what it is called.
    """

    facts: frozenset[str]
    read: Callable[[Any], Facts]


def form_of(uri: str) -> Form | None:
    """Return the form of a predicate type, or None where nothing is known about it."""
    return _FORMS.get("https://openvex.dev/ns" if uri.startswith("https://openvex.dev/ns/") else uri)


def content(statement: Statement) -> Any:  # noqa: ANN401 (JSON)
    """Return what is attested, out of cosign's wrapping.

    cosign has written `{"Data": ..., "Timestamp": ...}` around some predicates, and JSON as a text in that or instead.
    A text that is no strict JSON stays a text.
    """
    predicate: Any = statement.predicate
    if isinstance(predicate, dict) and predicate.keys() <= {"Data", "Timestamp"} and "Data" in predicate:
        predicate = predicate["Data"]
    if not isinstance(predicate, str):
        return predicate
    try:
        return loads(predicate.encode(), "the predicate")
    except MalformedError:
        return predicate


@dataclass(frozen=True, slots=True)
class Source:
    """Where code came from, as provenance names it: a repository's URL, plain, and a ref where one is named."""

    repository: str
    ref: str | None

    @classmethod
    def parse(cls, uri: str) -> "Source":
        """Read `git+https://host/owner/name.git@refs/heads/main` and its other spellings; SPDX's, BuildKit's, plain."""
        text = uri.removeprefix("git+")
        scheme, slashes, rest = text.partition("://")
        host, slash, path = rest.partition("/")
        if not slashes or not slash:
            return cls(text, None)
        marks = [at for at in (path.find("@"), path.find("#")) if at >= 0]
        end = min(marks, default=len(path))
        name = path[:end].rstrip("/").removesuffix(".git")
        # BuildKit puts the folder behind the ref: `#refs/heads/main:folder`.
        ref = path[end + 1 :].partition(":")[0] or None
        return cls(f"{scheme}://{host.lower()}/{name}", ref)


def _at(value: Any, *path: str) -> Any:  # noqa: ANN401 (JSON)
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _texts(*values: object) -> list[str]:
    return [value for value in values if isinstance(value, str) and value]


def _needs(value: object, what: str) -> None:
    if not value:
        raise MalformedError(f"the predicate is {what}")


def _provenance(builder: object, build_type: object, sources: list[Source], finished: object) -> Facts:
    _needs(_texts(builder), "no SLSA provenance: it names no builder")
    return {
        "builder": _texts(builder),
        "build_type": _texts(build_type),
        "source": [source.repository for source in sources],
        "source_ref": _texts(*(source.ref for source in sources)),
        "made_at": _texts(finished),
    }


def _slsa_v02(predicate: Any) -> Facts:  # noqa: ANN401 (JSON)
    """Read SLSA v0.2. The source is that of the build's configuration; where none is stated, the first material.

    The other materials are dependencies, and anybody's build may depend on the wanted source.
    """
    config = _at(predicate, "invocation", "configSource")
    uris = _texts(_at(config, "uri")) if config else _first_uri(_at(predicate, "materials"))
    return _provenance(
        _at(predicate, "builder", "id"),
        _at(predicate, "buildType"),
        [Source.parse(uri) for uri in uris],
        _at(predicate, "metadata", "buildFinishedOn"),
    )


def _slsa_v1(predicate: Any) -> Facts:  # noqa: ANN401 (JSON)
    """Read SLSA v1. The source is among the external parameters; where no known one is there, the first dependency."""
    definition = _at(predicate, "buildDefinition")
    parameters = _at(definition, "externalParameters")
    sources = list(_parameter_sources(parameters))
    if not any(_at(parameters, name) for name in _SOURCE_PARAMETERS):
        sources = [Source.parse(uri) for uri in _first_uri(_at(definition, "resolvedDependencies"))]
    return _provenance(
        _at(predicate, "runDetails", "builder", "id"),
        _at(definition, "buildType"),
        sources,
        _at(predicate, "runDetails", "metadata", "finishedOn"),
    )


# GitHub Actions; Google Cloud Build (google-worker/v1); BuildKit; slsa-github-generator's container-based builds and
# GitLab. Where one is there without a source, as in BuildKit's builds of a local folder, no dependency replaces it.
_SOURCE_PARAMETERS = ("workflow", "buildConfigSource", "configSource", "source")


def _parameter_sources(parameters: object) -> Iterator[Source]:
    """Yield the sources among external parameters, whose names every build type chooses for itself."""
    for name in ("workflow", "buildConfigSource"):
        for uri in _texts(_at(parameters, name, "repository")):
            source = Source.parse(uri)
            ref = _at(parameters, name, "ref")
            yield Source(source.repository, ref if isinstance(ref, str) and ref else source.ref)
    for uri in _texts(
        _at(parameters, "configSource", "uri"), _at(parameters, "source", "uri"), _at(parameters, "source")
    ):
        yield Source.parse(uri)


def _first_uri(entries: object) -> list[str]:
    return _texts(_at(entries[0], "uri")) if isinstance(entries, list) and entries else []


def _spdx(document: Any) -> Facts:  # noqa: ANN401 (JSON)
    if isinstance(document, str):
        _needs(document.lstrip("\ufeff \r\n").startswith("SPDXVersion: SPDX-"), "no SPDX document")
        return {"made_at": []}
    version, context = _at(document, "spdxVersion"), _at(document, "@context")
    two = isinstance(version, str) and version.startswith("SPDX-")
    three = isinstance(context, str) and context.startswith("https://spdx.org/rdf/") and bool(_at(document, "@graph"))
    _needs(two or three, "no SPDX document")
    return {"made_at": _texts(_at(document, "creationInfo", "created"))}


def _cyclonedx(document: Any) -> Facts:  # noqa: ANN401 (JSON)
    _needs(_at(document, "bomFormat") == "CycloneDX", "no CycloneDX document")
    return {"made_at": _texts(_at(document, "metadata", "timestamp"))}


def _vulnerabilities(predicate: Any) -> Facts:  # noqa: ANN401 (JSON)
    scanner = _texts(_at(predicate, "scanner", "uri"))
    _needs(scanner, "no record of a scan: it names no scanner")
    return {"scanner": scanner, "made_at": _texts(_at(predicate, "metadata", "scanFinishedOn"))}


def _openvex(document: Any) -> Facts:  # noqa: ANN401 (JSON)
    context, statements = _at(document, "@context"), _at(document, "statements")
    known = isinstance(context, str) and context.startswith("https://openvex.dev/ns")
    _needs(known and isinstance(statements, list) and statements, "no OpenVEX document with statements")
    made = _texts(_at(document, "last_updated")) or _texts(_at(document, "timestamp"))
    return {"author": _texts(_at(document, "author")), "made_at": made}


_PROVENANCE = frozenset({"builder", "build_type", "source", "source_ref", "made_at"})
_VULNERABILITIES = Form(frozenset({"scanner", "made_at"}), _vulnerabilities)
_FORMS: Mapping[str, Form] = {
    "https://cosign.sigstore.dev/attestation/vuln/v1": _VULNERABILITIES,
    "https://cyclonedx.org/bom": Form(frozenset({"made_at"}), _cyclonedx),
    # in-toto attestation spec, vulns.md: the same layout as far as it is read here.
    "https://in-toto.io/attestation/vulns/v0.1": _VULNERABILITIES,
    "https://in-toto.io/attestation/vulns/v0.2": _VULNERABILITIES,
    "https://openvex.dev/ns": Form(frozenset({"author", "made_at"}), _openvex),
    "https://slsa.dev/provenance/v0.2": Form(_PROVENANCE, _slsa_v02),
    "https://slsa.dev/provenance/v1": Form(_PROVENANCE, _slsa_v1),
    "https://spdx.dev/Document": Form(frozenset({"made_at"}), _spdx),
}


def moment(text: str) -> datetime | None:
    """Read a date and time of RFC 3339, with its zone; None where it is something else."""
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        return None
    return value if value.tzinfo is not None else None
