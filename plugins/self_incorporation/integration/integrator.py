"""The integrator: carries a plan out step by step, all or nothing, and takes what it did back by its token."""

import logging
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread

from aetherra.plugins import AetherraError, NotPermittedError
from aetherra.plugins.self_incorporation.index.paths import original
from aetherra.plugins.self_incorporation.integration.alone import Alone
from aetherra.plugins.self_incorporation.integration.archive import Archive, told
from aetherra.plugins.self_incorporation.integration.catalogue import AgentEntry
from aetherra.plugins.self_incorporation.integration.describe import Description, describe
from aetherra.plugins.self_incorporation.integration.errors import (
    ActionRefusedError,
    BusyError,
    IntegrationError,
    PlaceChangedError,
    RollbackRefusedError,
    StepFailedError,
    UnknownTokenError,
)
from aetherra.plugins.self_incorporation.integration.given import masked
from aetherra.plugins.self_incorporation.integration.hands import Hands, Leave
from aetherra.plugins.self_incorporation.integration.intents import (
    Begun,
    GoingBack,
    History,
    Sent,
    TakenBack,
    Undone,
)
from aetherra.plugins.self_incorporation.integration.outcomes import BroughtUp, Integrated, Recovery, RolledBack
from aetherra.plugins.self_incorporation.integration.plan import Plan, digest_of
from aetherra.plugins.self_incorporation.integration.preparation import (
    INCORPORATED,
    PreparedStep,
    prepare,
)
from aetherra.plugins.self_incorporation.integration.registrations import (
    Registration,
    Unreadable,
    standing_of,
)
from aetherra.plugins.self_incorporation.integration.tree import Change
from aetherra.plugins.self_incorporation.integration.utilities import prove_import
from aetherra.plugins.self_incorporation.integration.world import Present, World, installed

__all__ = ["BroughtUp", "CoreIntegrator", "Integrated", "Recovery", "RolledBack"]

