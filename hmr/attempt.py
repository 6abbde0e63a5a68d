"""One attempt at a swap: step by step, each undone if a later one fails."""

from __future__ import annotations

from typing import Any, Literal

import anyio
import anyio.to_thread
import msgspec

from aetherra.hmr.errors import SwapCode, SwapError
from aetherra.kernel import Candidate, PluginLoadError, Swapper
from aetherra.kernel.generation import Generation
from aetherra.kernel.manager import Code
from aetherra.kernel.sources import Loaded

Promise = Literal["contract", "tags", "none"]
"""All that its messages promise; that its requests are answered; or nothing."""


class Attempt:
    """Brings a plugin's code up beside what serves, and lets it take over.

    Args:
        swapper: The privilege to do so.
        plugin: Which.
        drain_timeout: Seconds that calls in hand have to finish.
        promise: What of the old code's promises the new must keep; a new major version of the plugin is free of them.

    Attributes:
        step: What a failure now would be called.
        old: What served before; ``None`` if nothing did. It is still to be stopped.
        new: What serves now; ``None`` until the swap is done.
    """

    def __init__(self, swapper: Swapper, plugin: str, *, drain_timeout: float, promise: Promise) -> None:
        self.step: SwapCode = "load_failed"
        self.old: Generation | None = None
        self.new: Generation | None = None
        self._swapper = swapper
        self._plugin = plugin
        self._drain_timeout = drain_timeout
        self._promise: Promise = promise

    async def load(self) -> Loaded:
        """Load the code on disk.

        Raises:
            SwapError: It cannot be loaded.
        """
        try:
            return await self._swapper.load(self._plugin)
        except PluginLoadError as exc:
            raise self._error(exc) from exc

    async def swap(self, loaded: Loaded) -> None:
        """Have ``loaded`` serve.

        Raises:
            SwapError: A step failed. Like a cancelled attempt, this leaves all as it was, but for ``loaded`` itself.
        """
        candidate: Candidate | None = None
        try:
            self.step = "probe_failed"
            code = self._swapper.read(self._plugin, loaded)
            if self._promise == "contract":
                await self._refuse_broken_promises(code)
            candidate = await self._swapper.prepare(self._plugin, code)
            await candidate.generation.self_test()
            self.step = "quiesce_timeout"
            async with self._swapper.quiesced(self._plugin, timeout=self._drain_timeout) as serving:
                self.step = "probe_failed"
                self._refuse_lost_tags(serving, candidate)
                self.step = "state_import_failed"
                await self._hand_over(serving, candidate)
                self.step = "post_swap_failed"
                self.old = self._swapper.promote(self._plugin, candidate)
                self.new = candidate.generation
        except BaseException as exc:
            if candidate is not None and self.new is None:
                await self._swapper.discard(candidate)
            if isinstance(exc, SwapError) or not isinstance(exc, (Exception, SystemExit)):
                raise
            raise self._error(exc) from exc

    async def _refuse_broken_promises(self, new: Code) -> None:
        """Compare what the new code promises with what the old one did, before any of it starts."""
        from aetherra.hmr.promises import broken_promises, is_new_major  # noqa: PLC0415  # not at the host's start

        old = self._swapper.serving(self._plugin)
        if old is None:
            return
        if is_new_major(old.spec, new.spec):
            self._promise = "none"
            return
        broken = await anyio.to_thread.run_sync(broken_promises, old, new)
        if broken:
            self.step = "contract_broken"
            changes = "; ".join(map(str, broken))
            raise self._refusal(f"{changes} (swap with force, or count the first number of the plugin's version up)")

    def _refuse_lost_tags(self, serving: Generation | None, candidate: Candidate) -> None:
        if self._promise == "none":
            return
        lost = set(serving.spec.tags if serving is not None else ()) - set(candidate.spec.tags)
        if lost:
            raise self._refusal(f"the new code does not answer {', '.join(sorted(lost))} any more")

    async def _hand_over(self, serving: Generation | None, candidate: Candidate) -> None:
        """Carry the state over by its encoded bytes, so that nothing of the old code comes along."""
        state: Any = await serving.hand_over() if serving is not None else None
        if state is None:
            return
        if candidate.spec.state_type is None:
            raise self._refusal(f"the old code hands over a {type(state).__name__}, and the new has no take_over()")
        data = msgspec.msgpack.encode(state)
        await candidate.generation.take_over(msgspec.msgpack.decode(data, type=candidate.spec.state_type))

    def _refusal(self, problem: str) -> SwapError:
        return SwapError(self._plugin, self.step, problem)

    def _error(self, cause: BaseException) -> SwapError:
        match cause:
            case PluginLoadError():
                return self._refusal(cause.problem)
            case TimeoutError():
                return self._refusal(str(cause))
            case _:
                return self._refusal(f"{type(cause).__name__}: {cause}")

    async def stop_old(self) -> None:
        """Stop what served before, bounded by its own deadlines and not to be cancelled: it has no routes any more."""
        if self.old is not None:
            with anyio.CancelScope(shield=True):
                await self.old.stop()
