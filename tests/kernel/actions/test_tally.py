"""What is counted of actions: by type and lane, and added up for either."""

from __future__ import annotations

import pytest

from aetherra.kernel.actions import tally as tally_module
from aetherra.kernel.actions.lanes import Lane
from aetherra.kernel.actions.tally import Tally, lane_statistics, type_statistics
from aetherra.registry.latency import KEPT, Latency


class Counted:
    """Something that was admitted at a time."""

    def __init__(self, since: float) -> None:
        self.in_lane = True
        self.since = since


@pytest.fixture
def lane() -> Lane[Counted]:
    return Lane("high", 7, 5, 3)


def tally(action_type: str, lane: Lane[Counted], *since: float) -> Tally[Counted]:
    made: Tally[Counted] = Tally(action_type, lane)
    for number, when in enumerate(since):
        made.open[f"{action_type}-{number}"] = Counted(when)
    made.accepted = len(since)
    return made


class TestStatistics:
    def test_nothing_is_nothing(self, lane: Lane[Counted]) -> None:
        """No age, no times, and no reasons, rather than zeros that look like good news."""
        found = type_statistics([Tally("a", lane)], 10.0)

        assert (found.depth, found.waiting, found.running, found.oldest_age) == (0, 0, 0, None)
        assert (found.accepted, found.done, found.retried, found.dead, found.overruns) == (0, 0, 0, {}, 0)
        assert found.wait == found.run == Latency(None, None, None)
        assert type_statistics([], 10.0) == found

    def test_each_unfinished_action_is_in_one_of_three_places(self, lane: Lane[Counted]) -> None:
        """In its lane, between two attempts, or running."""
        made = tally("a", lane, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
        made.running, made.waiting = 2, 1
        found = type_statistics([made], 10.0)

        assert (found.depth, found.running, found.waiting) == (3, 2, 1)

    def test_the_oldest_is_the_one_that_was_admitted_first(self, lane: Lane[Counted]) -> None:
        """Of all that are added up."""
        found = type_statistics([tally("a", lane, 5.0, 8.0), tally("a", lane), tally("a", lane, 3.0, 9.0)], 10.0)

        assert found.oldest_age == 7.0

    def test_figures_are_added_up(self, lane: Lane[Counted]) -> None:
        """Those of one type in several lanes, as well as those of one lane of several types."""
        first, second = tally("a", lane, 1.0), tally("b", lane, 1.0, 2.0)
        first.done, first.retried, first.overruns, first.running = 10, 3, 1, 1
        second.done, second.retried, second.overruns, second.waiting = 5, 2, 2, 1
        first.dead.update({"failed": 2, "timeout": 1})
        second.dead.update({"failed": 3})
        first.waits.extend([1.0, 2.0])
        second.waits.extend([4.0])
        second.runs.extend([0.5])
        lane.refused = 6
        found = lane_statistics(lane, [first, second], 10.0)

        assert (found.depth, found.running, found.waiting, found.accepted) == (1, 1, 1, 3)
        assert (found.done, found.retried, found.overruns) == (15, 5, 3)
        assert found.dead == {"failed": 5, "timeout": 1}
        assert found.wait == Latency(2.0, 4.0, 4.0)
        assert found.run == Latency(0.5, 0.5, 0.5)
        assert (found.capacity, found.weight, found.refused) == (7, 5, 6)

    def test_a_snapshot_does_not_change(self, lane: Lane[Counted]) -> None:
        """What happens later is in the next."""
        made = tally("a", lane)
        made.dead["failed"] = 1
        found = type_statistics([made], 10.0)
        made.dead["failed"] = 2

        assert found.dead == {"failed": 1}

    def test_times_are_those_of_the_last_actions(self, lane: Lane[Counted]) -> None:
        """A slow morning is forgotten by the afternoon, and the host's memory does not grow with what it has done."""
        made = tally("a", lane)
        made.runs.extend([9.0] * KEPT)
        made.runs.extend([1.0] * KEPT)

        assert type_statistics([made], 0.0).run == Latency(1.0, 1.0, 1.0)
        assert tally_module.KEPT == KEPT == made.waits.maxlen


class TestOldest:
    def test_an_action_that_is_taken_up_late_is_as_old_as_the_first(self) -> None:
        """Whoever came of an earlier run behind younger ones tells the age, until it has ended."""
        tally = Tally[Counted]("tally.late", Lane("high", 10, 1, 1))
        for name, since in (("young", 50.0), ("old", 10.0), ("older", 5.0), ("youngest", 60.0)):
            tally.add(name, Counted(since))
        ages = []
        for name in ("older", "old", "young", "youngest"):
            ages.append(type_statistics([tally], 100.0).oldest_age)
            del tally.open[name]
        assert ages == [95.0, 90.0, 50.0, 40.0]
        assert type_statistics([tally], 100.0).oldest_age is None

    def test_an_action_behind_two_of_an_earlier_run_is_not_younger_than_it_is(self) -> None:
        """Those that are taken up late come in any order: what is younger than the last may be older than the first."""
        tally = Tally[Counted]("tally.late", Lane("high", 10, 1, 1))
        for name, since in (("young", 50.0), ("older", 5.0), ("old", 10.0)):
            tally.add(name, Counted(since))
        del tally.open["older"]
        assert type_statistics([tally], 100.0).oldest_age == 90.0

    def test_an_action_under_the_name_of_one_that_ended_has_its_age(self) -> None:
        """A trace id that is submitted again is another action."""
        tally = Tally[Counted]("tally.late", Lane("high", 10, 1, 1))
        tally.add("first", Counted(50.0))
        tally.add("again", Counted(10.0))
        del tally.open["again"]
        tally.add("again", Counted(70.0))
        assert type_statistics([tally], 100.0).oldest_age == 50.0
