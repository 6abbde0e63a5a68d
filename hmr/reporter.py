"""The reporter: remembers how swaps ended, and tells it to the log and to all who listen."""

from __future__ import annotations

from collections import deque
from logging import INFO, WARNING
from pathlib import Path

import anyio

from aetherra.hmr.errors import SwapError
from aetherra.hmr.messages import How, Prepared, RolledBack, SwapFailed, Swapped, SwapRecord
from aetherra.kernel import PluginContext
from aetherra.registry import Message

HISTORY = 50
"""Swaps of each plugin that ``hmr.status`` remembers."""
PLUGINS = 1000
"""Plugins whose swaps are remembered; the first to be swapped are forgotten first."""
PUBLISH_SEC = 5.0
"""How long listeners that block their publishers may hold an event up."""
NAMED = 3
"""Files that a line names."""


class Reporter:
    """Tells each attempt once."""

    def __init__(self, ctx: PluginContext) -> None:
        self._ctx = ctx
        self._records: dict[str, deque[SwapRecord]] = {}

    def records(self, plugin: str = "") -> tuple[SwapRecord, ...]:
        """The last swaps, newest last: of one plugin, or of all."""
        if plugin:
            return tuple(self._records.get(plugin, ()))
        return tuple(sorted((record for records in self._records.values() for record in records), key=lambda r: r.ts))

    def _remember(self, record: SwapRecord) -> None:
        if record.plugin not in self._records:
            if len(self._records) >= PLUGINS:
                del self._records[next(iter(self._records))]
            self._records[record.plugin] = deque(maxlen=HISTORY)
        self._records[record.plugin].append(record)

    def tell_prepared(self, plugin: str, generation: int, how: How) -> None:
        """Tell of a candidate that has proved itself; nobody may hold it up."""
        self._ctx.publish_nowait(Prepared(plugin, generation, how))

    async def tell_swapped(self, swapped: Swapped, source: str, *, automatic: bool = False, reason: str = "") -> None:
        """Tell of a swap that happened."""
        back = swapped.how == "rollback"
        self._remember(
            SwapRecord(
                ts=self._ctx.clock.time(),
                plugin=swapped.plugin,
                how=swapped.how,
                outcome="rolled_back" if back else "swapped",
                generation=swapped.generation,
                seconds=swapped.seconds,
                problem=reason,
                old_generation=swapped.old_generation,
                source=source,
                changed=swapped.changed,
            )
        )
        why = f": {reason}" if reason else ""
        done = f"{swapped.old_generation} -> {swapped.generation} in {swapped.seconds * 1000:.1f} ms"
        if back:
            self._ctx.log.warning("%s rolled back, generation %s%s", swapped.plugin, done, why)
        else:
            changed = named(swapped.changed, self._ctx.root)
            self._ctx.log.log(
                WARNING if why else INFO, "%s swapped, generation %s%s%s", swapped.plugin, done, changed, why
            )
        with anyio.CancelScope(shield=True):
            await self._publish(swapped)
            if back:
                await self._publish(
                    RolledBack(
                        swapped.plugin, swapped.generation, swapped.old_generation, swapped.seconds, automatic, reason
                    )
                )

    async def tell_failed(self, error: SwapError, how: How, seconds: float, generation: int, source: str) -> None:
        """Tell of one that did not, while ``generation`` serves on."""
        problem = f"{error.code}: {error.problem}"
        now = self._ctx.clock.time()
        self._remember(
            SwapRecord(
                now, error.plugin, how, "failed", generation, seconds, problem, old_generation=generation, source=source
            )
        )
        if error.down:
            how_it_is = f"is down, as {error.down}"
        else:
            how_it_is = f"stays at generation {generation}" if generation else "stays down"
        self._ctx.log.warning("%s %s: %s", error.plugin, how_it_is, problem)
        await self._publish(SwapFailed(error.plugin, error.code, error.problem, error.down))

    async def _publish(self, event: Message) -> None:
        """Publish also when cancelled, for it has happened; one who blocks his publishers is waited for a while."""
        with anyio.CancelScope(shield=True), self._ctx.clock.move_on_after(PUBLISH_SEC):
            await self._ctx.publish(event)


def named(changed: tuple[str, ...], root: Path) -> str:
    """Return which files have changed, for the end of a line; ``""`` for none."""
    if not changed:
        return ""
    names = [str(path.relative_to(root) if path.is_relative_to(root) else path) for path in map(Path, changed[:NAMED])]
    more = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
    return f" ({', '.join(names)}{more} changed)"
