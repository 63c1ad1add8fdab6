"""One pull becomes one verdict: the only room where policy meets the network. It knows no web framework."""

from proxy.gate.contents import Registry
from proxy.gate.gate import Gate, Observer, Pulled, Record
from proxy.gate.grants import BlobGrant
from proxy.gate.judge import Candidate, Examination, Judge
from proxy.gate.memory import Memory
from proxy.gate.trust_ages import TrustAges

__all__ = [
    "BlobGrant",
    "Candidate",
    "Examination",
    "Gate",
    "Judge",
    "Memory",
    "Observer",
    "Pulled",
    "Record",
    "Registry",
    "TrustAges",
]
