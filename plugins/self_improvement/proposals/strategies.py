"""What worked, where, how often and by how much: owns the outcomes of the past and what follows from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Literal, NamedTuple, TypeVar

import msgspec

from aetherra.plugins.self_improvement.proposals.confidence import HALF_LIFE, decay, pooled, posterior, prior
from aetherra.plugins.self_improvement.proposals.proposal import (
    Basis,
    Context,
    ExpectedEffect,
    Kind,
    Problem,
    Proposal,
    Value,
    Verdict,
)

__all__ = ["Breadth", "Outcome", "Rest", "Strategies", "Strategy", "family", "helped", "opposite", "same_value"]

J = TypeVar("J")
K = TypeVar("K", bound=Hashable)
Breadth = Literal["context", "metric", "family", "anything"]
"""How far one had to look: the same context, the same metric with another problem or load, a metric of the same family,
any metric."""

_BREADTHS: tuple[Breadth, ...] = ("context", "metric", "family", "anything")
_FEWEST = 3
"""Outcomes below which there is no interval to speak of."""
_LONGEST_REST = 30 * 86_400.0
_NOTHING = (0.0, 0.0)


def helped(problem: Problem, verdict: Verdict) -> bool | None:
    """Whether a change did what it was made for; None where nobody can say.

    A change that takes back what is no longer needed has done so if nothing got worse; any other must have made it
    better.
    """
    if verdict == "unknown":
        return None
    return verdict == "better" or (verdict == "same" and problem == "no_longer_needed")


def family(metric: str) -> str:
    """Return the shell pattern of a metric and its like: ``queue.*.wait_p95``; a name of two parts is its own."""
    parts = metric.split(".")
    return ".".join([parts[0], "*", parts[-1]]) if len(parts) > 2 else metric


def opposite(direction: str) -> str:
    """Return the other way to turn a knob; ``""`` for a choice, which has none."""
    return {"raise": "lower", "lower": "raise"}.get(direction, "")


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What one change came to: a row of the library.

    Attributes:
        context: The situation that it was made in.
        kind: By the knob's role.
        knob: The knob's name.
        direction: ``raise``, ``lower``, or ``to <choice>``.
        basis: Why the knob should have moved the metric that way.
        size: How far it was turned, in steps of the knob; 0 for choices.
        before: The knob's value before.
        after: The value that was tried.
        lift: By how much the metric got better, as a share of its level; negative is worse, None is unknown.
        verdict: What that means.
        confidence: Probability of success that was told beforehand, 0 to 1.
        at: When it was known, Unix seconds.
        proposal: The proposal's id.
    """

    context: Context
    kind: Kind
    knob: str
    direction: str
    basis: Basis = "declared"
    size: float = 1.0
    before: Value
    after: Value
    lift: float | None
    verdict: Verdict
    confidence: float
    at: float
    proposal: str = ""

    @classmethod
    def of(cls, proposal: Proposal, at: float) -> Outcome:
        """Return the row that a measured proposal makes, known since ``at`` (Unix seconds).

        Raises:
            ValueError: It has no outcome.
        """
        if proposal.outcome is None:
            raise ValueError(f"proposal {proposal.id!r} is {proposal.state!r} and has no outcome yet")
        return cls(
            context=proposal.context,
            kind=proposal.kind,
            knob=proposal.knob,
            direction=proposal.direction,
            basis=proposal.basis,
            size=proposal.size,
            before=proposal.before,
            after=proposal.after,
            lift=proposal.outcome.lift,
            verdict=proposal.outcome.verdict,
            confidence=proposal.confidence,
            at=at,
            proposal=proposal.id,
        )

    @property
    def helped(self) -> bool | None:
        """Whether it did what it was made for; None where nobody can say."""
        return helped(self.context.problem, self.verdict)


