"""The admin listener: metrics, health and the status page. For operators, on loopback unless told otherwise."""

from collections.abc import Callable

from aiohttp import web


class Admin:
    """Serves what the callables return; they are asked at each request.

    `metrics` returns a body and its content type, `status` a page of HTML, `ready` None or what is missing.
    """

    def __init__(
        self, *, metrics: Callable[[], tuple[bytes, str]], status: Callable[[], str], ready: Callable[[], str | None]
    ) -> None:
        self._metrics = metrics
        self._status = status
        self._ready = ready

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request of an operator, of Prometheus or of a health check."""
        if request.method not in {"GET", "HEAD"}:
            return web.Response(status=405, text="only GET and HEAD\n", headers={"Allow": "GET, HEAD"})
        match request.path:
            case "/metrics":
                body, content_type = self._metrics()
                return web.Response(body=body, headers={"Content-Type": content_type})
            case "/healthz":
                return web.Response(text="ok\n")
            case "/readyz":
                missing = self._ready()
                return web.Response(status=200 if missing is None else 503, text=f"{missing or 'ready'}\n")
            case "/":
                return web.Response(text=self._status(), content_type="text/html", headers=_PAGE_HEADERS)
            case _:
                return web.Response(status=404, text="here are /, /metrics, /healthz and /readyz\n")


# The page is one document without scripts: nothing else may load or frame it.
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
