"""The composition root: one clock, every part put together from the settings, and the processes that serve."""

from proxy.app.clock import clock
from proxy.app.composition import Addresses, running
from proxy.app.content import open_content
from proxy.app.judging import verify
from proxy.app.serving import serve
from proxy.app.supervisor import StartError

__all__ = ["Addresses", "StartError", "clock", "open_content", "running", "serve", "verify"]
