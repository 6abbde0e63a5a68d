"""What homeostasis knows: what was learnt and what was changed, kept across starts and handed over at a swap."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Literal

from aetherra.plugins.homeostasis.changes import Changes
from aetherra.plugins.homeostasis.decision import Controller, Policy, StateError
from aetherra.plugins.homeostasis.saved_state import Saved, SavedState

__all__ = ["Knowledge"]


class Knowledge:
    """Owns the decision core and the changes that stand.

    What was learnt outlives the host. What was changed, and what was decided, outlives the plugin alone: the next run
    of the host begins with nothing changed.

    Args:
        policy: What the core goes by.
        file: Where all of it is kept.
        run: Which run of the host this is.
        clock: Seconds that do not go back.
        series: What the ids of decisions begin with.
        warn: Hears why nothing of it can be read, or kept; of the same trouble once.

    Attributes:
        controller: The decision core.
        changes: What stands of what actuators have changed.
    """

    def __init__(
        self,
        policy: Policy,
        file: SavedState,
        run: str,
        *,
        clock: Callable[[], float],
        series: str,
        warn: Callable[[str], object],
    ) -> None:
        self._policy = policy
        self._file = file
        self._run = run
        self._clock = clock
        self._series = series
        self._warn = warn
        saved = file.load()
        is_ours = saved is not None and saved.run == run
        self.changes = Changes(saved.changes if saved is not None and is_ours else None)
        try:
            self.controller = self._made_of(None if saved is None else saved.controller, "all" if is_ours else "learnt")
        except StateError as exc:
            file.put_aside(str(exc))
            self.controller = self._made_of(None)
        if file.problem:
            warn(f"learning begins anew: {file.problem}")

    def _made_of(self, state: bytes | None, keep: Literal["all", "learnt"] = "all") -> Controller:
        return Controller(
            self._policy,
            clock=self._clock,
            rng=random.Random(),  # noqa: S311  # chance, not a secret
            state=state,
            keep=keep,
            series=self._series,
        )

    def now(self) -> Saved:
        """Return all of it, as it is kept."""
        return Saved(self._run, self.controller.state(), self.changes.standing())

    def keep(self, known: Saved) -> None:
        """Keep it, which waits for the disk."""
        problem = self._file.problem
        self._file.save(known)
        if self._file.problem and self._file.problem != problem:
            self._warn(f"what is learnt is not kept: {self._file.problem}")

    def take_over(self, controller: bytes, changes: dict[str, dict[str, dict[str, object]]]) -> None:
        """Go on from what another one knew; its own core and changes are new objects from then on."""
        self.controller = self._made_of(controller)
        self.changes = Changes(changes)
