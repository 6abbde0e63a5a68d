"""The assessor: has the gate decide about items, as they come and as they change, and sets aside what must be."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Literal

import msgspec

from aetherra.plugins import AetherraError, GetGrants, Intent, PluginContext
from aetherra.plugins.self_incorporation.code.classifier import FileKind
from aetherra.plugins.self_incorporation.gate.decision import Decision, Verdict
from aetherra.plugins.self_incorporation.gate.item import Item
from aetherra.plugins.self_incorporation.gate.quarantined import Quarantined
from aetherra.plugins.self_incorporation.gate.safety_index import Review
from aetherra.plugins.self_incorporation.gate.security_gate import SecurityGate
from aetherra.plugins.self_incorporation.index.paths import original
from aetherra.plugins.self_incorporation.integration.neighbours import Neighbours, Reach
from aetherra.plugins.self_incorporation.integration.plan import Plan
from aetherra.plugins.self_incorporation.integration.planner import Judged
from aetherra.plugins.self_incorporation.integration.world import World
from aetherra.plugins.self_incorporation.places import Places
from aetherra.plugins.self_incorporation.stock import Stock
from aetherra.plugins.self_incorporation.turn import Turn

__all__ = ["Assessment", "Assessor", "GrantBook", "UnknownItemError", "names_of"]

MOST_TOLD = 100
"""Decisions that are told of."""
MOST_NAMED = 10
"""Items of a folder that are named where one was to be."""
PAGE = 200
"""Items that are read from the index at a time, so that a caller that is cancelled waits for no more."""
MOST_DECISIONS = 100_000
"""Decisions of one root that are looked through for those whose items are gone."""
_ACTING = frozenset({FileKind.PLUGIN, FileKind.AGENT, FileKind.WORKFLOW, FileKind.AETHER})


class UnknownItemError(AetherraError, LookupError):
    """There is no item of that name or path, or there are several.

    Attributes:
        item: As it was asked for.
        paths: Of those that have this name.
        refused: Why a file of that path is none; ``""`` if there is no such file.
        within: Paths of those that lie in a folder of that path.
    """

    def __init__(self, item: str, paths: Sequence[str] = (), refused: str = "", within: Sequence[str] = ()) -> None:
        super().__init__(item, tuple(paths), refused, tuple(within))
        self.item, self.paths, self.refused, self.within = item, tuple(paths), refused, tuple(within)

    def __str__(self) -> str:
        if self.refused:
            return f"{self.item!r} is no item, as the file was refused: {self.refused}"
        if self.paths:
            return f"several items are called {self.item!r}: give a path, one of {', '.join(self.paths)}"
        if self.within:
            more = f", and {len(self.within) - MOST_NAMED} more" if len(self.within) > MOST_NAMED else ""
            return f"{self.item!r} is a folder: name what is meant, of {', '.join(self.within[:MOST_NAMED])}{more}"
        return (
            f"no item is called {self.item!r}, nor lies there: 'aetherra incorporate items --all' lists what there is, "
            "and 'aetherra incorporate scan' looks for what is new"
        )


class GrantBook:
    """What the configuration grants to plugins, by name; asked of the kernel, and read by the gate in its thread."""

    def __init__(self, ctx: PluginContext) -> None:
        self._ctx = ctx
        self._grants: dict[str, tuple[str, ...]] = {}

    async def renew(self) -> None:
        """Ask anew for all that was asked for before."""
        for name in list(self._grants):
            await self.look_up(name)

    async def look_up_new(self, names: Iterable[str]) -> None:
        """Ask for the grants of plugins that were not asked for before."""
        for name in names:
            if name not in self._grants:
                await self.look_up(name)

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
        stock: All items.
        gate: Decides.
        grants: What the gate is told of grants.
        places: What is looked at.
    """

    def __init__(
        self,
        ctx: PluginContext,
        stock: Stock,
        gate: SecurityGate,
        grants: GrantBook,
        places: Places,
    ) -> None:
        self._ctx = ctx
        self._turn = Turn(ctx)
        self._stock = stock
        self._gate = gate
        self._grants = grants
        self._places = places
        self._verdicts: dict[tuple[str, str], Verdict] = {}
        self._reach: Reach = {}

    @property
    def verdicts(self) -> dict[str, int]:
        """Items that can come in, by what is decided about them."""
        return dict(Counter(self._verdicts.values()))

    @property
    def problems(self) -> dict[str, str]:
        """What is wrong with what decisions are made by, by part; ``""`` where nothing is."""
        return {"keys": self._gate.ring_problem, "decisions": self._gate.lost}

    # Finding

    async def items(self) -> AsyncIterator[Item]:
        """Yield all items by root."""
        async for item, _ in self._each(self._stock.items, lambda _: True, judged=False):
            yield item

    async def judged(self) -> AsyncIterator[tuple[Item, Decision | None]]:
        """Yield all items by root, each with what was decided about exactly these bytes, by what holds now."""
        async for found in self._each(self._stock.items, lambda _: True):
            yield found

    async def _each(
        self, of: Callable[[str], Iterator[Item]], wanted: Callable[[Item], bool], *, judged: bool = True
    ) -> AsyncIterator[tuple[Item, Decision | None]]:
        def page(items: Iterator[Item]) -> tuple[bool, list[Item]]:
            read = list(islice(items, PAGE))
            return bool(read), [item for item in read if wanted(item)]

        if judged:
            await self._grants.renew()
        for root in self._places.roots():
            items = of(root)
            there = True
            while there:
                there, found = await self._ctx.run_sync(page, items)
                if judged:
                    await self._grants.look_up_new(item.name for item in found)
                    for one in await self._ctx.run_sync(self._latest, found):
                        yield one
                else:
                    for item in found:
                        yield item, None

    def _latest(self, items: Sequence[Item]) -> list[tuple[Item, Decision | None]]:
        found: list[tuple[Item, Decision | None]] = []
        for item in items:
            decision = self._gate.safety.latest(item.root, item.path)
            current = decision is not None and self._gate.is_current(decision, item)
            found.append((item, decision if current else None))
        return found

    async def find(self, wanted: str) -> Item:
        """Return an item by its path, its name, or the name of its file or folder.

        Raises:
            UnknownItemError: There is none, or there are several of this name.
        """
        path = PurePosixPath(wanted).as_posix()
        refused = ""
        for root in self._places.roots():
            item = await self._ctx.run_sync(self._stock.item, root, path)
            if item is not None and item.path == path:
                return item
            if refusal := await self._ctx.run_sync(self._stock.refused, root, path):
                refused = refusal.detail or refusal.reason
        named: list[Item] = []
        within: list[str] = []
        async for item in self.items():
            if wanted in names_of(item):
                named.append(item)
            elif item.path.startswith(f"{path}/") and item.main.endswith(".py"):
                within.append(item.path)
        if len(named) != 1:
            raise UnknownItemError(wanted, [item.path for item in named], refused, within)
        return named[0]

    async def wanted(self, items: Sequence[str], *, anew: bool = True) -> list[Judged]:
        """Return items with decisions: those that are named, or for none all in the incoming folders.

        Args:
            items: By name or path.
            anew: Whether decisions that hold are made anew all the same, by what lies there now.

        Raises:
            UnknownItemError: One is unknown.
        """
        found: list[tuple[Item, Decision | None]]
        if items:
            found = [(await self.find(name), None) for name in items]
        else:
            folders = await self._ctx.run_sync(self._places.incoming)
            each = self._each(self._stock.items, lambda item: folders.holds(item.root, item.path), judged=not anew)
            found = [one async for one in each]
        return [Judged(item, decision or await self.judge(item)) for item, decision in found]

    async def refused(self) -> dict[str, str]:
        """Return why files of the incoming folders are in no item at all, by path."""
        folders = await self._ctx.run_sync(self._places.incoming)
        return {
            refusal.path: refusal.detail or refusal.reason
            for root in self._places.roots()
            for below in folders.below(root)
            for refusal in await self._ctx.run_sync(self._stock.refusals, root, below)
        }

    async def overtaken(self, root: str, path: str, digest: str) -> str:
        """Return why there is no item of a digest at a path any more; ``""`` if there is, or nobody can look.

        Raises:
            DataFileError: What the roots are called cannot be kept.
        """
        return await self._ctx.run_sync(self._overtaken, root, path, digest)

    def _overtaken(self, root: str, path: str, digest: str) -> str:
        if self._places.strays([root]):
            return f"{path} lies in no root any more"
        item = self._stock.item(root, path)
        if item is not None and item.path == path:
            return "" if item.digest == digest else f"{path} has changed"
        if item is not None:
            return f"{path} is part of {item.path} now"
        refused = self._stock.refused(root, path)
        if refused is not None and refused.reason != "unreadable":
            return f"{path} is no item any more: {refused.detail or refused.reason}"
        tree = Path(original(root))
        return f"{path} is gone" if _is_gone(tree / original(path)) and not _is_gone(tree) else ""

    # Judging

    async def judge(self, item: Item) -> Decision:
        """Decide about an item as it lies there now, and keep the decision."""
        await self._grants.look_up(item.name)
        return await self._turn.ask(partial(self._gate.evaluate, item, now=self._ctx.clock.time()))

    async def plan(self, make: Callable[..., Plan], judged: Sequence[Judged], world: World, destination: Path) -> Plan:
        """Have a plan made, deciding about all code as it would stand beside all other; keep nothing of that."""
        await self._grants.look_up_new([*world.registered, *(one.item.name for one in judged)])
        decide = partial(self._gate.decide, now=self._ctx.clock.time())
        beside = Neighbours(destination, world.registered, judged, decide, self._reach).concerns
        return await self._turn.ask(partial(make, beside=beside))

    async def review(self, item: Item, says: Literal["accept", "reject"], *, person: str, reason: str) -> Decision:
        """Keep a person's word on an item as it is, and decide anew."""
        now = self._ctx.clock.time()
        noted: Callable[[], Review] = partial(
            self._gate.review, item.digest, says, person=person, reason=reason, now=now
        )
        await self._turn.ask(noted)
        return await self.judge(item)

    async def assess(self, changed: Mapping[str, AbstractSet[str]] | None = None) -> Assessment:
        """Decide about every item that is new, has changed, or falls under other rules; set aside what must be.

        Args:
            changed: Paths by root that alone may have changed since the last time; ``None`` if anything may. Items
                that hang on what has changed beside them are looked at when anything may have.
        """
        folders = await self._ctx.run_sync(self._places.incoming)
        self._forget_verdicts(changed)
        blocked: list[Decision] = []
        judged = drifted = 0
        quarantined: list[str] = []
        held: dict[str, str] = {}
        await self._turn.ask(self._gate.look_at_keys)
        of = self._stock.items if changed is None else partial(_touched, self._stock, changed)
        each = self._each(of, lambda item: item.kind in _ACTING or folders.holds(item.root, item.path))
        async for item, latest in each:
            decision = latest
            if decision is None:
                decision = await self.judge(item)
                judged += 1
                drifted += any(ground.code in ("risk_moved", "capabilities_grew") for ground in decision.rationale)
            self._verdicts[item.root, item.path] = decision.verdict
            if decision.verdict == "quarantined":
                if why_not := await self._set_aside(item, decision):
                    held[item.path] = why_not
                else:
                    quarantined.append(item.path)
            if decision.verdict in ("blocked", "quarantined"):
                blocked.append(decision)
        if changed is None:
            await self._forget_gone()
        blocked.sort(key=lambda decision: (-decision.risk, decision.path))
        return Assessment(self.verdicts, tuple(blocked[:MOST_TOLD]), judged, drifted, tuple(quarantined), held)

    def _forget_verdicts(self, changed: Mapping[str, AbstractSet[str]] | None) -> None:
        if changed is None:
            self._verdicts.clear()
            return
        for root, path in list(self._verdicts):
            if not changed.get(root, frozenset()).isdisjoint({"", path, *map(str, PurePosixPath(path).parents)}):
                del self._verdicts[root, path]

    async def _forget_gone(self) -> None:
        """Let go of the decisions on items that are gone."""
        for root in self._places.roots():
            await self._ctx.run_sync(self._forget_gone_of, root)

    def _forget_gone_of(self, root: str) -> None:
        for decision in self._gate.safety.all(root, limit=MOST_DECISIONS):
            if not self._stock.holds(root, decision.path):
                self._gate.safety.forget(root, decision.path)

    async def _set_aside(self, item: Item, decision: Decision) -> str:
        """Put an item into quarantine, and return why not, ``""`` if it is there."""
        if await self._ctx.run_sync(self._gate.was_released, item):
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
            done = await self._ctx.run_sync(partial(self._gate.set_aside, item, decision, by=by, reason=reason))
            permit.outcome("done", facts={"quarantine": done.id})
        return done


def names_of(item: Item) -> tuple[str, str, str]:
    """Return what an item may be called: its path, its name, and the name of its file or folder."""
    return item.path, item.name, PurePosixPath(item.path).name


def _is_gone(place: Path) -> bool:
    """Whether there is nothing; not where nobody may look."""
    try:
        place.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _touched(stock: Stock, changed: Mapping[str, AbstractSet[str]], root: str) -> Iterator[Item]:
    return stock.touched(root, changed.get(root, frozenset()))
