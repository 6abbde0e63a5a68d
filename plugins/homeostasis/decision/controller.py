"""The controller: observations in, decisions out."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Literal

from aetherra.plugins.homeostasis.decision.decision import Decision, Effect, Evidence, Outcome
from aetherra.plugins.homeostasis.decision.errors import StateError
from aetherra.plugins.homeostasis.decision.observation import Observation, read
from aetherra.plugins.homeostasis.decision.policy import Policy
from aetherra.plugins.homeostasis.decision.status import ControllerStatus

__all__ = ["Controller"]


class Controller:
    """Decides what to do about what is seen. It does nothing itself, and reads no clock but the one that it is given.

    Args:
        policy: What it goes by.
        clock: Seconds that do not go back. Times of the past are taken for no time passed.
        rng: Where chance comes from; the same seed and observations make the same decisions.
        state: What ``state()`` of an earlier controller returned.
        on_damage: Whether a state that cannot be read is an error, or the controller begins anew.

    Raises:
        StateError: The state cannot be read, and ``on_damage`` is "raise".
    """

    def __init__(
        self,
        policy: Policy,
        *,
        clock: Callable[[], float],
        rng: random.Random | None = None,
        state: bytes | None = None,
        on_damage: Literal["raise", "anew"] = "raise",
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._rng = rng or random.Random(0)  # noqa: S311  # chance, not a secret
        self._bad: dict[tuple[str, str], int] = {}
        self._acted: dict[tuple[str, str], float] = {}
        self._made = 0
        if state is not None and state != b"{}" and on_damage == "raise":
            raise StateError("it is empty")

    def decide(self, observation: Observation) -> list[Decision]:
        """Return what to do now, the most urgent first; the caller does it and says by ``report`` what became of it."""
        now = self._clock()
        decisions: list[Decision] = []
        for symptom, rule in self._policy.rules.items():
            prefix, star, suffix = rule.metric.partition("*")
            for name in list(observation):
                inside = len(name) > len(prefix) + len(suffix) and name.startswith(prefix) and name.endswith(suffix)
                if not (inside if star else name == prefix):
                    continue
                target = name[len(prefix) : len(name) - len(suffix)] if star else ""
                value, _, why = read(observation[name], rule.max_age)
                if why or value is None:
                    continue
                bad = value > rule.bad if rule.bad_above is not None else value < rule.bad
                count = self._bad[symptom, target] = self._bad.get((symptom, target), 0) + 1 if bad else 0
                if count < rule.enter[0] or not rule.ladder:
                    continue
                rung = rule.ladder[0]
                if now - self._acted.get((rung.action, target), float("-inf")) < 60.0:
                    continue
                self._acted[rung.action, target] = now
                self._made += 1
                decisions.append(
                    Decision(
                        id=f"d{self._made}",
                        kind="act",
                        action=rung.action,
                        target=target,
                        arguments=rung.arguments,
                        value=None,
                        symptom=symptom,
                        disruptive=rung.disruptive,
                        settle=rung.settle,
                        at=now,
                        evidence=Evidence(name, value, rule.bound, count, count, rule.enter[0]),
                        considered=(),
                        expects=rung.expects,
                        undoes="",
                        reason=f"{symptom}: {name} is {value:g}, {rule.bound}",
                    )
                )
        return decisions

    def report(self, decision_id: str, outcome: Outcome) -> None:
        """Say what became of a decision. One that nobody reports counts as done; an unknown one is passed over."""

    def take_effects(self) -> list[Effect]:
        """Return the effects found since this was last called."""
        return []

    def state(self) -> bytes:
        """Return all that a successor needs: what was learnt, what is in force, what must not be done again so soon."""
        return b"{}"

    def status(self) -> ControllerStatus:
        """Return how things stand."""
        return ControllerStatus({}, (), 0, 0, (), (), (), {}, self._policy.flap_budget)
