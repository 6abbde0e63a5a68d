"""The night cycle: waits until nobody needs the host, works in small units, and steps back when somebody does."""

import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, suppress
from functools import partial
from typing import Protocol, TypeVar

import anyio
from msgspec import Struct

from aetherra.plugins import AetherraError, Intent, NotPermittedError, Permit, Vitals
from aetherra.plugins.self_incorporation.night.idle import Calls, IdleWatch, calls_of
from aetherra.plugins.self_incorporation.night.learned import Kept, NotInUseError
from aetherra.plugins.self_incorporation.night.learning.trial import TARGETS, Target
from aetherra.plugins.self_incorporation.night.library import Library
from aetherra.plugins.self_incorporation.night.night import Night, Refused, Wanted, Wish
from aetherra.plugins.self_incorporation.night.pace import Finished, Pace
from aetherra.plugins.self_incorporation.night.phases import WORKING, Phase, may_follow
from aetherra.plugins.self_incorporation.night.progress import Progress
from aetherra.plugins.self_incorporation.night.report import NightReport, NightStatus
from aetherra.plugins.self_incorporation.night.settings import NightSettings
from aetherra.plugins.self_incorporation.night.store import NightStore
from aetherra.plugins.self_incorporation.night.usage import Usage, thread_io

__all__ = ["Clock", "NightCycleProcessor", "NightFailedError", "Port"]

T = TypeVar("T")


class Clock(Protocol):
    """The host's, as far as the night cycle asks it."""

    def monotonic(self) -> float:
        """Seconds that only ever go forward."""
        ...

    def time(self) -> float:
        """Unix seconds."""
        ...

    def move_on_after(self, seconds: float) -> AbstractContextManager[anyio.CancelScope]:
        """Cancel the body after ``seconds``."""
        ...


class Port(Protocol):
    """What the night cycle asks of the host."""

    @property
    def clock(self) -> Clock:
        """The host's."""
        ...

    async def run(self, function: Callable[[], T]) -> T:
        """Run a plain function in a worker thread, in turn with whoever else uses the index, and wait for it."""
        ...

    async def vitals(self) -> Vitals:
        """Tell how all plugins do: ``kernel.vitals``."""
        ...

    def permitted(self, intent: Intent) -> AbstractAsyncContextManager[Permit]:
        """Ask to change something: ``PluginContext.permitted``."""
        ...

    async def learned(self, target: Target) -> None:
        """Hear that what is in use for a target is another now."""
        ...

    async def reported(self, report: NightReport) -> None:
        """Hear what a night came to."""
        ...


