"""The desk: where decisions are written, each with its number and its reasons."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from aetherra.plugins.homeostasis.decision.case import Case
from aetherra.plugins.homeostasis.decision.changes import Change
from aetherra.plugins.homeostasis.decision.decision import Considered, Decision, DecisionKind, Effect, Evidence
from aetherra.plugins.homeostasis.decision.regulator import Regulator
from aetherra.plugins.homeostasis.decision.rung import Rung

__all__ = ["Desk", "DeskMemory"]


class DeskMemory(msgspec.Struct):
    """The number of the last decision, and how many of each kind there were."""

    number: int = 0
    made: dict[str, int] = {}


class Desk:
    """Writes decisions and effects. ``at`` is the clock's time, which cases do not know."""

    def __init__(self, memory: DeskMemory, series: str = "d") -> None:
        self.memory = memory
        self._series = series
        self.at = 0.0

    def act(self, case: Case, rung: Rung, considered: Sequence[Considered], now: float) -> Decision:
        """Write down that a rung is taken."""
        expects = rung.expects or f"{case.signal.metric} is no longer {case.signal.bound}"
        evidence = self._evidence(case, now)
        return self._decision(
            kind="act",
            action=rung.action,
            target=case.target,
            arguments=rung.arguments,
            symptom=case.symptom,
            disruptive=rung.disruptive,
            settle=rung.settle,
            evidence=evidence,
            considered=considered,
            expects=expects,
            reason=f"{case.key}: {_seen(evidence)}; {_done(rung.action, case.target)}{_else(considered)}: "
            f"{expects} within {rung.settle:g} s",
        )

    def give_up(self, case: Case, considered: Sequence[Considered], now: float, *, again: float) -> Decision:
        """Write down that there is nothing more to try."""
        evidence = self._evidence(case, now)
        return self._decision(
            kind="give_up",
            target=case.target,
            symptom=case.symptom,
            evidence=evidence,
            considered=considered,
            reason=f"{case.key}: {_seen(evidence)}, and nothing is left to do{_else(considered)}; "
            f"somebody should look; it is looked at again within {again:.0f} s",
        )

    def undo(self, change: Change, case: Case | None, why: str, now: float) -> Decision:
        """Write down that a lasting change is taken back."""
        evidence = Evidence("", None, "", 0, 0, 0) if case is None else self._evidence(case, now)
        symptom = change.holders[0][0] if change.holders else ""
        return self._decision(
            kind="undo",
            action=change.action,
            target=change.target,
            arguments=change.undo,
            symptom=symptom if case is None else case.symptom,
            evidence=evidence,
            expects="all stays well without it",
            undoes=change.id,
            reason=f"{_done(change.action, change.target)} is undone after {now - change.at:.0f} s: {why}",
        )

    def turn(self, name: str, regulator: Regulator, value: float, before: float) -> Decision:
        """Write down where a knob is turned."""
        knob = regulator.knob
        bound = f"held at {knob.setpoint:g}"
        expects = f"{regulator.metric} comes to {knob.setpoint:g}"
        return self._decision(
            kind="set",
            action=knob.action,
            target=regulator.target,
            arguments=knob.arguments,
            value=value,
            symptom=name,
            settle=knob.every,
            evidence=Evidence(regulator.metric, regulator.value, bound, 1, 1, 1),
            expects=expects,
            reason=f"{name}: {regulator.metric} is {_figure(regulator.value)}, {bound}; "
            f"{_done(knob.action, regulator.target)} goes from {before:.4g} to {value:.4g}",
        )

    def effect(self, case: Case, helped: bool | None, why: str, now: float) -> Effect:
        """Write down what an act has changed."""
        trial = case.memory.trial
        assert trial is not None
        after = case.signal.value if case.signal.known else None
        done = _done(trial.action, case.target)
        verdict = {
            True: f"{done} helped",
            False: f"{done} did not help",
            None: f"nobody can tell whether {done} helped",
        }[helped]
        return Effect(
            decision_id=trial.id,
            symptom=case.symptom,
            target=case.target,
            action=trial.action,
            metric=case.signal.metric,
            before=trial.before,
            after=after,
            helped=helped,
            seconds=now - trial.at,
            sentence=f"{verdict} against {case.symptom}: {case.signal.metric} went from {_figure(trial.before)} "
            f"to {_figure(after)} in {now - trial.at:.0f} s; {why}",
        )

    def _evidence(self, case: Case, now: float) -> Evidence:
        signal, memory = case.signal, case.memory
        votes, of, needed = signal.votes()
        since = memory.entered_at if signal.active else memory.left_at
        return Evidence(
            metric=signal.metric,
            value=signal.value if signal.known else None,
            bound=signal.bound,
            votes=votes,
            of=of,
            needed=needed,
            agreeing=signal.agreement.texts,
            since=0.0 if since is None else now - since,
        )

    def _decision(
        self,
        *,
        kind: DecisionKind,
        symptom: str,
        evidence: Evidence,
        reason: str,
        action: str = "",
        target: str = "",
        arguments: dict[str, str | bool | int | float | None] | None = None,
        value: float | None = None,
        disruptive: bool = False,
        settle: float = 0.0,
        considered: Sequence[Considered] = (),
        expects: str = "",
        undoes: str = "",
    ) -> Decision:
        self.memory.number += 1
        self.memory.made[kind] = self.memory.made.get(kind, 0) + 1
        return Decision(
            id=f"{self._series}{self.memory.number}",
            kind=kind,
            action=action,
            target=target,
            arguments=dict(arguments or {}),
            value=value,
            symptom=symptom,
            disruptive=disruptive,
            settle=settle,
            at=self.at,
            evidence=evidence,
            considered=tuple(considered),
            expects=expects,
            undoes=undoes,
            reason=reason,
        )


def _seen(evidence: Evidence) -> str:
    agreeing = f", and {', '.join(evidence.agreeing)} agrees" if evidence.agreeing else ""
    return (
        f"{evidence.metric} is {_figure(evidence.value)}, bad {evidence.bound}, "
        f"{evidence.votes} of {evidence.of} where {evidence.needed} are needed{agreeing}"
    )


def _else(considered: Sequence[Considered]) -> str:
    return (
        f" (not {'; not '.join(f'{other.action}, as {other.why_not}' for other in considered)})" if considered else ""
    )


def _done(action: str, target: str) -> str:
    return f"{action} on {target}" if target else action


def _figure(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"
