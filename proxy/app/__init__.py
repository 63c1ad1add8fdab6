"""The composition root: one clock, one TaskGroup, and every part put together from the settings."""

from proxy.app.clock import clock
from proxy.app.composition import Addresses, running
from proxy.app.content import open_content
from proxy.app.judging import verify
from proxy.app.worker import serve

__all__ = ["Addresses", "clock", "open_content", "running", "serve", "verify"]
