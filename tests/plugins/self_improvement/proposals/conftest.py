"""What proposals are made from: analyses of generated points, knobs, outcomes, and a plant to turn them on."""

from __future__ import annotations

import random

import msgspec
import pytest

from aetherra.plugins import KnobInfo
from aetherra.plugins.self_improvement.analysis.change_points import ChangePoint, change_points
from aetherra.plugins.self_improvement.analysis.comparison import compare
from aetherra.plugins.self_improvement.analysis.metric_analysis import analyse
from aetherra.plugins.self_improvement.analysis.summary import Summary, summary
from aetherra.plugins.self_improvement.analysis.trends import Trend, trend
from aetherra.plugins.self_improvement.proposals import (
    Context,
    MeasuredEffect,
    Outcome,
    Proposal,
    Proposer,
    ProposerSettings,
    Setpoint,
    Strategies,
    helped,
)

NOW = 1_800_000_000.0
HOUR = 3600.0
TRIAL = 30
"""Minutes, and points, before a change and after it that are held against each other."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    unit: str
    trend: Trend
    summary: Summary
    change_points: tuple[ChangePoint, ...] = ()
    crossing: object = None
    season: object = None
    runs: tuple[tuple[float, float], ...] = ()


class Seasonal(msgspec.Struct, frozen=True):
    verdict: str


class Crossed(msgspec.Struct, frozen=True):
    setpoint: float
    expected: float | None
    latest: float | None = None
    reason: str = "rising, and expected to reach it"


def _analysed(name, points, *, unit="s", good="down", crossing=None, changes=None, season="none"):
    return Seen(
        name=name,
        unit=unit,
        trend=trend(points, good=good),
        summary=summary(points),
        change_points=change_points(points) if changes is None else tuple(changes),
        crossing=None if crossing is None else Crossed(*crossing),
        season=Seasonal(season),
        runs=analyse(points, name=name, unit=unit, good=good, now=NOW).runs,
    )


def _points(level, *, count=60, until=NOW, every=60.0, noise=0.05, slope=0.0, seed=1):
    """Return points about a level, with what it rises by from first to last."""
    chance = random.Random(seed)
    return [
        (until - (count - 1 - i) * every, level * (1 + chance.gauss(0, noise)) + slope * i / max(count - 1, 1))
        for i in range(count)
    ]


def _knob(**changes):
    fields = {
        "name": "plant.workers",
        "plugin": "plant",
        "value": 4,
        "low": 1,
        "high": 64,
        "step": 2,
        "whole": True,
        "unit": "workers",
        "role": "capacity",
        "moves": {"plant.latency": "down"},
        "impact": "low",
        "cost": "memory of one worker more",
    }
    return KnobInfo(**(fields | changes))


def _context(**changes):
    return Context(**({"metric": "plant.latency", "problem": "beyond_setpoint"} | changes))


def _outcome(verdict="better", **changes):
    fields = {
        "context": _context(),
        "kind": "scale_up",
        "knob": "plant.workers",
        "direction": "raise",
        "before": 4,
        "after": 6,
        "lift": {"better": 0.2, "worse": -0.2, "same": 0.0, "unknown": None}[verdict],
        "verdict": verdict,
        "confidence": 0.65,
        "at": NOW - HOUR,
    }
    return Outcome(**(fields | changes))


def _proposal(**changes):
    fields = {
        "id": "plant.workers-1",
        "kind": "scale_up",
        "knob": "plant.workers",
        "direction": "raise",
        "before": 4,
        "after": 6,
        "metric": "plant.latency",
        "good": "down",
        "context": _context(),
        "rationale": "it is slow",
        "evidence": (),
        "confidence": 0.65,
        "priority": 0.3,
        "way_back": "set the value that it had (4)",
        "created": NOW - HOUR,
        "expires": NOW + 23 * HOUR,
    }
    return Proposal(**(fields | changes))


@pytest.fixture(scope="session")
def now():
    return NOW


@pytest.fixture(scope="session")
def analysed():
    return _analysed


@pytest.fixture(scope="session")
def points():
    return _points


@pytest.fixture(scope="session")
def knob():
    return _knob


@pytest.fixture(scope="session")
def context():
    return _context


@pytest.fixture(scope="session")
def outcome():
    return _outcome


@pytest.fixture(scope="session")
def proposal():
    return _proposal


class Plant:
    """A latency that follows one knob, noise that resembles itself, and the loop that is closed around both."""

    def __init__(self, latency, value, *, seed=1, noise=0.05, memory=0.5, settings=None, **knob):
        self.latency, self.value, self.now = latency, value, NOW
        self.points, self.outcomes, self.proposals, self.values = [], [], [], [value]
        self._chance, self._noise, self._memory, self._error = random.Random(seed), noise, memory, 0.0
        self._knob = {"step": 1.5, "scale": "log"} | knob
        given = {"setpoints": {"plant.latency": Setpoint(0.2, 2.0)}} | (settings or {})
        self.proposer = Proposer(ProposerSettings(**given))
        self.passed = ()

    def run(self, hours, *, look=5, window=120):
        """Look every so many minutes; carry out what is proposed, watch it, keep it or take it back, and learn."""
        end = self.now + hours * HOUR
        self.sample(60)
        while self.now < end:
            self.sample(look)
            analysis = _analysed("plant.latency", self.points[-window:])
            result = self.proposer.propose(
                self.now,
                [analysis],
                [_knob(value=self.value, **self._knob)],
                strategies=Strategies(self.outcomes, now=self.now),
                proposals=self.proposals,
            )
            self.passed = result.passed
            for proposal in result.proposals:
                self.proposals.append(self._tried(proposal))
        return self

    def sample(self, minutes):
        for _ in range(minutes):
            self.now += 60.0
            fresh = self._chance.gauss(0, self._noise) * (1 - self._memory**2) ** 0.5
            self._error = self._memory * self._error + fresh
            self.points.append((self.now, self.latency(self.value) * (1 + self._error)))

    def _tried(self, proposal):
        before = self.points[-TRIAL:]
        assert proposal.before == self.value
        proposal, self.value = proposal.moved("applied", self.now), proposal.after
        self.sample(1)
        self.sample(TRIAL)
        effect = _measured(before, self.points[-TRIAL:])
        good = helped(proposal.context.problem, effect.verdict)
        state = "kept" if good else "inconclusive" if good is None else "undone"
        proposal = proposal.moved(state, self.now, outcome=effect)
        if not good:
            self.value = proposal.before
            self.sample(TRIAL)  # what the trial left behind must not be taken for the level before the next one
        self.values.append(self.value)
        self.outcomes.append(Outcome.of(proposal, self.now))
        return proposal


def _measured(before, after):
    found = compare(before, after, good="down")
    return MeasuredEffect(verdict=found.verdict, before=found.before_median, after=found.after_median, lift=found.lift)


@pytest.fixture(scope="session")
def plant():
    return Plant


class Related(msgspec.Struct, frozen=True, kw_only=True):
    first: str
    second: str
    lag: float = 0.0
    r: float
    q: float = 0.001


@pytest.fixture(scope="session")
def related():
    return Related


@pytest.fixture(scope="session")
def propose():
    """Return a function that looks once: at levels of metrics, each wanted at 0.2, bad at 2."""

    def look(levels, knobs, *, outcomes=(), proposals=(), relations=(), now=NOW, settings=None, **shape):
        given = {"setpoints": {name: Setpoint(0.2, 2.0) for name in levels}} | (settings or {})
        return Proposer(ProposerSettings(**given)).propose(
            now,
            [
                level if isinstance(level, Seen) else _analysed(name, _points(level, until=now, **shape), changes=())
                for name, level in levels.items()
            ],
            knobs,
            strategies=Strategies(outcomes, now=now),
            proposals=proposals,
            relations=relations,
        )

    return look
