"""Keys that people write for ours: words of other tools, and keys of another table."""

from collections.abc import Mapping, Sequence

_VERIFIED = "certificates are always checked: ca_file names the registry's authority; insecure_http is for plain http"
_LISTEN = 'listen has host and port, as in "127.0.0.1:5000"'
_LOG = "a log entry is asked of a key by require_log = true; an identity does without by insecure_no_log = true"
_IDENTITY = (
    "of a cosign-keyless signer: subject is the identity exactly, subject_pattern an RE2 pattern of the whole text"
)
_CREDENTIALS = "write username with password_file or password_env"
_FOLDER = "what is kept is below state_dir of [server]"

# By the table's first key and the word: containerd, Docker, cosign, sigstore's policy-controller, Harbor, nginx.
_WORDS: Mapping[str, Mapping[str, str]] = {
    "server": {
        **dict.fromkeys(("port", "bind", "host", "addr", "address", "http_addr"), _LISTEN),
        **dict.fromkeys(("tls", "https", "ssl"), "write tls_certificate and tls_key"),
        **dict.fromkeys(("cache_dir", "data_dir", "storage", "root"), "write state_dir"),
        "metrics": "metrics are at admin_listen",
    },
    "upstreams": {
        **dict.fromkeys(
            ("insecure", "insecure_skip_verify", "skip_verify", "tls_verify", "verify", "insecure_skip_tls_verify"),
            _VERIFIED,
        ),
        **dict.fromkeys(("token", "auth", "secret", "credentials", "api_key"), _CREDENTIALS),
        **dict.fromkeys(("prefix", "path", "project"), "the path is a part of url"),
        **dict.fromkeys(("mirror", "endpoint", "endpoints", "host", "address", "server", "location"), "write url"),
        **dict.fromkeys(("ca", "cacert", "ca_cert"), "write ca_file"),
    },
    "signers": {
        **dict.fromkeys(("identity", "san", "certificate_identity"), _IDENTITY),
        **dict.fromkeys(("identity_regexp", "identity_regex", "subject_regexp", "subject_regex"), _IDENTITY),
        **dict.fromkeys(("issuer_regexp", "issuer_regex", "oidc_issuer"), "write issuer, or issuer_pattern"),
        **dict.fromkeys(("public_key", "pubkey", "pem"), "write key for the PEM text, key_file for a path"),
        **dict.fromkeys(("ignore_tlog", "insecure_ignore_tlog", "rekor", "log", "tlog", "transparency_log"), _LOG),
        **dict.fromkeys(("images", "image"), "which images a signer is for is said by images and require of [[rules]]"),
        **dict.fromkeys(("predicate_type", "predicate"), 'write attestation = { predicate = "..." }'),
    },
    "rules": {
        **dict.fromkeys(("signers", "signer", "keys", "key", "authorities"), "write require, which names signers"),
        **dict.fromkeys(("pattern", "patterns", "match", "repository", "repositories", "registry"), "write images"),
        **dict.fromkeys(("action", "verdict"), 'write require = "refuse", or mode'),
        **dict.fromkeys(("enforce", "dry_run", "audit"), 'write mode = "enforce", "warn" or "audit"'),
        **dict.fromkeys(("priority", "order"), "the most specific pattern decides, wherever its rule stands"),
    },
    "cache": {
        **dict.fromkeys(("dir", "path", "folder"), _FOLDER),
        **dict.fromkeys(("enabled", "disabled"), "size = 0 keeps nothing"),
    },
}


def other_word(where: Sequence[str | int], key: str, tables: Mapping[str, frozenset[str]]) -> str | None:
    """Return what to write for a key that is known elsewhere; None where it is not.

    `where` is the key path of the table, `tables` are the keys of each table by its header.
    """
    known = _WORDS.get(str(where[0]), {}).get(key.lower().replace("-", "_")) if where else None
    homes = [header for header, keys in tables.items() if key in keys]
    return known or (f"it belongs in {' or '.join(homes)}" if homes else None)