class NightFailedError(AetherraError, RuntimeError):
    """A night that was asked for could not be finished; ``problem`` says why."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return f"the night could not be finished: {self.problem}"


class _Interrupted(Struct, frozen=True):
    why: str


class _Ask:
    """Somebody who wants a night now, and waits for what it comes to."""

    def __init__(self) -> None:
        self.answered = anyio.Event()
        self.report: NightReport | None = None
        self.problem = ""

    def answer(self, report: NightReport | None, problem: str) -> None:
        self.report, self.problem = report, problem
        self.answered.set()


class NightCycleProcessor:
    """One worker, which goes through the phases.

    Args:
        settings: When it works, and how.
        store: What it keeps; it does not close it.
        library: What it reads.
        port: The host.
        usage: Reads what process and machine use; default is the real ones.
        counter: Seconds, for how long a unit of work takes; default is the real ones.
        cpu_time: Seconds of processor time of the working thread; default is the real ones.
        io_bytes: Bytes that it had disks read and write; default is the real ones.
    """

    def __init__(
        self,
        settings: NightSettings,
        store: NightStore,
        library: Library,
        port: Port,
        *,
        usage: Callable[[], Usage] | None = None,
        counter: Callable[[], float] = time.perf_counter,
        cpu_time: Callable[[], float] = time.thread_time,
        io_bytes: Callable[[], float] = thread_io,
    ) -> None:
        self._settings, self._store, self._library, self._port = settings, store, library, port
        self._pace = Pace(settings.unit_seconds, self._is_needed, counter=counter, cpu_time=cpu_time, io_bytes=io_bytes)
        self._watch = IdleWatch(settings, port.clock.monotonic, usage=usage, own=self._pace.own)
        self._phase = Phase.INACTIVE
        self._night: Night | None = None
        self._asks: list[_Ask] = []
        self._wake = anyio.Event()
        self._is_running = False
        self._problem = ""
        self._failed_at: float | None = None

    @property
    def phase(self) -> Phase:
        """Where the cycle stands."""
        return self._phase

    def notice(self, what: str) -> None:
        """Take note that somebody needs the host; from any thread. Work stops at its next step, within a second."""
        self._watch.notice(what)

    def status(self) -> NightStatus:
        """Tell how the cycle is."""
        reports = self._store.reports.all()
        unfinished = self._store.unfinished if self._night is None else self._night.progress
        versions = {target: self._store.learned.current(target) for target in TARGETS}
        return NightStatus(
            phase=self._phase,
            unfinished=None if unfinished is None else unfinished.phase,
            at=self._night.at() if self._night is not None and self._phase in WORKING else "",
            idle=self._watch.report(),
            nights=reports[-1].number if reports else 0,
            last_ended_at=reports[-1].ended_at if reports else 0.0,
            kept={target: kept.version for target, kept in versions.items() if kept is not None},
            work=self._pace.statistics(),
            problem=self._problem,
        )

    async def run(self) -> None:
        """Go through the phases until cancelled; a unit of work that is being done then is finished first.

        Switched off by the settings, it works only when it is asked to.
        """
        self._is_running = True
        try:
            while True:
                self._enter(Phase.MONITORING if self._settings.enabled else Phase.INACTIVE)
                await self._waited()
                self._enter(Phase.MONITORING)
                await self._work()
        finally:
            self._is_running = False
            self._enter(Phase.INACTIVE)
            self._answer(None, "the night cycle has ended")

    async def night_now(self) -> NightReport:
        """Have a night now, or the one finished that was begun, whoever needs the host; return what it came to.

        A cancelled call leaves the night going on.

        Raises:
            NightFailedError: It could not be finished, or `run` does not run.
        """
        if not self._is_running:
            raise NightFailedError("the night cycle does not run")
        ask = _Ask()
        self._asks.append(ask)
        self._wake.set()
        await ask.answered.wait()
        if ask.report is None:
            raise NightFailedError(ask.problem)
        return ask.report

    async def undo(self, target: Target) -> Kept:
        """Go back to what was in use for a target before, at a person's word; return what was taken back.

        Raises:
            NotInUseError: Nothing that was learnt is in use.
            DataFileError: The disk does not take it: all is as it was.
        """
        taken = await self._port.run(partial(self._store.learned.undo, target))
        await self._port.learned(target)
        return taken

    def _enter(self, phase: Phase) -> None:
        if phase is self._phase:
            return
        stands_at = phase if self._night is None else self._night.progress.phase
        if not may_follow(self._phase, phase, stands_at):
            raise AssertionError(f"phase {phase} cannot come after {self._phase}")
        self._phase = phase

    def _is_needed(self) -> bool:
        return self._watch.is_noticed and not self._asks

    async def _waited(self) -> None:
        """Wait until there is a night to be had; one that fails in the looking counts as one that failed."""
        while not self._asks:
            if self._settings.enabled:
                try:
                    calls = calls_of(await self._port.vitals(), self._settings.quiet)
                    if await self._port.run(partial(self._look, calls)):
                        return
                except (OSError, AetherraError) as exc:
                    self._has_failed(exc)
            self._wake = anyio.Event()
            with self._port.clock.move_on_after(self._settings.look_interval):
                await self._wake.wait()

    def _look(self, calls: Calls) -> bool:
        """Say whether nobody has needed the host for long enough, and there is something to do."""
        self._watch.look(calls)
        return self._watch.report().is_idle and self._is_due()

    def _is_due(self) -> bool:
        now, reports = self._port.clock.time(), self._store.reports.all()
        last = reports[-1] if reports else None
        for ended in (self._failed_at, None if last is None else last.ended_at):
            if ended is not None and 0 <= now - ended < self._settings.rest_seconds:
                return False
        if self._store.unfinished is not None or last is None:
            return True
        if any(tried.outcome == "not_permitted" for tried in last.tried):  # it may be by now
            return True
        return last.revision != self._library.revision() or self._store.evidence.latest > last.began_at

    def _begin(self) -> Night:
        """Go on with a night, unless what it has looked at is other now, or begin one."""
        revision = self._library.revision()
        unfinished = self._store.unfinished
        if unfinished is not None and (
            unfinished.revision == revision or unfinished.phase in (Phase.VALIDATION, Phase.REPORTING)
        ):
            progress = unfinished
        else:
            reports = self._store.reports.all()
            number = reports[-1].number + 1 if reports else 1
            progress = Progress(number=number, began_at=self._port.clock.time(), revision=revision)
            self._store.save_progress(progress)
        return Night(progress, self._library, self._store, self._settings, self._port.clock.time, self._pace.statistics)

    async def _work(self) -> None:
        try:
            night = self._night = await self._port.run(self._begin)
            report = await self._steps_of(night)
            self._night = None
            if report is not None:
                self._problem, self._failed_at = "", None
                self._answer(report, "")
                await self._port.reported(report)
        except (OSError, AetherraError) as exc:
            self._has_failed(exc)
            with suppress(OSError):
                await self._port.run(partial(self._store.save_progress, None))
            self._answer(None, self._problem)

    def _has_failed(self, exc: Exception) -> None:
        self._night, self._problem, self._failed_at = None, str(exc), self._port.clock.time()

    async def _steps_of(self, night: Night) -> NightReport | None:
        """Take the night's steps to its end, or until somebody needs the host; then return None, and hold nothing."""
        if self._phase is not night.progress.phase:
            self._enter(night.progress.phase)
        answer: object = None
        while True:
            calls = calls_of(await self._port.vitals(), self._settings.quiet)
            came_to = await self._port.run(partial(self._unit, night, calls, answer))
            answer = None
            match came_to:
                case _Interrupted():
                    return None
                case Finished():
                    await self._port.run(partial(self._finish, came_to.result))
                    return came_to.result
                case Phase():
                    self._enter(came_to)
                case Wish():
                    answer = await self._granted(came_to)
                case None:
                    pass

    def _unit(self, night: Night, calls: Calls, answer: object) -> Finished[NightReport] | Wanted | _Interrupted | None:
        if (why := self._watch.look(calls, working=True)) and not self._asks:
            night.interrupted(why)
            self._store.save_progress(night.progress)
            self._store.measures.unload()
            return _Interrupted(why)
        return self._pace.unit(night.steps, night.at, answer)

    def _finish(self, report: NightReport) -> None:
        reports = self._store.reports.all()
        if not reports or reports[-1].number < report.number:
            self._store.reports.add(report)
        self._store.save_progress(None)

    async def _granted(self, wish: Wish) -> Refused | None:
        """Ask to carry a wish out, and do; return why that was not done."""
        try:
            async with self._port.permitted(wish.intent) as permit:
                await permit.check()
                await self._port.run(wish.do)
        except NotPermittedError as exc:
            return Refused("not_permitted", exc.reason)
        except NotInUseError as exc:  # somebody was faster
            return Refused("discarded", str(exc))
        await self._port.learned(wish.target)
        return None

    def _answer(self, report: NightReport | None, problem: str) -> None:
        asks, self._asks = self._asks, []
        for ask in asks:
            ask.answer(report, problem)
