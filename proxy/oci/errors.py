"""What can go wrong between us and a registry, by whose fault it is.

A refusal by policy is no error: it is a value of `proxy.verdict`.
"""


class RegistryError(Exception):
    """Base of all errors below; the text is one line, fit for a log and for a client."""


class MalformedError(RegistryError, ValueError):
    """Text or bytes that break the specification; nothing was understood, nothing is kept."""


class OverLimitError(MalformedError):
    """What may be well formed, but is longer than what is read of its kind."""


class UnknownUpstreamError(RegistryError):
    """The name belongs to a registry that is not in the configured table; it is never dialled."""


class NotFoundError(RegistryError):
    """The upstream answered that there is no such repository, tag, manifest or blob."""


class UpstreamDeniedError(RegistryError):
    """The upstream refused our credentials, or our being anonymous (401, 403).

    `may_be_absence` is for what is looked for beside something that the upstream gives with the same credentials: some
    registries answer so for what is not there (Artifactory). False where a setting says that this one does not.
    """

    def __init__(self, message: str, *, may_be_absence: bool = True) -> None:
        super().__init__(message)
        self.may_be_absence = may_be_absence


class CorruptError(RegistryError):
    """The upstream's bytes do not have the digest or the size that names them."""


class UnavailableError(RegistryError):
    """The upstream could not be asked, or gave no usable answer in time.

    `retry_after` is in seconds and set where the upstream named one (429, 503). `rate_limited` says that the upstream
    is well and has had enough of us (429).
    """

    def __init__(self, message: str, retry_after: float | None = None, *, rate_limited: bool = False) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.rate_limited = rate_limited


class TooSlowError(UnavailableError):
    """The upstream's answer was not there when the time for a search was over."""


class BusyError(UnavailableError):
    """A limit of our own was reached before the upstream was asked: it says nothing about the upstream."""


class UnservableError(UnavailableError):
    """The upstream answered that it does not serve this to anyone (400, 412, 451, ...): it is there, and well."""
