"""`sealgate verify-bundle`: what is refused, what is a mistake of the user, and what is read."""

import base64
import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import Encoding
from support.sigstore.authority import Request
from support.sigstore.draft import file_of
from support.sigstore.private import Sigstore
from support.tsa import Tsa

from proxy.cli import bundles
from proxy.cli import main as cli
from proxy.crypto.keys import HASHES
from proxy.demo.signing import SigningKey
from proxy.oci.digest import Digest

CONTENT = b"what is signed"
DIGEST = str(Digest.of(CONTENT))
AT = datetime(2026, 11, 20, tzinfo=UTC)
KEYLESS = ("--certificate-identity", "ci@private.test", "--certificate-oidc-issuer", "https://issuer.private.test")


@pytest.fixture(scope="module")
def sigstore():
    return Sigstore.create()


@pytest.fixture
def folder(tmp_path, sigstore, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "root.json").write_text(json.dumps(sigstore.trusted_root()))
    (tmp_path / "app").write_bytes(CONTENT)
    return tmp_path


@pytest.fixture
def run(folder, capsys):
    def call(*arguments, root="root.json"):
        trusted = ["--trusted-root", root] if root else []
        code = cli.run(["verify-bundle", *trusted, *arguments])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def signed(folder, sigstore):
    """Sign the file with a key of this kind, or for an identity, and write bundle and key."""

    def sign(kind="P-256", *, keyless=False):
        key = SigningKey.generate(kind)
        signer = Request(key=key, at=AT) if keyless else key
        draft = sigstore.sign(file_of(CONTENT), signer, AT)
        (folder / "bundle.json").write_text(json.dumps(draft.bundle()))
        (folder / "key.pub").write_bytes(key.public_pem)
        return ["--bundle", "bundle.json", *(KEYLESS if keyless else ["--key", "key.pub"])]

    return sign


def test_who_signed_and_when_is_shown(run, signed):
    code, out, err = run(*signed(keyless=True), "app")
    assert (code, err) == (0, "")
    for text in ("accepted", DIGEST, "subject: ci@private.test", "issuer: https://issuer.private.test", AT.isoformat()):
        assert text in out


def test_json_says_the_same(run, signed):
    command = signed(keyless=True)
    accepted = json.loads(run(*command, "app", "--json")[1])
    assert (accepted["verdict"], accepted["digest"], accepted["rejection"]) == ("accepted", DIGEST, None)
    assert ["subject", "ci@private.test"] in accepted["proven"]
    command[command.index("ci@private.test")] = "other@private.test"
    code, out, _ = run(*command, "app", "--json")
    refused = json.loads(out)
    assert (code, refused["verdict"], refused["rejection"]["reason"]) == (1, "refused", "untrusted_signer")
    assert refused["proven"] == accepted["proven"]


def test_what_failed_is_shown_with_its_reason(run, signed, folder):
    command = signed(keyless=True)
    (folder / "app").write_bytes(b"other")
    code, out, err = run(*command, "app")
    assert (code, err) == (1, "")
    assert "because  the bundle is of other content (other_image)" in out


@pytest.mark.parametrize("keyless", [False, True])
@pytest.mark.parametrize(
    ("kind", "by_digest"), [("P-256", 0), ("RSA-2048", 0), ("P-384", 1), ("P-521", 1), ("Ed25519", 1)]
)
def test_a_key_that_signs_more_than_a_sha256_needs_the_file(run, signed, kind, by_digest, keyless):
    command = signed(kind, keyless=keyless)
    assert run(*command, "app")[0::2] == (0, "")
    code, _, err = run(*command, DIGEST)
    assert (code, err.count("give the file itself")) == (by_digest, by_digest)


