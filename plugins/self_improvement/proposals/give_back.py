"""What may be taken back: owns the judgement that a change which was kept is no longer needed.

It must not flap: a change is taken back only where the level that the metric would have without it, as its trial
measured the difference, is well inside the setpoint, with a quarter to spare. While the load is what it was, that level
is the one that the change was made for, so nothing is taken back. And each time that it was taken back before, whether
that stood or not, doubles the wait.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from aetherra.plugins import KnobInfo
from aetherra.plugins.self_improvement.proposals.candidates import Candidate
from aetherra.plugins.self_improvement.proposals.problems import Judgement
from aetherra.plugins.self_improvement.proposals.proposal import Proposal, Value
from aetherra.plugins.self_improvement.proposals.strategies import Strategies, same_value
from aetherra.plugins.self_improvement.proposals.turns import Turn

__all__ = ["returns"]

_SPARE = 1.25
"""How much worse than predicted the level may be and still be well."""
_SEVERITY = 0.1
"""What a cost that nobody complains about counts beside a metric as bad as can be."""


def returns(
    now: float,
    after: float,
    proposals: Sequence[Proposal],
    knobs: Mapping[str, KnobInfo],
    judged: Mapping[str, Judgement],
    strategies: Strategies,
) -> Iterator[Candidate]:
    """Yield what may be taken back: of each knob the change by which it came to where it stands, if that costs.

    Args:
        now: Unix seconds.
        after: Seconds that a change must have been kept.
        proposals: The oldest first, by when they were concluded.
        knobs: By name.
        judged: How each metric is doing.
        strategies: What was learnt.
    """
    kept_all = [one for one in proposals if one.state == "kept" and one.concluded is not None]
    latest = {one.knob: one.concluded or 0.0 for one in kept_all}
    standing = {
        one.knob: one
        for one in kept_all
        if one.context.problem != "no_longer_needed" and _stands(one, knobs.get(one.knob))
    }
    for kept in standing.values():
        knob, judgement, since = knobs[kept.knob], judged.get(kept.metric), latest[kept.knob]
        costs = bool(knob.cost) or knob.role in ("capacity", "quality")
        if judgement is None or not (costs and knob.undo and judgement.is_well and _takes(knob, kept.before)):
            continue
        before = sum(
            row.knob == kept.knob and row.context.metric == kept.metric and row.context.problem == "no_longer_needed"
            for row in strategies.outcomes
        )
        level = _without(kept, judgement)
        if level is None or now - since < after * 2.0 ** min(before, 20):
            continue
        text = f"{judgement.text}, for {(now - since) / 86_400:.0f} days since {kept.id}"
        yield Candidate(
            knob,
            msgspec.structs.replace(judgement, problem="no_longer_needed", severity=_SEVERITY, text=text),
            _back(kept, knob),
            f"without that change it would be about {level:.4g}, still well{_costs(knob)}",
        )


def _stands(kept: Proposal, knob: KnobInfo | None) -> bool:
    return knob is not None and knob.value is not None and same_value(knob.value, kept.after)


def _without(kept: Proposal, judgement: Judgement) -> float | None:
    """Return the level that the metric would have without a change; None where that is unknown or not well."""
    lift = None if kept.outcome is None else kept.outcome.lift
    if lift is None or judgement.level is None or judgement.setpoint is None:
        return None
    share = 1 - lift if judgement.good == "down" else 1 + lift
    if share <= 0:
        return None
    level = judgement.level / share
    spare = level * _SPARE if (judgement.good == "down") == (level > 0) else level / _SPARE
    return level if judgement.setpoint.severity(spare) == 0 else None


def _takes(knob: KnobInfo, value: Value) -> bool:
    if isinstance(value, str):
        return value in knob.choices
    return knob.low is not None and knob.high is not None and knob.low <= value <= knob.high


def _back(kept: Proposal, knob: KnobInfo) -> Turn:
    if kept.direction == "raise":
        return Turn("lower", "lower", "declared", kept.before, kept.size)
    if kept.direction == "lower":
        return Turn("raise", "raise", "declared", kept.before, kept.size)
    earlier = knob.choices.index(str(kept.before)) < knob.choices.index(str(kept.after))
    return Turn(f"to {kept.before}", "lower" if earlier else "raise", "declared", kept.before, 0.0)


def _costs(knob: KnobInfo) -> str:
    return f", and it costs {knob.cost}" if knob.cost else ""
