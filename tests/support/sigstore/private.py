"""A whole private Sigstore in the process: authority, logs, Rekor 1 and 2, timestamps, and its trust root."""

from dataclasses import dataclass, replace
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from support.sigstore.authority import Authority, Request
from support.sigstore.encoding import base64_of, details_of, spki_of
from support.sigstore.logs import CertificateLog, Rekor

from proxy.demo.signing import SigningKey

MEDIA_TYPES = {
    "0.1": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
    "0.2": "application/vnd.dev.sigstore.trustedroot.v0.2+json",
}


@dataclass(frozen=True, kw_only=True)
class Sigstore:
    """The services, each replaceable.

    All at once: `sigstore.sign(signature_of(image), Request(key=key, at=at), at)`. Step by step, with anything changed
    between two steps: `signature_of`, then `signed` (or `certificate` and `Draft.signed_by`), `logged`, `stamped`, and
    last `Draft.artifact` or `Draft.bundle`. A timestamp authority has `token(content, at)` and `certificate_chain`.
    """

    authority: Authority
    certificate_log: CertificateLog
    rekor1: Rekor
    rekor2: Rekor
    tsa: Any = None

    @classmethod
    def create(cls, *, authority="P-384", rekor2="Ed25519", tsa=None, host="private.test"):
        """Make one; kinds of keys can be chosen."""
        return cls(
            authority=Authority.create(authority),
            certificate_log=CertificateLog(key=SigningKey.generate()),
            rekor1=Rekor(key=SigningKey.generate(), version=1, name=f"rekor.{host}"),
            rekor2=Rekor(key=SigningKey.generate(rekor2), version=2, name=f"rekor2.{host}"),
            tsa=tsa,
        )

    def sct(self, request):
        """Have the certificate log sign a timestamp for the certificate of this request."""
        precertificate = self.authority.certificate(request)
        return self.certificate_log.sct(precertificate.tbs_certificate_bytes, self.authority.key_hash, request.at)

    def certificate(self, request):
        """Issue a certificate in DER, with the proof that it is logged."""
        return self.authority.certificate(request, [self.sct(request)]).public_bytes(Encoding.DER)

    def signed(self, draft, signer):
        """Sign a draft by a key, or by what a certificate is requested for."""
        if isinstance(signer, Request):
            return draft.signed_by(signer.key, self.certificate(signer))
        return draft.signed_by(signer)

    def logged(self, draft, at, log="rekor1", kind=None):
        """Add an entry about the draft as it stands."""
        rekor = {"rekor1": self.rekor1, "rekor2": self.rekor2}[log]
        return replace(draft, entries=(*draft.entries, rekor.add(draft.entry_body(rekor.version, kind), at)))

    def stamped(self, draft, at):
        """Add a timestamp of the draft as it stands."""
        return replace(draft, timestamps=(*draft.timestamps, self.tsa.token(draft.to_be_stamped, at)))

    def sign(self, draft, signer, at, *, logs=("rekor1",), stamped=False):
        """Take all steps: sign, log, and if asked for have a timestamp made."""
        draft = self.signed(draft, signer)
        for log in logs:
            draft = self.logged(draft, at, log)
        return self.stamped(draft, at) if stamped else draft

    def trusted_root(self, version="0.1", **sections):
        """Write trusted_root.json as an object; `sections` are others than the own, and an empty one is left out."""
        own = {
            "tlogs": [self.rekor1, self.rekor2],
            "ctlogs": [self.certificate_log],
            "certificateAuthorities": [self.authority],
            "timestampAuthorities": [self.tsa] if self.tsa else [],
        }
        write = {
            "tlogs": _log,
            "ctlogs": _log,
            "certificateAuthorities": _authority,
            "timestampAuthorities": _authority,
        }
        written = {
            name: [write[name](part, version) for part in parts] for name, parts in (own | sections).items() if parts
        }
        return {"mediaType": MEDIA_TYPES[version]} | written


def _log(log, version):
    key = {
        "rawBytes": base64_of(spki_of(log.key)),
        "keyDetails": details_of(log.key),
        "validFor": _window(log.window),
    }
    written = {
        "baseUrl": log.url,
        "hashAlgorithm": "SHA2_256",
        "publicKey": key,
        "logId": {"keyId": base64_of(log.log_id)},
    }
    if version == "0.1":
        return written
    newer = {"checkpointKeyId": {"keyId": base64_of(log.log_id[:4])}} if isinstance(log, Rekor) else {}
    return written | newer | {"operator": "private.test"}


def _authority(authority, version):
    certificates = [{"rawBytes": base64_of(one)} for one in authority.certificate_chain]
    written = {
        "subject": {"organization": "private.test", "commonName": "private"},
        "uri": "https://authority.private.test",
        "certChain": {"certificates": certificates},
        "validFor": _window(authority.window),
    }
    return written if version == "0.1" else written | {"operator": "private.test"}


def _window(window):
    ends = {"start": window.start, "end": window.end}
    return {name: moment.strftime("%Y-%m-%dT%H:%M:%SZ") for name, moment in ends.items() if moment}
