"""Member names that readers disagree about (docs/threats.md, "case folding").

Go's encoding/json, in which most container clients are written, takes a member for a field whose name differs in case
only, and the last one that matches wins. So a document with `layers` and `Layers` is two documents. Each member that
folds to a name which some client knows at that place must be spelled exactly so; other members are free, and so are the
keys of maps (annotations, labels).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from proxy.oci.errors import MalformedError

# Dotted capital I and dotless i fold to `i` in some readers (Go's strings.ToLower, Java's equalsIgnoreCase), and to
# something else by Unicode's full case folding. encoding/json/v2 leaves out `-` and `_` where it ignores case.
_ALIKE = str.maketrans({"\u0130": "i", "\u0131": "i", "-": None, "_": None})


@dataclass(frozen=True)
class Shape:
    """The member names that clients know in an object, and the shapes of the members that are objects or lists of them.

    A member whose shape is not given is a value, or a map with keys of its own.
    """

    names: frozenset[str]
    nested: Mapping[str, "Shape"] = field(default_factory=dict)
    _folded: Mapping[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Fold the names once; each level knows its own."""
        object.__setattr__(self, "_folded", {fold(name): name for name in self.names})

    def check(self, value: object, where: str) -> None:
        """Raise MalformedError where a member folds to a known name without being it, here or in what is nested.

        `where` names the value. A value that is no object has no members; its reader refuses it.
        """
        if not isinstance(value, dict):
            return
        for name in value.keys() - self.names:
            if known := self._folded.get(fold(name)):
                raise MalformedError(
                    f"{where} has a member {name!a:.80}, which some clients read as {known!r}: rename or remove it"
                )
        for name, shape in self.nested.items():
            inner = value.get(name)
            if isinstance(inner, list):
                for number, one in enumerate(inner):
                    shape.check(one, f"{where}.{name}[{number}]")
            else:
                shape.check(inner, f"{where}.{name}")


def fold(name: str) -> str:
    """Return a form that is equal for all names which some reader takes for the same one.

    Wider than Go's simple folding (encoding/json, foldName), which has U+017F and U+212A beside the ASCII letters.
    """
    return name.translate(_ALIKE).casefold()


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# image-spec 1.1, image-index.md; `features` is of Docker's manifest lists.
PLATFORM = Shape(_names("architecture os os.version os.features variant features"))
# image-spec 1.1, descriptor.md.
DESCRIPTOR = Shape(_names("mediaType digest size urls annotations data artifactType platform"), {"platform": PLATFORM})
# image-spec 1.1, manifest.md and image-index.md; Docker image manifest version 2, schema 1 and 2; the OCI artifact
# manifest of the release candidates (`blobs`). One shape for all: what a document is, is read from its members too.
MANIFEST = Shape(
    _names(
        "schemaVersion mediaType artifactType config layers manifests subject annotations blobs"
        " fsLayers history signatures name tag architecture"
    ),
    {"config": DESCRIPTOR, "layers": DESCRIPTOR, "manifests": DESCRIPTOR, "subject": DESCRIPTOR, "blobs": DESCRIPTOR},
)
_HEALTHCHECK = Shape(_names("Test Interval Timeout StartPeriod StartInterval Retries"))
# image-spec 1.1, config.md; Docker's container.Config, of which an image's config is a part.
_PROCESS = Shape(
    _names(
        "Hostname Domainname User AttachStdin AttachStdout AttachStderr ExposedPorts Tty OpenStdin StdinOnce Env Cmd"
        " Healthcheck ArgsEscaped Image Volumes WorkingDir Entrypoint NetworkDisabled MacAddress OnBuild Labels"
        " StopSignal StopTimeout Shell Memory MemorySwap CpuShares"
    ),
    {"Healthcheck": _HEALTHCHECK},
)
CONFIG = Shape(
    _names(
        "id parent comment created container container_config docker_version author config architecture variant os"
        " os.version os.features Size rootfs history"
    ),
    {
        "config": _PROCESS,
        "container_config": _PROCESS,
        "rootfs": Shape(_names("type diff_ids base_layer")),
        "history": Shape(_names("created created_by author comment empty_layer")),
    },
)
