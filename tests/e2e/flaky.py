"""A registry that fails as it is told, path by path: what stands behind Sealgate in `test_e2e_classic`."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from e2e.content import Answer, Shelf
from e2e.hub import Handler, Registry, serving

_STATUS = {"missing": 404, "limited": 429, "failing": 503}
# Longer than any client waits for an answer that it wants.
_SLOW_SECONDS = 40


class _Flaky(Handler):
    """Answers from the shelf, but for the paths in `faults`."""

    server: "Flaky"

    def _send(self, status: int, answer: Answer) -> None:
        how = self.server.faults.get(self.path)
        if how in _STATUS:
            status, answer = _STATUS[how], Answer("application/json", b"{}", "")
        elif how == "slow":
            time.sleep(_SLOW_SECONDS)
        elif how == "wrong":
            answer = answer._replace(body=b"{" + answer.body[:-1])
        super()._send(status, answer)
        if how == "cut":
            self.close_connection = True

    def _write(self, body: bytes) -> None:
        super()._write(body[:50] if self.server.faults.get(self.path) == "cut" else body)


class Flaky(Registry):
    """A registry on a shelf of its own. `faults` are by path: missing, limited, failing, cut, wrong, slow."""

    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__(address, Shelf())
        self.RequestHandlerClass = _Flaky
        self.faults: dict[str, str] = {}

    @property
    def url(self) -> str:
        """Where it is."""
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}"


@contextmanager
def flaky() -> Iterator[Flaky]:
    """Serve one on loopback until the block ends."""
    with serving(Flaky(("127.0.0.1", 0))) as registry:
        yield registry
