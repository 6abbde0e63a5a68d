"""The ways back: the code that served before, kept in memory with the state that it handed over."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from aetherra.kernel.sources import Loaded
from aetherra.kernel.state import Parcel


class WayBack(msgspec.Struct, frozen=True):
    """What served before, the origin of the code that serves, and the state that it was handed over."""

    before: Loaded
    origin: object
    parcel: Parcel | None


class WaysBack:
    """One way back for each plugin: a longer past is history, and not kept in memory."""

    def __init__(self) -> None:
        self._ways: dict[str, WayBack] = {}

    def remember(self, plugin: str, before: Loaded | None, code: Loaded, parcel: Parcel | None) -> None:
        """Keep the code before this one, with its last state, and let go of the one before that."""
        forgotten = self._ways.pop(plugin, None)
        if before is not None:
            self._ways[plugin] = WayBack(before, code.origin, parcel)
        if forgotten is not None and forgotten.before is not code:
            forgotten.before.unload()

    def find(self, plugin: str, serving: Loaded | None) -> WayBack | None:
        """Return the way back from the code that serves, restarted or not; ``None`` if there is none."""
        way = self._ways.get(plugin)
        return way if way is not None and serving is not None and way.origin is serving.origin else None

    def keep_only(self, leads_back: Callable[[str, object], bool]) -> None:
        """Let go of all but those for which ``leads_back`` holds, asked of the plugin and its later code's origin."""
        for plugin in [plugin for plugin, way in self._ways.items() if not leads_back(plugin, way.origin)]:
            self._ways.pop(plugin).before.unload()

    def give_up(self) -> None:
        """Let go of all."""
        self.keep_only(lambda _plugin, _origin: False)
