"""Probation: the time after a swap in which the new generation's own failures bring the old code back."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from aetherra.kernel.generation import Generation
from aetherra.registry import Clock

LOOK_SEC = 0.25
"""Seconds between two looks."""
LASTING = 8
"""Looks in a row at which its tasks, events or repeated methods fail, before that counts."""


class Terms(msgspec.Struct, frozen=True):
    """When a generation has failed.

    Attributes:
        seconds: How long it is watched; 0 not to.
        max_error_rate: The share of its calls that may bring no reply, where the old generation's was no higher.
        min_calls: Calls that it takes to tell.
    """

    seconds: float
    max_error_rate: float
    min_calls: int


class Probation:
    """Watches one generation.

    What counts is its own doing: what it says of its health, the calls that its handlers failed, and the faults of its
    tasks, events and repeated methods, all where the generation before had none of that.

    Args:
        generation: Which.
        before: What served before it, as it was left.
        terms: When it has failed.
        clock: What the time is taken from.
        restarted: Returns the generation that serves the same code, if it was restarted; that is watched on.
    """

    def __init__(
        self,
        generation: Generation,
        before: Generation | None,
        terms: Terms,
        clock: Clock,
        restarted: Callable[[], Generation | None],
    ) -> None:
        self._generation = generation
        self._restarted = restarted
        self._terms = terms
        self._clock = clock
        self._tolerated = max(terms.max_error_rate, error_rate(before) if before is not None else 0.0)
        self._complained = before is not None and bool(_complaint(before))
        self._was_troubled = before is not None and bool(before.standing.trouble)
        self._troubled = 0
        self._calls_before, self._errors_before = _counts(generation)

    async def run(self) -> str:
        """Return why it has failed as soon as it has, ``""`` when its time is over or it does not serve any more."""
        end = self._clock.monotonic() + self._terms.seconds
        while self._clock.monotonic() < end:
            await self._clock.sleep(LOOK_SEC)
            if not self.serves():
                return ""
            if failure := self.failure():
                return failure
        return ""

    def serves(self) -> bool:
        """Whether the code serves still; if it was restarted, the generation that does is watched from now on."""
        if self._generation.activity.serving:
            return True
        again = self._restarted()
        if again is None:
            return False
        calls, errors = _counts(self._generation)
        self._calls_before, self._errors_before = self._calls_before - calls, self._errors_before - errors
        self._generation = again
        return True

    def failure(self) -> str:
        """Look once: return why it has failed, ``""`` if it has not."""
        generation = self._generation
        if (complaint := _complaint(generation)) and not self._complained:
            return complaint
        calls, errors = _counts(generation)
        calls, errors = calls - self._calls_before, errors - self._errors_before  # a canary has answered some
        if calls >= self._terms.min_calls and errors / calls > self._tolerated:
            return f"{errors} of its {calls} calls failed, {errors / calls:.0%}; {self._tolerated:.0%} is tolerated"
        self._troubled = self._troubled + 1 if generation.standing.trouble else 0
        if self._troubled >= LASTING and not self._was_troubled:
            return f"it fails again and again in {generation.standing.trouble}"
        return ""


def _complaint(generation: Generation) -> str:
    try:
        return generation.complaint()
    except Exception:  # noqa: BLE001  # a hook that raises is logged where all are asked, and says nothing
        return ""


def error_rate(generation: Generation) -> float:
    """Return the share of a generation's calls that brought no reply; 0 if it had none."""
    calls, errors = _counts(generation)
    return errors / calls if calls else 0.0


def _counts(generation: Generation) -> tuple[int, int]:
    statistics = [route.statistics() for route in generation.routes]
    return sum(route.calls for route in statistics), sum(route.errors for route in statistics)
