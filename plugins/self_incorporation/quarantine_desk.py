"""The quarantine desk: what a person does with what is in quarantine, and who may look into it."""

from __future__ import annotations

from functools import partial

from aetherra.plugins import PluginContext
from aetherra.plugins.self_incorporation.errors import NothingKeptError
from aetherra.plugins.self_incorporation.gate.quarantine import QuarantineManager
from aetherra.plugins.self_incorporation.gate.quarantined import Quarantined
from aetherra.plugins.self_incorporation.messages import QuarantineList

__all__ = ["QuarantineDesk"]


class QuarantineDesk:
    """Works in worker threads. Each of its methods raises ``NothingKeptError`` where there is no quarantine.

    Args:
        ctx: Of the plugin that it works in.
        quarantine: What it opens; ``None`` where nothing is kept.
    """

    def __init__(self, ctx: PluginContext, quarantine: QuarantineManager | None) -> None:
        self._ctx = ctx
        self._quarantine = quarantine

    async def release(self, id: str, *, by: str, says: str) -> Quarantined:  # noqa: A002 - what it is called
        """Put something back where it was, and keep what is said of it, if anything is."""
        await self._note(id, by, says)
        return await self._ctx.run_sync(partial(self._there().release, id, by=by))

    async def delete(self, id: str, *, by: str, says: str) -> Quarantined:  # noqa: A002
        """Delete something for good, and keep what is said of it, if anything is."""
        await self._note(id, by, says)
        return await self._ctx.run_sync(partial(self._there().delete, id, by=by))

    async def review(self, id: str, *, by: str, says: str) -> Quarantined:  # noqa: A002
        """Keep what is said of something."""
        return await self._ctx.run_sync(partial(self._there().review, id, by=by, says=says))

    async def _note(self, id: str, by: str, says: str) -> None:  # noqa: A002
        if says:
            await self.review(id, by=by, says=says)

    async def list(self, *, ended: bool) -> QuarantineList:
        """Return what is in it; with ``ended`` also what was."""
        quarantine = self._there()
        items = await self._ctx.run_sync(partial(quarantine.all, kept=not ended))
        return QuarantineList(tuple(items), await self._ctx.run_sync(quarantine.statistics))

    def _there(self) -> QuarantineManager:
        if self._quarantine is None:
            raise NothingKeptError("quarantine")
        return self._quarantine
