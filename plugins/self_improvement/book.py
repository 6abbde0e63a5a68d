"""The book of proposals: what is open, what is kept and what was concluded lately, in memory as on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any

import anyio

from aetherra.plugins import AetherraError
from aetherra.plugins.self_improvement.history import DatabaseUnusableError
from aetherra.plugins.self_improvement.proposals import (
    MeasuredEffect,
    Outcome,
    Proposal,
    State,
    Strategies,
    Strategy,
    Value,
)
from aetherra.plugins.self_improvement.proposals.register import Register

__all__ = ["Book", "UnknownProposalError"]

REMEMBERED = 30 * 86_400.0
"""Seconds that a concluded proposal stays in memory; what is open or kept stays in any case."""
MOST = 1000
"""Concluded proposals in memory."""


MOST_OUTCOMES = 2_000
"""Outcomes that are learnt from, the latest."""


class UnknownProposalError(AetherraError, LookupError):
    """There is no proposal of that id, or it was concluded too long ago."""

    def __init__(self, proposal: str) -> None:
        super().__init__(proposal)
        self.proposal = proposal

    def __str__(self) -> str:
        return f"there is no proposal {self.proposal!r}; 'selfimprovement.proposals' lists those that there are"


class Book:
    """Moves proposals from state to state, one at a time, and keeps each state before it is told.

    Args:
        register: Where they are kept.
        run_sync: Runs a function in a worker thread.
        tell: Hears of each proposal that is new or has another state.
        time: Unix seconds, now.
        remembered: Seconds that a concluded proposal stays in memory: longer than anything is left alone for it.
    """

    def __init__(
        self,
        register: Register,
        *,
        run_sync: Callable[..., Awaitable[Any]],
        tell: Callable[[Proposal], Awaitable[object]],
        time: Callable[[], float],
        remembered: float = REMEMBERED,
    ) -> None:
        self._register = register
        self._run_sync = run_sync
        self._tell = tell
        self._time = time
        self._remembered = remembered
        self._turn = anyio.Lock()
        self._proposals: dict[str, Proposal] = {}
        self._outcomes: list[Outcome] = []
        self._owed: dict[str, tuple[Proposal, Outcome | None]] = {}
        self._set_aside = register.set_aside
        self.problem = ""
        """Why the last change is not on disk; ``""`` if it is."""

    async def load(self) -> None:
        """Take up what is kept."""
        now = self._time()
        async with self._turn:
            found = await self._run_sync(self._register.load)
            self._outcomes = await self._run_sync(partial(self._register.outcomes, limit=MOST_OUTCOMES))
        self._proposals = {each.id: each for each in found}
        self._forget(now)

    async def take_over(self, proposals: Iterable[Proposal], outcomes: Iterable[Outcome]) -> None:
        """Take up what another book has on no disk, and what is kept."""
        for proposal in proposals:
            await self._run_sync(self._register.save, proposal)
        for outcome in outcomes:
            await self._run_sync(self._register.record_outcome, outcome)
        await self.load()

    # What there is

    def get(self, proposal: str) -> Proposal:
        """Return a proposal.

        Raises:
            UnknownProposalError: There is none of that id.
        """
        if proposal not in self._proposals:
            raise UnknownProposalError(proposal)
        return self._proposals[proposal]

    def as_sent(self, proposal: Proposal) -> Proposal:
        """Return a proposal that somebody has sent, as it is here.

        Raises:
            UnknownProposalError: There is none of its id.
            ValueError: It is not as it was sent.
        """
        known = self.get(proposal.id)
        if known != proposal:
            raise ValueError(f"proposal {proposal.id!r} is {known.state!r} in the register, and not as it was sent")
        return known

    async def recall(self, proposal: str) -> Proposal:
        """Return a proposal, also one that was concluded long ago; raises ``UnknownProposalError``."""
        if proposal in self._proposals:
            return self._proposals[proposal]
        kept: Proposal | None = await self._run_sync(self._register.get, proposal)
        if kept is None:
            raise UnknownProposalError(proposal)
        return kept

    def all(self, *states: State) -> list[Proposal]:
        """Return those in some states, or all, newest first."""
        found = [each for each in self._proposals.values() if not states or each.state in states]
        return sorted(found, key=lambda each: (each.created, each.id), reverse=True)

    def open(self) -> list[Proposal]:
        """Return those that are not concluded, the most important first."""
        found = [each for each in self._proposals.values() if each.is_open]
        return sorted(found, key=lambda each: (-each.priority, each.created, each.id))

    def counts(self) -> dict[str, int]:
        """Return how many are in each state."""
        return dict(Counter(each.state for each in self._proposals.values()))

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """What changes came to, as far as that is known by now: all that ``strategies`` is made of."""
        now = self._time()
        return tuple(outcome for outcome in self._outcomes if outcome.at <= now)

    @property
    def strategies(self) -> Strategies:
        """What is known to work."""
        return Strategies(self._outcomes, now=self._time())

    def tried(self, metric: str, most: int) -> tuple[Strategy, ...]:
        """Return what was tried for a metric, or for all if it is ``""``, the latest first; for worker threads."""
        return self.strategies.latest(metric, most)

    def standing(self) -> Iterable[tuple[Proposal, Value]]:
        """Yield the last kept proposal of each knob, with the value that the knob had before the first of them."""
        chains: dict[str, list[Proposal]] = {}
        for each in sorted(self.all("kept"), key=lambda one: (one.concluded or 0.0, one.id)):
            chains.setdefault(each.knob, []).append(each)
        for chain in chains.values():
            yield chain[-1], chain[0].before

    # What changes

    async def add(self, proposal: Proposal) -> Proposal:
        """Take up a new proposal.

        Raises:
            DatabaseUnusableError: It cannot be kept, and so is not taken up.
        """
        async with self._turn:
            await self._run_sync(self._register.save, proposal)
            self._proposals[proposal.id] = proposal
            self._forget(self._time())
        await self._tell(proposal)
        return proposal

    async def move(
        self, proposal: str, state: State, reason: str = "", *, outcome: MeasuredEffect | None = None
    ) -> Proposal:
        """Take a proposal to another state; with an outcome, that is learnt from.

        What cannot be kept on disk counts all the same, as it has happened; ``problem`` says so.

        Raises:
            UnknownProposalError: There is none of that id.
            ProposalStateError: The state that it is in does not lead there.
        """
        async with self._turn:
            moved = self.get(proposal).moved(state, self._time(), reason, outcome=outcome)
            self._proposals[proposal] = moved
            learnt = None if outcome is None else Outcome.of(moved, self._time())
            if learnt is not None:
                self._outcomes = [*self._outcomes[1 - MOST_OUTCOMES :], learnt]
            self._owe(moved, learnt)
            with anyio.CancelScope(shield=True):
                await self._pay()
        await self._tell(moved)
        return moved

    async def keep(self) -> None:
        """Try once more to keep what the disk did not take; ``problem`` says if it still does not."""
        async with self._turn:
            await self._pay()

    def _owe(self, proposal: Proposal, learnt: Outcome | None) -> None:
        _, before = self._owed.get(proposal.id, (None, None))
        self._owed[proposal.id] = proposal, learnt or before

    async def _pay(self) -> None:
        """Keep what is owed. A register that was begun anew, as the one before was damaged, is owed all there is."""
        if self._register.set_aside != self._set_aside:
            self._set_aside = self._register.set_aside
            learnt = {outcome.proposal: outcome for outcome in self._outcomes}
            for each in self._proposals.values():
                self._owe(each, learnt.get(each.id))
        for name, (proposal, outcome) in list(self._owed.items()):
            try:
                await self._run_sync(self._register.save, proposal, outcome)
            except DatabaseUnusableError as exc:
                self.problem = f"proposal {name!r} is {proposal.state!r}, and not on disk as such: {exc}"
                return
            del self._owed[name]
        self.problem = ""

    def _forget(self, now: float) -> None:
        concluded = [each for each in self.all() if not each.is_open and each.state != "kept"]
        for number, each in enumerate(concluded):
            if number >= MOST or now - (each.concluded or now) > self._remembered:
                del self._proposals[each.id]
