"""The kernel as a service: every request is answered with builtins, and what it tells is true."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import anyio
import pytest

from aetherra.kernel import Config, CycleStep, Kernel, Plugin, Reject, handler, hookimpl, service
from aetherra.kernel.testing import FakeClock
from aetherra.registry import HandlerError, HealthReport, Message, Request, ServiceStatus


class Ask(Request["Answer"], tag="service_test.ask"):
    how: str = "well"


class Answer(Message, tag="service_test.answer"):
    rooms: int = 3


class Room(Plugin):
    version = "7"

    @handler
    async def answer(self, ask: Ask) -> Answer:
        if ask.how == "rejected":
            raise Reject("no such room")
        if ask.how == "badly":
            raise ValueError("no such room")
        return Answer()

    @hookimpl
    def cycle_steps(self) -> list[CycleStep]:
        return [CycleStep("collect", Ask()), CycleStep("judge", Ask("badly"))]


def is_builtin(value: Any) -> bool:
    """Whether a value is made of what JSON has."""
    match value:
        case dict():
            return all(type(key) is str and is_builtin(item) for key, item in value.items())
        case list() | tuple():
            return all(map(is_builtin, value))
        case _:
            return value is None or type(value) in (str, int, float, bool)


async def ask(kernel: Kernel, tag: str, body: Any = None) -> Any:
    """Call the kernel by name, and check that the reply is builtins."""
    reply = await kernel.call_tag(f"kernel.{tag}", body)
    assert is_builtin(reply)
    return reply


class TestRequests:
    async def test_a_request_is_not_answered(self) -> None:
        """Each request of the kernel can be called by name, with builtins in and out."""
        clock = FakeClock()
        async with Kernel(clock=clock) as kernel:
            await kernel.add_plugin(Room)
            await clock.advance(2.0)
            for how in ("well", "rejected"):
                handle = await kernel.submit(Ask(how))
                await anyio.wait_all_tasks_blocked()
                assert handle.status in ("done", "dead")
            statistics = await ask(kernel, "statistics")
            assert statistics["plugins"] == {"serving": 1}
            assert statistics["actions"]["done"] == 1
            assert (await ask(kernel, "health"))["overall"]["status"] == "healthy"
            status = await ask(kernel, "status")
            assert (status["pid"], status["data_dir"], status["actions_done"]) == (os.getpid(), None, 1)
            assert status["dead_letters"] == 1
            services = (await ask(kernel, "services"))["services"]
            assert [(info["name"], info["status"]) for info in services] == [("kernel", "healthy"), ("room", "healthy")]
            (plugin,) = (await ask(kernel, "plugins"))["plugins"]
            assert (plugin["name"], plugin["version"], plugin["tags"]) == ("room", "7", ("service_test.ask",))
            assert (await ask(kernel, "actions"))["accepted"] == 2
            (letter,) = (await ask(kernel, "dlq"))["letters"]
            assert letter["reason"] == "rejected"
            assert (await ask(kernel, "dlq", {"trace_id": letter["trace_id"]}))["letters"] == (letter,)
            assert (await ask(kernel, "dlq", {"reason": "timeout"}))["letters"] == ()
            redriven = await ask(kernel, "dlq_redrive", {"trace_id": letter["trace_id"]})
            assert redriven["trace_id"] == letter["trace_id"] != redriven["new_trace_id"]
            await anyio.wait_all_tasks_blocked()
            report = await ask(kernel, "dlq_redrive_where", {"reason": "rejected", "dry_run": True})
            assert [done["trace_id"] for done in report["redriven"]] == [redriven["new_trace_id"]]
            assert await ask(kernel, "dlq_park") == {"parked": 1}
            assert (await ask(kernel, "dlq"))["letters"] == ()
            assert await ask(kernel, "dlq_unpark", {"reason": "rejected"}) == {"unparked": 1}
            assert await ask(kernel, "dlq_purge", {"reason": "timeout"}) == {"removed": 0}
            assert await ask(kernel, "dlq_purge") == {"removed": 1}
            document = (await ask(kernel, "contracts"))["document"]
            assert document["messages"]["service_test.ask"]["plugin"] == "room"
            report = await ask(kernel, "maintain")
            assert [(step["phase"], step["plugin"], bool(step["error"])) for step in report["steps"]] == [
                ("collect", "room", False),
                ("judge", "room", True),
            ]
            assert report["findings"] == {"rooms": 3}
            tuned = await ask(kernel, "tune_actions", {"workers": 3, "lanes": {"high": {"weight": 9}}})
            assert (tuned["workers"], tuned["lanes"]["high"]["weight"], tuned["lanes"]["high"]["capacity"]) == (
                3,
                9,
                1000,
            )
            with pytest.raises(HandlerError, match="expected 1 to 1000 workers, got 0"):
                await ask(kernel, "tune_actions", {"workers": 0, "lanes": {"high": {"weight": 1}}})
            with pytest.raises(HandlerError, match="expected one of high, normal, background, got 'urgent'"):
                await ask(kernel, "tune_actions", {"workers": 9, "lanes": {"urgent": {"weight": 1}}})
            shed = await ask(kernel, "tune_actions", {"lanes": {"background": {"shed": True}}})
            assert [name for name, lane in shed["lanes"].items() if lane["shed"]] == ["background"]
            assert await ask(kernel, "tune_calls", {"default_timeout": 45.0}) == {"default_timeout": 45.0}
            with pytest.raises(HandlerError, match="expected default_timeout to be more than 0 seconds"):
                await ask(kernel, "tune_calls", {"default_timeout": 0.0})
            assert await ask(kernel, "tune_calls") == {"default_timeout": 45.0}
            knobs = (await ask(kernel, "list_knobs"))["knobs"]
            assert [(knob["value"], knob["whole"]) for knob in knobs if knob["name"] == "kernel.workers"] == [(3, True)]
            turned = await ask(kernel, "set_knob", {"name": "kernel.workers", "value": 4, "expected": 3})
            assert turned == {"name": "kernel.workers", "before": 3, "after": 4}
            await ask(kernel, "set_knob", {"name": "kernel.workers", "value": 3})
            kept = kernel.statistics().actions
            assert (kept.workers, kept.lanes["high"].weight) == (3, 9)
            assert (await ask(kernel, "grants", {"plugin": "room"}))["grants"] == ()
            assert await ask(kernel, "retired", {"plugin": "room", "why": True}) == {"generations": ()}
            assert await ask(kernel, "doubt_service", {"service": "room", "reason": "slow"}) == {"status": "degraded"}
            assert await ask(kernel, "doubt_service", {"service": "room"}) == {"status": "healthy"}
            restarted = await ask(kernel, "restart_plugin", {"plugin": "room", "reason": "for a test"})
            assert restarted == {"plugin": "room", "old_generation": 1, "generation": 2}
            assert await ask(kernel, "disable_plugin", {"plugin": "room"}) == {"plugin": "room", "generation": 2}
            assert await ask(kernel, "enable_plugin", {"plugin": "room"}) == {"plugin": "room", "generation": 3}
            (vitals,) = (await ask(kernel, "vitals"))["plugins"]
            assert (vitals["plugin"], vitals["generation"], vitals["state"]) == ("room", 3, "serving")
            footprint = await ask(kernel, "footprint", {"plugin": "room"})
            assert footprint["plugin"] == "room"
            assert footprint["complete"]
            assert (await ask(kernel, "statistics"))["lifecycle"] == {
                "loads": 3,
                "load_failures": 0,
                "restarts": 1,
                "disabled": 1,
            }
            assert await ask(kernel, "remove_plugin", {"plugin": "room"}) == {"plugin": "room"}
            assert kernel.plugins() == []

    async def test_a_request_is_not_tried_here(self) -> None:
        """The test above calls every tag that the kernel answers."""
        source = Path(__file__).read_text(encoding="utf-8")  # noqa: ASYNC240  # this file
        async with Kernel() as kernel:
            info = kernel.registry.get_service_info("kernel")
            assert info is not None
            assert [tag for tag in info.tags if f'ask(kernel, "{tag.removeprefix("kernel.")}"' not in source] == []

    async def test_the_backend_or_the_place_is_wrong(self, tmp_path: Path, anyio_backend_name: str) -> None:
        """The status tells what the host runs on, and where."""
        config = Config.parse({"profile": "test", "kernel": {"discover": False}}, root=tmp_path)
        async with Kernel(config) as kernel:
            status = await ask(kernel, "status")
            assert status["backend"] == anyio_backend_name
            assert status["profile"] == "test"
            assert (status["root"], status["data_dir"]) == (str(tmp_path), str(tmp_path / ".aetherra"))

    async def test_nothing_is_left_after_the_end(self) -> None:
        """The service and its tags go with the kernel."""
        async with Kernel() as kernel:
            bus = kernel.bus
            assert bus.routes()
        assert bus.routes() == []


class TestDeadLetters:
    async def bury(self, kernel: Kernel, count: int = 1) -> None:
        for _ in range(count):
            handle = await kernel.submit(Ask("rejected"))
            with pytest.raises(Exception, match="no such room"):
                await handle.wait()

    async def test_a_reply_that_would_be_too_long_is_cut_and_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """At least one letter goes into it, and the rest can be asked for."""
        async with Kernel() as kernel:
            await kernel.add_plugin(Room)
            await self.bury(kernel, 3)
            whole = await ask(kernel, "dlq")
            assert (len(whole["letters"]), whole["cut"], whole["unreadable"], whole["aside"]) == (3, False, 0, "")
            assert [await kernel.get_dlq_items(-1), await kernel.get_dlq_items(0)] == [[], []]
            for room, fitting in ((1, 1), (len(json.dumps(whole["letters"][:2])), 2)):
                monkeypatch.setattr(service, "REPLY_BYTES", room)
                reply = await ask(kernel, "dlq")
                assert (reply["letters"], reply["cut"]) == (whole["letters"][:fitting], True)

    async def test_its_bounds_are_those_of_the_configuration(self, tmp_path: Path) -> None:
        """Size, number and age, the last by the host's own clock; and what is no letter is told."""
        bounds = {"max_bytes": 1024, "files": 2, "max_age": 100.0}
        document = {"kernel": {"discover": False, "data_dir": ".", "control_socket": False, "dlq": bounds}}
        config = Config.parse(document, root=tmp_path)
        clock = FakeClock()
        async with Kernel(config, clock=clock) as kernel:
            await kernel.add_plugin(Room)
            await self.bury(kernel, 3)
            assert (kernel.statistics().actions.dlq.depth, kernel.statistics().actions.dlq.dropped) == (2, 1)
            assert len(_letter_files(tmp_path)) == 2
        with (tmp_path / "kernel_dlq.jsonl").open("ab") as file:
            file.write(b"alien\n")
        async with Kernel(config, clock=clock) as kernel:
            reply = await ask(kernel, "dlq")
            assert (len(reply["letters"]), reply["unreadable"]) == (2, 1)
            assert reply["aside"] == str(tmp_path / "kernel_dlq.unreadable")
        await clock.advance(101.0)
        async with Kernel(config, clock=clock) as kernel:
            assert (await ask(kernel, "dlq"))["letters"] == ()
            assert kernel.statistics().actions.dlq.dropped == 2

    @pytest.mark.parametrize(("durability", "waits"), [("none", False), ("process", False), ("power", True)])
    async def test_a_letter_survives_what_its_action_does(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durability: str, waits: bool
    ) -> None:
        """With ``power`` it is on the disk before its action counts as finished."""
        document = {"kernel": {"discover": False, "data_dir": ".", "control_socket": False, "durability": durability}}
        flushed: list[str] = []
        fsync = os.fsync

        def watched(descriptor: int) -> None:
            flushed.extend(str(path) for path in tmp_path.glob("kernel_dlq.jsonl") if _is_open_as(path, descriptor))
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", watched)
        async with Kernel(Config.parse(document, root=tmp_path)) as kernel:
            await kernel.add_plugin(Room)
            await self.bury(kernel)
            assert bool(flushed) is waits


