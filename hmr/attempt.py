"""One attempt at a swap: step by step, each undone if a later one fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

import anyio
import anyio.to_thread

from aetherra.hmr.errors import OvertakenError, SwapCode, SwapError
from aetherra.hmr.handover import Handover
from aetherra.hmr.messages import How
from aetherra.kernel import Candidate, PluginLoadError, Swapper
from aetherra.kernel.entry import Code
from aetherra.kernel.generation import Generation
from aetherra.kernel.sources import Loaded
from aetherra.kernel.state import StateError

Promise = Literal["contract", "tags", "none"]
"""All that its messages promise; that its requests are answered; or nothing."""


class Attempt:
    """Brings a plugin's code up beside what serves, and lets it take over.

    Args:
        swapper: The privilege to do so.
        plugin: Which.
        how: By code from disk, from memory, or from a canary.
        drain_timeout: Seconds that calls in hand have to finish.
        promise: What of the old code's promises the new must keep; a new major version of the plugin is free of them.
        prepared: Told of a candidate that has proved itself, before it takes over.
        current: Whether the code is still what is to be swapped in, asked once it has proved itself; by default it is.
        handover: How state is carried over; by default what the old generation hands over.

    Attributes:
        plugin: As given.
        how: As given.
        step: What a failure now would be called.
        old: What served before; ``None`` if nothing did. It is still to be stopped.
        new: What serves now; ``None`` until the swap is done.
        handover: As given, with what was handed over.
    """

    def __init__(
        self,
        swapper: Swapper,
        plugin: str,
        how: How,
        *,
        drain_timeout: float,
        promise: Promise,
        prepared: Callable[[Candidate], None],
        current: Callable[[Loaded], Awaitable[bool]] | None = None,
        handover: Handover | None = None,
    ) -> None:
        self.step: SwapCode = "load_failed"
        self.old: Generation | None = None
        self.new: Generation | None = None
        self.retired = anyio.Event()
        self.handover = handover or Handover()
        self.plugin = plugin
        self.how: How = how
        self._swapper = swapper
        self._drain_timeout = drain_timeout
        self._promise: Promise = promise
        self._prepared = prepared
        self._current = current

    async def load(self) -> Loaded:
        """Load the code on disk.

        Raises:
            SwapError: It cannot be loaded.
        """
        try:
            return await self._swapper.load(self.plugin)
        except PluginLoadError as exc:
            raise self._error(exc) from exc

    async def swap(self, loaded: Loaded) -> None:
        """Have ``loaded`` serve.

        Raises:
            SwapError: A step failed. Like a cancelled attempt, this leaves all as it was, but for ``loaded`` itself.
            OvertakenError: The code is not what is to be swapped in any more. All is as it was.
        """
        try:
            self.step = "probe_failed"
            code = self._swapper.read(self.plugin, loaded)
            old = self._swapper.serving(self.plugin)
            if old is not None:
                await self._refuse_broken_promises(old, code)
            if old is not None and (old.spec.plugin_type.exclusive or code.spec.plugin_type.exclusive):
                await self._one_after_the_other(old, code)
            else:
                await self._side_by_side(code)
        except (SwapError, OvertakenError):
            raise
        except (Exception, SystemExit) as exc:
            raise self._error(exc) from exc

    async def _refuse_broken_promises(self, old: Code, new: Code) -> None:
        """Compare what the new code promises with what the old one did, before any of it starts."""
        from aetherra.hmr import promises  # noqa: PLC0415  # not at the host's start

        if self._promise == "contract" and promises.is_new_major(old.spec, new.spec):
            self._promise = "none"
        if self._promise == "contract" and not promises.is_same_shape(old, new):
            broken = await anyio.to_thread.run_sync(promises.broken_promises, old, new)
            if broken:
                self.step = "contract_broken"
                raise self._refusal(
                    f"{'; '.join(map(str, broken))} (swap with force, as aetherra plugin reload {self.plugin} --force "
                    f"does, or count the first number of the plugin's version up)"
                )
        lost = set(old.spec.tags) - set(new.spec.tags)
        if self._promise != "none" and lost:
            raise self._refusal(f"the new code does not answer {', '.join(sorted(lost))} any more")

    # The two orders

    async def _side_by_side(self, code: Code) -> None:
        candidate = await self._probe(code)
        try:
            if self._current is not None and not await self._current(code.loaded):
                raise OvertakenError(self.plugin)
            self._prepared(candidate)
            self.step = "quiesce_timeout"
            async with self._swapper.quiesced(self.plugin, timeout=self._drain_timeout) as serving:
                self.step = "state_import_failed"
                await self.handover.ask(serving)
                await self._promote(candidate)
        except BaseException:
            if self.new is None:
                await self._swapper.retire(candidate.generation)
            raise

    async def _one_after_the_other(self, old: Code, code: Code) -> None:
        """Stop what serves before the candidate starts, as both cannot own the same; what fails brings it back."""
        if self._current is not None and not await self._current(code.loaded):
            raise OvertakenError(self.plugin)
        self.step = "quiesce_timeout"
        async with self._swapper.quiesced(self.plugin, timeout=self._drain_timeout) as serving:
            if serving is None:
                raise self._refusal("it was stopped meanwhile")
            self.step = "state_import_failed"
            await self.handover.ask(serving)
            try:
                with anyio.CancelScope(shield=True):  # bounded; half suspended, it would own what its successor needs
                    await serving.suspend()
                await self._start_and_promote(code)
            except BaseException as exc:
                problem = ""
                with anyio.CancelScope(shield=True):
                    problem = await self._bring_back(old)
                if problem and isinstance(exc, (Exception, SystemExit)):
                    raise self._error(exc).and_then(problem) from exc
                raise

    async def _start_and_promote(self, code: Code) -> None:
        candidate = await self._probe(code)
        try:
            self._prepared(candidate)
            await self._promote(candidate)
        except BaseException:
            if self.new is None:
                await self._swapper.retire(candidate.generation)
            raise

    async def _bring_back(self, old: Code) -> str:
        """Start the old code again, with the state that it handed over; return what failed, ``""`` if nothing did."""
        again: Candidate | None = None
        try:
            again = await self._swapper.prepare(self.plugin, old)
            if self.handover.handed_over is not None:
                await again.generation.take_over(self.handover.handed_over)
            suspended = self._swapper.promote(self.plugin, again)
        except (Exception, SystemExit) as exc:  # noqa: BLE001  # the plugin's code runs here
            if again is not None:
                await self._swapper.retire(again.generation)
            problem = f"the code before it could not be started again: {exc}"
            await self._swapper.give_up(self.plugin, PluginLoadError(self.plugin, "swapping", problem))
            return problem
        if suspended is not None:
            await self._swapper.retire(suspended)
        return ""

    # Steps

    async def _probe(self, code: Code) -> Candidate:
        """Start a candidate apart, and have it prove itself."""
        self.step = "probe_failed"
        candidate = await self._swapper.prepare(self.plugin, code)
        try:
            await candidate.generation.self_test()
            self._refuse_complaint(candidate)
        except BaseException:
            await self._swapper.retire(candidate.generation)
            raise
        return candidate

    async def _promote(self, candidate: Candidate) -> None:
        """Give a candidate the state, hear how it is, and route to it."""
        self.step = "state_import_failed"
        await self.handover.give(candidate)
        self.step = "post_swap_failed"
        self._refuse_complaint(candidate)
        self.old = self._swapper.promote(self.plugin, candidate)
        self.new = candidate.generation

    def _refuse_complaint(self, candidate: Candidate) -> None:
        if complaint := candidate.generation.complaint():
            raise self._refusal(complaint)

    def _refusal(self, problem: str) -> SwapError:
        return SwapError(self.plugin, self.step, problem)

    def _error(self, cause: BaseException) -> SwapError:
        match cause:
            case SwapError():
                return cause
            case PluginLoadError():
                return self._refusal(cause.problem)
            case TimeoutError() | StateError():
                return self._refusal(str(cause))
            case _:
                return self._refusal(f"{type(cause).__name__}: {cause}")

    async def stop_old(self) -> None:
        """Stop what served before, and set ``retired``."""
        try:
            if self.old is not None:
                await self._swapper.retire(self.old)
        finally:
            self.retired.set()
