"""Tests of guards: never more than the limit in any window, whatever happens to clocks and hosts."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aetherra.kernel.testing import FakeClock
from aetherra.plugins import Intent
from aetherra.plugins.governance.guards import MOST_KEYS, Count, Counted, Guards, counted_by
from aetherra.plugins.governance.settings import GUARDS, GovernanceSettings, Guard, GuardName

INTEGRATIONS = Count("integrations_per_hour")
ACTION: GuardName = "actions_per_component_per_minute"


def guards(clock: FakeClock, **limits: Guard) -> Guards:
    usual = {name: GovernanceSettings().guard(name) for name in GUARDS}
    return Guards({**usual, **limits}, clock.monotonic)  # type: ignore[dict-item]


def intent(kind: str, component: str = "x", *, undo: bool = False) -> Intent:
    return Intent(kind=kind, component=component, summary="", undo=undo)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


class TestCountedBy:
    @pytest.mark.parametrize(
        ("kind", "count"),
        [
            ("integration", Count("integrations_per_hour", "ada")),
            ("rollback", Count("rollbacks_per_hour", "ada")),
            ("quarantine", Count("quarantines_per_hour", "ada")),
            ("proposal", Count("proposals_per_sender_per_minute", "ada")),
            ("actuator", Count(ACTION, "x")),
            ("knob", Count(ACTION, "x")),
            ("something new", Count(ACTION, "x")),
        ],
    )
    def test_a_kind_is_counted_elsewhere(self, kind: str, count: Count) -> None:
        """Each kind has its guard, and one that nobody thought of is an action on its component."""
        assert counted_by(intent(kind), "ada") == count

    def test_a_way_back_is_one_too_many(self) -> None:
        """The way back of an action is not counted; a rollback is, though it is one."""
        assert counted_by(intent("actuator", undo=True), "ada") is None
        assert counted_by(intent("rollback", undo=True), "ada") == Count("rollbacks_per_hour", "ada")


class TestGuards:
    async def test_a_window_lets_too_many_pass(self, clock: FakeClock) -> None:
        """The limit holds within the window, and each that leaves it makes room for one."""
        kept = guards(clock)
        for _ in range(5):
            assert kept.wait(INTEGRATIONS) == 0
            kept.count(INTEGRATIONS)
            await clock.advance(60)
        assert kept.wait(INTEGRATIONS) == 3300
        await clock.advance(3300)
        assert kept.wait(INTEGRATIONS) == 0
        kept.count(INTEGRATIONS)
        assert kept.wait(INTEGRATIONS) == 60

    def test_components_are_counted_together(self, clock: FakeClock) -> None:
        """One component's actions are not held against another."""
        kept = guards(clock)
        kept.count(Count(ACTION, "x"))
        assert (kept.wait(Count(ACTION, "x")), kept.wait(Count(ACTION, "y"))) == (60, 0)

    def test_asking_counts(self, clock: FakeClock) -> None:
        """To ask how long it would be counts for nothing."""
        kept = guards(clock)
        for _ in range(100):
            kept.wait(INTEGRATIONS)
        assert kept.states()[0].used == 0

    def test_a_lower_limit_lets_pass_what_is_too_many(self, clock: FakeClock) -> None:
        """After the configuration lowered a limit it holds for what was counted before."""
        kept = guards(clock)
        for _ in range(5):
            kept.count(INTEGRATIONS)
        lower = guards(clock, integrations_per_hour=Guard(2, 3600.0, "pause_self_incorporation"))
        lower.recall(kept.records(clock.time()), clock.time())
        assert lower.wait(INTEGRATIONS) == 3600

    async def test_a_reset_leaves_something(self, clock: FakeClock) -> None:
        """A guard begins anew for one key or for all, and says how many it forgot."""
        kept = guards(clock)
        for key in ("x", "y", "z"):
            kept.count(Count(ACTION, key))
        kept.count(INTEGRATIONS)
        assert kept.reset(ACTION, "x") == 1
        assert (kept.wait(Count(ACTION, "x")), kept.wait(Count(ACTION, "y"))) == (0, 60)
        assert kept.reset(ACTION) == 2
        assert [record.count for record in kept.records(clock.time())] == [INTEGRATIONS]

    async def test_states_name_nobody_who_counts(self, clock: FakeClock) -> None:
        """Each guard has a line, each component and sender that counts one of its own; what is over has none."""
        kept = guards(clock)
        kept.count(Count(ACTION, "x"))
        kept.count(Count(ACTION, "y"))
        told = [(state.name, state.key, state.used, state.retry_after) for state in kept.states()]
        assert told == [
            ("integrations_per_hour", "", 0, 0.0),
            (ACTION, "x", 1, 60.0),
            (ACTION, "y", 1, 60.0),
            ("rollbacks_per_hour", "", 0, 0.0),
            ("quarantines_per_hour", "", 0, 0.0),
            ("proposals_per_sender_per_minute", "", 0, 0.0),
        ]
        await clock.advance(60)
        assert [state.key for state in kept.states()] == [""] * 5

    async def test_components_without_end_fill_the_memory(self, clock: FakeClock) -> None:
        """What counts for nothing any more is forgotten."""
        kept = guards(clock)
        for number in range(MOST_KEYS):
            kept.count(Count(ACTION, str(number)))
        await clock.advance(60)
        kept.count(Count(ACTION, "one more"))
        assert len(kept.records(clock.time())) == 1
        assert len(kept._passed) == 1

    def test_a_clock_set_back_opens_a_window(self, clock: FakeClock) -> None:
        """What an earlier run counted in the future counts from now on; only what is over is over."""
        kept = guards(clock)
        future = [Counted(INTEGRATIONS, clock.time() + 86_400)] * 5
        kept.recall([*future, Counted(INTEGRATIONS, clock.time() - 3600)], clock.time())
        assert (kept.wait(INTEGRATIONS), kept.states()[0].used) == (3600, 5)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.sampled_from("xxy")),
        st.tuples(st.just("ask"), st.sampled_from("xxy")),
        st.tuples(st.just("wait"), st.sampled_from([0.25, 0.5, 0.75, 1.0, 1.75])),
        st.tuples(st.just("restart"), st.sampled_from([0.0, 0.25, 0.75])),
        st.tuples(st.just("set clock"), st.integers(-100, 0)),
    ),
    min_size=20,
    max_size=60,
)


class TestAnyWindow:
    @settings(max_examples=200)
    @given(STEPS, st.integers(1, 3), st.integers(1, 3))
    def test_some_window_has_more_than_the_limit(
        self, steps: list[tuple[str, float | str]], limit: int, seconds: int
    ) -> None:
        """Over any waits, restarts and clocks set back, no window has more than the limit, for each key apart."""
        clock, passed = FakeClock(), dict[str, list[float]]()
        limits = {ACTION: Guard(limit, float(seconds), "disable_actuator")}
        kept, records = guards(clock, **limits), list[Counted]()
        for what, value in steps:
            if what == "ask":
                count = Count(ACTION, str(value))
                if kept.wait(count) == 0:
                    kept.count(count)
                    records.append(Counted(count, clock.time()))
                    passed.setdefault(str(value), []).append(clock.monotonic())
            elif what == "set clock":
                clock.set_time(clock.time() + float(value))
            else:
                asyncio.run(clock.advance(float(value)))
                if what == "restart":
                    kept = guards(clock, **limits)
                    kept.recall(records, clock.time())
        for times in passed.values():
            for begin in times:
                assert sum(begin <= at < begin + seconds for at in times) <= limit