class Strategy(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one way to turn one knob, for one context.

    Attributes:
        kind: By the knob's role.
        knob: The knob's name.
        direction: ``raise``, ``lower``, or ``to <choice>``.
        basis: Why the knob should move the metric that way, as it was last thought.
        breadth: How far one had to look for outcomes.
        tried: Outcomes found there whose success is known.
        worked: How many of them helped.
        worse: How many made it worse.
        confidence: Probability that it helps here, 0 to 1, narrower and wider outcomes weighed.
        effect: What it did there; None where fewer than three outcomes were measured.
        size: Median of how far the knob was turned when it helped, in steps; None if it never did.
        last: When the latest outcome was known, Unix seconds.
        text: The same in a sentence.
    """

    kind: Kind
    knob: str
    direction: str
    basis: Basis
    breadth: Breadth
    tried: int
    worked: int
    worse: int
    confidence: float
    effect: ExpectedEffect | None
    size: float | None
    last: float
    text: str


class Rest(msgspec.Struct, frozen=True):
    """Why and how long a change is not to be tried again.

    Attributes:
        until: Unix seconds.
        reason: In a sentence.
    """

    until: float
    reason: str


class _Worths(NamedTuple):
    """Successes and failures, decayed, of one turn: in each context, for each metric, family, and altogether."""

    contexts: dict[Context, tuple[float, float]]
    metrics: dict[str, tuple[float, float]]
    families: dict[str, tuple[float, float]]
    whole: tuple[float, float]


class _Figures(NamedTuple):
    """What outcomes of one turn come to, whatever one asks for."""

    tried: int
    worked: int
    worse: int
    effect: ExpectedEffect | None
    size: float | None
    latest: Outcome


class Strategies:
    """The library as it is known at one time.

    Args:
        outcomes: All rows, in any order; those from after ``now`` are not known yet, and passed over.
        now: Unix seconds.
        half_life: Seconds after which an outcome counts half.
    """

    def __init__(
        self,
        outcomes: Iterable[Outcome] = (),
        *,
        now: float,
        half_life: float = HALF_LIFE,
    ) -> None:
        self._now = now
        self._half_life = half_life
        self._rows = sorted((row for row in outcomes if row.at <= now), key=lambda row: (row.at, row.proposal))
        self._by_turn: dict[tuple[str, str], list[Outcome]] = {}
        self._by_kind: dict[tuple[Kind, Basis, bool], dict[tuple[str, str], list[Outcome]]] = {}
        self._known: dict[tuple[str, str], dict[Hashable, list[Outcome]]] = {}
        # What was counted is kept: a library does not change.
        self._worths: dict[tuple[tuple[str, str], bool, float], _Worths] = {}
        self._wholes: dict[tuple[Kind, Basis, bool], dict[tuple[str, str], tuple[float, float]]] = {}
        self._others: dict[tuple[tuple[Kind, Basis, bool], tuple[str, str]], tuple[float, float]] = {}
        self._figures: dict[tuple[tuple[str, str], Hashable], _Figures] = {}
        for row in self._rows:
            turn = row.knob, row.direction
            self._by_turn.setdefault(turn, []).append(row)
            alike = self._by_kind.setdefault((row.kind, row.basis, _gives_back(row.context)), {})
            alike.setdefault(turn, []).append(row)
            if row.helped is not None:
                known = self._known.setdefault(turn, {})
                for place in _places(row.context):
                    known.setdefault(place, []).append(row)

    @property
    def outcomes(self) -> Sequence[Outcome]:
        """All rows that are known, the oldest first."""
        return tuple(self._rows)

    def confidence(
        self,
        context: Context,
        *,
        kind: Kind,
        knob: str,
        direction: str,
        basis: Basis,
        strength: float = 1.0,
        size: float = 0.0,
    ) -> float:
        """Return the probability that turning ``knob`` by ``size`` steps in ``direction`` helps in ``context``, 0 to 1.

        From the stated prior over what knobs of this kind and basis did, this knob with any metric, with metrics of the
        family, with this metric, to this very context. Outcomes that nobody could judge count nowhere, and one that
        made no difference does not speak against a change at least twice as large: it was too small to be seen.
        """
        gives_back, turn = _gives_back(context), (knob, direction)
        here = self._worth_of(turn, gives_back, size)
        wide, own = self._worth_of_others(kind, basis, gives_back, turn), pooled([here.whole])
        levels = (
            (wide[0] + own[0], wide[1] + own[1]),
            here.whole,
            here.families.get(family(context.metric), _NOTHING),
            here.metrics.get(context.metric, _NOTHING),
            here.contexts.get(context, _NOTHING),
        )
        return posterior(prior(basis, strength), levels)

    def too_small(self, context: Context, knob: str, direction: str, size: float) -> int:
        """Return how many outcomes of this metric do not speak against a change, as they were too small to be seen."""
        rows = self._by_turn.get((knob, direction), ())
        return sum(row.context.metric == context.metric and _too_small(row, size) for row in rows)

    def lookup(self, context: Context) -> tuple[Strategy, ...]:
        """Return what was tried, the most promising first: by probability times typical lift, then by probability.

        Each way to turn a knob stands once, with the outcomes of the narrowest breadth that has any whose success is
        known.
        """
        found = [
            strategy
            for knob, direction in sorted(self._by_turn)
            if (strategy := self.find(context, knob, direction)) is not None
        ]
        return tuple(sorted(found, key=_promise, reverse=True))

    def latest(self, metric: str, most: int) -> tuple[Strategy, ...]:
        """Return what was tried, situation by situation, the latest first; ``""`` for all metrics."""
        contexts = {row.context: None for row in reversed(self._rows) if metric in ("", row.context.metric)}
        return tuple(islice((strategy for context in contexts for strategy in self.lookup(context)), most))

    def find(self, context: Context, knob: str, direction: str) -> Strategy | None:
        """Return what is known of one way to turn one knob; None where its success was never known."""
        turn = knob, direction
        known = self._known.get(turn, {})
        at = _places(context)
        number = next((number for number, place in enumerate(at) if place in known), None)
        if number is None:
            return None
        breadth, place = _BREADTHS[number], at[number]
        if (turn, place) not in self._figures:
            self._figures[turn, place] = _figures(known[place])
        figures = self._figures[turn, place]
        return Strategy(
            kind=figures.latest.kind,
            knob=knob,
            direction=direction,
            basis=figures.latest.basis,
            breadth=breadth,
            tried=figures.tried,
            worked=figures.worked,
            worse=figures.worse,
            confidence=self.confidence(
                context, kind=figures.latest.kind, knob=knob, direction=direction, basis=figures.latest.basis
            ),
            effect=figures.effect,
            size=figures.size,
            last=figures.latest.at,
            text=_sentence(context, knob, direction, breadth, figures),
        )

    def rest(
        self, context: Context, *, knob: str, direction: str, before: Value, size: float, cool_down: float
    ) -> Rest | None:
        """Return why a change should not be tried again yet; None if nothing speaks against it.

        A change from the same value that did not help this metric under this load is left alone for ``cool_down``
        seconds, twice as long after each further one without a success between, 30 days at most (or ``cool_down``, if
        that is more); one that nobody could judge for ``cool_down``. A smaller one may be tried meanwhile, and one at
        least twice as large if the outcome was the same as before.
        """
        row_of_failures, last = 0, None
        for row in self._by_turn.get((knob, direction), []):
            same = row.context.metric == context.metric and row.context.load == context.load
            if not same or not same_value(row.before, before):
                continue
            if row.helped:
                row_of_failures, last = 0, None
            elif row.size <= size and not _too_small(row, size):
                row_of_failures += row.helped is False
                last = row
        if last is None:
            return None
        until = last.at + min(cool_down * 2.0 ** max(row_of_failures - 1, 0), max(_LONGEST_REST, cool_down))
        if self._now >= until:
            return None
        came = "nobody could say what it did" if last.helped is None else f"the outcome was {last.verdict!r}"
        times = f", {row_of_failures} times in a row" if row_of_failures > 1 else ""
        return Rest(until, f"tried from {before} before, and {came}{times}")

    def turned_out_worse(self, metric: str, knob: str, direction: str, before: Value) -> Outcome | None:
        """Return the latest outcome that says the other way is worth a try from ``before``, if there is one.

        Such is one that made ``metric`` worse from this value, as was measured on it, or one of the other way that made
        it better: the way that the knob's owner declared does not hold here. What was taken back for the harm that it
        did elsewhere says nothing of that.
        """
        for row in reversed(self._rows):
            if row.knob != knob or row.context.metric != metric or row.lift is None:
                continue
            if (
                row.direction == direction
                and row.verdict == "worse"
                and row.lift < 0
                and same_value(row.before, before)
            ):
                return row
            if row.direction == opposite(direction) and row.verdict == "better" and row.basis == "contrary":
                return row
        return None

    def came_from(self, metric: str, knob: str, direction: str, before: Value, after: Value) -> Outcome | None:
        """Return the outcome by which the knob came to ``before`` the opposite way and made ``metric`` better.

        To turn it in ``direction``, to ``after``, would take that back.
        """
        back = opposite(direction)
        for row in reversed(self._rows):
            if row.knob != knob or row.context.metric != metric or not same_value(row.after, before):
                continue
            if row.direction == back if back else same_value(row.before, after):
                return row if row.verdict == "better" else None
        return None

    def _worth_of(self, turn: tuple[str, str], gives_back: bool, size: float) -> _Worths:
        """Return what the outcomes of a turn are worth for one of ``size`` steps."""
        key = turn, gives_back, size
        if key not in self._worths:
            rows = (row for row in self._by_turn.get(turn, ()) if _gives_back(row.context) == gives_back)
            self._worths[key] = self._counted(row for row in rows if not _too_small(row, size))
        return self._worths[key]

    def _worth_of_others(
        self, kind: Kind, basis: Basis, gives_back: bool, turn: tuple[str, str]
    ) -> tuple[float, float]:
        """Return what the outcomes of all other turns of a kind are worth for the kind."""
        alike = kind, basis, gives_back
        if alike not in self._wholes:
            by_turn = self._by_kind.get(alike, {})
            self._wholes[alike] = {other: self._counted(rows).whole for other, rows in by_turn.items()}
        if (alike, turn) not in self._others:
            self._others[alike, turn] = pooled(own for other, own in self._wholes[alike].items() if other != turn)
        return self._others[alike, turn]

    def _counted(self, rows: Iterable[Outcome]) -> _Worths:
        contexts = {context: self._count(part) for context, part in _grouped(rows, lambda row: row.context).items()}
        metrics = _pooled(contexts, lambda context: context.metric)
        families = _pooled(metrics, family)
        return _Worths(contexts, metrics, families, pooled(families.values()))

    def _count(self, rows: Iterable[Outcome]) -> tuple[float, float]:
        yes = no = 0.0
        for row in rows:
            if row.helped is not None:
                worth = decay(self._now - row.at, self._half_life)
                yes, no = yes + worth * row.helped, no + worth * (not row.helped)
        return yes, no


def _grouped(things: Iterable[J], key: Callable[[J], K]) -> dict[K, list[J]]:
    groups: dict[K, list[J]] = {}
    for thing in things:
        groups.setdefault(key(thing), []).append(thing)
    return groups


def _pooled(worths: Mapping[J, tuple[float, float]], key: Callable[[J], K]) -> dict[K, tuple[float, float]]:
    return {wider: pooled(worths[one] for one in places) for wider, places in _grouped(worths, key).items()}


def _places(context: Context) -> tuple[Hashable, ...]:
    """Return where an outcome is looked for, one for each breadth, the narrowest first.

    What is no longer needed is another question than what is wrong, and does not answer it: the two never mix.
    """
    gives_back = _gives_back(context)
    return context, (gives_back, "metric", context.metric), (gives_back, "family", family(context.metric)), gives_back


def _too_small(row: Outcome, size: float) -> bool:
    """Whether a change is too small to tell anything of one of ``size`` steps."""
    return row.verdict == "same" and not row.helped and 0 < 2 * row.size <= size


def _gives_back(context: Context) -> bool:
    return context.problem == "no_longer_needed"


def _figures(known: Sequence[Outcome]) -> _Figures:
    worked = [row for row in known if row.helped]
    return _Figures(
        tried=len(known),
        worked=len(worked),
        worse=sum(row.verdict == "worse" for row in known),
        effect=_effect(known),
        size=_quantile(sorted(row.size for row in worked), 0.5) if worked else None,
        latest=known[-1],
    )


def _effect(rows: Sequence[Outcome]) -> ExpectedEffect | None:
    lifts = sorted(row.lift for row in rows if row.lift is not None)
    if len(lifts) < _FEWEST:
        return None
    return ExpectedEffect(
        lift=_quantile(lifts, 0.5), low=_quantile(lifts, 0.1), high=_quantile(lifts, 0.9), outcomes=len(lifts)
    )


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Return a quantile of sorted values, linear between two of them."""
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def same_value(one: Value, other: Value) -> bool:
    """Whether two settings of a knob are the same, but for the last digits."""
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    return math.isclose(one, other, rel_tol=1e-9)


def _promise(strategy: Strategy) -> tuple[float, float]:
    lift = 0.0 if strategy.effect is None else max(strategy.effect.lift, 0.0)
    return strategy.confidence * lift, strategy.confidence


def _sentence(
    context: Context,
    knob: str,
    direction: str,
    breadth: Breadth,
    figures: _Figures,
) -> str:
    where = {
        "context": f"for {context.metric} ({context.problem}, load {context.load})",
        "metric": f"for {context.metric} with another problem or load",
        "family": f"for {family(context.metric)}",
        "anything": "for other metrics",
    }[breadth]
    turn = f"{direction} {knob}" if opposite(direction) else f"{knob} {direction}"
    lift = f", typical lift {figures.effect.lift:+.0%}" if figures.effect is not None else ""
    return f"{turn} helped {figures.worked} of {figures.tried} times {where}{lift}"
