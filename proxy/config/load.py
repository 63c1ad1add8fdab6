"""The one reader of TOML, and what it makes: `Settings`."""

import re
import ssl
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from proxy.config.cosign import COSIGN_KINDS
from proxy.config.doubts import age_warnings, relaxations, server_relaxations, warnings
from proxy.config.expiries import Expiry, expiries
from proxy.config.files import read_file
from proxy.config.mistakes import EXAMPLE_HINT, ConfigError, Mistake, did_you_mean, key_path, read_table
from proxy.config.rules import read_rules
from proxy.config.schema import Cache, File, LifetimeTable, Limits, Server
from proxy.config.signers import BuiltSigner, Kinds, read_signers
from proxy.config.trust_roots import KnownRoot, read_trust_roots
from proxy.config.upstreams import read_upstreams
from proxy.formats.api import Requirement
from proxy.formats.cosign.signer import CosignSigner
from proxy.formats.cosign.trust_root import TrustRoot
from proxy.oci.errors import MalformedError
from proxy.policy.evaluate import Lifetimes
from proxy.policy.rules import Rules
from proxy.stores.state import unsafe_file, unsafe_state_dir
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.key_pair import check_pair

# Ten thousand rules of the usual length are two megabytes.
CONFIG_BYTES_MAX = 8 * 1024 * 1024
# What is said by tomllib, and what has most likely been meant.
_TOML_HINTS = {
    "twice": "a table may stand only once: put its keys together",
    "Cannot overwrite": "a key may stand only once in its table",
    "hex value": "in 'single quotes' a backslash is an ordinary character",
    "Unescaped '\\'": "in 'single quotes' a backslash is an ordinary character",
    "Illegal character '\\n'": 'a text of more than one line stands in """three quotes"""',
    "Expected '=' after a key": 'a key is written as key = "value", a table as [table]; this is not YAML',
    "Unclosed array": "values of a list have a comma between them",
}
# A new format is one module and one line here.
KINDS: Kinds = {**COSIGN_KINDS}


@dataclass(frozen=True, slots=True)
class Settings:
    """A configuration that holds together.

    `warnings` is what is probably not meant. `relaxations` is every setting in use by which an image is served that
    was not accepted, less is proven than could be, or a connection is not protected: to be logged at start and counted
    in a metric. `trust_roots` are those that a signer relies on, `relying` says by the signer's name on which; `who`
    says for people whose signature counts; `expiries` is when certificates, keys and trust roots end.
    """

    server: Server
    upstreams: Mapping[str, Endpoint]
    signers: Mapping[str, Requirement]
    rules: Rules
    lifetimes: Lifetimes
    tag_lifetime: timedelta
    cache: Cache
    limits: Limits
    trust_roots: Mapping[str, KnownRoot]
    warnings: tuple[str, ...]
    relaxations: tuple[str, ...]
    who: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    relying: Mapping[str, str] = field(default_factory=dict, repr=False)
    expiries: tuple[Expiry, ...] = ()

    def trusting(self, name: str, root: TrustRoot) -> "Settings":
        """Return the same settings with another trust root of this name: new signers, and so new rules."""
        signers = {
            called: replace(one, wanted=replace(one.wanted, root=root))
            if self.relying.get(called) == name and isinstance(one, CosignSigner)
            else one
            for called, one in self.signers.items()
        }
        rules = Rules(
            replace(rule, signers={called: signers[called] for called in rule.signers}) for rule in self.rules
        )
        return replace(self, signers=signers, rules=rules)


