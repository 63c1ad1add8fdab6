"""`make cross-check`, its first part: manifests and configs read here and by Go's encoding/json.

Documents are made from honest ones by members in other spellings, twice, of other types, of other kinds of manifest, at
every level. What both read must be the same. Prints what was compared; exit code 1 for a difference, 0 with the reason
where Go is not there.
"""

import argparse
import base64
import json
import random
import shutil
import subprocess
import sys
from collections import Counter
from copy import deepcopy
from pathlib import Path
from typing import Any

from proxy.oci import members
from proxy.oci.digest import Digest
from proxy.oci.errors import MalformedError
from proxy.oci.manifest import OCI_INDEX, OCI_MANIFEST, Descriptor, Manifest
from proxy.oci.strict_json import loads_object

_READER = Path(__file__).with_name("cross_manifests.go")
_GO = "/usr/local/go/bin/go"
# Fewer than these would say that the documents are too broken to compare anything.
_READ_BY_BOTH_MIN = 0.1
_FOLDED_MIN = 0.5
_REFUSED = "refused"


class Object(list[tuple[str, Any]]):
    """A JSON object as it is written: members in their order, and perhaps twice."""


def write(value: object, dice: random.Random) -> str:
    """Write JSON, with an escape in a name and white space here and there."""
    match value:
        case Object():
            pairs = [f"{_name(name, dice)}:{_space(dice)}{write(inner, dice)}" for name, inner in value]
            return "{" + _space(dice) + ",".join(pairs) + "}"
        case Raw():
            return value.text
        case list():
            return "[" + ",".join(write(inner, dice) for inner in value) + "]"
        case _:
            return json.dumps(value, ensure_ascii=dice.random() < 0.5)  # noqa: PLR2004 (one of two)


class Raw:
    """A value as it is written, which may be none that JSON has."""

    def __init__(self, text: str) -> None:
        self.text = text


def _name(name: str, dice: random.Random) -> str:
    if name and dice.random() < 0.1:  # noqa: PLR2004
        at = dice.randrange(len(name))
        return f'"{name[:at]}\\u{ord(name[at]):04x}{name[at + 1 :]}"'
    return json.dumps(name, ensure_ascii=dice.random() < 0.5)  # noqa: PLR2004


def _space(dice: random.Random) -> str:
    return dice.choice(["", "", "", " ", "\n\t", "\r\n"])


def descriptor(dice: random.Random, media_type: str = "a/b") -> Object:
    """Make a descriptor with members that may be there."""
    content = b"%d" % dice.randrange(5)
    made = Object([("mediaType", media_type), ("digest", str(Digest.of(content))), ("size", len(content))])
    extra: list[tuple[str, Any]] = [
        ("annotations", Object([("Layers", "x"), ("layers", "y")])),
        ("urls", ["https://a.example/"]),
        ("data", base64.b64encode(content).decode()),
        ("artifactType", "c/d"),
        ("platform", platform(dice)),
    ]
    return Object(made + dice.sample(extra, dice.randrange(3)))


def platform(dice: random.Random) -> Object:
    """Make a platform, with the members of Windows at times."""
    made: list[tuple[str, Any]] = [("architecture", "amd64"), ("os", "linux"), ("variant", "v8")]
    made += [("os.version", "10.0"), ("os.features", ["win32k"]), ("features", ["sse4"])]
    return Object(dice.sample(made, dice.randrange(1, 7)))


def honest(dice: random.Random) -> tuple[str, Object]:
    """Make a document of a kind: image, index or config."""
    kind = dice.choice(["image", "index", "config"])
    if kind == "config":
        process = Object(
            [("Entrypoint", ["/app"]), ("Env", ["A=b"]), ("User", "1"), ("Labels", Object([("cmd", "x")]))]
        )
        steps = [Object([("created_by", "x"), ("empty_layer", True)]), Object([("comment", "y")])]
        root = Object([("type", "layers"), ("diff_ids", [str(Digest.of(b"x"))])])
        made = [("architecture", "amd64"), ("os", "linux"), ("config", process), ("rootfs", root), ("history", steps)]
        return kind, Object(made)
    common: list[tuple[str, Any]] = [("schemaVersion", 2), ("annotations", Object([("SIZE", "1"), ("size", "2")]))]
    if dice.random() < 0.5:  # noqa: PLR2004
        common.append(("mediaType", OCI_INDEX if kind == "index" else OCI_MANIFEST))
    if dice.random() < 0.3:  # noqa: PLR2004
        common += [("subject", descriptor(dice)), ("artifactType", "c/d")]
    several = [descriptor(dice) for _ in range(dice.randrange(3))]
    parts = [("manifests", several)] if kind == "index" else [("config", descriptor(dice)), ("layers", several)]
    made = common + parts
    dice.shuffle(made)
    return kind, Object(made)


