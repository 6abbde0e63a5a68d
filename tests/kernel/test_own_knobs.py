"""The host's own knobs: each turns what it says, over its whole range, whatever is configured."""

from __future__ import annotations

from fnmatch import fnmatchcase

import anyio
import pytest

from aetherra.kernel import (
    Config,
    GetActions,
    Kernel,
    KernelConfig,
    KnobInfo,
    KnobTurned,
    LaneBounds,
    LaneConfig,
    LanesConfig,
    ListKnobs,
    SetKnob,
    TuneActions,
    TuneCalls,
)
from aetherra.kernel.testing import FakeClock

SMALL = LaneConfig(capacity=1, weight=1)
LARGE = LaneConfig(capacity=1_000_000, weight=1000)
CONFIGS = [
    KernelConfig(data_dir=None, discover=False),
    KernelConfig(
        data_dir=None, discover=False, workers=1, default_timeout=0.01, lanes=LanesConfig(high=SMALL, normal=SMALL)
    ),
    KernelConfig(
        data_dir=None, discover=False, workers=1000, default_timeout=31_536_000, lanes=LanesConfig(high=LARGE)
    ),
]


async def own(kernel: Kernel) -> dict[str, KnobInfo]:
    """The host's knobs, by name."""
    knobs = (await kernel.call(ListKnobs(), timeout=5.0)).knobs
    return {knob.name: knob for knob in knobs if knob.plugin == "kernel"}


def held(kernel: Kernel, name: str) -> object:
    """What the host really has, asked of its parts."""
    if name == "kernel.default_timeout":
        return kernel.bus.default_timeout
    actions = kernel.statistics().actions
    _, what, *rest = name.split(".")
    return actions.workers if what == "workers" else getattr(actions.lanes[rest[0]], rest[1])


class TestRanges:
    @pytest.mark.parametrize("limits", CONFIGS, ids=["default", "least", "most"])
    async def test_an_end_of_a_range_is_refused(self, limits: KernelConfig) -> None:
        """What is configured is in the range, and both its ends really hold once they are set."""
        async with Kernel(Config(kernel=limits), clock=FakeClock()) as kernel:
            knobs = await own(kernel)
            assert set(knobs) == {
                "kernel.workers",
                "kernel.default_timeout",
                *(
                    f"kernel.lane.{lane}.{what}"
                    for lane in ("high", "normal", "background")
                    for what in ("capacity", "weight")
                ),
            }
            for name, knob in knobs.items():
                assert knob.low is not None
                assert knob.high is not None
                assert isinstance(knob.value, (int, float))
                assert knob.low <= knob.value <= knob.high, name
                for value in (knob.low, knob.high, knob.value):
                    turned = await kernel.call(SetKnob(name, value), timeout=5.0)
                    assert turned.after == held(kernel, name) == value, name
                assert (type(knob.value) is int) is knob.whole

    async def test_a_shed_lane_takes_work_again(self) -> None:
        """Turning a lane's bounds leaves it shed."""
        async with Kernel(clock=FakeClock()) as kernel:
            kernel.set_lane("background", shed=True)
            await kernel.call(SetKnob("kernel.lane.background.capacity", 500))
            lane = kernel.statistics().actions.lanes["background"]
            assert (lane.shed, lane.capacity) == (True, 500)

    async def test_what_others_have_tuned_is_not_read(self) -> None:
        """A knob reads what holds, whoever has set it."""
        async with Kernel(clock=FakeClock()) as kernel:
            kernel.set_workers(999)
            assert (await own(kernel))["kernel.workers"].value == 999
            assert (await kernel.call(GetActions())).workers == 999


class TestMoves:
    async def test_a_knob_moves_a_metric_that_nobody_measures(self) -> None:
        """Each pattern fits a metric that a host with homeostasis has, and the first that fits is the closest."""
        config = Config.parse({"kernel": {"data_dir": None}, "plugins": {"homeostasis": {"mode": "observe"}}}, root=".")
        async with Kernel(config) as kernel:
            names = set((await kernel.call_tag("homeostasis.collect", timeout=20.0))["metrics"])
            knobs = await own(kernel)
        for knob in knobs.values():
            unused = [pattern for pattern in knob.moves if not any(fnmatchcase(name, pattern) for name in names)]
            assert unused == [], knob.name
        weight = knobs["kernel.lane.normal.weight"].moves
        first = next(way for pattern, way in weight.items() if fnmatchcase("queue.normal.wait_p95", pattern))
        assert first == "down"


class TestOtherWays:
    async def test_a_knob_is_turned_by_another_way_unheard(self) -> None:
        """Who tunes the queue or the calls turns the host's knobs as well: that is told as any other turn is."""
        async with Kernel(Config(kernel=CONFIGS[0])) as kernel:
            with kernel.subscribe(KnobTurned) as turns:
                await kernel.call(TuneActions(workers=5, lanes={"high": LaneBounds(weight=7)}))
                await kernel.call(TuneActions(workers=5))
                await kernel.call(TuneCalls(default_timeout=12.0))
                with anyio.fail_after(5):
                    heard = [await anext(turns) for _ in range(3)]

            assert [(turn.knob, turn.before, turn.after, turn.reason) for turn in heard] == [
                ("kernel.workers", 8, 5, "kernel.tune_actions"),
                ("kernel.lane.high.weight", 5, 7, "kernel.tune_actions"),
                ("kernel.default_timeout", 30.0, 12.0, "kernel.tune_calls"),
            ]
            assert {turn.who for turn in heard} == {"the host"}
