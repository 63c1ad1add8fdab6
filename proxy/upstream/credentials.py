"""Credentials for one registry: a user name and a password, which is read again when its file changes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from proxy.oci.errors import MalformedError
from proxy.upstream.watched import Watched

# The user name that Docker's credential helpers give with an identity (refresh) token (docker-credential-helpers).
IDENTITY_TOKEN_USER = "<token>"  # noqa: S105 (a name, not a secret)
# Identity tokens are the longest passwords; 16 KiB is what a header may have.
PASSWORD_BYTES_MAX = 16 * 1024


@dataclass(frozen=True, slots=True)
class Credentials:
    """Credentials that are sent to one registry and its token service only.

    With the user name `<token>` the password is an identity token (distribution, oauth.md). `file` is where the
    password was read from, None where it does not change.
    """

    username: str
    password: str = field(repr=False)
    file: Path | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        """Refuse what HTTP Basic cannot carry (RFC 7617, section 2)."""
        if ":" in self.username or not (self.username + self.password).isprintable():
            raise MalformedError("a user name must not have a colon, nor it or its password control characters")

    @classmethod
    def read(cls, username: str, file: Path) -> "Credentials":
        """Read the password from a file; raises MalformedError with its path where there is none."""
        try:
            with file.open("rb") as opened:
                content = opened.read(PASSWORD_BYTES_MAX + 1)
            password = content.decode().rstrip("\r\n")
        except OSError as err:
            raise MalformedError(f"{file}: {(err.strerror or 'cannot be read').lower()}") from None
        except UnicodeDecodeError:
            raise MalformedError(f"{file}: is not UTF-8") from None
        if len(content) > PASSWORD_BYTES_MAX:
            raise MalformedError(f"{file}: longer than {PASSWORD_BYTES_MAX} bytes")
        if not password:
            raise MalformedError(f"the password in {file} is empty or not there")
        return cls(username, password, file)


class CurrentCredentials:
    """The current credentials. While their file cannot be read, the last ones that could be."""

    def __init__(self, first: Credentials | None, clock: Callable[[], float]) -> None:
        self._now = first
        self._watched = Watched([first.file] if first is not None and first.file is not None else [], clock)

    def now(self) -> Credentials | None:
        """Return them, read again where their file has changed; None where there are none."""
        if self._watched.changed():
            self.renew()
        return self._now

    def renew(self) -> bool:
        """Read the file now, as its credentials were refused; return whether they differ from before."""
        before = self._now
        if before is None or before.file is None:
            return False
        try:
            self._now = Credentials.read(before.username, before.file)
        except MalformedError:
            self._watched.forget()
            return False
        return self._now != before