# From here on: what is done to them


def objects(value: object) -> list[Object]:
    """Return all objects in a document."""
    inner = [one for _, one in value] if isinstance(value, Object) else value if isinstance(value, list) else []
    return ([value] if isinstance(value, Object) else []) + [found for one in inner for found in objects(one)]


KNOWN = sorted(
    {name for shape in vars(members).values() if isinstance(shape, members.Shape) for name in shape.names}
    | {name for shape in members.CONFIG.nested.values() for name in shape.names}
)
VALUES: list[Any] = [
    None, 0, 2, 480, "", "linux", True, [], Object(), ["/attack"], [None], Object([("a", "b")]), Object([("a", None)]),
    *map(Raw, ("2.0", "2e0", "1E2", "-0", "-1", "9223372036854775807", "9223372036854775808", "99999999999999999999",
               "1e400", "NaN", "01", '"\\ud800"', '"\\u0000"', "[[]]", "nul")),
]  # fmt: skip


def respell(name: str, dice: random.Random) -> str:
    """Write a name so that Go folds it to the same one."""
    made = "".join(dice.choice([letter.lower(), letter.upper()]) for letter in name)
    if dice.random() < 0.4:  # noqa: PLR2004
        made = made.replace("s", "\u017f", 1).replace("k", "\u212a", 1)
    return made


def alike(value: object, dice: random.Random) -> object:
    """Return another value of the same kind, which a client would take."""
    match value:
        case str():
            return dice.choice(["linux", "/attack", str(Digest.of(b"attack"))])
        case int():
            return type(value)(value + dice.randrange(3))
        case [str(), *_]:
            return ["/attack"]
        case Object() if "digest" in dict(value):
            return descriptor(dice)
        case Object():
            return Object(value[1:])
        case _:
            return [descriptor(dice)]


def fold_in(document: Object, dice: random.Random) -> None:
    """Put a known member in another spelling somewhere, with a value of the kind that is there."""
    place = dice.choice(objects(document))
    names = [name for name, _ in place] or KNOWN
    name = dice.choice(names if dice.random() < 0.6 else KNOWN)  # noqa: PLR2004
    there = dict(place).get(name)
    value = alike(there, dice) if there is not None and dice.random() < 0.7 else dice.choice(VALUES)  # noqa: PLR2004
    place.insert(dice.randrange(len(place) + 1), (respell(name, dice), deepcopy(value)))


def replace(document: Object, dice: random.Random) -> None:
    """Give a member another value."""
    place = dice.choice([one for one in objects(document) if one] or [document])
    if place:
        at = dice.randrange(len(place))
        place[at] = (place[at][0], deepcopy(dice.choice(VALUES)))


def twice(document: Object, dice: random.Random) -> None:
    """Write a member twice."""
    place = dice.choice([one for one in objects(document) if one] or [document])
    if place:
        place.append((dice.choice(place)[0], deepcopy(dice.choice(VALUES))))


def other_kind(document: Object, dice: random.Random) -> None:
    """Add a member of another kind of manifest, or one that nobody knows."""
    name = dice.choice(["manifests", "layers", "config", "fsLayers", "history", "blobs", "signatures", "x"])
    document.append((name, dice.choice([None, [], [descriptor(dice)], descriptor(dice), "x"])))


def break_bytes(body: bytes, dice: random.Random) -> bytes:
    """Change the bytes around the document, or in it."""
    return dice.choice(
        [b"\xef\xbb\xbf" + body, body + b"{}", body + b"\n ", body.replace(b"a", b"\xff", 1), body[:-1], b" " + body]
    )


def make(dice: random.Random) -> tuple[str, bytes, bool]:
    """Return a document: its kind, its bytes, and whether a member was folded in."""
    kind, document = honest(dice)
    is_folded = dice.random() < 0.7  # noqa: PLR2004
    for _ in range(is_folded * dice.randrange(1, 3)):
        fold_in(document, dice)
    if dice.random() < 0.4:  # noqa: PLR2004
        dice.choice([replace, twice, other_kind])(document, dice)
    body = write(document, dice).encode("utf-8", "surrogatepass")
    return kind, break_bytes(body, dice) if dice.random() < 0.05 else body, is_folded  # noqa: PLR2004


# What is read


def ours(kind: str, body: bytes) -> dict[str, Any] | None:
    """Return what is read here, in the form of the Go program; None where it is refused."""
    try:
        if kind == "config":
            document = loads_object(body, "it")
            members.CONFIG.check(document, "it")
            return _config(document)
        manifest = Manifest.parse(Digest.of(body), OCI_INDEX if kind == "index" else OCI_MANIFEST, body)
    except MalformedError:
        return None
    return _manifest(manifest, loads_object(body, "it"))