T = TypeVar("T")
KEPT = 100
"""Integrations that are remembered with all contents, the latest ones; those that are not finished always are."""


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
        self._alone = Alone(folder)
        self._archive = Archive(folder, self.destination, now=now, kept=kept)

    # What there is

    @property
    def registered(self) -> Mapping[str, Registration]:
        """What was integrated, by name."""
        return dict(self._archive.registered)

    @property
    def unreadable(self) -> tuple[Unreadable, ...]:
        """Registrations that cannot be read."""
        return self._archive.unreadable

    @property
    def problems(self) -> tuple[str, ...]:
        """What could not be undone, or is lost: with what it touches nothing is done before somebody has seen to it."""
        return (*self._archive.stuck.values(), *filter(None, [self._archive.lost]))

    def refuse_unknown(self, names: Iterable[str]) -> None:
        """Raise why nothing may come in under some names, as far as it is known: of no use is a person's word then.

        Raises:
            IntegrationError: It is not known how what is registered came in, or what is registered under one.
        """
        self._archive.refuse_unknown(names)

    def integrations(self) -> tuple[History, ...]:
        """Return the integrations that are remembered, the latest last."""
        return tuple(self._archive.histories.values())

    async def world(self) -> World:
        """Return what plans are made for: the host's plugins, what was integrated, what is installed.

        In the middle of an integration that is what was there before it.
        """
        found = await anyio.to_thread.run_sync(installed)
        await self._look_again()
        altered = await self._in_thread(self._archive.altered)
        return World(plugins=await self._hands.plugins(), registered=self.registered, altered=altered, **found)

    async def describe(self, plan: Plan) -> Description:
        """Return exactly what carrying a plan out would do; nothing is done.

        In the middle of an integration that may be overtaken by it; carrying the plan out is refused then.

        Raises:
            ItemChangedError: A file is not what was judged.
            IntegrationError: A step cannot be done.
        """
        await self._look_again()
        _refuse_empty(plan)
        self._archive.refuse_unknown(step.name for step in plan.steps)
        prepared = await self._prepared(plan, "0" * 16, keep=False)
        users = {step.name: self._archive.users(step.name) for step in plan.steps}
        return describe(plan, prepared, self._archive.tree, users)

    # At the start

    async def recover(self) -> Recovery:
        """Roll back what had not come to its end when the last host did, and forget the oldest integrations.

        A second call does it all again, as after somebody has mended what stood in the way.

        One that cannot be undone is told of, and harms no other.

        Raises:
            BusyError: Another generation is in the middle of something.
            DataFileError: The journal, or what is registered, cannot be read or written.
        """
        await self._in_thread(self._archive.lay_out)
        async with self._alone.held():
            recovery = await self._in_thread(self._archive.recover)
        for problem in (*recovery.problems, *(f"{one.path}: {one.problem}" for one in self._archive.unreadable)):
            self._log.error("what was integrated is in disorder: %s", problem)
        if recovery.unreadable_lines:
            told = "%d lines of the journal of integrations could not be read; after a crash one is to be expected"
            self._log.warning(told, recovery.unreadable_lines)
        if recovery.rolled_back:
            self._log.warning("unfinished integrations were rolled back: %s", ", ".join(recovery.rolled_back))
        return recovery

    async def bring_up(self) -> tuple[BroughtUp, ...]:
        """Load the registered plugins, each after what it needs, and undo what actions are still to be undone.

        One that cannot be brought up, or whose files are not what was integrated, is told of and left out.
        """
        async with self._held():
            found = await self._bring_up()
            for history in self.integrations():
                if history.stage == "undone" and history.sent:
                    await self._take_actions_back(history.token)
            return found

    async def _bring_up(self) -> tuple[BroughtUp, ...]:
        found: list[BroughtUp] = []
        there, held_up = await self._hands.plugins(), self._archive.held_up()
        for name in self._archive.plugins():
            problem = held_up.get(name) or await self._brought_up(self._archive.registered[name], there.get(name))
            if problem:
                self._log.error("integrated plugin %r was not brought up: %s", name, problem)
            found.append(BroughtUp(name, problem))
        return tuple(found)

    async def _brought_up(self, registered: Registration, present: Present | None) -> str:
        path = self.destination / registered.path
        if present is not None and present.source == str(path):
            return ""  # an earlier generation of the plugin that looks after it has brought it up
        try:
            if problem := await self._in_thread(self._archive.disorder, registered):
                return problem
            await self._hands.load(registered.name, path, registered.settings)
        except (AetherraError, ValueError) as exc:  # a path that leads out of its place
            return masked(str(exc), registered.settings)
        return ""

    async def strayed(self) -> dict[str, str]:
        """Return plugins that serve other code than what was integrated, with the integration to roll back.

        That is so once hot swap, or somebody, has brought earlier code back after an integration had come to its end;
        the next start would load what was integrated all the same. In the middle of an integration nobody can tell, so
        there is none then.
        """
        found: dict[str, str] = {}
        try:
            async with self._held(wait=False):
                for name in self._archive.plugins():
                    registered = self._archive.registered[name]
                    files = {self.destination / original(path): sha256 for path, sha256 in registered.files.items()}
                    if self._hands.strayed(name, files):
                        found[name] = registered.token
        except BusyError:
            return {}
        return found

    # Integrating

    async def integrate(self, plan: Plan, leave: Leave) -> Integrated:
        """Carry a plan out: all of it, or nothing.

        Whatever ends it on the way, an error, a stop or a cancellation, all is taken back before it returns; if the
        process dies, at the next ``recover``.

        Raises:
            ItemChangedError: A file is not what was judged. Nothing was changed.
            PlaceChangedError: Something stands in the way. Nothing was changed.
            StepFailedError: A step failed, and all was taken back, but for what it names.
            BusyError: Another generation is in the middle of something. Nothing was changed.
            IntegrationError: It cannot be begun, as something has come between, and nothing was changed; or it could
                not be recorded at its end, and all was taken back, but for what it names.
            NotPermittedError: Somebody has said stop, and all was taken back.
            DataFileError: The state cannot be written. Nothing was changed.
        """
        async with self._held():
            _refuse_empty(plan)
            self._archive.refuse_unknown(step.name for step in plan.steps)
            if plan.standing != standing_of(self._archive.registered):
                raise IntegrationError("plan", "other code has come in, or has gone, since it was made; plan again")
            token = secrets.token_hex(8)
            await self._in_thread(self._archive.tidy)
            prepared = await self._prepared(plan, token, keep=True)
            self._archive.refuse_held_up(prepared)
            await leave.check()
            begun = Begun(
                token=token,
                at=self._now(),
                plan=plan.digest,
                summary=plan.summary,
                names=tuple(step.name for step in plan.steps),
                changes=tuple(change for step in prepared for change in step.changes),
            )
            notes: list[str] = []
            at = ""
            try:
                await self._in_thread(self._archive.write, begun)
                for step in prepared:
                    await leave.check()
                    at = step.step.name
                    notes.append(f"{at}: {await self._carry_out(step, token, leave)}")
                    at = ""
                await leave.check()
                await self._in_thread(self._archive.commit, token)
            except BaseException as exc:
                if token not in self._archive.histories:
                    raise
                left: tuple[str, ...] = ()
                given = [step.settings for step in plan.steps]
                problem = masked(_problem(exc), *given) if isinstance(exc, Exception) else ""
                why = masked(str(exc) or repr(exc), *given) if problem else "it was called off before its end"
                with anyio.CancelScope(shield=True):  # each of its steps is bounded
                    left = await self._take_back(token, prepared[: len(notes) + 1], why)
                if isinstance(exc, NotPermittedError) or not isinstance(exc, Exception):
                    raise
                if at:
                    raise StepFailedError(at, problem, left) from exc
                raise IntegrationError(token, problem, left) from exc
            return Integrated(token, plan.digest, begun.names, tuple(notes))

    async def _prepared(self, plan: Plan, token: str, *, keep: bool) -> tuple[PreparedStep, ...]:
        registered = self.registered
        return await self._in_thread(lambda: prepare(plan, self._archive.tree, token, registered, keep=keep))

    async def _carry_out(self, prepared: PreparedStep, token: str, leave: Leave) -> str:
        """Do one step, and return how it went."""
        step, hands = prepared.step, self._hands

        async def write() -> None:
            await self._in_thread(self._make, prepared.changes)

        match step.action:
            case "load_plugin":
                path = self.destination / step.main
                if _is_swap(prepared.before, prepared.after) and step.name in await hands.plugins():
                    return await hands.replace(step.name, write, leave.check)
                stopped = prepared.before is not None and step.name in await hands.plugins()
                if stopped:
                    await hands.unload(step.name)
                await write()
                await hands.load(step.name, path, step.settings)
                await hands.prove(step.name, leave.check)
                return "was stopped, and brought up anew" if stopped else "was brought up"
            case "import_utility" | "register_agent":
                await write()
                entry = prepared.after.entry
                classes = tuple(entry.classes) if isinstance(entry, AgentEntry) else ()
                await prove_import(self.destination, step.main.removesuffix(".py"), classes)
                users = self._archive.users(step.name) if prepared.before is not None else ()
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
        for change, now in self._archive.tree.differing(changes, "before"):
            path = self._archive.tree.path(change.place, change.path)
            raise PlaceChangedError(str(path), f"expected {told(change.before)}, found {told(now)}")
        self._archive.tree.become(changes, "after")

    async def _do_actions(self, prepared: PreparedStep, token: str, leave: Leave) -> str:
        assert prepared.workflow is not None
        for number, action in enumerate(prepared.workflow.steps, 1):
            await leave.check()
            key = f"{token}.{prepared.step.number}.{number}"
            await self._in_thread(self._archive.write, Sent(token=token, key=key, tag=action.tag, undo=action.undo))
            try:
                await self._hands.perform(action.tag, action.body, key)
            except ActionRefusedError:  # any other may have had its effect all the same, and is undone with the others
                await self._in_thread(self._archive.write, TakenBack(token=token, key=key))
                raise
        done = len(prepared.workflow.steps)
        return f"{done} action{'s were' if done != 1 else ' was'} done"

    # Taking back

    async def _take_back(self, token: str, prepared: Sequence[PreparedStep], reason: str) -> tuple[str, ...]:
        """Undo the steps that were begun of an integration that is not to be; return what could not be undone."""
        turns = [(step.before, step.after) for step in prepared]
        try:
            left = await self._go_back(self._archive.histories[token], turns)
            left += await self._finish(token, reason, left)
        except (AetherraError, OSError) as exc:
            why = masked(str(exc), *_given(turns))
            problem = f"integration {token!r} could not be undone: {why}; it is tried again at the next start"
            self._archive.stuck[token] = problem
            self._log.error("%s", problem)  # the text says it all
            return (why,)
        return left

    async def check_rollback(self, token: str) -> None:
        """See whether an integration could be rolled back now; nothing is done.

        Raises:
            UnknownTokenError: As ``trigger_rollback``.
            RollbackRefusedError: Likewise.
        """
        async with self._held():
            await self._way_back(token)

    async def trigger_rollback(self, token: str, leave: Leave, *, reason: str = "") -> RolledBack:
        """Put everything back to what it was before an integration: files, registrations, settings, what serves.

        Once it has begun it goes on to its end, cancelled or not, at the next start if the process dies.

        Raises:
            UnknownTokenError: There is no such integration, or it was forgotten.
            RollbackRefusedError: It was rolled back already, something needs it, somebody has changed its files, or
                what they held before is damaged.
            NotPermittedError: It may not be done now. In all cases nothing was changed.
        """
        async with self._held():
            history, turns = await self._way_back(token)
            await leave.check()
            left: tuple[str, ...] = ()
            with anyio.CancelScope(shield=True):  # each of its steps is bounded
                await self._in_thread(self._archive.write, GoingBack(token=token, at=self._now(), reason=reason))
                try:
                    left = await self._go_back(history, turns)
                    left += await self._finish(token, reason, left)
                except (AetherraError, OSError) as exc:
                    why = masked(str(exc), *_given(turns))
                    problem = f"integration {token!r} is rolled back in part: {why}; restart the host"
                    self._archive.stuck[token] = problem
                    raise IntegrationError(token, f"it could not be rolled back: {why}", (problem,)) from exc
                finally:
                    await self._in_thread(self._archive.read)
            await anyio.lowlevel.checkpoint_if_cancelled()
            await self._bring_up()  # what could not serve beside it may now
            return RolledBack(token, history.begun.names, left)

    async def _way_back(self, token: str) -> tuple[History, list[tuple[Registration | None, Registration | None]]]:
        """Return what is to be undone, and what was registered before and after; refuse what cannot be."""
        history = self._archive.histories.get(token)
        if history is None and self._archive.lost:
            raise RollbackRefusedError(token, self._archive.lost)
        if history is None:
            raise UnknownTokenError(token)
        self._archive.refuse_stuck(history)
        if history.stage != "committed":
            raise RollbackRefusedError(token, f"it was rolled back already: {history.reason}")
        there = await self._hands.plugins()
        self._archive.refuse_needed(history, there)
        await self._in_thread(self._archive.refuse_later, history)
        await self._in_thread(self._archive.refuse_damaged, history)
        turns = await self._in_thread(self._archive.turns, history)
        self._archive.refuse_taken(history, [before for before, _ in turns if before is not None], there)
        return history, turns

    def token_of(self, plugin: str) -> str:
        """Return the integration that a plugin's present code came with, ``""`` if it is none of ours."""
        registered = self._archive.registered.get(plugin)
        return registered.token if registered is not None else ""

    async def _go_back(
        self, history: History, turns: Sequence[tuple[Registration | None, Registration | None]]
    ) -> tuple[str, ...]:
        """Have the earlier code serve, and put all files back; return what could not be brought up again."""
        left: list[str] = []
        blocked: tuple[str, ...] = ()

        async def write() -> None:
            nonlocal blocked
            blocked = await self._in_thread(self._archive.put_back, history)

        for before, after in reversed(turns):
            altered = before is not None and self._archive.was_altered(history, before)
            try:
                await self._turn_back(before, after, write, altered=altered)
            except AetherraError as exc:
                problem = masked(_problem(exc), *_given([(before, after)]))
                left.append(f"{_name_of(before, after)} does not serve as before: {problem}")
        await write()
        return (*left, *blocked)

    async def _turn_back(
        self,
        before: Registration | None,
        after: Registration | None,
        write: Callable[[], Awaitable[None]],
        *,
        altered: bool,
    ) -> None:
        hands = self._hands
        name = _name_of(before, after)
        if after is not None and after.action == "load_plugin" and (altered or not _is_swap(before, after)):
            await hands.unload(name)
        if altered:
            raise IntegrationError(name, "somebody had changed it before, and it is not loaded so")
        if before is not None and before.action == "load_plugin":
            await hands.put_back(name, self.destination / before.path, write, before.settings)
        elif before is not None:
            await write()
            for user in self._archive.users(name):
                used = self._archive.registered[user]
                await hands.put_back(user, self.destination / used.path, _nothing, used.settings)

    async def _finish(self, token: str, reason: str, left: tuple[str, ...]) -> tuple[str, ...]:
        """Record that files and code are back, then undo actions; return what cannot be undone of those."""
        undone = Undone(token=token, at=self._now(), reason=reason, left=left)
        await self._in_thread(self._archive.write, undone)
        return await self._take_actions_back(token)

    async def _take_actions_back(self, token: str) -> tuple[str, ...]:
        """Undo the actions of an integration, the last first; one whose undoing fails stays for the next start."""
        left: list[str] = []
        for sent in reversed(self._archive.histories[token].sent):
            if sent.undo is None:
                left.append(f"action {sent.tag!r} has no way back")
            else:
                try:
                    await self._hands.perform(sent.undo.tag, sent.undo.body, f"{sent.key}.undo")
                except AetherraError as exc:
                    left.append(f"action {sent.tag!r} was not undone by {sent.undo.tag!r}: {exc}")
                    continue
            await self._in_thread(self._archive.write, TakenBack(token=token, key=sent.key))
        for problem in left:
            self._log.warning("of integration %s, %s", token, problem)
        return tuple(left)

    # Its own

    @asynccontextmanager
    async def _held(self, *, wait: bool = True) -> AsyncGenerator[None]:
        """Be alone with the state, and know it, whoever has changed it since it was last looked at."""
        async with self._alone.held(wait=wait):
            await self._in_thread(self._archive.look_again)
            yield

    async def _look_again(self) -> None:
        """Know the state, unless somebody is in the middle of changing it."""
        try:
            async with self._held(wait=False):
                pass
        except BusyError:
            return

    async def _in_thread(self, function: Callable[..., T], *args: Any) -> T:
        """Run what waits for the disk in a worker thread; a cancelled caller waits for its end."""
        return await anyio.to_thread.run_sync(function, *args)


def _refuse_empty(plan: Plan) -> None:
    if not plan.steps:
        raise IntegrationError("plan", "it has no step: nothing is to be done")
    if plan.digest != digest_of(plan.steps):
        raise IntegrationError("plan", "its digest is not that of its steps; plan again")


def _is_swap(before: Registration | None, after: Registration | None) -> bool:
    """Whether a plugin's code changes in its place, with the same settings, so that it can be swapped."""
    if before is None or after is None or before.action != "load_plugin" or after.action != "load_plugin":
        return False
    return before.path == after.path and before.settings == after.settings


def _name_of(before: Registration | None, after: Registration | None) -> str:
    registered = before or after
    assert registered is not None  # one of them is there
    return registered.name


def _given(turns: Sequence[tuple[Registration | None, Registration | None]]) -> Iterator[Mapping[str, Any]]:
    """Yield the settings that plugins were loaded with, before and after."""
    yield from (one.settings for turn in turns for one in turn if one is not None)


async def _nothing() -> None:
    """Write nothing: the files are in their places."""


def _problem(exc: Exception) -> str:
    return exc.problem if isinstance(exc, IntegrationError) else str(exc) or repr(exc)
