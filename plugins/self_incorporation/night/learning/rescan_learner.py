"""Learns the order of a scan from what earlier scans found changed."""

from collections.abc import Iterable, Sequence
from typing import Literal

from aetherra.plugins.self_incorporation.night.evidence import MOST_PATHS, Changes
from aetherra.plugins.self_incorporation.night.learning.candidate import Candidate, LearnedValue, mark_of
from aetherra.plugins.self_incorporation.night.learning.rescan_order import (
    HALF_LIVES,
    RescanOrder,
    fit,
    losses,
    with_quiet,
)
from aetherra.plugins.self_incorporation.night.learning.split import split_by_time
from aetherra.plugins.self_incorporation.night.pace import Steps

__all__ = ["RescanLearner"]

FEWEST = 5
"""Scans to learn from, below which nothing is learnt."""
MOST_SHARE = 0.5
"""Of all files; a scan that found more of them changed, as the first one does, says nothing of where changes are."""


class RescanLearner:
    """The latest scans are held back.

    Args:
        changes: What scans of the root found changed, the oldest first.
        paths: All files of the root.
        quiet: Those that nothing else uses.
        held_back: Share of the scans.
    """

    target: Literal["rescan_order"] = "rescan_order"
    metric = "mean place of changed files in a scan, from 0, first, to 1, last"

    def __init__(
        self, changes: Sequence[Changes], paths: Sequence[str], quiet: Iterable[str], held_back: float
    ) -> None:
        most = min(MOST_PATHS - 1, MOST_SHARE * len(paths))
        self._changes = [change for change in changes if len(change.paths) <= most]
        self._paths, self._quiet, self._share = paths, frozenset(quiet), held_back
        self._learn, self._held_back = split_by_time(self._changes, held_back)
        self.learnt_from = len(self._learn)
        self.latest = max((change.at for change in self._changes), default=0.0)

    def younger(self, since: float) -> int:
        """Return how many pieces of evidence are younger than a Unix time."""
        return sum(change.at > since for change in self._changes)

    def learn(self, in_use: LearnedValue | None) -> Steps[None, Sequence[Candidate]]:
        """Choose how fast changes are forgotten by the later of what is learnt from, and learn from all of it."""
        if len(self._learn) < FEWEST or not self._paths:
            return ()
        inner, outer = split_by_time(self._learn, self._share)
        best, half_life = float("inf"), HALF_LIVES[-1]
        for tried in HALF_LIVES if outer else ():
            order = yield from fit(inner, self._paths, tried)
            lost = sum((yield from losses(order, outer, self._paths)))
            if lost < best:
                best, half_life = lost, tried
        order = yield from fit(self._learn, self._paths, half_life)
        candidates = [Candidate(target=self.target, insight="changes", value=order, builds_on=mark_of(in_use))]
        if self._quiet:
            for base in (order, _order(in_use)):
                value = yield from with_quiet(base or RescanOrder(), self._learn, self._paths, self._quiet)
                candidates.append(
                    Candidate(target=self.target, insight="dead_code", value=value, builds_on=mark_of(base))
                )
        return candidates

    def losses(self, value: LearnedValue | None, *, since: float = 0.0) -> Steps[None, list[float]]:
        """Return where changed files would have stood in the scans that were held back."""
        held_back = [change for change in self._held_back if change.at > since]
        return (yield from losses(_order(value), held_back, self._paths))

    def harm(self, before: LearnedValue | None, after: LearnedValue | None) -> str:  # noqa: ARG002  # of all learners
        """Nothing: every file is dealt with in any order."""
        return ""


def _order(value: LearnedValue | None) -> RescanOrder | None:
    return value if isinstance(value, RescanOrder) else None
