"""The integrator: carries a plan out step by step, all or nothing, and takes what it did back by its token."""

import logging
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread
import msgspec
from msgspec import Struct

from aetherra.plugins import AetherraError, NotPermittedError
from aetherra.plugins.self_incorporation.integration.alone import Alone
from aetherra.plugins.self_incorporation.integration.blobs import Blobs, telling
from aetherra.plugins.self_incorporation.integration.catalogue import AgentEntry
from aetherra.plugins.self_incorporation.integration.describe import Description, describe
from aetherra.plugins.self_incorporation.integration.errors import (
    IntegrationError,
    PlaceChangedError,
    RollbackRefusedError,
    UnknownTokenError,
)
from aetherra.plugins.self_incorporation.integration.hands import Hands, Leave
from aetherra.plugins.self_incorporation.integration.intents import (
    Begun,
    Committed,
    GoingBack,
    History,
    Journal,
    Record,
    Sent,
    TakenBack,
    Undone,
    take_in,
)
from aetherra.plugins.self_incorporation.integration.plan import Plan, digest_of
from aetherra.plugins.self_incorporation.integration.preparation import (
    INCORPORATED,
    REGISTRATIONS,
    PreparedStep,
    prepare,
)
from aetherra.plugins.self_incorporation.integration.registrations import (
    Registration,
    Unreadable,
    file_name,
    read_registrations,
)
from aetherra.plugins.self_incorporation.integration.tree import Change, File, Tree
from aetherra.plugins.self_incorporation.integration.utilities import prove_import
from aetherra.plugins.self_incorporation.integration.world import Present, World, installed

__all__ = ["BroughtUp", "CoreIntegrator", "Integrated", "Recovery", "RolledBack"]

T = TypeVar("T")
KEPT = 100
"""Integrations that are remembered with all contents, the latest ones; those that are not finished always are."""


class Integrated(Struct, frozen=True):
    """A plan was carried out.

    Attributes:
        token: What it is rolled back by.
        plan: The plan's digest.
        names: What its steps are registered as.
        notes: How each went, for people.
    """

    token: str
    plan: str
    names: tuple[str, ...]
    notes: tuple[str, ...]


class RolledBack(Struct, frozen=True):
    """An integration was rolled back.

    Attributes:
        token: Which.
        names: What its steps were registered as.
        left: What could not be undone; empty if all is as it was.
    """

    token: str
    names: tuple[str, ...]
    left: tuple[str, ...]


class Recovery(Struct, frozen=True):
    """What was found at the start.

    Attributes:
        rolled_back: Tokens of integrations that had not come to their end, and are undone.
        problems: Why one could not be undone: nothing is integrated, nor brought up, before somebody has seen to it.
        unreadable_lines: Lines of the journal that are no record; one is what a crash leaves.
    """

    rolled_back: tuple[str, ...]
    problems: tuple[str, ...]
    unreadable_lines: int


class BroughtUp(Struct, frozen=True):
    """Whether a registered plugin serves; ``problem`` says why not, empty if it does."""

    name: str
    problem: str


