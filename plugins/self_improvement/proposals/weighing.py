"""What a candidate is worth: owns confidence, size and priority of a proposal, and what speaks against one.

The priority of a proposal is its impact times its feasibility, both 0 to 1:

- impact = how wrong the metric is (its severity: the way from good to bad that it has gone; for a forecast at most a
  half, the sooner the more; for a trend the share that it changed by) times the metric's weight. Where the change
  should ease other metrics in trouble, too, it is what is left of 1 when each of these figures is taken off in turn:
  ``1 - (1 - a) (1 - b) ...``;
- feasibility = confidence, times 0.9 or 0.75 where a wrong setting may do medium or high harm, times 0.95 where the
  change costs something, times how much of what is needed like changes brought: 1 for all of it, a half for nothing,
  three quarters where none was measured yet.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from aetherra.plugins import KnobInfo
from aetherra.plugins.self_improvement.proposals.candidates import Candidate
from aetherra.plugins.self_improvement.proposals.confidence import prior
from aetherra.plugins.self_improvement.proposals.problems import Judgement
from aetherra.plugins.self_improvement.proposals.proposal import (
    Context,
    Impact,
    Kind,
    Load,
    Proposal,
)
from aetherra.plugins.self_improvement.proposals.settings import ProposerSettings
from aetherra.plugins.self_improvement.proposals.strategies import Strategies, Strategy, helped, same_value
from aetherra.plugins.self_improvement.proposals.turns import Turn, moves, turned

__all__ = ["Weighing"]

_KINDS: Mapping[str, Kind] = {
    "capacity": "scale_up",
    "tuning": "optimize",
    "quality": "degrade",
    "strategy": "change_strategy",
}
_HARM: Mapping[Impact, float] = {"low": 1.0, "medium": 0.9, "high": 0.75}
_COSTLY = 0.95
_MOST_STEPS = 4.0
"""Steps that are taken at once at the most, however much is needed."""
_EXPLORED = 0.45
"""Confidence that is enough to explore: a first try is worth 0.5, after a failure of another knob or way 0.48."""
_BY_HAND = 7.0
"""Cool-downs that a change rests after a person would not have it."""
_MOST_LOST = 3
"""Proposals of one change that may lose their knob or their reason within a cool-down; then it rests."""


class Weighing:
    """Weighs candidates at one time.

    Args:
        settings: What is proposed at all.
        now: Unix seconds.
        load: How busy the host is.
        strategies: What was learnt.
        proposals: The past ones, those that ended last at the end.
        problems: What is wrong, on all metrics.
    """

    def __init__(
        self,
        settings: ProposerSettings,
        now: float,
        load: Load,
        strategies: Strategies,
        proposals: Sequence[Proposal],
        problems: Sequence[Judgement],
    ) -> None:
        self._settings = settings
        self._now = now
        self._load: Load = load
        self._strategies = strategies
        self._proposals = proposals
        self._problems = problems

    def weigh(self, candidate: Candidate) -> Proposal | str:
        """Return the proposal that a candidate makes, still without an id, or what speaks against it."""
        knob, judgement, turn = candidate.knob, candidate.judgement, candidate.turn
        assert judgement.problem is not None
        assert knob.value is not None
        context = Context(metric=judgement.metric, problem=judgement.problem, load=self._load)
        strategy = self._strategies.find(context, knob.name, turn.direction)
        kind = _KINDS[knob.role]
        turn = self._sized(knob, context, turn, judgement.need, strategy)
        confidence = self._strategies.confidence(
            context,
            kind=kind,
            knob=knob.name,
            direction=turn.direction,
            basis=turn.basis,
            strength=candidate.strength,
            size=turn.size,
        )
        if why := self._why_not(knob, context, turn, confidence):
            return why
        eased = [] if judgement.problem == "no_longer_needed" else self._eased(knob, judgement.metric, turn)
        spared = math.prod(1 - one.severity * one.weight for one in (judgement, *eased))
        return Proposal(
            id="",
            kind=kind,
            knob=knob.name,
            direction=turn.direction,
            basis=turn.basis,
            size=turn.size,
            before=knob.value,
            after=turn.after,
            unit=knob.unit,
            metric=judgement.metric,
            good=judgement.good,
            context=context,
            eases=tuple(one.metric for one in eased),
            rationale=f"{judgement.text}; {candidate.why}",
            evidence=(*judgement.evidence, *candidate.evidence),
            expected_effect=None if strategy is None else strategy.effect,
            expectation=_expectation(strategy),
            confidence=confidence,
            confidence_reason="; ".join(self._reasons(context, knob, turn, candidate.strength, strategy)),
            priority=(1 - spared) * _feasibility(candidate, confidence, strategy),
            impact=knob.impact,
            cost=knob.cost,
            way_back=f"{knob.undo} ({knob.value})",
            created=self._now,
            expires=self._now + self._settings.expiry,
            sender=self._settings.sender,
        )

    def _reasons(
        self, context: Context, knob: KnobInfo, turn: Turn, strength: float, strategy: Strategy | None
    ) -> Iterator[str]:
        """Yield where the confidence comes from."""
        yield f"{prior(turn.basis, strength):.2f} before anything was tried ({turn.basis})"
        if strategy is not None:
            yield strategy.text
        if small := self._strategies.too_small(context, knob.name, turn.direction, turn.size):
            yield f"{small} of these made no difference at half of this change or less, which does not count against it"

    def _sized(
        self, knob: KnobInfo, context: Context, turn: Turn, need: float | None, strategy: Strategy | None
    ) -> Turn:
        """Turn as far as past lifts say is needed: at most twice what helped before, and 4 steps; one step if new.

        If that rests, as it made no difference or made it worse, turn further or less far.
        """
        if knob.choices or context.problem == "no_longer_needed":
            return turn
        size = 1.0
        if strategy is not None and strategy.size is not None:
            size = max(strategy.size, 1.0)
            if strategy.effect is not None and strategy.effect.lift > 0 and need is not None:
                size = min(math.ceil(need / (strategy.effect.lift / size)), math.floor(2 * size))
        size = min(size, _MOST_STEPS)
        larger = [steps for steps in (2.0, 4.0) if size < steps <= _MOST_STEPS]
        for steps in (size, *larger, 1.0):
            found = turned(knob, turn.way, steps)
            if found is not None:
                sized = msgspec.structs.replace(turn, after=found[0], size=found[1])
                if not self._rests(knob, context, sized):
                    return sized
        return turn

    def _why_not(self, knob: KnobInfo, context: Context, turn: Turn, confidence: float) -> str:
        assert knob.value is not None
        threshold = self._settings.confidence_threshold
        if self._settings.explore and turn.basis == "unknown":
            threshold = min(threshold, _EXPLORED)
        if confidence < threshold:
            return f"turning it to {turn.after} has a confidence of {confidence:.2f}, below {threshold:g}"
        back = self._strategies.came_from(context.metric, knob.name, turn.direction, knob.value, turn.after)
        if back is not None and context.problem != "no_longer_needed":
            return f"turning it to {turn.after} takes back what made it better: {back.before} to {back.after}"
        return self._rests(knob, context, turn) or self._harms(knob, context, turn)

    def _rests(self, knob: KnobInfo, context: Context, turn: Turn) -> str:
        assert knob.value is not None
        cool_down = self._settings.cool_down
        rest = self._strategies.rest(
            context, knob=knob.name, direction=turn.direction, before=knob.value, size=turn.size, cool_down=cool_down
        )
        if rest is not None:
            return f"turning it to {turn.after} rests for {(rest.until - self._now) / 3600:.1f} h: {rest.reason}"
        change = knob.name, turn.direction, context.metric
        alike = [past for past in reversed(self._proposals) if (past.knob, past.direction, past.metric) == change]
        for past in alike:
            times = _cool_downs(past)
            left = (past.concluded or 0.0) + times * cool_down - self._now
            if left > 0 and (times > 1 or same_value(past.before, knob.value)):
                why = f"{past.id} was {past.state}{f', {past.reason}' if past.reason else ''}"
                return f"turning it to {turn.after} rests for {left / 3600:.1f} h: {why}"
        lost = [past for past in alike if past.state == "superseded"][:_MOST_LOST]
        left = (lost[-1].concluded or 0.0) + cool_down - self._now if len(lost) == _MOST_LOST else 0.0
        if left > 0:
            why = f"{len(lost)} proposals of it were superseded meanwhile, the last as {lost[0].reason}"
            return f"turning it to {turn.after} rests for {left / 3600:.1f} h: {why}"
        return ""

    def _harms(self, knob: KnobInfo, context: Context, turn: Turn) -> str:
        """Return which other metric in trouble a turn would make worse, as declared; empty if none."""
        for other, helps in self._others(knob, context.metric, turn):
            if not helps:
                return f"turning it to {turn.after} would make {other.metric} worse, which is in trouble itself"
        return ""

    def _eased(self, knob: KnobInfo, metric: str, turn: Turn) -> list[Judgement]:
        """Return the other metrics in trouble that a turn should make better, as declared."""
        return [] if turn.basis == "contrary" else [other for other, helps in self._others(knob, metric, turn) if helps]

    def _others(self, knob: KnobInfo, metric: str, turn: Turn) -> Iterator[tuple[Judgement, bool]]:
        """Yield the other metrics in trouble that a knob is declared to move, and whether this turn helps them."""
        for other in self._problems:
            raising = moves(knob, other.metric)
            if other.metric != metric and raising in ("up", "down") and other.good in ("up", "down"):
                yield other, (raising == other.good) == (turn.way == "raise")


def _cool_downs(past: Proposal) -> float:
    """Return how many cool-downs a change rests after it ended like this, whatever was measured of it."""
    if past.state == "undone":
        # Of what did not help the outcomes speak; what did, or was not measured to the end, was taken back by a person.
        by_hand = past.outcome is None or helped(past.context.problem, past.outcome.verdict)
        return _BY_HAND if by_hand else 0.0
    if past.state == "rejected":
        return _BY_HAND
    return 1.0 if past.state in ("inconclusive", "failed", "expired") else 0.0


def _feasibility(candidate: Candidate, confidence: float, strategy: Strategy | None) -> float:
    knob, need = candidate.knob, candidate.judgement.need
    gain = 0.75
    if strategy is not None and strategy.effect is not None:
        lift = max(strategy.effect.lift, 0.0)
        gain = 0.5 + 0.5 * min(lift / need if need else math.copysign(1.0, lift), 1.0)
    costly = _COSTLY if knob.cost and candidate.turn.way == "raise" else 1.0
    return confidence * _HARM[knob.impact] * costly * gain


def _expectation(strategy: Strategy | None) -> str:
    if strategy is None:
        return "unknown: this was never tried"
    effect = strategy.effect
    if effect is None:
        return f"unknown: outcomes are too few for an interval; {strategy.text}"
    interval = f"four times in five between {effect.low:.0%} and {effect.high:.0%}"
    return f"better by {effect.lift:.0%}, {interval}; {strategy.text}"
