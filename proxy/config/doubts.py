"""What in a configuration is probably not meant, and what in it is insecure: told, never refused."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

from proxy.config.mistakes import key_path
from proxy.config.schema import Server
from proxy.config.signers import BuiltSigner
from proxy.config.trust_roots import KnownRoot
from proxy.formats.api import Requirement
from proxy.formats.cosign.identity import WantedIdentity
from proxy.formats.cosign.signer import CosignSigner
from proxy.formats.cosign.trust_root import NO_TRUST_ROOT
from proxy.formats.cosign.verify import Wanted
from proxy.front.external import ExternalUrls
from proxy.policy.model import InsecureAllowUnverified, Mode, OnOutage, Rule, named_signers
from proxy.policy.rules import Rules
from proxy.upstream.endpoint import Endpoint

# Two refreshes (stores.trust_refresh, INTERVAL_SECONDS): one may fail.
TRUST_ROOT_AGE_USUAL = timedelta(days=2)


def warnings(
    server: Server,
    rules: Rules,
    signers: Mapping[str, Requirement],
    upstreams: Mapping[str, Endpoint],
    roots: Mapping[str, KnownRoot],
) -> Iterator[str]:
    """Tell what is probably not meant."""
    yield from _server_warnings(server)
    yield from _policy_warnings(rules, signers, upstreams)
    yield from _root_warnings(roots)
    yield from _vain_warnings(signers)


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


def age_warnings(rules: Rules, relying: Mapping[str, str]) -> list[str]:
    """Tell of limits on the age of trust roots that limit nothing, or that the refreshes cannot keep to."""
    limited = [(rule, rule.trust_root_max_age) for rule in rules if rule.trust_root_max_age is not None]
    vain = [
        f"rule '{rule.name}': trust_root_max_age limits nothing, for none of its signers relies on a trust root"
        for rule, _ in limited
        if not rule.signers.keys() & relying.keys()
    ]
    return vain + [
        f"rule '{rule.name}': trust_root_max_age is less than {TRUST_ROOT_AGE_USUAL.days}d: trust roots are refreshed "
        "once a day, so that one refresh that fails is an outage"
        for rule, limit in limited
        if limit < TRUST_ROOT_AGE_USUAL
    ]


def _vain_warnings(signers: Mapping[str, Requirement]) -> list[str]:
    """Tell of demands that a signer's trust root cannot meet: nothing of such a signer ever counts."""
    return [
        f"{key_path('signers', name)}: nothing counts, for its trust root has no {what}; {hint}"
        for name, one in signers.items()
        if isinstance(one, CosignSigner) and one.wanted.root != NO_TRUST_ROOT
        for wanted, there, what, hint in _provisions(one.wanted)
        if wanted and not there
    ]


def _provisions(wanted: Wanted) -> list[tuple[bool, Sequence[object], str, str]]:
    root, demands = wanted.root, wanted.demands
    keyless = isinstance(wanted.who, WantedIdentity)
    return [
        (demands.log, root.logs, "transparency log", "insecure_no_log does without, and needs timestamps"),
        (demands.certificate_log, root.certificate_logs, "certificate log", "insecure_no_certificate_log does without"),
        (keyless, root.certificate_authorities, "certificate authority", "name another trust root"),
        (demands.timestamp, root.timestamp_authorities, "timestamp authority", "name another trust root"),
    ]


def relaxations(rules: Rules, signers: Mapping[str, BuiltSigner], upstreams: Mapping[str, Endpoint]) -> list[str]:
    """Tell of every setting by which less is proven, protected or refused than could be."""
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


def server_relaxations(server: Server) -> list[str]:
    """Return each setting of [server] by which clients may fetch content without Sealgate."""
    if server.external_urls is ExternalUrls.REFUSE:
        return []
    return [f'server.external_urls = "{server.external_urls}"']


def _relaxed(rule: Rule) -> list[str]:
    texts = []
    if isinstance(rule.require, InsecureAllowUnverified):
        texts.append('require = "insecure_allow_unverified"')
    if rule.on_outage is not OnOutage.REFUSE:
        texts.append(f'on_outage = "{rule.on_outage}"')
    if rule.mode is not Mode.ENFORCE:
        texts.append(f'mode = "{rule.mode}"')
    return [f"rule '{rule.name}': {text}" for text in texts]
