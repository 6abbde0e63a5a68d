"""The planner: makes a plan of the items that may come in, each after what it needs, and the least risky first."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import msgspec
from msgspec import Struct

from aetherra.plugins.self_incorporation.code.classifier import FileKind
from aetherra.plugins.self_incorporation.code.project import is_project
from aetherra.plugins.self_incorporation.gate.decision import Decision
from aetherra.plugins.self_incorporation.gate.item import Item
from aetherra.plugins.self_incorporation.integration.conflicts import Offer, among, lacking, with_world
from aetherra.plugins.self_incorporation.integration.datasets import format_of
from aetherra.plugins.self_incorporation.integration.order import in_order
from aetherra.plugins.self_incorporation.integration.plan import (
    Action,
    Concern,
    Conflict,
    LeftOut,
    LeftOutCode,
    Plan,
    PlannedFile,
    Step,
    digest_of,
)
from aetherra.plugins.self_incorporation.integration.registrations import Registration, standing_of
from aetherra.plugins.self_incorporation.integration.world import World

__all__ = ["IntegrationPlanner", "Judged", "risk_of"]

ACTIONS: Mapping[FileKind, Action] = {
    FileKind.PLUGIN: "load_plugin",
    FileKind.AGENT: "register_agent",
    FileKind.UTILITY: "import_utility",
    FileKind.WORKFLOW: "execute_workflow",
    FileKind.AETHER: "execute_workflow",
    FileKind.DATASET: "index_dataset",
}
WORKFLOW_SUFFIXES = (".json", ".aether")
NOT_SHIPPED = frozenset(
    {"benchmarks", "conf", "conftest", "docs", "examples", "noxfile", "scripts", "setup", "test", "tests", "tools"}
)
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")


class Judged(Struct, frozen=True):
    """An item, and what the gate decided about it."""

    item: Item
    decision: Decision


def risk_of(item: Item) -> float:
    """Return what orders steps that do not need each other, unless better was learnt: the least risky come first."""
    return item.risk


class IntegrationPlanner:
    """Makes plans; it changes nothing and asks nobody.

    Args:
        weigh: Of items that could come next, the one with the least of this does.
    """

    def __init__(self, weigh: Callable[[Item], float] = risk_of) -> None:
        self._weigh = weigh

    def plan(
        self,
        judged: Sequence[Judged],
        world: World,
        *,
        at: float,
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        named: bool = False,
        beside: Callable[[Plan], Sequence[Concern]] = lambda _: (),
    ) -> Plan:
        """Return a plan of all that may come in; whatever does not is left out with the reason.

        Args:
            judged: Items and decisions. One that needs approval is in the plan, which says so.
            world: What is there.
            at: Unix time now.
            settings: What plugins are to be loaded with, by name, in place of the configuration's; one that is not
                named keeps what it came in with.
            named: Whether somebody has named the items. Then what is registered as it is, and was altered where it
                stands, is written anew; and what a project has beside what it ships comes in, as its tests.
            beside: What is against the items of a plan once they stand with each other and with what is there.
        """
        concerns: tuple[Concern, ...] = ()
        while True:
            plan = self._plan(judged, world, at, settings or {}, concerns, named=named)
            more = [concern for concern in beside(plan) if concern not in concerns]
            if not more:
                return plan
            concerns = (*concerns, *more)  # what is left out changes what stands beside the others

    def _plan(
        self,
        judged: Sequence[Judged],
        world: World,
        at: float,
        settings: Mapping[str, Mapping[str, Any]],
        concerns: Sequence[Concern],
        *,
        named: bool,
    ) -> Plan:
        draft = _Draft(world, concerns, settings, named=named)
        for one in sorted(judged, key=lambda one: (one.item.root, one.item.path)):
            draft.offer(one)
        draft.confront()
        order = draft.in_order(self._weigh)
        numbers = {offer.name: number for number, offer in enumerate(order, 1)}
        steps = tuple(
            _step(offer, draft.approval(offer), draft.edges(offer), numbers, world, draft.settings(offer))
            for offer in order
        )
        return Plan(
            steps=steps,
            left_out=tuple(draft.left_out),
            conflicts=tuple(draft.conflicts),
            digest=digest_of(steps),
            made_at=at,
            standing=standing_of(world.registered),
        )


class _Draft:
    """A plan while it is made: the offers that are still in, and those that are out."""

    def __init__(
        self,
        world: World,
        concerns: Sequence[Concern],
        settings: Mapping[str, Mapping[str, Any]],
        *,
        named: bool,
    ) -> None:
        self.left_out: list[LeftOut] = []
        self.conflicts: list[Conflict] = []
        self._world = world
        self._settings = settings
        self._named = named
        self._offers: list[Offer] = []
        self._decisions: dict[tuple[str, str], Decision] = {}
        self._concerns: defaultdict[tuple[str, str], list[Concern]] = defaultdict(list)
        for concern in concerns:
            self._concerns[concern.root, concern.path].append(concern)
        self._by_name: dict[str, Offer] = {}
        self._by_module: dict[str, Offer] = {}

    def _decision(self, offer: Offer) -> Decision:
        return self._decisions[offer.item.root, offer.item.path]

    def approval(self, offer: Offer) -> str:
        """Return why a person has to agree to an offer, empty if nobody has to."""
        concerns = self._concerns[offer.item.root, offer.item.path]
        before = self._world.registered.get(offer.name)
        replacing = _changes(offer, before) if before is not None else ()
        unknown = (
            f"{path!r} leaves {' and '.join(needs)} to its build, so nobody knows what it needs"
            for path, needs in offer.item.left_open.items()
        )
        grounds = _grounds(self._decision(offer))
        return "; ".join([*grounds, *unknown, *(concern.text for concern in concerns), *replacing])

    def settings(self, offer: Offer) -> Mapping[str, Any]:
        """Return what an offer is to be loaded with; empty for what the configuration says."""
        if offer.action != "load_plugin":
            return {}
        before = self._world.registered.get(offer.name)
        return self._settings.get(offer.name, before.settings if before is not None else {})

    def offer(self, one: Judged) -> None:
        """Take an item in, unless it cannot be used at all."""
        item, decision = one.item, one.decision
        refusal = _refusal(item, decision)
        if refusal is not None:
            self._leave_out(item, item.name, *refusal)
            return
        if not self._named and item.project is not None and _is_beside(item, item.project.path):
            text = f"it lies beside what the project of {item.project.path!r} ships; name it if it is to come in"
            self._leave_out(item, item.name, "not_shipped", text)
            return
        offer = Offer(item, ACTIONS[item.kind], _registered_name(item))
        before = self._world.registered.get(offer.name)
        if not NAME.fullmatch(offer.name):
            problem = f"{offer.name!r} cannot be registered; expected up to 200 letters, digits, '_', '-' and '.'"
            self._leave_out(item, offer.name, "unusable", problem)
        elif blocking := [one for one in self._concerns[item.root, item.path] if one.blocks]:
            self._leave_out(item, offer.name, blocking[0].code, "; ".join(one.text for one in blocking))
        elif before is not None and self._is_as_before(offer, before):
            altered = self._world.altered.get(offer.name)
            if altered and self._named:
                self._take(offer, decision)
            elif altered:
                self._leave_out(item, offer.name, "altered", f"it is registered as it is, by {before.token}: {altered}")
            else:
                self._leave_out(item, offer.name, "unchanged", f"it is registered as it is, by {before.token}")
        else:
            self._take(offer, decision)

    def _is_as_before(self, offer: Offer, before: Registration) -> bool:
        same = before.digest == offer.item.digest and before.action == offer.action
        return same and before.settings == self.settings(offer)

    def _take(self, offer: Offer, decision: Decision) -> None:
        self._decisions[offer.item.root, offer.item.path] = decision
        self._offers.append(offer)

    def confront(self) -> None:
        """Leave out what collides with something or lacks something, and whatever needs that."""
        self._clash((offer, conflict) for offer in self._offers for conflict in with_world(offer, self._world))
        self._clash(among(self._offers))
        while True:
            names = {offer.name for offer in self._offers if offer.action == "load_plugin"}
            found = [
                (offer, conflict)
                for offer in self._offers
                for conflict in lacking(offer, self._decision(offer).missing_grants, names, self._world)
            ]
            if not found:
                break
            self._clash(found)
        self._by_name = {offer.name: offer for offer in self._offers}
        self._by_module = {offer.module: offer for offer in self._offers if offer.module}

    def _clash(self, conflicts: Iterable[tuple[Offer, Conflict]]) -> None:
        found: dict[int, tuple[Offer, list[Conflict]]] = {}
        for offer, conflict in conflicts:
            found.setdefault(id(offer), (offer, []))[1].append(conflict)
        for offer, against in found.values():
            self.conflicts.extend(against)
            self._leave_out(offer.item, offer.name, "conflict", "; ".join(conflict.text for conflict in against))
        self._offers = [offer for offer in self._offers if id(offer) not in found]

    def edges(self, offer: Offer) -> tuple[Offer, ...]:
        """Return the offers that one needs: plugins it requires, and modules it imports."""
        needed = [self._by_name.get(name) for name in offer.needs]
        needed += [self._by_module.get(module.partition(".")[0]) for module in offer.item.imports]
        return tuple({id(other): other for other in needed if other is not None and other is not offer}.values())

    def in_order(self, weigh: Callable[[Item], float]) -> list[Offer]:
        """Return the offers, each after those it needs; those that need each other in a circle are left out."""
        numbers = {id(offer): number for number, offer in enumerate(self._offers)}
        needs = [{numbers.get(id(other), -1) for other in self.edges(offer)} for offer in self._offers]
        turns, circled = in_order(needs, [weigh(offer.item) for offer in self._offers])
        for offer in [self._offers[number] for number in circled]:
            around = ", ".join(sorted(other.item.path for other in self.edges(offer)))
            self._leave_out(offer.item, offer.name, "circle", f"it needs {around}, and is in, or after, a circle")
        self._offers = [self._offers[number] for number in turns]
        return self._offers

    def _leave_out(self, item: Item, name: str, code: LeftOutCode, text: str) -> None:
        self.left_out.append(LeftOut(item.path, name, code, text))


def _refusal(item: Item, decision: Decision) -> tuple[LeftOutCode, str] | None:
    """Return why an item is in no plan, whatever else there is."""
    if decision.verdict not in ("approved", "needs_approval"):
        against = [ground.text for ground in decision.rationale if ground.against]
        more = f", and on {len(against) - 1} more grounds" if len(against) > 1 else ""
        return "not_approved", f"it is {decision.verdict}{f': {against[0]}{more}' if against else ''}"
    if decision.digest != item.digest:
        return "judged_otherwise", "it was judged with other bytes; judge it again"
    if item.kind not in ACTIONS:
        return "wrong_kind", f"there is nothing to be done with {item.kind}"
    suffix = PurePosixPath(item.path).suffix.lower()
    if is_project(item.path):
        return "wrong_kind", "it is the metadata of a project, and comes in with the packages of that"
    if item.kind in (FileKind.PLUGIN, FileKind.AGENT, FileKind.UTILITY) and not item.main.endswith(".py"):
        return "unusable", "it is no Python file or package"
    if ACTIONS[item.kind] == "execute_workflow" and suffix not in WORKFLOW_SUFFIXES:
        return "wrong_kind", f"it is no list of actions in a {' or '.join(WORKFLOW_SUFFIXES)} file, as workflows are"
    if item.kind is FileKind.DATASET and format_of(item.path) is None:
        return "unusable", f"data in {suffix or 'such'} files is not indexed"
    if item.unloadable:
        return "unusable", item.unloadable
    if item.path == ".":
        return "unusable", "it is the whole of a tree; its folder has to lie in one"
    if not item.files:
        return "unusable", "it has no files"
    return None


def _is_beside(item: Item, project: str) -> bool:
    """Whether a utility is no part of what its project ships, by where it lies and what it is called."""
    inner = PurePosixPath(item.path).relative_to(PurePosixPath(project).parent)
    known = inner.stem in NOT_SHIPPED or inner.stem.startswith("test_")
    return item.kind is FileKind.UTILITY and (known or str(inner.parent) not in (".", "src"))


def _registered_name(item: Item) -> str:
    if item.kind is FileKind.PLUGIN:
        return item.name
    name = PurePosixPath(item.path).name
    return name.removesuffix(".py") if item.kind in (FileKind.AGENT, FileKind.UTILITY) else name


def _step(
    offer: Offer,
    needs_approval: str,
    needs: Sequence[Offer],
    numbers: Mapping[str, int],
    world: World,
    settings: Mapping[str, Any],
) -> Step:
    item, before = offer.item, world.registered.get(offer.name)
    imported = {module.partition(".")[0] for module in item.imports}
    used = {name for name, old in world.registered.items() if old.module in imported}
    used |= {other.name for other in needs if other.module in imported}
    return Step(
        number=numbers[offer.name],
        action=offer.action,
        name=offer.name,
        kind=item.kind,
        root=item.root,
        path=item.path,
        digest=item.digest,
        version=item.version,
        risk=item.risk,
        main=PurePosixPath(item.path).name if offer.is_code else item.path,
        files=tuple(_planned_files(offer)),
        after=tuple(sorted(numbers[other.name] for other in needs)),
        replaces=before.digest if before is not None else "",
        service=item.service,
        tags=item.handles,
        requires=offer.needs,
        uses=tuple(sorted(used - {offer.name})),
        settings=msgspec.to_builtins(settings),
        needs_approval=needs_approval,
    )


def _planned_files(offer: Offer) -> Iterator[PlannedFile]:
    item = offer.item
    for file in item.files:
        yield PlannedFile(file.path, _target(item, file.path) if offer.is_code else "", file.sha256, file.size)
    if (project := item.project) is not None:  # a module by itself has no folder that it could stand in
        folder = PurePosixPath(item.path).name if item.main != item.path else ""
        target = f"{folder}/{PurePosixPath(project.path).name}" if folder else ""
        yield PlannedFile(project.path, target, project.sha256, project.size)


def _target(item: Item, path: str) -> str:
    """Return where a file goes: the item's own file or folder stands at the top of the destination."""
    above = str(PurePosixPath(item.path).parent)
    return path if above == "." else path.removeprefix(f"{above}/")


def _grounds(decision: Decision) -> tuple[str, ...]:
    """Return why a person has to agree to an item by itself."""
    if decision.verdict != "needs_approval":
        return ()
    against = tuple(ground.text for ground in decision.rationale if ground.against)
    return against or ("the policy wants a person to agree",)


def _changes(offer: Offer, before: Registration) -> Iterator[str]:
    """Yield what a person has to agree to where something else comes in under a name."""
    origin = f"{offer.item.root}/{offer.item.path}"
    if before.origin != origin:
        yield f"it would replace {offer.name!r}, which came from {before.origin}"
    if gone := sorted({*before.tags} - {*offer.item.handles}):
        yield f"it would answer {', '.join(map(repr, gone))} no more"
