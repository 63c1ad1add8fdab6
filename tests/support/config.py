"""Configuration files for tests: a key, and texts that are put together."""

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from proxy.config import ConfigError, load


def new_key():
    """Return a new public key in PEM."""
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


KEY = new_key()
SIGNER = f'[signers.release]\ntype = "cosign-key"\nkey = """{KEY}"""\n'
CATCH_ALL = '[[rules]]\nname = "rest"\nimages = ["**"]\nrequire = "refuse"\n'
RULE = '[[rules]]\nname = "app"\nimages = ["org/app"]\nrequire = "release"\n'


def write(folder, *parts):
    """Write the configuration and return its path."""
    path = folder / "config.toml"
    path.write_text("\n".join(parts))
    return path


def settings(folder, *parts):
    """Load what is given, with a rule for everything else."""
    return load(write(folder, *parts, CATCH_ALL))


def mistakes(folder, *parts):
    """Return where and what is wrong, and the hints, as one text a mistake."""
    try:
        load(write(folder, *parts))
    except ConfigError as err:
        return [f"{one.where}: {one.what} ({one.hint})" for one in err.mistakes]
    return []
