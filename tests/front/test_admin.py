"""What operators, Prometheus and health checks are answered."""

import pytest
from aiohttp import ClientSession
from support.stack import listening

from proxy.front.admin import Admin


@pytest.mark.parametrize(
    ("method", "path", "missing", "status", "body"),
    [
        ("GET", "/metrics", None, 200, b"numbers"),
        ("GET", "/healthz", None, 200, b"ok\n"),
        ("GET", "/readyz", None, 200, b"ready\n"),
        ("GET", "/readyz", "the store", 503, b"the store\n"),
        ("GET", "/", None, 200, b"<p>page</p>"),
        ("GET", "/other", None, 404, b"here are /, /metrics, /healthz and /readyz\n"),
        ("HEAD", "/healthz", None, 200, b""),
        ("POST", "/metrics", None, 405, b"only GET and HEAD\n"),
    ],
)
async def test_pages(method, path, missing, status, body):
    admin = Admin(
        metrics=lambda: (b"numbers", "text/plain; version=1.0.0"), status=lambda: "<p>page</p>", ready=lambda: missing
    )
    async with (
        listening(admin.handle) as url,
        ClientSession() as session,
        session.request(method, url + path) as response,
    ):
        assert (response.status, await response.read()) == (status, body)
        if path == "/":
            assert "default-src 'none'" in response.headers["Content-Security-Policy"]
