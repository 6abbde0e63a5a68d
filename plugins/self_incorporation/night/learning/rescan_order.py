"""The order in which a scan deals with files: where things change often comes first."""

import heapq
import math
from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec import Struct

from aetherra.plugins.self_incorporation.night.evidence import Changes
from aetherra.plugins.self_incorporation.night.pace import Steps

__all__ = ["HALF_LIVES", "RescanOrder", "fit", "losses", "walked", "with_quiet"]

HALF_LIVES = (4.0, 16.0, 64.0)
"""Scans after which a change counts half, to choose from."""
MOST_FIRST = 2_000
"""Files that a scan deals with first; the others follow as a walk finds them."""
MOST_PLACES = 3_000
MOST_QUIET = 5_000
_DOUBT = 20.0  # files times scans of a folder at which it counts as much as the folder around it
_STEP = 256


class RescanOrder(Struct, frozen=True, tag="rescan_order"):
    """How often files change.

    Attributes:
        places: Changes a file and scan, by folder or file; ``""`` is the root. What is not there is as what is around
            it.
        quiet: Files that nothing else uses.
        quiet_factor: How often these change, as a share of what others in their place do.
    """

    places: dict[str, float] = {}
    quiet: frozenset[str] = frozenset()
    quiet_factor: float = 1.0

    def urgency(self, path: str) -> float:
        """Return how often a file is taken to change."""
        factor = self.quiet_factor if path in self.quiet else 1.0
        for place in _places(path):
            if (rate := self.places.get(place)) is not None:
                return rate * factor
        return factor

    def key(self, path: str) -> tuple[float, tuple[str, ...], str]:
        """Return what to sort files by, so that those come first that are likeliest to have changed."""
        return (-self.urgency(path), *walked(path))

    def first(self, paths: Iterable[str]) -> list[str]:
        """Return which files a scan is to deal with before all others."""
        return heapq.nsmallest(MOST_FIRST, paths, key=self.key)


def walked(path: str) -> tuple[tuple[str, ...], str]:
    """Return what to sort files by to have them as a walk finds them: a folder's before those of folders in it."""
    folder, _, name = path.rpartition("/")
    return (tuple(folder.split("/")) if folder else (), name)


def fit(changes: Sequence[Changes], paths: Sequence[str], half_life: float) -> Steps[None, RescanOrder]:
    """Learn how often files of each folder change, the latest scans counting most.

    A place of which little is known is taken to be much like the one around it.
    """
    sizes: dict[str, int] = {}
    for number, path in enumerate(paths):
        for place in _places(path):
            sizes[place] = sizes.get(place, 0) + 1
        if number % _STEP == 0:
            yield None
    counts: dict[str, float] = {}
    scans = 0.0
    for age, change in enumerate(reversed(changes)):
        share = math.pow(0.5, age / half_life)
        scans += share
        for path in change.paths:
            for place in _places(path):
                counts[place] = counts.get(place, 0.0) + share
        yield None
    rates = {"": counts.get("", 0.0) / max(1.0, scans * sizes.get("", 0))}
    for number, place in enumerate(sorted(counts, key=lambda place: (place.count("/"), place))):
        if place:
            around = next(rates[outer] for outer in _places(place)[1:] if outer in rates)
            rates[place] = (counts[place] + _DOUBT * around) / (scans * sizes.get(place, 1) + _DOUBT)
        if number % _STEP == 0:
            yield None
    # A folder in which nothing has changed must not be taken for the one around it.
    calm = sizes.keys() - rates.keys() - frozenset(paths)
    for number, place in enumerate(sorted(calm, key=lambda place: (place.count("/"), place))):
        around = next(rates[outer] for outer in _places(place)[1:] if outer in rates)
        rates[place] = _DOUBT * around / (scans * sizes[place] + _DOUBT)
        if number % _STEP == 0:
            yield None
    return RescanOrder(_most_telling(rates))


def with_quiet(
    order: RescanOrder, changes: Iterable[Changes], paths: Collection[str], quiet: Collection[str]
) -> Steps[None, RescanOrder]:
    """Learn how often files change that nothing else uses, beside the others in their places."""
    expected = seen = 0.0
    among = frozenset(sorted(quiet)[:MOST_QUIET])
    scans = 0
    for change in changes:
        scans += 1
        seen += sum(path in among for path in change.paths)
        yield None
    for number, path in enumerate(among.intersection(paths)):
        expected += scans * order.urgency(path)
        if number % _STEP == 0:
            yield None
    factor = (seen + 1.0) / (expected + 1.0)
    return RescanOrder(order.places, among, round(factor, 4))


def losses(order: RescanOrder | None, changes: Sequence[Changes], paths: Iterable[str]) -> Steps[None, list[float]]:
    """Return, for each scan, how far in the order those files stood that had changed: from 0, first, to 1, last.

    Args:
        order: The order; None: by name, as a walk through the folders finds them.
        changes: What scans found. Files that are not there any more count for nothing.
        paths: All files.
    """
    found: list[tuple[float, tuple[tuple[str, ...], str], str]] = []
    for number, path in enumerate(paths):
        found.append((0.0 if order is None else -order.urgency(path), walked(path), path))
        if number % _STEP == 0:
            yield None
    found.sort()
    yield None
    rest = sorted((walk, path) for _, walk, path in found[MOST_FIRST:])
    yield None
    ranked = [*(path for *_, path in found[:MOST_FIRST]), *(path for _, path in rest)]
    last = max(1, len(ranked) - 1)
    places = {path: number / last for number, path in enumerate(ranked)}
    yield None
    means: list[float] = []
    for change in changes:
        there = [places[path] for path in change.paths if path in places]
        if there:
            means.append(math.fsum(there) / len(there))
        yield None
    return means


def _places(path: str) -> list[str]:
    """Return the path itself, the folders it lies in, and the root as an empty text."""
    places = [path]
    while path:
        path = path.rpartition("/")[0]
        places.append(path)
    return places


def _most_telling(rates: Mapping[str, float]) -> dict[str, float]:
    """Return the places that differ most from those around them, if there are too many."""
    if len(rates) <= MOST_PLACES:
        chosen: Iterable[str] = rates
    else:
        differences = {
            place: abs(rate - next((rates[outer] for outer in _places(place)[1:] if outer in rates), 0.0))
            for place, rate in rates.items()
        }
        chosen = sorted(rates, key=lambda place: (bool(place), -differences[place], place))[:MOST_PLACES]
    return {place: float(f"{rates[place]:.6g}") for place in sorted(chosen)}
