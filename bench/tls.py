"""Blobs of 64 MiB over TLS: from Sealgate's store, and from nginx with the same file."""

from collections.abc import Iterator
from contextlib import ExitStack

from bench_report import Row
from blobs import BYTES, CONNECTIONS, UPSTREAM, layers, rows
from common import Bench, signed
from measure import ask, fetch, rounds
from peers import file_registry, nginx_tls
from support.tls import make_tls

PART = "64 MiB blob over TLS"
PEER = "nginx with the file itself"
# The kernel sends no file over TLS for Python, and a byte is copied three times more than by nginx.
GOALS = {"Sealgate, from its store": (PEER, 0.7)}


def tls_blobs(bench: Bench) -> Iterator[Row]:
    """Measure a blob that is kept."""
    tls = make_tls(bench.folder)
    server = f'tls_certificate = "{tls.certificate}"\ntls_key = "{tls.key}"\n'
    with ExitStack() as stack:
        files = stack.enter_context(file_registry(bench.tools, bench.folder / "tls-files", 5060))
        path = signed(files, "tls", bench.key, layers=1, layer_bytes=BYTES)
        blob = f"/v2/library/tls/blobs/{layers('tls', 1)[0]}"
        nginx = stack.enter_context(nginx_tls(bench.tools, bench.folder / "tls-nginx", 5064, files, tls))
        stack.enter_context(bench.sealgate("tls-kept", 5500, UPSTREAM, server=server))
        kept = "https://127.0.0.1:5500"
        ask(kept, f"{path}1")
        fetch(kept, blob)
        servers = {PEER: nginx, "Sealgate, from its store": kept}
        for connections in CONNECTIONS:
            measured = {name: bench.bytes_a_second(url + blob, connections) for name, url in servers.items()}
            yield from rows(PART, rounds(bench.rounds, measured), connections, GOALS, PEER)