def load(path: Path) -> Settings:
    """Read a configuration file and everything that it names; raises ConfigError with all mistakes that were found."""
    mistakes: list[Mistake] = []
    folder = path.absolute().parent
    file = read_table(File, _read_toml(path), (), folder, mistakes)
    if file is None:
        raise ConfigError(path, mistakes)
    server = read_table(Server, file.server, ("server",), folder, mistakes)
    upstreams = read_upstreams(file.upstreams, folder, mistakes)
    if server is not None:
        mistakes += _unsafe_mistakes(server)
    faults: list[str] = []
    state_dir = server.state_dir if server is not None else folder
    known = read_trust_roots(file.trust_roots, state_dir, folder, faults, mistakes)
    signers = read_signers(file.signers, KINDS, {name: one.root for name, one in known.items()}, folder, mistakes)
    rules = read_rules(file.rules, signers, folder, mistakes)
    lifetimes = read_table(LifetimeTable, file.lifetimes, ("lifetimes",), folder, mistakes)
    cache = read_table(Cache, file.cache, ("cache",), folder, mistakes)
    limits = read_table(Limits, file.limits, ("limits",), folder, mistakes)
    if server is not None:
        mistakes += _server_mistakes(server, file.upstreams)
    mistakes += _unreadable_signatures(signers, file.upstreams)
    if mistakes or server is None or rules is None or lifetimes is None or cache is None or limits is None:
        raise ConfigError(path, mistakes)
    right = {name: one for name, one in signers.items() if one is not None}
    built = {name: one.requirement for name, one in right.items()}
    relying = {name: one.trust_root for name, one in right.items() if one.trust_root is not None}
    roots = {name: one for name, one in known.items() if name in relying.values()}
    return Settings(
        server,
        upstreams,
        built,
        rules,
        Lifetimes(lifetimes.accepted, lifetimes.refused),
        lifetimes.tag,
        cache,
        limits,
        roots,
        (*faults, *warnings(server, rules, built, upstreams, roots), *age_warnings(rules, relying)),
        (*server_relaxations(server), *relaxations(rules, right, upstreams)),
        {name: one.who for name, one in right.items()},
        relying,
        tuple(expiries(server.tls_certificate, built, roots)),
    )


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_file(path, CONFIG_BYTES_MAX).decode("utf-8-sig"))
    except MalformedError as err:
        what = str(err).removeprefix(f"{path}: ")
        raise ConfigError(path, [Mistake("", what, f"--config names another file; {EXAMPLE_HINT}")]) from None
    except UnicodeDecodeError as err:
        raise ConfigError(path, [Mistake("", f"is not UTF-8 (byte {err.start})", "save it as UTF-8")]) from None
    except (ValueError, RecursionError) as err:  # a number of 5000 digits is the former, but no TOMLDecodeError
        raise ConfigError(path, [_not_toml(str(err))]) from None


def _not_toml(message: str) -> Mistake:
    hints = (hint for part, hint in _TOML_HINTS.items() if part in message)
    plain = re.sub(
        r"\((('[^']*'(, )?)+),?\)", lambda found: f"[{found[1].replace(chr(39), '').replace(', ', '.')}]", message
    )
    return Mistake("", f"is not TOML: {plain}", next(hints, "texts need quotes; see https://toml.io"))


def _server_mistakes(server: Server, upstreams: Mapping[str, object]) -> list[Mistake]:
    mistakes = []
    if server.default_upstream not in map(str.lower, upstreams):  # one in upper case is a mistake of its own
        what = f"'{server.default_upstream}' is not among the upstreams"
        hint = did_you_mean(server.default_upstream, upstreams, "there are")
        mistakes.append(Mistake("server.default_upstream", what, hint))
    if server.listen == server.admin_listen and server.listen.port:
        mistakes.append(Mistake("server.admin_listen", "is the same as listen", "give it another port"))
    if (server.tls_certificate is None) != (server.tls_key is None):
        mistakes.append(Mistake("server.tls_certificate", "and tls_key go together", "give both or none"))
    elif server.tls_certificate is not None and server.tls_key is not None:
        mistakes += _tls_mistakes(server.tls_certificate, server.tls_key)
    return mistakes


def _unsafe_mistakes(server: Server) -> list[Mistake]:
    """Refuse a state or an audit log that others may write, for every command: trust roots are read from there too."""
    found = {"server.state_dir": unsafe_state_dir(server.state_dir)}
    if server.audit_log is not None:
        found["server.audit_log"] = unsafe_file(server.audit_log)
    mistakes = []
    if server.state_dir.exists() and not server.state_dir.is_dir():
        mistakes.append(
            Mistake("server.state_dir", f"{server.state_dir} is no directory", "name another, or remove it")
        )
    if server.audit_log is not None:
        mistakes += _audit_mistakes(server.audit_log)
    split = {where: fault.partition("; ") for where, fault in found.items() if fault is not None}
    return mistakes + [Mistake(where, what, repair) for where, (what, _, repair) in split.items()]


def _audit_mistakes(path: Path) -> list[Mistake]:
    if path.is_dir():
        return [Mistake("server.audit_log", f"{path} is a directory", f"name a file: {path}/audit.jsonl")]
    if path.name in {"-", "stdout", "stderr"} and path.parent != Path("/dev"):
        hint = 'leave it out for standard error; "/dev/stdout" is standard output'
        return [Mistake("server.audit_log", f"{path.name!r} is taken for the name of a file", hint)]
    return []


def _tls_mistakes(certificate: Path, key: Path) -> list[Mistake]:
    try:
        for path in (certificate, key):
            read_file(path, CONFIG_BYTES_MAX)
        check_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), certificate, key)
    except MalformedError as err:
        what, _, hint = str(err).partition("; ")
        return [Mistake("server.tls_certificate", what, hint)]
    return []


def _unreadable_signatures(signers: Mapping[str, BuiltSigner | None], upstreams: Mapping[str, object]) -> list[Mistake]:
    return [
        Mistake(
            key_path("signers", name, "signature_repository"),
            f"registry {repository.registry} is not among the upstreams",
            f'add [upstreams."{repository.registry}"]',
        )
        for name, one in signers.items()
        for repository in (one.reads if one else ())
        if repository.registry not in upstreams
    ]
