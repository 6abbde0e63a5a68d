"""Limits: how often anything may be done, to one target and in all."""

from __future__ import annotations

import msgspec

from aetherra.plugins.homeostasis.decision.policy import Policy

__all__ = ["Limits", "LimitsMemory"]

_MINUTE = 60.0


class LimitsMemory(msgspec.Struct):
    """When what was done: by action and target, and all acts that count for the flap budget."""

    done: dict[str, dict[str, list[float]]] = {}
    acts: list[float] = []


class Limits:
    """Rates per action and target, and the global flap budget.

    A rate of k a minute is at most k in any 60 s; one below 1 is at most one in 60 / k seconds.
    """

    def __init__(self, policy: Policy, memory: LimitsMemory) -> None:
        self._policy = policy
        self.memory = memory
        self._held: dict[tuple[str, str], float] = {}

    def wait(self, action: str, target: str, now: float, *, stretch: float = 1.0) -> float:
        """Return the seconds until an action may be done to a target; 0 for now, infinity for never.

        What oscillates waits ``stretch`` times as long.
        """
        limit = self._policy.limits.get(action, self._policy.default_limit)
        if limit <= 0:
            return float("inf")
        times, span = (int(limit), _MINUTE) if limit >= 1 else (1, _MINUTE / limit)
        done = self.memory.done.get(action, {}).get(target, [])
        recent = [at for at in done if now - at < span * stretch]
        return max(recent[-times] + span * stretch - now, 0.0) if len(recent) >= times else 0.0

    def hold(self, action: str, target: str, until: float, now: float) -> None:
        """Have an action wait until then, as somebody else said so."""
        self._held = {key: ends for key, ends in self._held.items() if ends > now}
        self._held[action, target] = until

    def give_back(self, action: str, target: str) -> None:
        """Take back that an action was noted as done last, as it was not."""
        for times in (self.memory.done.get(action, {}).get(target, []), self.memory.acts):
            del times[-1:]

    def held(self, action: str, target: str, now: float) -> float:
        """Return the seconds for which somebody else has an action wait; 0 if nobody has."""
        return max(self._held.get((action, target), now) - now, 0.0)

    def budget_left(self, now: float) -> int:
        """Return how many acts the flap budget still allows."""
        acts = self.memory.acts
        while acts and now - acts[0] >= self._policy.flap_window:
            del acts[0]
        return self._policy.flap_budget - len(acts)

    def take(self, action: str, target: str, now: float, *, budget: bool) -> None:
        """Note that an action is done now; ``budget``: it counts for the flap budget."""
        limit = max(self._policy.limits.get(action, self._policy.default_limit), 1.0)
        done = self.memory.done.setdefault(action, {}).setdefault(target, [])
        done.append(now)
        del done[: -max(int(limit), 60)]
        if budget:
            self.memory.acts.append(now)

    def forget(self, now: float) -> None:
        """Let go what is older than any limit."""
        slowest = min(
            (limit for limit in (*self._policy.limits.values(), self._policy.default_limit) if limit > 0), default=1
        )
        oldest = now - 8 * _MINUTE / min(slowest, 1.0)
        for action, targets in list(self.memory.done.items()):
            for target, done in list(targets.items()):
                if done and done[-1] < oldest:
                    del targets[target]
            if not targets:
                del self.memory.done[action]
