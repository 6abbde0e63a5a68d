"""The maintenance cycle: every plugin's part, in order, and no plugin in the way of another."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from aetherra.kernel import CycleStep, hookimpl
from aetherra.kernel.hookspecs import PHASES
from aetherra.kernel.host import HookCaller
from aetherra.kernel.maintenance import run_cycle
from aetherra.kernel.testing import FakeClock
from aetherra.registry import Bus, Identity, Message, Request, Route


class Found(Message, tag="maintenance.found"):
    files: int
    note: str = ""


class Scan(Request[Found], tag="maintenance.scan"):
    pass


class Plan(Request[Found], tag="maintenance.plan"):
    pass


class Steps:
    """A plugin that names these steps."""

    def __init__(self, steps: Any) -> None:
        self.steps = steps

    @hookimpl
    def cycle_steps(self) -> Iterable[CycleStep]:
        return self.steps() if callable(self.steps) else self.steps


class Host:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.bus = Bus(clock=self.clock)
        self.hooks = HookCaller()
        self.order: list[str] = []

    def answers(self, request_type: type[Request[Any]], files: int, error: Exception | None = None) -> None:
        async def answer(request: Request[Any]) -> Found:
            self.order.append(type(request).__name__)
            if error is not None:
                raise error
            return Found(files)

        self.bus.add_routes([Route(request_type, answer, Identity("plugin", "x", 1))])


@pytest.fixture
def host() -> Host:
    return Host()


class TestCycle:
    async def test_steps_run_phase_by_phase_whoever_names_them(self, host: Host) -> None:
        """The report has each step, the phases in which nobody has a part, and what was found."""
        host.answers(Scan, 3)
        host.answers(Plan, 4)
        host.hooks.register(Steps([CycleStep("plan", Plan())]), "planner")
        host.hooks.register(Steps([CycleStep("discover", Scan())]), "scanner")

        with host.bus.subscribe("kernel.maintenance_step") as events:
            report = await run_cycle(host.bus, host.hooks, step_timeout=5.0)

        assert host.order == ["Scan", "Plan"]
        assert [(step.phase, step.plugin, step.tag, step.error) for step in report.steps] == [
            ("discover", "scanner", "maintenance.scan", ""),
            ("plan", "planner", "maintenance.plan", ""),
        ]
        assert report.idle_phases == tuple(phase for phase in PHASES if phase not in ("discover", "plan"))
        assert report.findings == {"files": 3, "note": "", "planner.files": 4, "planner.note": ""}
        assert [event async for event in events] == list(report.steps)

    async def test_a_step_that_fails_is_reported_and_the_cycle_goes_on(self, host: Host) -> None:
        """With its error, also where nobody answers."""
        host.answers(Plan, 4, OSError("disk gone"))
        steps = [CycleStep("collect", Scan()), CycleStep("correct", Plan()), CycleStep("plan", Plan())]
        host.hooks.register(Steps(steps), "planner")

        report = await run_cycle(host.bus, host.hooks, step_timeout=5.0)

        assert "nothing answers 'maintenance.scan'" in report.steps[0].error
        assert "disk gone" in report.steps[1].error
        assert (len(report.steps), report.findings) == (3, {})

    async def test_a_step_that_takes_too_long_is_ended(self, host: Host) -> None:
        """Each has ``step_timeout`` seconds."""

        async def answer(_: Scan) -> Found:
            await host.clock.advance(6.0)
            await host.clock.sleep(1.0)
            return Found(1)

        host.bus.add_routes([Route(Scan, answer, Identity("plugin", "x", 1))])
        host.hooks.register(Steps([CycleStep("collect", Scan())]), "scanner")
        (step,) = (await run_cycle(host.bus, host.hooks, step_timeout=5.0)).steps

        assert "within 5 s" in step.error
        assert step.seconds >= 5.0

    @pytest.mark.parametrize(
        "steps",
        [
            [5],
            [CycleStep("plan", 5)],  # type: ignore[arg-type]
            [CycleStep("rest", Plan())],  # type: ignore[arg-type]
            7,
            lambda: (1 / 0 for _ in range(1)),
            lambda: 1 / 0,
        ],
    )
    async def test_a_plugin_whose_steps_are_none_holds_up_nobody(
        self, host: Host, steps: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is named in the log, and the others' steps run."""
        host.answers(Scan, 3)
        host.hooks.register(Steps([CycleStep("discover", Scan())]), "scanner")
        host.hooks.register(Steps(steps), "odd")
        host.hooks.register(Steps([CycleStep("plan", Scan())]), "other")

        report = await run_cycle(host.bus, host.hooks, step_timeout=5.0)

        assert [step.plugin for step in report.steps] == ["scanner", "other"]
        assert "odd" in caplog.text