@pytest.mark.parametrize(("kind", "algorithm"), [("P-384", "sha384"), ("P-521", "sha512")])
def test_a_file_is_named_by_the_hash_of_its_key(run, signed, folder, kind, algorithm):
    """In the bundle, and on the command line."""
    command = signed(kind)
    bundle = json.loads((folder / "bundle.json").read_text())
    digest = hashlib.new(algorithm, CONTENT)
    stated = {"algorithm": f"SHA2_{algorithm[3:]}", "digest": base64.b64encode(digest.digest()).decode()}
    bundle["messageSignature"]["messageDigest"] = stated
    (folder / "bundle.json").write_text(json.dumps(bundle))
    assert run(*command, "app")[0] == 0
    assert run(*command, f"{algorithm}:{digest.hexdigest()}")[0] == 0
    code, out, _ = run(*command, DIGEST)
    assert code == 1
    assert f"give the file, or {algorithm}:" in "".join(out.split("\n"))


def rewritten(folder, change):
    """Change the bundle that lies there."""
    document = json.loads((folder / "bundle.json").read_text())
    change(document)
    (folder / "bundle.json").write_text(json.dumps(document))


def without_entries(document):
    del document["verificationMaterial"]["tlogEntries"]


def refusal(run, *arguments):
    """Return why it is refused, in one line."""
    code, out, _ = run(*arguments)
    assert code == 1
    return " ".join(out.split())


def test_a_key_may_do_without_a_log(run, signed, folder):
    command = signed()
    rewritten(folder, without_entries)
    assert "--insecure-no-log does without" in refusal(run, *command, "app")
    assert run(*command, "--insecure-no-log", "app")[0] == 0
    (folder / "app").write_bytes(b"other")
    refusal(run, *command, "--insecure-no-log", "app")


def test_an_identity_without_a_log_needs_a_timestamp(run, folder):
    stamping = Sigstore.create(tsa=Tsa.create())
    (folder / "root.json").write_text(json.dumps(stamping.trusted_root()))
    request = Request(key=SigningKey.generate(), at=AT)
    for stamped in (False, True):
        draft = stamping.sign(file_of(CONTENT), request, AT, logs=(), stamped=stamped)
        (folder / "bundle.json").write_text(json.dumps(draft.bundle()))
        command = ["--bundle", "bundle.json", *KEYLESS]
        assert "--insecure-no-log does without" in refusal(run, *command, "app")
        assert run(*command, "--insecure-no-log", "app")[0] == (0 if stamped else 1)


def test_an_identity_may_do_without_a_certificate_log(run, folder, sigstore):
    key = SigningKey.generate()
    certificate = sigstore.authority.certificate(Request(key=key, at=AT)).public_bytes(Encoding.DER)
    draft = sigstore.logged(file_of(CONTENT).signed_by(key, certificate), AT)
    (folder / "bundle.json").write_text(json.dumps(draft.bundle()))
    command = ["--bundle", "bundle.json", *KEYLESS]
    assert "--insecure-no-certificate-log does without" in refusal(run, *command, "app")
    assert run(*command, "--insecure-no-certificate-log", "app")[0] == 0


def test_a_chain_may_be_allowed(run, signed, folder, sigstore):
    command = signed(keyless=True)
    intermediate, root = ({"rawBytes": base64.b64encode(one).decode()} for one in sigstore.authority.certificate_chain)

    def chain(document):
        material = document["verificationMaterial"]
        material["x509CertificateChain"] = {"certificates": [material.pop("certificate"), intermediate]}

    def root_alone(document):
        document["certificateAuthorities"][0]["certChain"]["certificates"] = [root]

    rewritten(folder, chain)
    trusted = json.loads((folder / "root.json").read_text())
    root_alone(trusted)
    (folder / "root.json").write_text(json.dumps(trusted))
    assert "--insecure-allow-certificate-chain takes" in refusal(run, *command, "app")
    assert run(*command, "--insecure-allow-certificate-chain", "app")[0] == 0


@pytest.mark.parametrize("hashing", ["sha384", "sha512"])
def test_the_hash_of_a_key_can_be_given(run, signed, folder, sigstore, hashing):
    command = signed("RSA-2048")
    key = SigningKey.generate("RSA-2048")
    draft = file_of(CONTENT)
    signature = key._key.sign(CONTENT, PKCS1v15(), HASHES[hashing])
    draft = sigstore.logged(replace(draft, key=key, signature=signature), AT)
    (folder / "bundle.json").write_text(json.dumps(draft.bundle()))
    (folder / "key.pub").write_bytes(key.public_pem)
    assert run(*command, "--hash", hashing, "app")[0] == 0
    code, out, _ = run(*command, "app")
    assert code == 1
    assert f"--hash {hashing}" in " ".join(out.split())
    assert run(*command, "--hash", "sha256", "app")[0] == 1