def _letter_files(folder: Path) -> list[Path]:
    return list(folder.glob("kernel_dlq*.jsonl"))


def _is_open_as(path: Path, descriptor: int) -> bool:
    return os.path.samestat(path.stat(), os.fstat(descriptor))


class TestStatistics:
    async def test_a_number_is_wrong(self) -> None:
        """Uptime, calls and actions are counted as they happened."""
        clock = FakeClock()
        async with Kernel(clock=clock) as kernel:
            await kernel.add_plugin(Room)
            await clock.advance(5.0)
            for _ in range(3):
                await kernel.call(Ask())
            with pytest.raises(Exception, match="no such room"):
                await kernel.call(Ask("badly"))
            await kernel.publish(Answer())
            numbers = kernel.statistics()
            assert numbers.uptime == 5.0
            assert (numbers.bus.calls, numbers.bus.call_errors) == (4, 1)
            (route,) = (route for route in numbers.bus.routes if route.tag == "service_test.ask")
            assert (route.calls, route.errors, route.in_hand) == (4, 1, 0)
            assert numbers.plugins == {"serving": 1}


def reporting(report: Any) -> type[Plugin[Any]]:
    """A plugin whose health hook returns this."""

    class Reporting(Plugin):
        @hookimpl
        def health(self) -> Any:
            return report

    return Reporting


