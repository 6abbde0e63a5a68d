"""The plugins that a host starts with: those that its configuration names, and those that are installed."""

from __future__ import annotations

import logging

from aetherra.kernel.config import LATER, Config
from aetherra.kernel.sources import FileSource, MissingSource, Source, installed_plugins

log = logging.getLogger("aetherra.kernel.manager")


def configured_plugins(config: Config) -> dict[str, Source]:
    """Return where the code of each plugin comes from that is to be started, by its name.

    Of two installed ones of a name the second is left out, and named in the log. What the configuration names, and
    nobody has code for, is there too: its source tells so when it is loaded.
    """
    sources: dict[str, Source] = {}
    found_plugins = installed_plugins() if config.kernel.discover else ()
    for found in sorted(found_plugins, key=lambda source: not source.trusted):  # ours have their names
        section = config.section(found.name)
        if not section.enabled or section.source is not None:
            continue
        first = sources.setdefault(found.name, found)
        if first is not found:
            log.error("two installed plugins are named %r: %s is taken, %s is left out", found.name, first, found)
    for name, plugin in config.plugins.items():
        location = config.plugin_source(name)
        if plugin.enabled and location is not None:
            sources[name] = FileSource(name, location)
        elif plugin.enabled and name not in sources and plugin.source != LATER:
            sources[name] = MissingSource(name)
    return sources