def _manifest(manifest: Manifest, document: dict[str, Any]) -> dict[str, Any]:
    """Take from the manifest what it has, and from the document what it leaves there, by the exact names."""
    lists = {
        name: [_descriptor(one, raw) for one, raw in zip(read, document.get(name) or [], strict=True)]
        for name, read in (("layers", manifest.layers), ("manifests", manifest.children))
    }
    single = {
        name: _descriptor(one, document[name])
        for name, one in (("config", manifest.config), ("subject", manifest.subject))
        if one is not None
    }
    return _filled(
        lists | single | _plain(document, "mediaType")
        | {"schemaVersion": 2, "artifactType": manifest.artifact_type, "annotations": manifest.annotations}
    )  # fmt: skip


def _descriptor(read: Descriptor, raw: dict[str, Any]) -> dict[str, Any]:
    names = ("architecture", "os", "os.version", "os.features", "variant", "features")
    where = raw.get("platform")
    return _filled(
        {"mediaType": read.media_type, "digest": str(read.digest), "size": read.size, "annotations": read.annotations}
        | {"artifactType": read.artifact_type, **_plain(raw, "urls", "data")}
    ) | ({"platform": _filled(_plain(where, *names))} if isinstance(where, dict) else {})


def _config(document: dict[str, Any]) -> dict[str, Any]:
    names = ("User", "Env", "Entrypoint", "Cmd", "WorkingDir", "Labels", "StopSignal")
    steps = ("created", "created_by", "author", "comment", "empty_layer")
    made = _filled(_plain(document, "created", "author", "architecture", "variant", "os"))
    for name, inner in (("config", names), ("rootfs", ("type", "diff_ids"))):
        if isinstance(document.get(name), dict):
            made[name] = _filled(_plain(document[name], *inner))
    if isinstance(document.get("history"), list) and document["history"]:
        made["history"] = [_filled(_plain(one, *steps)) if isinstance(one, dict) else {} for one in document["history"]]
    return made


def _plain(document: dict[str, Any], *names: str) -> dict[str, Any]:
    """Take members by their exact names, with null as Go reads it into a list or a map of texts."""
    return {name: _nulls_empty(document.get(name)) for name in names}


def _nulls_empty(value: object) -> object:
    match value:
        case list():
            return ["" if one is None else one for one in value]
        case dict():
            return {name: "" if one is None else one for name, one in value.items()}
        case _:
            return value


def _filled(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if value not in (None, "", 0, False, [], {})}


def read_by_go(go: str, documents: list[tuple[str, bytes, bool]]) -> list[str]:
    """Return a line for each document."""
    lines = "".join(
        f"{'config' if kind == 'config' else 'manifest'} {base64.b64encode(body).decode()}\n"
        for kind, body, _ in documents
    )
    ended = subprocess.run([go, "run", str(_READER)], input=lines, capture_output=True, text=True, check=True)
    return ended.stdout.splitlines()


def main() -> int:
    """Make documents, compare, report."""
    parser = argparse.ArgumentParser(description="Compare how manifests are read with Go's encoding/json.")
    parser.add_argument("--count", type=int, default=30_000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    go = shutil.which("go") or (_GO if Path(_GO).exists() else None)
    if go is None:
        print("cross-check: manifests are not compared: Go is not installed (https://go.dev/dl)", file=sys.stderr)
        return 0
    dice = random.Random(asked.seed)  # noqa: S311 (the same documents again for the same seed)
    documents = [make(dice) for _ in range(asked.count)]
    seen: Counter[str] = Counter()
    for (kind, body, is_folded), line in zip(documents, read_by_go(go, documents), strict=True):
        mine = ours(kind, body)
        seen["folded"] += is_folded
        if mine is None:
            seen["refused here, read by Go" if line != _REFUSED else "refused by both"] += 1
        elif line == _REFUSED:  # a wrong type where nothing is read here: such a client runs nothing
            seen["read here, refused by Go"] += 1
        elif json.loads(line) == mine:
            seen["read alike"] += 1
        else:
            seen["differences"] += 1
            print(f"{kind}: {body!r}\n  here: {json.dumps(mine)}\n  Go:   {line}")
    print(f"{asked.count} manifests, indexes and configs (seed {asked.seed}): {dict(seen)}")
    too_few = seen["read alike"] < _READ_BY_BOTH_MIN * asked.count or seen["folded"] < _FOLDED_MIN * asked.count
    return 1 if seen["differences"] or too_few else 0


if __name__ == "__main__":
    sys.exit(main())
