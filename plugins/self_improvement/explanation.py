"""Why something was proposed, what was done, and what it did: in a few lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from aetherra.plugins.self_improvement.book import Book
from aetherra.plugins.self_improvement.messages import Explanation
from aetherra.plugins.self_improvement.proposals import Proposal, Strategy

__all__ = ["explain", "explanation"]

MOST_TOLD = 1_000
"""Strategies that are told with a proposal."""


def explanation(proposal: Proposal, book: Book) -> Explanation:
    """Return the whole story of a proposal, with what is known by now of changes like it; slow: for worker threads."""
    alike = [one for one in book.strategies.lookup(proposal.context) if one.knob == proposal.knob][:MOST_TOLD]
    return Explanation(proposal.id, explain(proposal, alike), proposal, tuple(alike))


def explain(proposal: Proposal, strategies: Sequence[Strategy] = ()) -> str:
    """Return the whole story of a proposal; times are UTC."""
    return "\n".join(_lines(proposal, strategies))


def _lines(proposal: Proposal, strategies: Sequence[Strategy]) -> Iterator[str]:
    unit = f" {proposal.unit}" if proposal.unit else ""
    yield f"{proposal.id}: {proposal.kind} {proposal.knob} {proposal.before} -> {proposal.after}{unit}"
    yield f"for {proposal.metric}, which should go {proposal.good}; {proposal.rationale}"
    for row in proposal.evidence:
        span = f"{row.points} points of {row.metric}, {_at(row.since)} to {_at(row.until)}"
        yield f"evidence: {row.text} ({row.statistic} {row.value:g}; {span})"
    yield f"expected: {proposal.expectation or 'nothing is known'}"
    yield f"confidence {proposal.confidence:.2f}: {proposal.confidence_reason}"
    yield f"priority {proposal.priority:.2f}, impact {proposal.impact}, cost: {proposal.cost or 'none that is known'}"
    yield f"way back: {proposal.way_back or 'none'}"
    for step in proposal.steps:
        yield f"{_at(step.at)} {step.state}{f': {step.reason}' if step.reason else ''}"
    if proposal.outcome is not None:
        lift = "" if proposal.outcome.lift is None else f", lift {proposal.outcome.lift:+.0%}"
        yield f"outcome: {proposal.outcome.verdict}{lift}; {proposal.outcome.text}"
    for strategy in strategies:
        yield f"known by now: {strategy.text}"


def _at(time: float) -> str:
    return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M:%S}"
