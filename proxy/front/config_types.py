"""The types that Docker's classic store wants of the members of an image config.

Go reads the whole config into one structure, so that a label that is a number is enough for Docker to give the image
up. Null is absent, to Go. Sources: moby, image/image.go (V1Image, Image, History), image/rootfs.go, and of the
specification of Docker images container.Config and HealthcheckConfig; encoding/json, Unmarshal. Since 29 Docker reads
less: api/types/container/config.go, api/types/network/port.go (ParsePort) of moby/moby/api.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from proxy.oci.errors import MalformedError

# RFC 3339, as Go's time.Time is read from JSON.
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.[0-9]+)?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])",
    re.ASCII,
)
# Docker computes no other diff_id of a layer (moby, layer/layer_store.go: digest.Canonical).
_DIFF_ID = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
_PORT = re.compile(r"([0-9]+)(?:/.*)?", re.ASCII | re.DOTALL)
_PORT_MAX = 65535
# Digits that are read, with leading zeros; Go has no limit, and an int of more costs time.
_PORT_DIGITS_MAX = 20
_INT64 = range(-(2**63), 2**63)
_Check = Callable[[object], bool]


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_truth(value: object) -> bool:
    return isinstance(value, bool)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value in _INT64


def _is_time(value: object) -> bool:
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return False
    try:
        datetime.fromisoformat(found[1])
    except ValueError:
        return False
    return True


def _is_text_or_texts(value: object) -> bool:
    return _is_text(value) or _is_texts(value)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(one is None or isinstance(one, str) for one in value)


def _is_map_of_texts(value: object) -> bool:
    return isinstance(value, dict) and all(one is None or isinstance(one, str) for one in value.values())


def _is_set(value: object) -> bool:
    return isinstance(value, dict) and all(one is None or isinstance(one, dict) for one in value.values())


def _is_diff_id(value: object) -> bool:
    return isinstance(value, str) and _DIFF_ID.fullmatch(value) is not None


def _is_set_of_ports(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_port, value))


def _is_port(text: str) -> bool:
    found = _PORT.fullmatch(text)
    is_number = found is not None and len(found[1]) <= _PORT_DIGITS_MAX and int(found[1]) <= _PORT_MAX
    return is_number or not text


def _is_list_of(check: _Check) -> _Check:
    return lambda value: isinstance(value, list) and all(check(one) for one in value)


def _each(check: _Check, names: str) -> dict[str, _Check]:
    return dict.fromkeys(names.split(), check)


def _is_shaped(shape: Mapping[str, _Check]) -> _Check:
    return lambda value: isinstance(value, dict) and _first_wrong(value, shape) is None


def _first_wrong(value: Mapping[str, Any], shape: Mapping[str, _Check]) -> str | None:
    members = ((name, value.get(name), check) for name, check in shape.items())
    return next((name for name, member, check in members if member is not None and not check(member)), None)


_HEALTHCHECK = _each(_is_texts, "Test") | _each(_is_integer, "Interval Timeout StartPeriod StartInterval Retries")
_PROCESS = (
    _each(_is_text, "Hostname Domainname User Image WorkingDir MacAddress StopSignal")
    | _each(_is_truth, "AttachStdin AttachStdout AttachStderr Tty OpenStdin StdinOnce ArgsEscaped NetworkDisabled")
    | _each(_is_texts, "Env OnBuild")
    | _each(_is_text_or_texts, "Cmd Entrypoint Shell")
    | _each(_is_set, "ExposedPorts Volumes")
    | {"Labels": _is_map_of_texts, "StopTimeout": _is_integer, "Healthcheck": _is_shaped(_HEALTHCHECK)}
)
_STEP = _each(_is_text, "created_by author comment") | {"created": _is_time, "empty_layer": _is_truth}
_CONFIG = (
    _each(_is_text, "id parent comment container docker_version author architecture variant os os.version")
    | _each(_is_shaped(_PROCESS), "config container_config")
    | {
        "created": _is_time,
        "os.features": _is_texts,
        "Size": _is_integer,
        "rootfs": _is_shaped({"type": _is_text, "diff_ids": _is_list_of(_is_diff_id)}),
        "history": _is_list_of(_is_shaped(_STEP)),
    }
)
_NEWER_PROCESS = _each(_is_texts, "Cmd Entrypoint Shell") | {"ExposedPorts": _is_set_of_ports}
_NEWER = _each(_is_shaped(_NEWER_PROCESS), "config container_config")


def check_types(config: Mapping[str, Any]) -> None:
    """Raise MalformedError where a member has a type that Docker cannot read, and so refuses the image."""
    wrong = _first_wrong(config, _CONFIG)
    if wrong is not None:
        raise MalformedError(f"the config has a {wrong} of another type than an image's")


def wrong_since_29(config: Mapping[str, Any]) -> str | None:
    """Return a member that has types which Docker does not read since 29, None for none, of a config that is checked.

    Those are a command that is no list, and an exposed port that is no number (buildah writes a range).
    """
    return _first_wrong(config, _NEWER)
