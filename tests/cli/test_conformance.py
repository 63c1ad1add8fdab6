"""Sigstore's conformance suite (../shared/vectors/sigstore-conformance) through the command, as its client does."""

import pytest
from support.vectors import CONFORMANCE, or_skipped

from proxy.cli import main as cli
from proxy.oci.digest import Digest

# The defaults are in the suite's README.
IDENTITY = (
    "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon"
    "/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main"
)
ISSUER = "https://token.actions.githubusercontent.com"


def cases():
    return [
        pytest.param(path.parent, id=path.parent.name) for path in sorted(CONFORMANCE.glob("*/bundle.sigstore.json"))
    ]


def arguments(case, what):
    """Write the suite's own command line, in its order."""
    signer = ["--certificate-identity", stated(case, "identity", IDENTITY)]
    signer += ["--certificate-oidc-issuer", stated(case, "issuer", ISSUER)]
    if (case / "key.pub").exists():
        signer = ["--key", case / "key.pub"]
    root = ["--trusted-root", case / "trusted_root.json"] if (case / "trusted_root.json").exists() else []
    return [str(one) for one in ("verify-bundle", "--bundle", case / "bundle.sigstore.json", *signer, *root, what)]


def stated(case, name, default):
    return (case / name).read_text().strip() if (case / name).exists() else default


def artifact(case):
    return case / "artifact" if (case / "artifact").exists() else CONFORMANCE / "a.txt"


@pytest.mark.parametrize("case", or_skipped(cases()))
@pytest.mark.parametrize("by", ["file", "digest"])
def test_as_the_suite_requires(case, by, capsys):
    path = artifact(case)
    code = cli.run(arguments(case, path if by == "file" else Digest.of(path.read_bytes())))
    out, err = capsys.readouterr()
    refused = case.name.endswith("_fail")
    assert (code, err) == (refused, "" if by == "file" else err), out
    assert ("refused" if refused else "accepted") in out
