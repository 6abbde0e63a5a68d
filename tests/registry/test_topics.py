"""Events that are kept for those who come late, and what a full mailbox does before it drops."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import anyio
import pytest

from aetherra.kernel.testing import FakeClock
from aetherra.registry import Bus, CallTimeoutError, Identity, Message, UnknownEventError

OLD = Identity("plugin", "probe", 1)


class Reading(Message, tag="probe.reading"):
    celsius: float


def bus() -> Bus:
    return Bus(clock=FakeClock())


class TestRetained:
    async def test_a_late_subscriber_gets_nothing_or_all(self) -> None:
        """It gets the last that was retained, and no other; one that was not retained leaves it."""
        events = bus()
        for celsius in (1.0, 2.0):
            await events.publish(Reading(celsius), retain=True)
        await events.publish(Reading(3.0))
        for what in (Reading, "probe.*"):
            with events.subscribe(what) as late:
                assert [letter.event for letter in late.mailbox.items] == [Reading(2.0)]
        events.topics.forget("probe.reading")
        with events.subscribe(Reading) as late:
            assert len(late.mailbox) == 0

    async def test_a_generation_that_ended_is_kept_alive_by_what_it_retained(self) -> None:
        """Its event is still heard, and its class is gone."""

        def publish(events: Bus) -> weakref.ref[Any]:
            class Mine(Message, tag="probe.reading"):
                celsius: float

            events.caller(OLD).publish_nowait(Mine(4.0), retain=True)
            return weakref.ref(Mine)

        events = bus()
        ghost = publish(events)
        events.topics.let_go(OLD)
        gc.collect()
        assert ghost() is None
        with events.subscribe(Reading) as late:
            assert await anext(late) == Reading(4.0)


class TestWaitFor:
    async def test_it_returns_the_wrong_event(self) -> None:
        """The first for which the condition holds; a retained one counts."""
        events = bus()
        heard: list[Reading] = []

        async def wait() -> None:
            heard.append(await events.wait_for(Reading, where=lambda reading: reading.celsius > 1))

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            for celsius in (0.0, 2.0, 3.0):
                await events.publish(Reading(celsius), retain=True)
        assert heard == [Reading(2.0)]
        assert await events.wait_for(Reading) == Reading(3.0)
        assert events.topics.subscriptions == 0

    async def test_it_waits_longer_than_asked(self) -> None:
        """The error names the tag."""
        events = bus()
        errors: list[CallTimeoutError] = []

        async def wait() -> None:
            with pytest.raises(CallTimeoutError, match=r"probe\.reading") as raised:
                await events.wait_for(Reading, timeout=1.0)
            errors.append(raised.value)

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await events.clock.advance(1.0)  # type: ignore[attr-defined]
        assert len(errors) == 1


class TestFull:
    async def test_a_reader_that_keeps_up_misses_something(self) -> None:
        """A publisher that never waits gives a full mailbox's reader a turn before it drops."""
        events = bus()
        heard: list[float] = []
        with events.subscribe(Reading, capacity=10) as subscription:

            async def read() -> None:
                heard.extend([reading.celsius async for reading in subscription])

            async with anyio.create_task_group() as group:
                group.start_soon(read)
                for number in range(1000):
                    await events.publish(Reading(float(number)))
                subscription.close()
        assert heard == [float(number) for number in range(1000)]

    async def test_a_stuck_reader_holds_up_the_publisher(self) -> None:
        """It gets one turn, and none again until it takes something; memory stays bounded, drops are counted."""
        events = bus()
        turns: list[int] = []

        async def count() -> None:
            while True:
                turns.append(1)
                await anyio.lowlevel.checkpoint()

        with events.subscribe(Reading, capacity=10) as stuck:
            async with anyio.create_task_group() as group:
                group.start_soon(count)
                for number in range(1000):
                    await events.publish(Reading(float(number)))
                group.cancel_scope.cancel()
            assert len(turns) <= 4
            assert (len(stuck.mailbox), stuck.dropped) == (10, 990)

    async def test_a_stuck_publisher_keeps_the_event_from_others(self) -> None:
        """One that blocks its publishers is served last; if the publisher gives up, what it missed is counted."""
        events = bus()
        with (
            events.subscribe(Reading, capacity=1, overflow="block") as stuck,
            events.subscribe(Reading, overflow="latest") as latest,
            events.subscribe(Reading, capacity=1) as oldest,
        ):
            await events.publish(Reading(1.0))
            async with anyio.create_task_group() as group:
                group.start_soon(events.publish, Reading(2.0))
                await anyio.wait_all_tasks_blocked()
                group.cancel_scope.cancel()
            heard = [[letter.event for letter in sub.mailbox.items] for sub in (stuck, latest, oldest)]
            assert heard == [[Reading(1.0)], [Reading(2.0)], [Reading(2.0)]]
            assert [sub.dropped for sub in (stuck, latest, oldest)] == [1, 1, 1]
        (topic,) = events.statistics().topics
        assert topic.delivered == 5


class TestKnown:
    async def test_who_comes_and_goes_changes_what_is_known(self) -> None:
        """A class of events is known from when it is first published or heard, for as long as it lives."""
        events = bus()
        with pytest.raises(UnknownEventError):
            events.topics.event_type("probe.reading")
        await events.publish(Reading(1.0), retain=True)
        with events.subscribe("probe.*"):
            assert events.topics.event_type("probe.reading") is Reading
        assert events.topics.event_type("probe.reading") is Reading
        with pytest.raises(UnknownEventError, match=r"probe\.reading"):
            events.topics.event_type("probe.reding")
