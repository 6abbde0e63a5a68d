"""The assessor: has the gate decide about items, as they come and as they change, and sets aside what must be."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import PurePosixPath

import msgspec

from aetherra.plugins import AetherraError, GetGrants, Intent, PluginContext
from aetherra.plugins.self_incorporation.code.classifier import FileKind
from aetherra.plugins.self_incorporation.gate.decision import Decision
from aetherra.plugins.self_incorporation.gate.item import Item
from aetherra.plugins.self_incorporation.gate.quarantine import Quarantined
from aetherra.plugins.self_incorporation.gate.security_gate import SecurityGate
from aetherra.plugins.self_incorporation.integration.planner import Judged
from aetherra.plugins.self_incorporation.places import Places
from aetherra.plugins.self_incorporation.stock import Stock
from aetherra.plugins.self_incorporation.surveyor import Surveyor

__all__ = ["Assessment", "Assessor", "GrantBook", "UnknownItemError", "names_of"]

MOST_TOLD = 100
"""Decisions that are told of."""
PAGE = 50
"""Items that are read from the index in one turn."""
_ACTING = frozenset({FileKind.PLUGIN, FileKind.AGENT, FileKind.WORKFLOW, FileKind.AETHER})


class UnknownItemError(AetherraError, LookupError):
    """There is no item of that name or path, or there are several.

    Attributes:
        item: As it was asked for.
        paths: Of those that have this name.
    """

    def __init__(self, item: str, paths: Sequence[str] = ()) -> None:
        super().__init__(item, tuple(paths))
        self.item, self.paths = item, tuple(paths)

    def __str__(self) -> str:
        if self.paths:
            return f"several items are called {self.item!r}: give a path, one of {', '.join(self.paths)}"
        return (
            f"no item is called {self.item!r}, nor lies there: 'aetherra incorporate items --all' lists what there is, "
            "and 'aetherra incorporate scan' looks for what is new"
        )


class GrantBook:
    """What the configuration grants to plugins, by name; asked of the kernel, and read by the gate in its thread."""

    def __init__(self, ctx: PluginContext) -> None:
        self._ctx = ctx
        self._grants: dict[str, tuple[str, ...]] = {}

    async def look_up(self, name: str) -> tuple[str, ...]:
        """Ask for the grants of a plugin."""
        self._grants[name] = (await self._ctx.call(GetGrants(name))).grants
        return self._grants[name]

    def __call__(self, name: str) -> tuple[str, ...]:
        """Return the grants that were looked up last."""
        return self._grants.get(name, ())


class Assessment(msgspec.Struct, frozen=True):
    """What came of one look at all items.

    Attributes:
        verdicts: Items by what is decided about them.
        blocked: The decisions that keep one out, those of the highest risk first, at most ``MOST_TOLD``.
        judged: Items that were judged now.
        drifted: Those of them that do more, or are riskier, than when they were judged before.
        quarantined: The paths of those that were set aside now.
        held: Why others were not, by path.
    """

    verdicts: dict[str, int]
    blocked: tuple[Decision, ...]
    judged: int
    drifted: int
    quarantined: tuple[str, ...]
    held: dict[str, str]


class Assessor:
    """Judges what can come in: what acts by itself, and whatever lies in an incoming folder or is asked for by name.

    An item that was judged as it is, by the policy and rules that hold, is not judged again.

    Args:
        ctx: Of the plugin that it works in.
        surveyor: Whose turn it takes for each page of items and each item.
        stock: All items.
        gate: Decides.
        grants: What the gate is told of grants.
        places: What is looked at.
    """

    def __init__(
        self,
        ctx: PluginContext,
        surveyor: Surveyor,
        stock: Stock,
        gate: SecurityGate,
        grants: GrantBook,
        places: Places,
    ) -> None:
        self._ctx = ctx
        self._surveyor = surveyor
        self._stock = stock
        self._gate = gate
        self._grants = grants
        self._places = places
        self.verdicts: dict[str, int] = {}

    # Finding

    async def items(self) -> AsyncIterator[Item]:
        """Yield all items by root, reading a page of them at a time, so that others have their turn between."""
        for root in self._places.roots():
            items = self._stock.items(root)
            while page := await self._surveyor.ask(partial(_page, items)):
                for item in page:
                    yield item

    async def find(self, wanted: str) -> Item:
        """Return an item by its path, its name, or the name of its file or folder.

        Raises:
            UnknownItemError: There is none, or there are several of this name.
        """
        path = PurePosixPath(wanted).as_posix()
        for root in self._places.roots():
            item = await self._surveyor.ask(partial(self._stock.item, root, path))
            if item is not None and item.path == path:
                return item
        named = [item async for item in self.items() if wanted in names_of(item)]
        if len(named) != 1:
            raise UnknownItemError(wanted, [item.path for item in named])
        return named[0]

    async def latest(self, item: Item) -> Decision | None:
        """Return what was decided about exactly these bytes by the policy and rules that hold, if anything was."""
        decision = await self._surveyor.ask(partial(self._gate.safety.latest, item.root, item.path))
        current = decision is not None and self._gate.is_current(decision, item)
        return decision if current else None

    async def wanted(self, items: Sequence[str]) -> list[Judged]:
        """Return items with decisions, made anew: those that are named, or for none all in the incoming folders.

        Raises:
            UnknownItemError: One is unknown.
        """
        found = [await self.find(name) for name in items] if items else await self._incoming()
        return [Judged(item, await self.judge(item)) for item in found]

    async def _incoming(self) -> list[Item]:
        return [item async for item in self.items() if self._places.is_incoming(item)]

    # Judging

    async def judge(self, item: Item) -> Decision:
        """Decide about an item as it lies there now, and keep the decision."""
        await self._grants.look_up(item.name)
        return await self._surveyor.ask(partial(self._gate.evaluate, item, now=self._ctx.clock.time()))

    async def assess(self) -> Assessment:
        """Decide about every item that is new, has changed, or falls under other rules; set aside what must be."""
        verdicts: Counter[str] = Counter()
        blocked: list[Decision] = []
        judged = drifted = 0
        quarantined: list[str] = []
        held: dict[str, str] = {}
        await self._surveyor.ask(self._gate.look_at_keys)
        async for item in self.items():
            if not self._is_candidate(item):
                continue
            decision = await self.latest(item)
            if decision is None:
                decision = await self.judge(item)
                judged += 1
                drifted += any(ground.code in ("risk_moved", "capabilities_grew") for ground in decision.rationale)
            verdicts[decision.verdict] += 1
            if decision.verdict == "quarantined":
                if why_not := await self._set_aside(item, decision):
                    held[item.path] = why_not
                else:
                    quarantined.append(item.path)
            if decision.verdict in ("blocked", "quarantined"):
                blocked.append(decision)
        self.verdicts = dict(verdicts)
        blocked.sort(key=lambda decision: (-decision.risk, decision.path))
        return Assessment(self.verdicts, tuple(blocked[:MOST_TOLD]), judged, drifted, tuple(quarantined), held)

    def _is_candidate(self, item: Item) -> bool:
        return item.kind in _ACTING or self._places.is_incoming(item)

    async def _set_aside(self, item: Item, decision: Decision) -> str:
        """Put an item into quarantine, and return why not, ``""`` if it is there."""
        if await self._surveyor.ask(partial(self._gate.was_released, item)):
            return "a person has released it as it is"
        reason = next((ground.text for ground in decision.rationale if ground.against), decision.verdict)
        try:
            await self.quarantine(item, decision, reason=reason)
        except AetherraError as exc:
            return str(exc)
        return ""

    async def quarantine(self, item: Item, decision: Decision, *, reason: str, sender: str = "") -> Quarantined:
        """Set an item aside.

        Args:
            item: Which.
            decision: The latest about it.
            reason: Why, for people.
            sender: Who has asked for it, in the words of ``str(Identity)``; ``""`` if nobody has.

        Raises:
            NotPermittedError: That may not be done now.
            QuarantineError: It cannot be set aside.
        """
        intent = Intent(
            kind="quarantine",
            component=item.path,
            summary=f"set {item.path} aside: {reason}",
            digest=hashlib.sha256(f"quarantine {item.digest}".encode()).hexdigest(),
            sender=sender,
            facts={"risk": item.risk, "item": item.digest},
        )
        by = sender or str(self._ctx.identity)
        async with self._ctx.permitted(intent) as permit:
            done = await self._surveyor.ask(partial(self._gate.set_aside, item, decision, by=by, reason=reason))
            permit.outcome("done", facts={"quarantine": done.id})
        return done


def names_of(item: Item) -> tuple[str, str, str]:
    """Return what an item may be called: its path, its name, and the name of its file or folder."""
    return item.path, item.name, PurePosixPath(item.path).name


def _page(items: Iterator[Item]) -> list[Item]:
    return list(islice(items, PAGE))
