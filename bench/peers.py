"""nginx: as a registry of plain files, and as the proxy that we are measured against, as installed and tuned."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from e2e import lab
from e2e.packages import Toolbox
from support.tls import Tls

from proxy.oci.digest import Digest
from proxy.oci.manifest import OCI_MANIFEST

_COMMON = """\
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/log;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  {http}
}}
"""
_FILES = """
  sendfile on; tcp_nopush on; keepalive_requests 1000000;
  server {{
    listen 127.0.0.1:{port};
    root {root};
    default_type application/octet-stream;
    location ~ /manifests/ {{ default_type {media_type}; }}
  }}
"""
_TLS = """
  sendfile on; keepalive_requests 1000000;
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {certificate}; ssl_certificate_key {key};
    root {root};
    default_type application/octet-stream;
  }}
"""
_PROXY = """
  keepalive_requests 1000000;
  upstream files {{ server 127.0.0.1:{to_port}; keepalive 32; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://files;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      {tuning}
    }}
  }}
"""
# With its defaults, 8 buffers of 4 KiB, nginx writes a blob to a temporary file as soon as the client is slower.
_TUNING = """
      proxy_buffers 16 256k; proxy_buffer_size 256k; proxy_busy_buffers_size 1m; proxy_max_temp_file_size 0;
"""

# As it is installed, but for being told to keep: each first request is a miss that is written while it is sent.
_CACHING = """
      proxy_cache kept; proxy_cache_valid 200 1h;
"""
_CACHE = """
  proxy_cache_path {folder}/cache keys_zone=kept:10m use_temp_path=off max_size=100g;
"""


class Files:
    """A place for images in a folder, laid out as the paths of the registry API; all manifests are of one type."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def add_manifest(self, repository: str, media_type: str, body: bytes, tag: str | None = None) -> Digest:
        """Keep a manifest."""
        if media_type != OCI_MANIFEST:
            raise ValueError(f"{media_type}: only {OCI_MANIFEST} has its type here")
        digest = Digest.of(body)
        for reference in filter(None, (str(digest), tag)):
            self._write(f"{repository}/manifests/{reference}", body)
        return digest

    def add_blob(self, repository: str, body: bytes) -> Digest:
        """Keep a blob."""
        digest = Digest.of(body)
        self._write(f"{repository}/blobs/{digest}", body)
        return digest

    def _write(self, path: str, body: bytes) -> None:
        file = self.root / "v2" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)


@contextlib.contextmanager
def file_registry(tools: Toolbox, folder: Path, port: int) -> Iterator[Files]:
    """Serve a folder as a registry until the block ends."""
    files = Files(folder / "files")
    with _nginx(tools, folder, port, _FILES.format(port=port, root=files.root, media_type=OCI_MANIFEST)):
        yield files


@contextlib.contextmanager
def nginx_tls(tools: Toolbox, folder: Path, port: int, files: Files, tls: Tls) -> Iterator[str]:
    """Serve the same files over TLS until the block ends; yields the URL."""
    http = _TLS.format(port=port, root=files.root, certificate=tls.certificate, key=tls.key)
    with _nginx(tools, folder, port, http):
        yield f"https://127.0.0.1:{port}"


@contextlib.contextmanager
def nginx_proxy(tools: Toolbox, folder: Path, port: int, to_port: int, *, tuned: bool) -> Iterator[str]:
    """Proxy everything to another port until the block ends; yields the URL."""
    http = _PROXY.format(port=port, to_port=to_port, tuning=_TUNING if tuned else "")
    with _nginx(tools, folder, port, http):
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def nginx_caching(tools: Toolbox, folder: Path, port: int, to_port: int) -> Iterator[str]:
    """Proxy everything to another port, and keep it on disk below `folder`, until the block ends; yields the URL."""
    http = _CACHE.format(folder=folder) + _PROXY.format(port=port, to_port=to_port, tuning=_CACHING)
    with _nginx(tools, folder, port, http):
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def _nginx(tools: Toolbox, folder: Path, port: int, http: str) -> Iterator[None]:
    folder.mkdir()
    folder.chmod(0o755)  # its worker is nobody's
    (folder / "nginx.conf").write_text(_COMMON.format(folder=folder, http=http), encoding="ascii")
    command = [tools.find("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "log")]
    with lab.service(command, folder, tools, ("127.0.0.1", port)):
        yield
