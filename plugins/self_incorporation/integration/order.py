"""The order of things that need each other: for plans, and for nights that try how plans would have gone."""

import heapq
from collections.abc import Collection, Sequence

__all__ = ["in_order"]


def in_order(needs: Sequence[Collection[int]], weights: Sequence[float]) -> tuple[list[int], list[int]]:
    """Return places in order, each after those it needs, and those that can have no turn.

    Of those that could be next, the one of least weight is, of equals the one that stands first. No turn have those
    that need each other in a circle, that need one of these, or that need what is not there.

    Args:
        needs: For each place, counted from 0, those that it needs.
        weights: Of each place.
    """
    waiting = [set(needed) for needed in needs]
    needing: dict[int, list[int]] = {}
    for place, needed in enumerate(waiting):
        for other in needed:
            needing.setdefault(other, []).append(place)
    ready = [(weights[place], place) for place, needed in enumerate(waiting) if not needed]
    heapq.heapify(ready)
    order: list[int] = []
    while ready:
        _, place = heapq.heappop(ready)
        order.append(place)
        for other in needing.get(place, ()):
            waiting[other].remove(place)
            if not waiting[other]:
                heapq.heappush(ready, (weights[other], other))
    return order, [place for place, needed in enumerate(waiting) if needed]
