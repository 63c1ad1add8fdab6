"""A registry in this process that remembers every request: the fake Docker Hub, and a mirror that plainly refuses."""

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from e2e.content import Answer, Shelf

HUB_NAMES = (
    "registry-1.docker.io",
    "docker.io",
    "index.docker.io",
    "auth.docker.io",
    "registry.hub.docker.com",
    "production.cloudflare.docker.com",
)
_SETTLE_SECONDS = 10


class Request(NamedTuple):
    """One request, or a connection that brought none (`method` says what became of it)."""

    method: str
    path: str
    user_agent: str


class Handler(BaseHTTPRequestHandler):
    """Serves a shelf, one connection at a time."""

    protocol_version = "HTTP/1.1"
    timeout = 60
    server: "Registry"

    def handle(self) -> None:
        self.asked = False
        with contextlib.suppress(OSError):  # clients cut connections
            super().handle()
        if not self.asked:
            self.server.note(self.client_address, Request("connection without a request", "", ""))

    def do_GET(self) -> None:
        self.asked = True
        path = urlsplit(self.path).path
        self.server.note(self.client_address, Request(self.command, self.path, self.headers.get("User-Agent", "")))
        if any(path.startswith(f"/v2/{name}/") for name in self.server.refused):
            self._send(403, Answer("application/json", _error("DENIED", "refused by a naive mirror"), ""))
        elif found := self.server.shelf.answers.get(path):
            self._send(200, found)
        else:
            self._send(404, Answer("application/json", _error("MANIFEST_UNKNOWN", "not here"), ""))

    do_HEAD = do_GET  # noqa: N815 (the name is the base class's)

    def _send(self, status: int, answer: Answer) -> None:
        self.send_response(status)
        self.send_header("Content-Type", answer.media_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        if answer.digest:
            self.send_header("Docker-Content-Digest", answer.digest)
        self.end_headers()
        if self.command != "HEAD":
            self._write(answer.body)

    def _write(self, body: bytes) -> None:
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name is the base class's)
        """Say nothing: what was asked is kept in `Registry.log`."""


class Registry(ThreadingHTTPServer):
    """Serves what is on a shelf, over TLS where a context is given; refuses the names in `refused` with a plain 403."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        address: tuple[str, int],
        shelf: Shelf,
        tls: ssl.SSLContext | None = None,
        refused: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(address, Handler)
        self.shelf, self.tls, self.refused = shelf, tls, refused
        self.log: list[Request] = []
        self._own: set[tuple[str, int]] = set()
        self._open = 0
        self._changed = threading.Condition()

    def note(self, client: tuple[str, int], request: Request) -> None:
        """Keep one request, but not what `settle` made."""
        if client not in self._own:
            self.log.append(request)

    def process_request(self, request: socket.socket, client_address: tuple[str, int]) -> None:
        """Count the connections that are open."""
        with self._changed:
            self._open += 1
        super().process_request(request, client_address)

    def finish_request(self, request: socket.socket, client_address: tuple[str, int]) -> None:
        """Serve one connection, over TLS if this is how we speak."""
        if self.tls is None:
            super().finish_request(request, client_address)
            return
        request.settimeout(Handler.timeout)
        try:
            wrapped = self.tls.wrap_socket(request, server_side=True)
        except OSError as err:
            self.note(client_address, Request("failed TLS handshake", str(err), ""))
            return
        with wrapped:
            super().finish_request(wrapped, client_address)

    def shutdown_request(self, request: socket.socket) -> None:
        """Count the connections that are open."""
        super().shutdown_request(request)
        with self._changed:
            self._open -= 1
            self._changed.notify_all()

    def settle(self) -> list[Request]:
        """Wait until all that has connected has been served, then return all requests since the last time.

        A connection of our own goes to the end of the queue: once it is served, nothing that came before is waiting.
        """
        with socket.socket() as own:
            own.bind(("127.0.0.1", 0))
            self._own.add(own.getsockname())
            own.connect(self.server_address[:2])
        with self._changed:
            if not self._changed.wait_for(lambda: self._open == 0, _SETTLE_SECONDS):
                raise TimeoutError("a client keeps its connection to the hub open after its end")
        log, self.log = self.log, []
        return log

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a cut connection is the client's matter, and is in the log."""


@contextlib.contextmanager
def serving(registry: Registry) -> Iterator[Registry]:
    """Serve in a thread until the block ends."""
    thread = threading.Thread(target=registry.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield registry
    finally:
        registry.shutdown()
        thread.join()
        registry.server_close()


def _error(code: str, message: str) -> bytes:
    return json.dumps({"errors": [{"code": code, "message": message}]}).encode()


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return a server context that speaks HTTP/1.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["http/1.1"])
    return context