def test_a_large_file_goes_by_its_digest(run, signed, monkeypatch):
    monkeypatch.setattr(bundles, "CONTENT_BYTES_MAX", len(CONTENT) - 1)
    code, out, _ = run(*signed(), "app")
    assert code == 0
    assert DIGEST in out


def test_a_file_may_have_the_name_of_a_digest(run, signed, folder):
    command = signed()
    (folder / DIGEST).write_bytes(b"other")
    assert run(*command, DIGEST)[0] == 1


def test_a_large_bundle_is_refused(run, signed, monkeypatch):
    monkeypatch.setattr(bundles, "BUNDLE_BYTES_MAX", 100)
    code, out, _ = run(*signed(keyless=True), "app")
    assert code == 1
    assert "over_limit" in out


def test_time_is_that_of_the_signature(run, sigstore, signed, folder):
    """The private root, with a log whose key was taken out of use before it was signed."""
    command = signed(keyless=True)
    root = sigstore.trusted_root()
    for log in root["tlogs"]:
        log["publicKey"]["validFor"] = {
            "start": "2020-01-01T00:00:00Z",
            "end": f"{AT - timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}",
        }
    (folder / "root.json").write_text(json.dumps(root))
    code, out, _ = run(*command, "app")
    assert code == 1
    assert "log_not_proven" in out


@pytest.mark.parametrize(
    ("arguments", "says", "hint"),
    [
        ([], "who is to have signed", "--certificate-identity"),
        (KEYLESS[:2], "who is to have signed", "--certificate-oidc-issuer"),
        ([*KEYLESS, "--hash", "sha512"], "who is to have signed", "--key"),
        (["--key", "key.pub", "--hash", "md5"], "--hash 'md5' is not known", "sha512"),
        ([*KEYLESS, "--key", "key.pub"], "who is to have signed", "--key"),
        (["--key", "root.json"], "root.json: one PEM block", "--key takes"),
        (["--key", "gone.pub"], "gone.pub: no such file", "check the path"),
        ([*KEYLESS, "--bundle", "gone.json"], "gone.json: no such file", "check the path"),
        ([*KEYLESS, "--trusted-root", "app"], "app: ", "--trusted-root takes"),
        ([*KEYLESS, "--trusted-root", "gone.json"], "gone.json: no such file", "check the path"),
    ],
)
def test_mistakes_have_our_form(run, signed, arguments, says, hint):
    signed()
    code, out, err = run("--bundle", "bundle.json", *arguments, "app")
    assert (code, out) == (2, "")
    assert err.startswith(f"sealgate: error: {says}")
    assert ("sealgate: hint: " in err) is (hint is not None)
    assert (hint or "") in err


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("gone", "gone: no such file"),
        (".", ".: is a directory"),
        ("sha256:0a", "does not have 64"),
        ("sha512:" + "0" * 127, "does not have 128"),
        ("sha384:" + "A" * 96, "does not have 96"),
        ("sha1:" + "0" * 40, "no such file"),
    ],
)
def test_what_is_no_file_and_no_digest_is_a_mistake(run, signed, what, says):
    code, out, err = run(*signed(keyless=True), what)
    assert (code, out) == (2, "")
    assert says in err


def test_no_trust_root_of_the_staging_instance_is_shipped(run, signed):
    command = signed(keyless=True)
    code, out, err = run("--staging", *command, "app", root=None)
    assert (code, out) == (2, "")
    assert "sealgate: hint: --trusted-root FILE" in err
    assert run("--staging", *command, "app")[0] == 0


def test_without_a_trust_root_it_is_the_public_good_one(run, signed):
    code, out, _ = run(*signed(keyless=True), "app", root=None)
    assert code == 1
    assert "is not in the trust root (log_not_proven)" in out
