"""The school: tells nights what happened, and puts to use what they have learnt."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Literal

from aetherra.plugins import DataFileError
from aetherra.plugins.self_incorporation.code.classifier import FileKind
from aetherra.plugins.self_incorporation.gate.item import Item
from aetherra.plugins.self_incorporation.index.rows import FileRecord
from aetherra.plugins.self_incorporation.index.scanner import Scanner
from aetherra.plugins.self_incorporation.integration.plan import Plan
from aetherra.plugins.self_incorporation.integration.planner import risk_of
from aetherra.plugins.self_incorporation.night.evidence import StepEnd, StepOutcome, Vote
from aetherra.plugins.self_incorporation.night.learning.plan_features import features_of
from aetherra.plugins.self_incorporation.night.learning.trial import Target
from aetherra.plugins.self_incorporation.night.store import NightStore
from aetherra.plugins.self_incorporation.turn import Turn
from aetherra.plugins.storage import DatabaseUnusableError

__all__ = ["School"]


class School:
    """What cannot be noted is logged, and not learnt from; nothing fails for it.

    Args:
        store: Of the night cycle.
        scanner: Classifies by what was learnt.
        turn: To use the store.
        file: Tells what the index holds of a file.
        log: Told what could not be noted.
    """

    def __init__(
        self,
        store: NightStore,
        scanner: Scanner,
        turn: Turn,
        file: Callable[[str, str], FileRecord | None],
        log: logging.Logger,
    ) -> None:
        self._store = store
        self._scanner = scanner
        self._turn = turn
        self._file = file
        self._log = log
        self.take_up("classifier_weights")

    def take_up(self, target: Target) -> None:
        """Put to use what was learnt for a target: weights count from the next scan on, orders are asked for."""
        if target == "classifier_weights":
            self._scanner.learn(self._store.learned.weights)

    def weigh(self, item: Item) -> float:
        """Return what orders steps, least first: of the likeliest to fail where that was learnt, else of no risk."""
        order = self._store.learned.plan_order
        return risk_of(item) if order is None else order.weigh(features_of(item, self._store.marks))

    def first(self, paths: Iterable[str]) -> list[str]:
        """Return which files a scan should deal with first; none where nothing was learnt."""
        order = self._store.learned.rescan_order
        return [] if order is None else order.first(paths)

    # Telling

    async def note_changes(self, root: str, paths: Sequence[str]) -> None:
        """Tell what a scan has found changed."""
        if paths:
            await self._note(partial(self._store.evidence.add_changes, root, paths))

    async def note_kind(
        self, record: FileRecord, root: str, kind: FileKind, by: Literal["person", "integration"]
    ) -> None:
        """Tell what a file really is."""
        await self._note(partial(self._add_kind, record, root, kind, by))

    async def note_kinds(self, items: Sequence[Item]) -> None:
        """Tell of items that were brought in that they are what they were brought in as."""
        await self._note(partial(self._add_kinds, items))

    def _add_kinds(self, items: Sequence[Item]) -> None:
        for item in items:
            record = self._file(item.root, item.main or item.path)
            if record is not None:
                self._add_kind(record, item.root, item.kind, "integration")

    def _add_kind(self, record: FileRecord, root: str, kind: FileKind, by: Literal["person", "integration"]) -> None:
        votes = [Vote(feature.label, feature.kind, feature.weight) for feature in record.evidence]
        self._store.evidence.add_label(root, record.path, kind, votes, by=by)

    async def note_plan(self, plan: Plan, items: Sequence[Item], *, failed: str) -> None:
        """Tell how a plan that was begun ended: ``failed`` is the step that did, ``""`` if all were done."""
        ends: list[StepEnd] = []
        for step in plan.steps:
            seen = "failed" in ends
            ends.append("untried" if seen else "failed" if step.name == failed else "done")
        marks = self._store.marks
        outcomes = [
            StepOutcome(
                item=step.path,
                after=tuple(number - 1 for number in step.after),
                risk=step.risk,
                features=features_of(item, marks),
                end=end,
            )
            for step, item, end in zip(plan.steps, items, ends, strict=True)
        ]
        await self._note(partial(self._store.evidence.add_plan, outcomes))

    async def _note(self, function: Callable[[], None]) -> None:
        try:
            await self._turn.ask(function)
        except (DataFileError, DatabaseUnusableError) as exc:
            self._log.warning("this will not be learnt from: %s", exc)
