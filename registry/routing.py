"""The routing table: which route answers a tag, which calls wait for one, and why another has none."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Generator, Iterable, KeysView
from contextlib import contextmanager
from functools import partial

import anyio

from aetherra.registry.errors import (
    NoHandlerError,
    ParkingFullError,
    RouteConflictError,
    ServiceStoppingError,
)
from aetherra.registry.route import Route
from aetherra.registry.split import Split

PARKING_LIMIT = 1000
"""Calls that may wait, per parking, for a plugin that is being swapped."""
Absence = Callable[[str], NoHandlerError]
"""Why a tag is not answered: makes the error that its callers get."""


class Routing:
    """Routes by tag.

    Args:
        settle: Makes sure that all calls under way are in their routes' hands.
        changed: Told of each change, so that what was read here before is read again.
    """

    def __init__(self, settle: Callable[[], None], changed: Callable[[], None]) -> None:
        self._settle = settle
        self._changed = changed
        self._routes: dict[str, Route] = {}
        self._fallbacks: dict[str, Route] = {}
        self._parked: dict[str, list[Parking]] = {}
        self._absent: dict[str, Absence] = {}
        self._retired: list[Route] = []
        self._splits: dict[Route, Split] = {}
        self._past = [0, 0, 0, 0]

    def find(self, tag: str) -> Route:
        """Return the route of a tag.

        Raises:
            ServiceUnavailableError: Its plugin does not serve now; the subclass says what it does instead.
            NoHandlerError: Nothing answers it.
        """
        route = self.get(tag)
        if route is not None:
            return route
        if tag in self._absent:
            raise self._absent[tag](tag)
        raise NoHandlerError(tag, difflib.get_close_matches(tag, {**self._routes, **self._fallbacks}, n=3))

    def get(self, tag: str) -> Route | None:
        """Return the route of a tag, ``None`` if nothing answers it."""
        return self._routes.get(tag) or self._fallbacks.get(tag)

    def all(self) -> list[Route]:
        """Return the routes there are, by tag, fallbacks too."""
        every = [*self._routes.values(), *self._fallbacks.values()]
        return sorted(every, key=lambda route: (route.tag, route.fallback))

    def add(self, routes: Iterable[Route], *, replacing: Iterable[Route] = ()) -> None:
        """Answer these tags from now on, in one step: all of them, or none.

        Args:
            routes: The new ones.
            replacing: Routes to take away in the same step, as in a swap; one that answers no more is no matter.

        Raises:
            RouteConflictError: A tag is answered by a route that is not replaced, and one of both is no fallback.
        """
        new, old = list(routes), list(replacing)
        taken = {(route.tag, route.fallback): route for route in self.all() if route not in old}
        for route in new:
            holder = taken.setdefault((route.tag, route.fallback), route)
            if holder is not route:
                raise RouteConflictError(route.tag, str(holder.provider), str(route.provider))
        self.remove(old)
        for route in old:
            replaced = f"{route.provider} was replaced by one that does not"
            self._absent[route.tag] = partial(NoHandlerError, reason=replaced)
        for route in new:
            route.settle = self._settle
            self._absent.pop(route.tag, None)
            self._table(route)[route.tag] = route
            self._bring_back(route)
        self._changed()

    def remove(self, routes: Iterable[Route], *, reason: str = "") -> None:
        """Answer these no more; ``reason`` is told to whoever calls their tags later."""
        gone = list(routes)
        self._unsplit(split for split in self.splits() if any(split.concerns(route) for route in gone))
        for route in gone:
            if self._table(route).get(route.tag) is route:
                del self._table(route)[route.tag]
                self._absent[route.tag] = partial(ServiceStoppingError, provider=str(route.provider), reason=reason)
                self._retired.append(route)
        self._let_go()
        self._changed()

    def split(self, split: Split) -> None:
        """Have calls go to one side of a split or the other, as it says, until a route of either is taken away.

        Raises:
            NoHandlerError: A control's route answers no more.
            RouteConflictError: The calls of one are split already.
        """
        pairs = list(split.pairs)
        for pair in pairs:
            control, candidate = pair.control.route, pair.candidate.route
            if self._table(control).get(pair.tag) is not control:
                raise NoHandlerError(pair.tag, reason=f"{control.provider} does not serve")
            if control in self._splits:
                raise RouteConflictError(pair.tag, f"{control.provider}, beside a candidate,", str(candidate.provider))
        for pair in pairs:
            self._splits[pair.control.route] = split
            pair.candidate.route.settle = self._settle
            self._bring_back(pair.candidate.route)
        self._changed()

    def unsplit(self, split: Split) -> None:
        """Have all calls go to the control's side; what the candidate has in hand, it finishes. Twice does no harm."""
        self._unsplit([split])
        self._changed()

    def _unsplit(self, splits: Iterable[Split]) -> None:
        for split in splits:
            for pair in split.pairs:
                if self._splits.pop(pair.control.route, None) is not None:
                    self._retired.append(pair.candidate.route)

    def split_of(self, route: Route) -> Split | None:
        """Return what parts the calls of a route, ``None`` if it gets them all."""
        return self._splits.get(route)

    def splits(self) -> list[Split]:
        """Return the splits there are."""
        return list(dict.fromkeys(self._splits.values()))

    def beside(self) -> list[Route]:
        """Return the routes that get a share of another's calls."""
        return [pair.candidate.route for split in self.splits() for pair in split.pairs]

    def say_absent(self, tags: Iterable[str], absence: Absence | None) -> None:
        """Say why tags are not answered, to whoever calls them while nobody does; ``None`` unsays it."""
        for tag in tags:
            if absence is None:
                self._absent.pop(tag, None)
            else:
                self._absent[tag] = absence

    def _table(self, route: Route) -> dict[str, Route]:
        return self._fallbacks if route.fallback else self._routes

    @contextmanager
    def parked(self, tags: Iterable[str]) -> Generator[None]:
        """Hold new calls to these tags back, each within its own deadline, until the body is left.

        A tag that is parked twice waits for both.
        """
        names = list(tags)
        parking = Parking()
        for tag in names:
            self._parked.setdefault(tag, []).append(parking)
        self._changed()
        try:
            yield
        finally:
            for tag in names:
                self._parked[tag].remove(parking)
                if not self._parked[tag]:
                    del self._parked[tag]
            self._changed()
            parking.release()

    @property
    def parked_tags(self) -> KeysView[str]:
        """The tags that are parked: a view, which changes as they do."""
        return self._parked.keys()

    def with_work(self) -> list[Route]:
        """Return all routes that may have calls in hand, those that answer no more included."""
        self._settle()
        return [*self._routes.values(), *self._fallbacks.values(), *self.beside(), *self._retired]

    def parking(self, tag: str) -> Parking | None:
        """Return what calls of a tag have to wait for, ``None`` if they need not."""
        parkings = self._parked.get(tag)
        return parkings[-1] if parkings else None

    def totals(self) -> tuple[int, int, int, int]:
        """Return the calls, errors, refusals and timeouts of all routes there ever were."""
        self._let_go()
        counts = [_counts(route) for route in [*self.all(), *self.beside(), *self._retired]]
        calls, errors, refusals, timeouts = (sum(column) for column in zip(self._past, *counts, strict=True))
        return calls, errors, refusals, timeouts

    def _bring_back(self, route: Route) -> None:
        """Count a route by itself again, as after a promotion that failed."""
        if route in self._retired:
            self._retired.remove(route)
        elif route.is_past:
            self._past = [past - count for past, count in zip(self._past, _counts(route), strict=True)]
            route.is_past = False

    def _let_go(self) -> None:
        """Keep of retired routes only what they counted, once nothing is in their hands."""
        self._settle()
        for route in [route for route in self._retired if not route.in_hand]:
            self._retired.remove(route)
            for i, count in enumerate(_counts(route)):
                self._past[i] += count
            route.is_past = True


class Parking:
    """Where calls wait while a plugin is swapped."""

    def __init__(self) -> None:
        self._released = anyio.Event()
        self._waiting = 0

    async def wait(self, tag: str) -> None:
        """Return once the swap is over.

        Raises:
            ParkingFullError: As many calls wait already as may.
        """
        if self._waiting >= PARKING_LIMIT:
            raise ParkingFullError(tag, PARKING_LIMIT)
        self._waiting += 1
        try:
            await self._released.wait()
        finally:
            self._waiting -= 1

    def release(self) -> None:
        """Let all go on."""
        self._released.set()


def _counts(route: Route) -> tuple[int, int, int, int]:
    return route.calls, route.errors, route.refusals, route.timeouts
