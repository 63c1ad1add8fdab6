"""sigstore-python as a second opinion on bundles: an oracle of tests, never part of Sealgate."""

import tempfile
from functools import cache

from sigstore.hashes import Hashed
from sigstore.models import Bundle, TrustedRoot
from sigstore.verify import Verifier
from sigstore.verify.policy import Identity
from sigstore_models.common.v1 import HashAlgorithm

from proxy.oci.digest import Digest


def objection(document, root, *, content, issuer, subject):
    """Say why sigstore-python refuses a bundle, in one line; None where it accepts. It asks no network.

    `content` is the file, or its digest; of a statement it checks no subject. Whatever it raises is a refusal: for
    what it does not expect it has no exception of its own.
    """
    try:
        bundle, policy = Bundle.from_json(document), Identity(identity=subject, issuer=issuer)
        verifier = _verifier(root)
        if bundle._dsse_envelope is not None:
            verifier.verify_dsse(bundle, policy)
        else:
            verifier.verify_artifact(_input(content), bundle, policy)
    except Exception as err:  # noqa: BLE001 (see above)
        return " ".join(f"{type(err).__name__}: {err}".split())
    return None


def _input(content):
    if isinstance(content, Digest):
        return Hashed(algorithm=HashAlgorithm.SHA2_256, digest=bytes.fromhex(content.hex))
    return content


@cache
def _verifier(root):
    with tempfile.NamedTemporaryFile() as file:
        file.write(root)
        file.flush()
        return Verifier(trusted_root=TrustedRoot.from_file(file.name))
