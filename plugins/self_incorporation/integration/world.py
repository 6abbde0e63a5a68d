"""The world that a plan is made for: what is there already, and what an item could collide with or lack."""

import platform
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from msgspec import Struct

from aetherra.plugins import PluginInfo
from aetherra.plugins.self_incorporation.integration.registrations import Registration

__all__ = ["Distribution", "Present", "World", "installed"]


class Present(Struct, frozen=True):
    """A plugin of the host.

    Attributes:
        name: Its name.
        version: Its own.
        service: What its service is registered as.
        tags: The requests it answers.
        source: Where its code comes from.
        requires: The plugins it needs.
    """

    name: str
    version: str
    service: str
    tags: tuple[str, ...]
    source: str
    requires: tuple[str, ...] = ()

    @classmethod
    def of(cls, info: PluginInfo) -> "Present":
        """Take what matters here from what the kernel tells."""
        return cls(info.name, info.version, info.service, info.tags, info.source, info.requires)


class Distribution(Struct, frozen=True):
    """An installed distribution: its version, and what it needs with which extra (PEP 508)."""

    version: str
    needs: tuple[str, ...] = ()


class World(Struct, frozen=True, kw_only=True):
    """What is there.

    Attributes:
        plugins: Those of the host by name, also those that were integrated.
        registered: What was integrated, by name.
        distributions: What is installed, by normalized name.
        modules: The distribution of each installed top-level module.
        altered: How what was integrated is not as it came in any more, by name; without those that are.
        environment: What markers are read in; empty for this interpreter's, as tests alone give another.
        python: Version of the interpreter.
    """

    plugins: Mapping[str, Present]
    registered: Mapping[str, Registration]
    distributions: Mapping[str, Distribution]
    modules: Mapping[str, str]
    altered: Mapping[str, str] = {}
    environment: Mapping[str, str] = {}
    python: str = platform.python_version()

    def is_taken(self, module: str) -> str:
        """Return what a top-level module of this name would hide, ``""`` if nothing."""
        if module in sys.stdlib_module_names or module in sys.builtin_module_names:
            return "the standard library"
        return self.modules.get(module, "")


def installed() -> dict[str, Any]:
    """Return ``distributions`` and ``modules`` as this interpreter has them.

    Every distribution's metadata is read, again only once a folder of ``sys.path`` has changed.
    """
    return dict(_installed(tuple((folder, _changed_at(folder)) for folder in sys.path)))


def _changed_at(folder: str) -> int:
    try:
        return Path(folder or ".").stat().st_mtime_ns
    except OSError:
        return 0


@lru_cache(1)
def _installed(_: tuple[tuple[str, int], ...]) -> dict[str, Any]:
    from importlib import metadata  # noqa: PLC0415  # as the next: for who plans alone

    from packaging.utils import canonicalize_name  # noqa: PLC0415  # 30 ms

    distributions: dict[str, Distribution] = {}
    for found in metadata.distributions():
        name = found.name
        if name:  # a broken one has none
            distributions.setdefault(canonicalize_name(name), Distribution(found.version, tuple(found.requires or ())))
    modules = {module: names[0] for module, names in metadata.packages_distributions().items()}
    return {"distributions": distributions, "modules": {"aetherra": "aetherra", **modules}}