class CoreIntegrator:
    """Looks after all that was integrated: files, registrations, and what of it serves. One thing at a time.

    Call ``recover`` before anything else, and ``bring_up`` once plugins can be added.

    Args:
        hands: What is done to the host.
        folder: Where state is kept: the journal, contents, registrations.
        now: Unix time.
        log: Told what a person should know of.
        destination: Where files are copied to; default is in ``folder``.
        kept: Integrations that can be rolled back, the latest ones.
    """

    def __init__(
        self,
        hands: Hands,
        folder: Path,
        *,
        now: Callable[[], float],
        log: logging.Logger | logging.LoggerAdapter[logging.Logger],
        destination: Path | None = None,
        kept: int = KEPT,
    ) -> None:
        self.folder = folder
        self.destination = (destination or folder / INCORPORATED).absolute()
        self._hands = hands
        self._now = now
        self._log = log
        self._kept = kept
        places = {INCORPORATED: self.destination, REGISTRATIONS: folder.absolute() / REGISTRATIONS}
        self._tree = Tree(places, Blobs(folder / "blobs"))
        self._journal = Journal(folder / "integrations.jsonl")
        self._histories: dict[str, History] = {}
        self._registered: dict[str, Registration] = {}
        self._unreadable: tuple[Unreadable, ...] = ()
        self._problems: tuple[str, ...] = ()
        self._alone = Alone(folder)
        self._seen: object = None

    # What there is

    @property
    def registered(self) -> Mapping[str, Registration]:
        """What was integrated, by name."""
        return dict(self._registered)

    @property
    def unreadable(self) -> tuple[Unreadable, ...]:
        """Registrations that cannot be read."""
        return self._unreadable

    @property
    def problems(self) -> tuple[str, ...]:
        """Why nothing can be integrated; empty if it can."""
        return self._problems

    def integrations(self) -> tuple[History, ...]:
        """Return the integrations that are remembered, the latest last."""
        return tuple(self._histories.values())

    async def world(self) -> World:
        """Return what plans are made for: the host's plugins, what was integrated, what is installed."""
        found = await anyio.to_thread.run_sync(installed)
        async with self._held():
            return World(plugins=await self._hands.plugins(), registered=self.registered, **found)

    async def describe(self, plan: Plan) -> Description:
        """Return exactly what carrying a plan out would do; nothing is done.

        Raises:
            ItemChangedError: A file is not what was judged.
            IntegrationError: A step cannot be done.
        """
        async with self._held():
            _refuse_empty(plan)
            prepared = await self._prepared(plan, "0" * 16, keep=False)
            users = {step.name: self._users(step.name) for step in plan.steps}
            return describe(plan, prepared, self._tree, users)

    # At the start

    async def recover(self) -> Recovery:
        """Roll back what had not come to its end when the last host did, and forget the oldest integrations.

        A second call does it all again, as after somebody has mended what stood in the way.

        Raises:
            DataFileError: The state cannot be read or written.
        """
        await self._in_thread(self._lay_out)
        async with self._alone.held():
            recovery = await self._in_thread(self._recover)
        for problem in (*recovery.problems, *(f"{one.path}: {one.problem}" for one in self._unreadable)):
            self._log.error("what was integrated is in disorder: %s", problem)
        if recovery.rolled_back:
            self._log.warning("unfinished integrations were rolled back: %s", ", ".join(recovery.rolled_back))
        return recovery

    def _lay_out(self) -> None:
        for folder in (self.folder, *self._tree.places.values()):
            with telling(folder, "made"):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _recover(self) -> Recovery:
        self._histories = self._journal.histories()
        rolled_back: list[str] = []
        problems: list[str] = []
        for history in reversed(tuple(self._histories.values())):
            if history.stage not in ("open", "going_back"):
                continue
            try:
                self._refuse_differing(history, "before", "after")
                left = self._tree.become(history.begun.changes, "before")
            except (PlaceChangedError, RollbackRefusedError) as exc:
                problems.append(f"integration {history.token!r} was not finished, and cannot be undone: {exc}")
                continue
            reason = history.reason or "the host ended in the middle of it"
            self._write(Undone(token=history.token, at=self._now(), reason=reason, left=left))
            rolled_back.append(history.token)
        unreadable = self._journal.unreadable
        if not problems:
            self._forget()
        self._read()
        self._problems = tuple(problems)
        return Recovery(tuple(rolled_back), self._problems, unreadable)

    def _forget(self) -> None:
        """Keep the latest integrations alone, and the contents that they need."""
        ended = [history.token for history in self._histories.values() if not history.sent or _is_committed(history)]
        forgotten = set(ended[: max(0, len(self._histories) - self._kept)])
        kept = {token: history for token, history in self._histories.items() if token not in forgotten}
        if forgotten or self._journal.unreadable:
            self._journal.keep_only(kept.values())
        self._histories = kept
        self._tree.blobs.keep_only(
            {
                state.sha256
                for history in kept.values()
                if history.stage != "undone"
                for change in history.begun.changes
                for state in (change.before, change.after)
                if isinstance(state, File)
            }
        )

    async def bring_up(self) -> tuple[BroughtUp, ...]:
        """Load the registered plugins, each after what it needs, and undo what actions are still to be undone.

        One that cannot be brought up, or whose files are not what was integrated, is told of and left out.
        """
        async with self._held():
            if self._problems:
                return tuple(
                    BroughtUp(name, "an unfinished integration is to be seen to first") for name in self._plugins()
                )
            found: list[BroughtUp] = []
            there = await self._hands.plugins()
            for name in self._plugins():
                problem = await self._brought_up(self._registered[name], there.get(name))
                if problem:
                    self._log.error("integrated plugin %r was not brought up: %s", name, problem)
                found.append(BroughtUp(name, problem))
            for history in self.integrations():
                if history.stage == "undone" and history.sent:
                    await self._take_actions_back(history.token)
            return tuple(found)

    async def _brought_up(self, registered: Registration, present: Present | None) -> str:
        path = self.destination / registered.path
        if present is not None and present.source == str(path):
            return ""  # an earlier generation of the plugin that looks after it has brought it up
        try:
            if problem := await self._in_thread(self._disorder, registered):
                return problem
            await self._hands.load(registered.name, path, registered.settings)
        except (AetherraError, ValueError) as exc:  # a path that leads out of its place
            return str(exc)
        return ""

    def _disorder(self, registered: Registration) -> str:
        """Return how a registration, or its files, are not what was integrated."""
        remedy = f"integrate it again, or roll {registered.token} back"
        history = self._histories.get(registered.token)
        name = file_name(registered.name)
        for change in history.begun.changes if history is not None else ():
            if (change.place, change.path) == (REGISTRATIONS, name) and change.after != self._tree.state(*_at(change)):
                return f"its registration was changed since it was integrated; {remedy}"
        if not {registered.path, f"{registered.path}/__init__.py"} & registered.files.keys():
            return f"its registration names {registered.path!r}, which is none of its files; {remedy}"
        for path, sha256 in registered.files.items():
            state = self._tree.state(INCORPORATED, path)
            if not isinstance(state, File) or state.sha256 != sha256:
                return f"{path!r} was changed since it was integrated; {remedy}"
        return ""

    def _plugins(self) -> list[str]:
        """Return the registered plugins, each after those it needs."""
        order: list[str] = []

        def take(name: str, above: tuple[str, ...]) -> None:
            registered = self._registered.get(name)
            if registered is None or name in order or name in above:
                return
            for need in (*registered.requires, *registered.uses):
                take(need, (*above, name))
            order.append(name)

        for name in sorted(self._registered):
            take(name, ())
        return [name for name in order if self._registered[name].action == "load_plugin"]

    async def strayed(self) -> dict[str, str]:
        """Return plugins that serve other code than what was integrated, with the integration to roll back.

        That is so once hot swap, or somebody, has brought earlier code back after an integration had come to its end;
        the next start would load what was integrated all the same.
        """
        found: dict[str, str] = {}
        async with self._held():
            for name in self._plugins():
                registered = self._registered[name]
                files = {self._tree.path(INCORPORATED, path): sha256 for path, sha256 in registered.files.items()}
                if self._hands.strayed(name, files):
                    found[name] = registered.token
        return found

    # Integrating

    async def integrate(self, plan: Plan, leave: Leave) -> Integrated:
        """Carry a plan out: all of it, or nothing.

        Whatever ends it on the way, an error, a stop or a cancellation, all is taken back before it returns; if the
        process dies, at the next ``recover``.

        Raises:
            ItemChangedError: A file is not what was judged. Nothing was changed.
            PlaceChangedError: Something stands in the way. Nothing was changed.
            IntegrationError: A step failed, and all was taken back, but for what it names.
            NotPermittedError: Somebody has said stop, and all was taken back.
            DataFileError: The state cannot be written. Nothing was changed.
        """
        async with self._held():
            self._refuse_disorder(plan.digest[:12])
            _refuse_empty(plan)
            token = secrets.token_hex(8)
            prepared = await self._prepared(plan, token, keep=True)
            await leave.check()
            begun = Begun(
                token=token,
                at=self._now(),
                plan=plan.digest,
                summary=plan.summary,
                names=tuple(step.name for step in plan.steps),
                changes=tuple(change for step in prepared for change in step.changes),
            )
            await self._in_thread(self._write, begun)
            notes: list[str] = []
            at = plan.steps[0].name
            try:
                for step in prepared:
                    at = step.step.name
                    await leave.check()
                    notes.append(f"{at}: {await self._carry_out(step, token, leave)}")
                await leave.check()
                await self._in_thread(self._commit, token)
            except BaseException as exc:
                left: tuple[str, ...] = ()
                why = (str(exc) or repr(exc)) if isinstance(exc, Exception) else "it was called off before its end"
                with anyio.CancelScope(shield=True):  # each of its steps is bounded
                    left = await self._take_back(token, prepared[: len(notes) + 1], why)
                if isinstance(exc, NotPermittedError) or not isinstance(exc, Exception):
                    raise
                raise IntegrationError(at, _problem(exc), left) from exc
            return Integrated(token, plan.digest, begun.names, tuple(notes))

    async def _prepared(self, plan: Plan, token: str, *, keep: bool) -> tuple[PreparedStep, ...]:
        registered = self.registered
        return await self._in_thread(lambda: prepare(plan, self._tree, token, registered, keep=keep))

    async def _carry_out(self, prepared: PreparedStep, token: str, leave: Leave) -> str:
        """Do one step, and return how it went."""
        step, hands = prepared.step, self._hands

        async def write() -> None:
            await self._in_thread(self._make, prepared.changes)

        match step.action:
            case "load_plugin":
                path = self.destination / step.main
                if _is_swap(prepared.before, prepared.after):
                    return await hands.replace(step.name, write, leave.check)
                if prepared.before is not None:
                    await hands.unload(step.name)
                await write()
                await hands.load(step.name, path, step.settings)
                await hands.prove(step.name, leave.check)
                return "was stopped, and brought up anew" if prepared.before is not None else "was brought up"
            case "import_utility" | "register_agent":
                await write()
                entry = prepared.after.entry
                classes = tuple(entry.classes) if isinstance(entry, AgentEntry) else ()
                await prove_import(self.destination, step.main.removesuffix(".py"), classes)
                users = self._users(step.name) if prepared.before is not None else ()
                for user in users:
                    await hands.replace(user, _nothing, leave.check)
                return "can be imported" + (f"; {', '.join(users)} took it" if users else "")
            case "execute_workflow":
                await write()
                return await self._do_actions(prepared, token, leave)
            case "index_dataset":
                await write()
                return "is in the catalogue"

    def _make(self, changes: Sequence[Change]) -> None:
        """Make changes, if nobody has changed the same places since they were looked at."""
        for change, now in self._tree.differing(changes, "before"):
            path = self._tree.path(change.place, change.path)
            raise PlaceChangedError(str(path), f"expected {_told(change.before)}, found {_told(now)}")
        self._tree.become(changes, "after")

    async def _do_actions(self, prepared: PreparedStep, token: str, leave: Leave) -> str:
        assert prepared.workflow is not None
        for number, action in enumerate(prepared.workflow.steps, 1):
            await leave.check()
            key = f"{token}.{prepared.step.number}.{number}"
            await self._in_thread(self._write, Sent(token=token, key=key, tag=action.tag, undo=action.undo))
            try:
                await self._hands.perform(action.tag, action.body, key)
            except AetherraError:
                await self._in_thread(self._write, TakenBack(token=token, key=key))  # it was not done
                raise
        done = len(prepared.workflow.steps)
        return f"{done} action{'s were' if done != 1 else ' was'} done"

    # Taking back

    async def _take_back(self, token: str, prepared: Sequence[PreparedStep], reason: str) -> tuple[str, ...]:
        """Undo the steps that were begun of an integration that is not to be; return what could not be undone."""
        turns = [(step.before, step.after) for step in prepared]
        try:
            left = await self._go_back(self._histories[token], turns)
            left += await self._finish(token, reason, left)
        except (AetherraError, OSError) as exc:
            self._problems = (f"integration {token!r} could not be undone: {exc}; it is tried again at the next start",)
            self._log.error("%s", self._problems[0])  # the text says it all
            return (str(exc),)
        return left

    async def trigger_rollback(self, token: str, leave: Leave, *, reason: str = "") -> RolledBack:
        """Put everything back to what it was before an integration: files, registrations, settings, what serves.

        Once it has begun it goes on to its end, cancelled or not, at the next start if the process dies.

        Raises:
            UnknownTokenError: There is no such integration, or it was forgotten.
            RollbackRefusedError: It was rolled back already, something needs it, or somebody has changed its files.
            NotPermittedError: It may not be done now. In all cases nothing was changed.
        """
        async with self._held():
            self._refuse_disorder(token)
            history = self._histories.get(token)
            if history is None:
                raise UnknownTokenError(token)
            if history.stage != "committed":
                raise RollbackRefusedError(token, f"it was rolled back already: {history.reason}")
            self._refuse_needed(history, await self._hands.plugins())
            await self._in_thread(self._refuse_later, history)
            turns = await self._in_thread(self._turns, history)
            await leave.check()
            left: tuple[str, ...] = ()
            with anyio.CancelScope(shield=True):  # each of its steps is bounded
                await self._in_thread(self._write, GoingBack(token=token, at=self._now(), reason=reason))
                try:
                    left = await self._go_back(history, turns)
                    left += await self._finish(token, reason, left)
                except (AetherraError, OSError) as exc:
                    self._problems = (f"integration {token!r} is rolled back in part: {exc}; restart the host",)
                    raise IntegrationError(token, f"it could not be rolled back: {exc}", self._problems) from exc
                finally:
                    await self._in_thread(self._read)
            await anyio.lowlevel.checkpoint_if_cancelled()
            return RolledBack(token, history.begun.names, left)

    def token_of(self, plugin: str) -> str:
        """Return the integration that a plugin's present code came with, ``""`` if it is none of ours."""
        registered = self._registered.get(plugin)
        return registered.token if registered is not None else ""

    async def _go_back(
        self, history: History, turns: Sequence[tuple[Registration | None, Registration | None]]
    ) -> tuple[str, ...]:
        """Have the earlier code serve, and put all files back; return what could not be brought up again."""
        left: list[str] = []
        blocked: tuple[str, ...] = ()

        async def write() -> None:
            nonlocal blocked
            blocked = await self._in_thread(self._put_back, history)

        for before, after in reversed(turns):
            try:
                await self._turn_back(before, after, write)
            except AetherraError as exc:
                left.append(f"{_name_of(before, after)} does not serve as before: {_problem(exc)}")
        await write()
        return (*left, *blocked)

    async def _turn_back(
        self, before: Registration | None, after: Registration | None, write: Callable[[], Awaitable[None]]
    ) -> None:
        hands = self._hands
        name = _name_of(before, after)
        if after is not None and after.action == "load_plugin" and not _is_swap(before, after):
            await hands.unload(name)
        if before is not None and before.action == "load_plugin":
            await hands.put_back(name, self.destination / before.path, write, before.settings)
        elif before is not None:
            await write()
            for user in self._users(name):
                used = self._registered[user]
                await hands.put_back(user, self.destination / used.path, _nothing, used.settings)

    def _put_back(self, history: History) -> tuple[str, ...]:
        """Put files back, but for what somebody else has put in their places meanwhile; return that."""
        changes = history.begun.changes
        foreign = {(change.place, change.path) for change, _ in self._tree.differing(changes, "before", "after")}
        ours = [change for change in changes if (change.place, change.path) not in foreign]
        told = (
            f"{self._tree.path(*place)} was changed by somebody, and is as they left it" for place in sorted(foreign)
        )
        return (*self._tree.become(ours, "before"), *told)

    async def _finish(self, token: str, reason: str, left: tuple[str, ...]) -> tuple[str, ...]:
        """Record that files and code are back, then undo actions; return what cannot be undone of those."""
        undone = Undone(token=token, at=self._now(), reason=reason, left=left)
        await self._in_thread(self._write, undone)
        return await self._take_actions_back(token)

    async def _take_actions_back(self, token: str) -> tuple[str, ...]:
        """Undo the actions of an integration, the last first; one whose undoing fails stays for the next start."""
        left: list[str] = []
        for sent in reversed(self._histories[token].sent):
            if sent.undo is None:
                left.append(f"action {sent.tag!r} has no way back")
            else:
                try:
                    await self._hands.perform(sent.undo.tag, sent.undo.body, f"{sent.key}.undo")
                except AetherraError as exc:
                    left.append(f"action {sent.tag!r} was not undone by {sent.undo.tag!r}: {exc}")
                    continue
            await self._in_thread(self._write, TakenBack(token=token, key=sent.key))
        for problem in left:
            self._log.warning("of integration %s, %s", token, problem)
        return tuple(left)

    def _turns(self, history: History) -> list[tuple[Registration | None, Registration | None]]:
        """Return what was registered before and after, in the order of its steps."""
        changed = [change for change in history.begun.changes if change.place == REGISTRATIONS]
        return [(self._registration(change.before), self._registration(change.after)) for change in changed]

    def _registration(self, state: Any) -> Registration | None:
        if not isinstance(state, File):
            return None
        return msgspec.json.decode(self._tree.blobs.read(state.sha256), type=Registration)

    # What is refused

    def _refuse_disorder(self, where: str) -> None:
        if self._problems:
            raise IntegrationError(where, f"nothing can be done before this is seen to: {'; '.join(self._problems)}")

    def _refuse_needed(self, history: History, plugins: Mapping[str, Present]) -> None:
        """Let nothing be taken out that something else needs."""
        gone = {change.path.removesuffix(".json") for change in history.begun.changes if change.place == REGISTRATIONS}
        gone = {name for name in gone if name in self._registered and self._is_new(history, name)}
        for other in self._registered.values():
            if needed := gone.intersection((*other.requires, *other.uses)) if other.name not in gone else ():
                problem = f"{other.name!r}, of integration {other.token!r}, needs {min(needed)!r}"
                raise RollbackRefusedError(history.token, f"{problem}; roll that back first")
        for plugin in plugins.values():
            if needed := gone.intersection(plugin.requires) if plugin.name not in gone else ():
                problem = f"plugin {plugin.name!r} needs {min(needed)!r}; remove that first"
                raise RollbackRefusedError(history.token, problem)

    def _is_new(self, history: History, name: str) -> bool:
        return any(
            change.place == REGISTRATIONS and change.path == f"{name}.json" and change.before is None
            for change in history.begun.changes
        )

    def _refuse_later(self, history: History) -> None:
        """Let nothing be overwritten that came later."""
        tokens = list(self._histories)
        touched = {(change.place, change.path) for change in history.begun.changes}
        for token in tokens[tokens.index(history.token) + 1 :]:
            later = self._histories[token]
            if later.stage == "committed" and touched.intersection(
                (change.place, change.path) for change in later.begun.changes
            ):
                problem = (
                    f"integration {token!r} has changed the same since ({later.begun.summary}); roll that back first"
                )
                raise RollbackRefusedError(history.token, problem)
        self._refuse_differing(history, "after")

    def _refuse_differing(self, history: History, *sides: Any) -> None:
        try:
            differing = self._tree.differing(history.begun.changes, *sides)
        except PlaceChangedError as exc:
            raise RollbackRefusedError(history.token, str(exc)) from exc
        for change, now in differing:
            path = self._tree.path(change.place, change.path)
            wanted = " or ".join(_told(getattr(change, side)) for side in sides)
            problem = (
                f"{str(path)!r} was changed by somebody: expected {wanted}, found {_told(now)}; put that back first"
            )
            raise RollbackRefusedError(history.token, problem)

    # Its own

    def _users(self, name: str) -> tuple[str, ...]:
        """Return the registered plugins that import what is registered under a name."""
        return tuple(
            other.name
            for other in self._registered.values()
            if other.action == "load_plugin" and name in other.uses and other.name != name
        )

    def _write(self, record: Record) -> None:
        """Have a record on disk, and know it."""
        self._journal.append(record)
        histories = dict(self._histories)  # others may be reading the old one
        take_in(histories, record)
        self._histories = histories
        self._seen = self._journal.signature()

    @asynccontextmanager
    async def _held(self) -> AsyncGenerator[None]:
        """Be alone with the state, and know it, whoever has changed it since it was last looked at."""
        async with self._alone.held():
            if self._journal.signature() != self._seen:
                await self._in_thread(self._look_again)
            yield

    def _look_again(self) -> None:
        self._histories = self._journal.histories()
        self._read()

    def _commit(self, token: str) -> None:
        self._write(Committed(token=token, at=self._now()))
        self._read()

    def _read(self) -> None:
        self._seen = self._journal.signature()
        self._registered, self._unreadable = read_registrations(self._tree.places[REGISTRATIONS])

    async def _in_thread(self, function: Callable[..., T], *args: Any) -> T:
        """Run what waits for the disk in a worker thread; a cancelled caller waits for its end."""
        return await anyio.to_thread.run_sync(function, *args)