class TestHealth:
    async def test_a_plugins_own_word_is_not_heard(self) -> None:
        """What a plugin says by its hook stands in place of its service's status, and shows in the whole."""
        async with Kernel() as kernel:
            await kernel.add_plugin(reporting(HealthReport("reporting", ServiceStatus.DEGRADED, 0.4, ("cold",))))
            health = kernel.health()
            assert [(part.component, part.score) for part in health.parts] == [("kernel", None), ("reporting", 0.4)]
            assert health.overall.status is ServiceStatus.DEGRADED
            assert health.overall.reasons == ("reporting is degraded: cold",)

    async def test_a_part_that_is_no_service_is_left_out(self) -> None:
        """A plugin may report on parts of its own."""
        async with Kernel() as kernel:
            await kernel.add_plugin(reporting(HealthReport("probe", ServiceStatus.HEALTHY, 1.0)))
            assert [part.component for part in kernel.health().parts] == ["kernel", "probe", "reporting"]

    @pytest.mark.parametrize("component", ["kernel", "room"])
    async def test_a_plugin_speaks_for_another(self, component: str) -> None:
        """The health of another's service is not a plugin's to tell."""
        async with Kernel() as kernel:
            await kernel.add_plugin(Room)
            await kernel.add_plugin(reporting(HealthReport(component, ServiceStatus.FAILED, 0.0)))
            assert kernel.health().overall.status is ServiceStatus.HEALTHY

    async def test_a_broken_hook_hides_the_rest(self) -> None:
        """A hook that returns nonsense is left out, and all else is told."""
        async with Kernel() as kernel:
            await kernel.add_plugin(reporting("fine, thanks"))
            assert [part.component for part in kernel.health().parts] == ["kernel", "reporting"]
