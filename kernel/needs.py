"""What plugins require of each other: waited for before one starts, unless it can never be met."""

from __future__ import annotations

from collections.abc import Mapping

from aetherra.kernel.entry import Entry
from aetherra.kernel.errors import PluginLoadError


async def wait_for_needs(entry: Entry, entries: Mapping[str, Entry]) -> None:
    """Wait until what a plugin requires serves, and for nothing else.

    Raises:
        PluginLoadError: Its requirements go in a circle, or one of them is not there, or does not serve.
    """
    circle = await _circle(entry.name, entries)
    if circle:
        problem = f"its requirements go in a circle: {' -> '.join(circle)}"
        raise PluginLoadError(entry.name, "finding", "it requires itself" if len(circle) == 2 else problem)
    for need in entry.needs:
        needed = entries.get(need)
        if needed is None:
            raise PluginLoadError(entry.name, "starting", f"it requires plugin {need!r}, which is not there")
        await needed.settled.wait()
        if needed.state != "serving":
            raise PluginLoadError(entry.name, "starting", f"it requires plugin {need!r}, which is {needed.state}")


async def _circle(name: str, entries: Mapping[str, Entry]) -> list[str]:
    """Return the names from ``name`` over its requirements back to itself, or nothing if there is no such way."""
    came_from: dict[str, str] = {}
    ahead = [name]
    while ahead:
        current = ahead.pop(0)
        entry = entries.get(current)
        if entry is None:
            continue
        await entry.read.wait()
        for need in entry.needs:
            if need == name:
                way = [current]
                while way[0] != name:
                    way.insert(0, came_from[way[0]])
                return [*way, name]
            if need not in came_from:
                came_from[need] = current
                ahead.append(need)
    return []
