"""The night shift: lends the night cycle the index, the items, the decisions and the host."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TypeVar

from aetherra.plugins import GetVitals, Intent, Permit, PluginContext, Vitals
from aetherra.plugins.self_incorporation.gate.decision import Decision
from aetherra.plugins.self_incorporation.gate.item import Item
from aetherra.plugins.self_incorporation.gate.safety_index import SafetyIndex
from aetherra.plugins.self_incorporation.index.code_index import CodeIndex
from aetherra.plugins.self_incorporation.index.paths import original
from aetherra.plugins.self_incorporation.index.reading import regular_file
from aetherra.plugins.self_incorporation.index.rows import FileRecord
from aetherra.plugins.self_incorporation.messages import NightDone
from aetherra.plugins.self_incorporation.night.learning.trial import Target
from aetherra.plugins.self_incorporation.night.report import NightReport
from aetherra.plugins.self_incorporation.school import School
from aetherra.plugins.self_incorporation.stock import Stock
from aetherra.plugins.self_incorporation.turn import Turn

__all__ = ["NightPort", "RootLibrary"]

T = TypeVar("T")
DECISIONS = 100_000
"""Decisions that a night reads at most."""


class RootLibrary:
    """What a night reads of one root. See ``night.library.Library``."""

    def __init__(self, root: Callable[[], str], index: CodeIndex, safety: SafetyIndex) -> None:
        self._root = root
        self._index = index
        self._safety = safety
        self._stock = Stock(index)

    @property
    def root(self) -> str:
        """The root's name in the index."""
        return self._root()

    def revision(self) -> str:
        """Return what is another text once anything in the root is other than it was."""
        return self._index.revision(self.root)

    def files(self, *, after: str, limit: int) -> Sequence[FileRecord]:
        """Return the records of files in the order of the index, of those behind ``after``, at most ``limit``."""
        return self._index.files(self.root, after=after, limit=limit)

    def read(self, path: str, *, limit: int) -> bytes | None:
        """Return the bytes of a file; None if it cannot be read, is no regular file, or has more than ``limit``."""
        try:
            with (
                regular_file(Path(original(self.root)) / original(path)) as (descriptor, _),
                os.fdopen(descriptor, "rb", closefd=False) as file,
            ):
                data = file.read(limit + 1)
        except OSError:
            return None
        return data if len(data) <= limit else None

    def items(self) -> Iterable[Item]:
        """Return all items, put together one at a time."""
        return self._stock.items(self.root)

    def decisions(self) -> Iterable[Decision]:
        """Return the latest decision about each item."""
        return self._safety.all(self.root, limit=DECISIONS)


class NightPort:
    """What a night asks of the host. See ``night.processor.Port``."""

    def __init__(self, ctx: PluginContext, turn: Turn, school: School) -> None:
        self.clock = ctx.clock
        self._ctx = ctx
        self._turn = turn
        self._school = school

    async def run(self, function: Callable[[], T]) -> T:
        """Run a plain function in a worker thread, in turn with whoever else uses what nights know, and wait for it."""
        return await self._turn.ask(function)

    async def vitals(self) -> Vitals:
        """Tell how all plugins do."""
        return await self._ctx.call(GetVitals())

    def permitted(self, intent: Intent) -> AbstractAsyncContextManager[Permit]:
        """Ask to change something."""
        return self._ctx.permitted(intent)

    async def learned(self, target: Target) -> None:
        """Hear that what is in use for a target is another now."""
        self._school.take_up(target)

    async def reported(self, report: NightReport) -> None:
        """Hear what a night came to."""
        await self._ctx.publish(NightDone(report))
