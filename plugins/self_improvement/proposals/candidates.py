"""Which turns of which knobs come into question: owns the way from what is wrong to what might help."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import msgspec

from aetherra.plugins import KnobInfo
from aetherra.plugins.self_improvement.analysis.correlation import Correlation
from aetherra.plugins.self_improvement.analysis.directions import Direction
from aetherra.plugins.self_improvement.proposals.problems import Judgement
from aetherra.plugins.self_improvement.proposals.proposal import Evidence
from aetherra.plugins.self_improvement.proposals.strategies import Strategies
from aetherra.plugins.self_improvement.proposals.turns import Turn, moves, turns

__all__ = ["Candidate", "Candidates", "Tell"]

Tell = Callable[[str, str, str], None]
"""Hears of what does not come into question: knob, metric, why."""

_FALSE_FINDINGS = 0.05
"""Highest share of false findings among relations that anything is built on."""


class Candidate(msgspec.Struct, frozen=True):
    """A turn of a knob for the good of a metric, not yet weighed.

    Attributes:
        knob: It has a value and a way back.
        judgement: What is wrong with the metric.
        turn: The change.
        why: What speaks for it.
        strength: How far that carries, 0 to 1.
        evidence: Rows beside those of the judgement.
    """

    knob: KnobInfo
    judgement: Judgement
    turn: Turn
    why: str
    strength: float = 1.0
    evidence: tuple[Evidence, ...] = ()


class Candidates:
    """Finds what might help.

    Args:
        knobs: By name.
        strategies: What was learnt.
        tell: Whom to tell what does not come into question.
    """

    def __init__(self, knobs: Mapping[str, KnobInfo], strategies: Strategies, tell: Tell) -> None:
        self._knobs = knobs
        self._strategies = strategies
        self._tell = tell

    def find(self, problems: Iterable[Judgement], relations: Iterable[Correlation]) -> Iterator[Candidate]:
        """Yield what might help against each of the problems."""
        strongest = sorted(
            (one for one in relations if one.q <= _FALSE_FINDINGS), key=lambda one: (-abs(one.r), one.first, one.second)
        )
        for judgement in problems:
            related = [(one, _other(one, judgement.metric)) for one in strongest]
            related = [(one, other) for one, other in related if other]
            touched = False
            for knob in self._knobs.values():
                raising = moves(knob, judgement.metric)
                by = [(one, other) for one, other in related if moves(knob, other) in ("up", "down")]
                if raising is None and not by:
                    continue
                touched = True
                if not self.usable(knob, judgement):
                    continue
                if raising is None:
                    yield from self._related(knob, judgement, *by[0])
                else:
                    yield from self._declared(knob, judgement, raising)
            if not touched:
                self._tell("", judgement.metric, "no knob is said to move it, nor a metric that goes along with it")

    def tell_unknown(self, unknown: Iterable[Judgement]) -> None:
        """Tell which knobs were passed over because nobody knows how the metric is that they move."""
        for judgement in unknown:
            for knob in self._knobs.values():
                if moves(knob, judgement.metric) is not None:
                    self._tell(knob.name, judgement.metric, judgement.text)

    def usable(self, knob: KnobInfo, judgement: Judgement) -> bool:
        """Whether a knob may be turned at all; tells why not."""
        if knob.value is None:
            self._tell(knob.name, judgement.metric, f"its value is unknown: {knob.problem or 'it cannot be read'}")
        elif not knob.undo:
            self._tell(knob.name, judgement.metric, "it has no way back")
        else:
            return True
        return False

    def _declared(self, knob: KnobInfo, judgement: Judgement, raising: Direction) -> Iterator[Candidate]:
        metric = judgement.metric
        ways = list(turns(knob, raising, judgement.good))
        if judgement.good not in ("up", "down"):
            self._tell(knob.name, metric, "nobody said which way is good")
        elif not any(turn.basis != "contrary" for turn in ways):
            self._tell(knob.name, metric, f"it is {knob.value}, and has no room that way")
        for turn in ways:
            why = f"raising {knob.name} moves it {raising}, as {knob.plugin} declares"
            if turn.basis == "unknown":
                why = f"{knob.plugin} does not say which way {knob.name} moves it"
            elif turn.basis == "contrary":
                measured = self._measured_otherwise(knob, metric, ways, turn)
                if not measured:
                    continue
                why = f"{why}, but {measured}"
            yield Candidate(knob, judgement, turn, why)

    def _measured_otherwise(self, knob: KnobInfo, metric: str, ways: Sequence[Turn], contrary: Turn) -> str:
        """Return what was measured that speaks against the declared way; empty if nothing does."""
        against = "lower" if contrary.way == "raise" else "raise"
        declared = next((way.direction for way in ways if way.basis == "declared"), against)
        assert knob.value is not None
        proof = self._strategies.turned_out_worse(metric, knob.name, declared, knob.value)
        return "" if proof is None else f"from {proof.before} to {proof.after} it got {proof.verdict}"

    def _related(self, knob: KnobInfo, judgement: Judgement, found: Correlation, other: str) -> Iterator[Candidate]:
        """Yield the turn that helps by way of a metric that goes along with this one."""
        declared = moves(knob, other)
        raising = declared if found.r > 0 else "down" if declared == "up" else "up"
        row = _row(found, judgement, other)
        turn = next(
            (turn for turn in turns(knob, raising or "unknown", judgement.good) if turn.basis == "declared"), None
        )
        if turn is None:
            self._tell(knob.name, judgement.metric, f"it is {knob.value}, and has no room that way")
            return
        turn = msgspec.structs.replace(turn, basis="correlated")
        why = f"raising {knob.name} moves {other} {declared}, as {knob.plugin} declares, and {row.text}"
        yield Candidate(knob, judgement, turn, why, abs(found.r), (row,))


def _other(found: Correlation, metric: str) -> str:
    """Return the metric that ``metric`` is related to; empty if it is none of the two."""
    return {found.first: found.second, found.second: found.first}.get(metric, "")


def _row(found: Correlation, judgement: Judgement, other: str) -> Evidence:
    return Evidence(
        metric=judgement.metric,
        since=min(row.since for row in judgement.evidence),
        until=max(row.until for row in judgement.evidence),
        points=max(row.points for row in judgement.evidence),
        statistic="r",
        value=found.r,
        text=f"{judgement.metric} goes along with {other} (r = {found.r:.2f} at a lag of {found.lag:g} s)",
    )