def _refuse_empty(plan: Plan) -> None:
    if not plan.steps:
        raise IntegrationError("plan", "it has no step: nothing is to be done")
    if plan.digest != digest_of(plan.steps):
        raise IntegrationError("plan", "its digest is not that of its steps; plan again")


def _is_committed(history: History) -> bool:
    return history.stage == "committed"


def _is_swap(before: Registration | None, after: Registration | None) -> bool:
    """Whether a plugin's code changes in its place, with the same settings, so that it can be swapped."""
    if before is None or after is None or before.action != "load_plugin" or after.action != "load_plugin":
        return False
    return before.path == after.path and before.settings == after.settings


def _name_of(before: Registration | None, after: Registration | None) -> str:
    registered = before or after
    assert registered is not None  # one of them is there
    return registered.name


async def _nothing() -> None:
    """Write nothing: the files are in their places."""


def _problem(exc: Exception) -> str:
    return exc.problem if isinstance(exc, IntegrationError) else str(exc) or repr(exc)


def _at(change: Change) -> tuple[str, str]:
    return change.place, change.path


def _told(state: object) -> str:
    match state:
        case None:
            return "nothing"
        case File(sha256, size, mode):
            return f"{size} bytes with SHA-256 {sha256[:12]}... and mode {mode:o}"
        case _:
            return "a folder"
