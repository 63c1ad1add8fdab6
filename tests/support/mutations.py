"""Changes to JSON values, one member at a time; the given value stays as it is."""

import copy


def paths(value, path=()):
    """Yield the path of every member and every entry below a value."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, member in members:
        yield (*path, name)
        yield from paths(member, (*path, name))


def at(value, path):
    """Return what stands at a path."""
    for name in path:
        value = value[name]
    return value


def put(value, path, new):
    """Return a copy with something else at a path."""
    changed = copy.deepcopy(value)
    at(changed, path[:-1])[path[-1]] = copy.deepcopy(new)
    return changed


def without(value, path):
    """Return a copy without what stands at a path."""
    changed = copy.deepcopy(value)
    del at(changed, path[:-1])[path[-1]]
    return changed


def has(value, path):
    """Say whether anything stands at a path."""
    try:
        at(value, path)
    except (KeyError, IndexError, TypeError):
        return False
    return True
