"""Self-incorporation: finds code in the project, classifies and judges it, and keeps an index of it.

The plugin is loaded when it is asked for, so that who imports messages alone loads no more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aetherra.plugins.self_incorporation.plugin import SelfIncorporationService

__all__ = ["SelfIncorporationService"]

if not TYPE_CHECKING:  # where a name that is not there is to be an error

    def __getattr__(name: str) -> Any:
        if name in __all__:
            from aetherra.plugins.self_incorporation import plugin  # noqa: PLC0415

            return getattr(plugin, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
