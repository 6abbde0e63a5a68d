"""A trial: a change whose effect is being watched, and the word on whether it stays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from aetherra.plugins.self_improvement.analysis import Comparison, Direction, Harm, compare, harmful
from aetherra.plugins.self_improvement.proposals import MeasuredEffect, Proposal, helped
from aetherra.plugins.self_improvement.settings import TrialSettings

__all__ = ["Guard", "Trial", "Word"]

FALSE_ALARM = 0.05
"""Chance that a change without any effect is ever called harmful, all that is watched taken together."""
Points = Sequence[tuple[float, float]]
Read = Callable[[str, float, float], Points]
"""The points of a metric from a time until before another."""


class Guard(msgspec.Struct, frozen=True):
    """A metric that a change must not make worse, whatever it was made for, and which way it should move."""

    metric: str
    good: Direction


class Word(msgspec.Struct, frozen=True):
    """What is to become of a change.

    Attributes:
        state: It stays; it did not help, or harmed; or nobody can tell. The last two are taken back.
        reason: Why, in a sentence.
        effect: What it did to the metric that it was made for; ``None`` if nothing can be learnt from it.
    """

    state: Literal["kept", "undone", "inconclusive"]
    reason: str
    effect: MeasuredEffect | None = None


class Trial:
    """Holds the points after a change against those before it.

    Args:
        proposal: What was carried out.
        begun: When, Unix seconds.
        calm: Since when nothing else had changed the host, Unix seconds: points before that are not held against.
        settings: How long, and what counts.
        guards: What must not get worse.
    """

    def __init__(
        self, proposal: Proposal, begun: float, calm: float, settings: TrialSettings, guards: Sequence[Guard]
    ) -> None:
        self.proposal = proposal
        self.begun = begun
        self.calm = calm
        self._since = max(begun - settings.before, calm + settings.settle)
        self._settings = settings
        self._guards = [guard for guard in guards if guard.metric != proposal.metric]
        self.generation: int | None = None
        """Of the knob's plugin, as it was first seen."""
        self._disturbed = ""
        self._extended = False

    def disturb(self, what: str) -> None:
        """Hear that something else changed the host, so that nobody can say any more what did what."""
        self._disturbed = self._disturbed or what

    def judge(self, read: Read, now: float) -> Word | None:
        """Return what is to become of the change, ``None`` if that is not known yet."""
        if self._disturbed:
            return Word("inconclusive", f"nobody can say what it did, as meanwhile {self._disturbed}")
        settings, since = self._settings, self.begun + self._settings.settle
        until = since + settings.after
        watched = (Guard(self.proposal.metric, self.proposal.good), *self._guards)
        alpha = FALSE_ALARM / len(watched)
        for guard in watched:
            before = read(guard.metric, self._since, self.begun)
            after = read(guard.metric, since, now)
            harm = harmful(before, after, good=guard.good, minimum_effect=settings.minimum_effect, alpha=alpha)
            if harm.harmful:
                return self._harm(guard.metric, harm)
        if now < (until + settings.after if self._extended else until):
            return None
        before = read(self.proposal.metric, self._since, self.begun)
        compared = self._compare(before, read(self.proposal.metric, since, now), self.proposal.good)
        if self._is_undecided(compared) and not self._extended:
            self._extended = True
            return None
        return self._conclude(compared)

    def _compare(self, before: Points, after: Points, good: Direction) -> Comparison:
        return compare(before, after, good=good, minimum_effect=self._settings.minimum_effect)

    def _is_undecided(self, compared: Comparison) -> bool:
        """Whether it looks as if it helped, or nobody can say, and more points may tell."""
        looks_better = (compared.lift or 0.0) >= self._settings.minimum_effect
        return compared.verdict == "unknown" or (compared.verdict == "same" and looks_better)

    def _harm(self, metric: str, harm: Harm) -> Word:
        if metric != self.proposal.metric:
            text = f"it made {metric} worse: {harm.reason}"
            return Word("undone", text, MeasuredEffect(verdict="worse", text=text))
        effect = MeasuredEffect(
            verdict="worse",
            lift=harm.lift,
            points_before=harm.before_points,
            points_after=harm.after_points,
            text=harm.reason,
        )
        return Word("undone", harm.reason, effect)

    def _conclude(self, compared: Comparison) -> Word:
        effect = _effect(compared)
        if helped(self.proposal.context.problem, compared.verdict):
            return Word("kept", compared.reason, effect)
        if compared.verdict == "unknown":
            return Word("inconclusive", compared.reason, effect)
        return Word("undone", compared.reason, effect)


def _effect(compared: Comparison) -> MeasuredEffect:
    low, high = _lifts(compared)
    return MeasuredEffect(
        verdict=compared.verdict,
        before=compared.before_median,
        after=compared.after_median,
        lift=compared.lift,
        low=low,
        high=high,
        p_value=compared.p_value,
        points_before=compared.before_points,
        points_after=compared.after_points,
        text=compared.reason,
    )


def _lifts(compared: Comparison) -> tuple[float, float] | tuple[None, None]:
    """Return the interval of the shift as one of the lift."""
    if not compared.shift or compared.lift is None or compared.low is None or compared.high is None:
        return None, None
    share = compared.lift / compared.shift
    low, high = sorted((share * compared.low, share * compared.high))
    return low, high
