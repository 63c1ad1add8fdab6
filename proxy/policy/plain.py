"""Evidence and rejections as plain values: one form for the audit log, for `--json` and for what is remembered.

The members are public; add, do not rename. Pairs stay pairs: an annotation may have the name of a certificate's claim.
"""

from datetime import UTC, datetime
from typing import Any

from proxy.verdict import Evidence, Rejection


def moment(at: datetime) -> str:
    """Return a time as RFC 3339 has it, in UTC with `Z`, to the microsecond where there is a part of a second."""
    return at.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"


def evidence(one: Evidence) -> dict[str, Any]:
    """Return what one signature proved, with only what JSON can hold."""
    return {
        "signer": one.signer,
        "format": one.format,
        "trust": one.trust,
        "signature": one.signature,
        "subject": one.subject,
        "issuer": one.issuer,
        "signed_at": moment(one.signed_at) if one.signed_at else None,
        "time_source": one.time_source,
        "log_index": one.log_index,
        "claims": [list(pair) for pair in one.claims],
    }


def rejection(one: Rejection) -> dict[str, Any]:
    """Return why one candidate or signer did not count, with only what JSON can hold."""
    return {
        "reason": one.reason.value,
        "detail": one.detail,
        "signer": one.signer,
        "signature": one.signature,
        "proven": [list(pair) for pair in one.proven],
    }
