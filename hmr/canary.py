"""The canary: a candidate on trial, which gets a share of its plugin's calls beside the generation that serves."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from aetherra.hmr.attempt import Attempt
from aetherra.hmr.errors import SwapError
from aetherra.hmr.messages import CanaryStatus, GenerationFigures
from aetherra.kernel import Candidate, Plugin, Swapper
from aetherra.kernel.entry import Code
from aetherra.kernel.generation import Generation
from aetherra.kernel.sources import Loaded
from aetherra.registry import AetherraError, Clock, Split, SplitKeyError
from aetherra.registry.split import Pair, Side, figures


class CanaryError(AetherraError, RuntimeError):
    """A plugin has a canary where it should have none, or none where it should have one, or can have none."""

    def __init__(self, plugin: str, problem: str) -> None:
        super().__init__(plugin, problem)
        self.plugin, self.problem = plugin, problem

    def __str__(self) -> str:
        return f"plugin {self.plugin!r} {self.problem}"


class Trial(Attempt):
    """One attempt at a swap, with a time between its two halves in which old and new serve side by side.

    Until it is promoted the candidate hears no events, its repeated methods and hooks rest, the service is the old
    generation's, and requests that only the candidate knows are not answered.

    Args:
        swapper: The privilege to do so.
        plugin: Which.
        clock: Where times come from.
        drain_timeout: Seconds that calls in hand have to finish.
        prepared: Told of the candidate when it is to take over.
    """

    def __init__(
        self,
        swapper: Swapper,
        plugin: str,
        clock: Clock,
        *,
        drain_timeout: float,
        prepared: Callable[[Candidate], None],
    ) -> None:
        super().__init__(swapper, plugin, "canary", drain_timeout=drain_timeout, promise="contract", prepared=prepared)
        self._clock = clock
        self._begun = clock.monotonic()
        self._sides: _Sides | None = None
        self._ending = anyio.Lock()

    async def begin(self, loaded: Loaded, share: float, key: str) -> None:
        """Have ``loaded`` prove itself, take a copy of the state, and answer a share of the calls.

        Raises:
            SwapError: A step failed. As after any other error, all is as it was, but for ``loaded`` itself.
            CanaryError: The plugin can have no canary.
            SplitKeyError: A request of the plugin has no such field.
        """
        try:
            self.step = "probe_failed"
            code = self._swapper.read(self.plugin, loaded)
            old = self._refuse_the_impossible(code)
            await self._refuse_broken_promises(old, code)
            candidate = await self._probe(code)
            try:
                self._sides = await self._set_beside(old, candidate, share, key)
            except BaseException:
                await self._swapper.retire(candidate.generation)
                raise
        except (SwapError, CanaryError, SplitKeyError):
            raise
        except (Exception, SystemExit) as exc:
            raise self._error(exc) from exc

    def _refuse_the_impossible(self, new: Code) -> Code:
        old = self._swapper.serving(self.plugin)
        if old is None:
            raise CanaryError(self.plugin, "does not serve, so that nothing can go beside it; reload it")
        if old.spec.plugin_type.exclusive or new.spec.plugin_type.exclusive:
            raise CanaryError(self.plugin, "is exclusive, so that no two generations of it can run at once; reload it")
        if set(old.spec.tags).isdisjoint(new.spec.tags):
            raise CanaryError(self.plugin, "answers no request that the new code answers, too; reload it")
        return old

    async def _set_beside(self, old: Code, candidate: Candidate, share: float, key: str) -> _Sides:
        """Part the calls; where there is state, with none in hand while the candidate takes a copy."""
        if old.spec.plugin_type.hand_over is Plugin.hand_over:
            return self._split(candidate, share, key)
        self.step = "quiesce_timeout"
        async with self._swapper.quiesced(self.plugin, timeout=self._drain_timeout) as serving:
            self.step = "state_import_failed"
            parcel = None if serving is None else await serving.hand_over()
            if parcel is not None:
                await candidate.generation.take_over(parcel)
            return self._split(candidate, share, key)

    def _split(self, candidate: Candidate, share: float, key: str) -> _Sides:
        self.step = "post_swap_failed"
        control, split = self._swapper.split(self.plugin, candidate, share=share, key=key)
        return _Sides(control, candidate, split)

    # While it runs

    @property
    def is_running(self) -> bool:
        """Whether it has begun, and was neither promoted nor aborted."""
        return self._sides is not None

    @property
    def is_orphaned(self) -> bool:
        """Whether it runs though the generation beside it serves no more."""
        return self._sides is not None and not self._swapper.is_split(self._sides.split)

    @property
    def loaded(self) -> Loaded:
        """The candidate's code."""
        return self._running().candidate.loaded

    def _running(self) -> _Sides:
        if self._sides is None:
            raise CanaryError(self.plugin, "has no canary any more")
        return self._sides

    def change(self, share: float, key: str) -> None:
        """Set another share.

        Raises:
            CanaryError: The key is another than before, which would move keys to and fro.
            ValueError: There is no such share.
        """
        split = self._running().split
        if key not in ("", split.key):
            was = f"by {split.key!r}" if split.key else "by the whole request"
            raise CanaryError(self.plugin, f"is split {was}; abort its canary first to split it by {key!r}")
        split.share = share

    def status(self) -> CanaryStatus:
        """Return how both sides fare."""
        return self._status(self._running())

    def _status(self, sides: _Sides) -> CanaryStatus:
        split = sides.split
        tags = {pair.tag for pair in split.pairs}
        return CanaryStatus(
            plugin=self.plugin,
            share=split.share,
            seen_share=split.seen_share,
            key=split.key,
            seconds=self._clock.monotonic() - self._begun,
            control=_figures(sides.control, split, lambda pair: pair.control),
            candidate=_figures(sides.candidate.generation, split, lambda pair: pair.candidate),
            new_tags=tuple(tag for tag in sides.candidate.spec.tags if tag not in tags),
        )

    # Its end

    async def swap(self, loaded: Loaded) -> None:
        """Promote: have the candidate, whose code ``loaded`` is, serve alone, with the state that is handed over now.

        Raises:
            SwapError: A step failed. ``quiesce_timeout`` leaves the canary as it was; after any other error it is over,
                and the old generation serves alone, with its state.
            CanaryError: It is over already.
        """
        del loaded
        async with self._ending:
            sides = self._running()
            try:
                await self._promote_beside(sides)
            except BaseException as exc:
                if self._sides is None and self.new is None:
                    await self._discard(sides)
                if isinstance(exc, (Exception, SystemExit)):
                    raise self._error(exc) from exc
                raise

    async def _promote_beside(self, sides: _Sides) -> None:
        self._prepared(sides.candidate)
        self.step = "quiesce_timeout"
        async with self._swapper.quiesced(self.plugin, timeout=self._drain_timeout) as serving:
            await self._finish_calls(sides.candidate.generation)
            try:
                self.step = "state_import_failed"
                if serving is None or serving is not sides.control:
                    raise self._refusal("the generation beside it was stopped meanwhile")
                await self.handover.ask(serving)
                await self._promote(sides.candidate)
            finally:
                self._sides = None
                self._swapper.unsplit(sides.split)  # calls that were held back go to whoever serves by now

    async def _finish_calls(self, candidate: Generation) -> None:
        with self._clock.move_on_after(self._drain_timeout):
            await candidate.wait_idle()
            return
        in_hand = "; ".join(candidate.in_hand())
        raise TimeoutError(
            f"the candidate's calls in hand were not finished after {self._drain_timeout:g} s: {in_hand}"
        )

    async def abort(self, patience: float) -> CanaryStatus:
        """Have the old generation serve alone; the candidate has so many seconds to finish what it has in hand.

        One that is not done then is stopped all the same, and so it is if this is cancelled. Returns how both fared.

        Raises:
            CanaryError: It is over already.
        """
        async with self._ending:
            sides = self._running()
            self._sides = None
            self._swapper.unsplit(sides.split)
            try:
                with self._clock.move_on_after(patience):
                    await sides.candidate.generation.wait_idle()
            finally:
                await self._discard(sides)
            return self._status(sides)

    async def _discard(self, sides: _Sides) -> None:
        await self._swapper.retire(sides.candidate.generation)
        sides.candidate.loaded.unload()


class _Sides:
    """The two generations, and what parts their calls."""

    def __init__(self, control: Generation, candidate: Candidate, split: Split) -> None:
        self.control = control
        self.candidate = candidate
        self.split = split


def _figures(generation: Generation, split: Split, side: Callable[[Pair], Side]) -> GenerationFigures:
    return GenerationFigures(
        generation=generation.identity.generation,
        total=figures(side(pair) for pair in split.pairs),
        tags={pair.tag: figures([side(pair)]) for pair in split.pairs},
    )
