"""The one reader of TOML, and what it makes: `Settings`."""

import ssl
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from proxy.config.cosign import COSIGN_KINDS
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
from proxy.policy.model import InsecureAllowUnverified, Mode, OnOutage, Rule, named_signers
from proxy.policy.rules import Rules
from proxy.upstream.endpoint import Endpoint

# Ten thousand rules of the usual length are two megabytes.
CONFIG_BYTES_MAX = 8 * 1024 * 1024
# A new format is one module and one line here.
KINDS: Kinds = {**COSIGN_KINDS}


@dataclass(frozen=True, slots=True)
class Settings:
    """A configuration that holds together.

    `warnings` is what is probably not meant. `relaxations` is every setting in use by which an image is served that
    was not accepted, less is proven than could be, or a connection is not protected: to be logged at start and counted
    in a metric. `trust_roots` are those that a signer relies on, `relying` says by the signer's name on which; `who`
    says for people whose signature counts.
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
    warnings: list[str] = []
    state_dir = server.state_dir if server is not None else folder
    known = read_trust_roots(file.trust_roots, state_dir, folder, warnings, mistakes)
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
        (*warnings, *_server_warnings(server), *_policy_warnings(rules, built, upstreams), *_root_warnings(roots)),
        tuple(_relaxations(rules, right, upstreams)),
        {name: one.who for name, one in right.items()},
        relying,
    )


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_file(path, CONFIG_BYTES_MAX).decode())
    except MalformedError as err:
        what = str(err).removeprefix(f"{path}: ")
        raise ConfigError(path, [Mistake("", what, f"--config names another file; {EXAMPLE_HINT}")]) from None
    except UnicodeDecodeError as err:
        raise ConfigError(path, [Mistake("", f"is not UTF-8 (byte {err.start})", "save it as UTF-8")]) from None
    except (tomllib.TOMLDecodeError, RecursionError) as err:
        raise ConfigError(
            path, [Mistake("", f"is not TOML: {err}", "texts need quotes; see https://toml.io")]
        ) from None


def _server_mistakes(server: Server, upstreams: Mapping[str, object]) -> list[Mistake]:
    mistakes = []
    if server.default_upstream not in upstreams:
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


def _tls_mistakes(certificate: Path, key: Path) -> list[Mistake]:
    try:
        for path in (certificate, key):
            read_file(path, CONFIG_BYTES_MAX)
        # An empty password, so that an encrypted key is a mistake and not a question on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except MalformedError as err:
        return [Mistake("server.tls_certificate", str(err))]
    except ssl.SSLError:
        what = f"{certificate} and {key} are not a certificate in PEM and its unencrypted key"
        return [Mistake("server.tls_certificate", what)]
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


def _server_warnings(server: Server) -> list[str]:
    warnings = []
    if not server.listen.is_loopback and server.tls_certificate is None:
        warnings.append(
            "server.listen: reachable from other machines without TLS, so that whoever is in between can answer "
            "in this proxy's place: set tls_certificate and tls_key, or let a TLS server stand in front"
        )
    if not server.admin_listen.is_loopback:
        warnings.append("server.admin_listen: status page and metrics are reachable from other machines")
    return warnings


def _policy_warnings(rules: Rules, signers: Mapping[str, object], upstreams: Mapping[str, object]) -> list[str]:
    used = frozenset[str]().union(*(named_signers(rule.require) for rule in rules))
    unused = [f"{key_path('signers', name)}: no rule asks for this signer" for name in signers if name not in used]
    dead = [
        f"rule '{rule.name}': {pattern} never matches: registry {pattern.parts[0]} is not among the upstreams"
        for rule in rules
        for pattern in rule.images
        if "*" not in pattern.parts[0] and pattern.parts[0] not in upstreams
    ]
    return unused + dead


def _root_warnings(roots: Mapping[str, KnownRoot]) -> list[str]:
    absent = [
        f"{key_path('trust_roots', name)}: is not here yet, and proves nothing until its first refresh"
        for name, one in roots.items()
        if one.stored is None
    ]
    ignored = [f"{key_path('trust_roots', name)}: {text}" for name, one in roots.items() for text in one.root.ignored]
    return absent + ignored


def _relaxations(rules: Rules, signers: Mapping[str, BuiltSigner], upstreams: Mapping[str, Endpoint]) -> list[str]:
    relaxed = [text for rule in rules for text in _relaxed(rule)]
    relaxed += [f"{key_path('signers', name)}: {text}" for name, one in signers.items() for text in one.relaxations]
    relaxed += [
        f"{key_path('upstreams', name)}: insecure_http = true" for name, one in upstreams.items() if one.insecure_http
    ]
    return relaxed + [
        f"{key_path('upstreams', name, 'signatures')}: insecure_http = true"
        for name, one in upstreams.items()
        if one.signatures is not None and one.signatures.insecure_http
    ]


def _relaxed(rule: Rule) -> list[str]:
    texts = []
    if isinstance(rule.require, InsecureAllowUnverified):
        texts.append('require = "insecure_allow_unverified"')
    if rule.on_outage is not OnOutage.REFUSE:
        texts.append(f'on_outage = "{rule.on_outage}"')
    if rule.mode is not Mode.ENFORCE:
        texts.append(f'mode = "{rule.mode}"')
    return [f"rule '{rule.name}': {text}" for text in texts]
