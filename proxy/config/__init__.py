"""The configuration: one TOML file becomes frozen settings, or a list of everything that is wrong with it.

Nothing that serves requests may see the settings: `app` takes the values out and passes them on.
"""

from proxy.config.changes import changes
from proxy.config.load import Settings, load
from proxy.config.mistakes import ConfigError, Mistake

__all__ = ["ConfigError", "Mistake", "Settings", "changes", "load"]
