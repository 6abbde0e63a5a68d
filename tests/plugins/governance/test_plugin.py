"""Governance on a real host: who asks, what is answered, what persons say, and what outlives a host."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from aetherra.hmr import HmrController, Reload
from aetherra.kernel import Config, CycleStep, Kernel, Maintain
from aetherra.kernel.errors import DataFileError
from aetherra.kernel.testing import FakeClock
from aetherra.plugins import (
    AskPermission,
    CheckPermission,
    DisablePlugin,
    HandlerError,
    Intent,
    Message,
    NotAPersonError,
    NotPermittedError,
    Permission,
    Plugin,
    Request,
    RestartPlugin,
    RetryPolicy,
    ServiceStatus,
    TellOutcome,
    handler,
    hookimpl,
)
from aetherra.plugins.governance import Governance
from aetherra.plugins.governance import messages as m
from aetherra.plugins.governance.approvals import ApprovalError, UnknownApprovalError
from aetherra.plugins.governance.clerk import UnknownActError
from aetherra.plugins.governance.plugin import LOOK_SEC, TIDY_SEC
from aetherra.registry import connect
from tests.plugins.governance.conftest import intent, room_for

INTEGRATION = intent("integration", "greeter", digest="a" * 64, needs_approval="policy")
Host = Callable[..., AbstractAsyncContextManager[Kernel]]


class Done(Message, tag="doer.done"):
    """It was done, under this entry."""

    entry: int
    approval: str


class Do(Request[Done], tag="doer.do"):
    """Do something, and between two steps wait until ``Go``, if so told."""

    intent: Intent
    wait: bool = False


class Ask(Request[Done], tag="doer.ask"):
    """Say something to governance as this plugin."""

    body: Any
    tag: str
    as_action: bool = False


class Doer(Plugin):
    """Acts by itself, when asked to."""

    name = "doer"
    began: anyio.Event
    go: anyio.Event

    async def start(self, ctx: Any) -> None:
        self.began, self.go = anyio.Event(), anyio.Event()
        type(self).here = self  # type: ignore[attr-defined]

    @handler
    async def do(self, request: Do) -> Done:
        async with self.ctx.permitted(request.intent) as permit:
            if request.wait:
                self.began.set()
                await self.go.wait()
                await permit.check()
            return Done(permit.entry, permit.approval)

    @handler
    async def ask(self, request: Ask) -> Done:
        if request.as_action:
            decoded = msgspec.convert(
                request.body, {"governance.approve": m.Approve, "governance.lift": m.LiftStop}[request.tag]
            )
            await self.ctx.submit_and_wait(decoded, retry=RetryPolicy(max_attempts=1))
        else:
            await self.ctx.call_tag(request.tag, request.body)
        return Done(0, "")


class Governed(Governance):
    """The plugin, at hand."""

    name = "governance"
    here: Any

    async def start(self, ctx: Any) -> None:
        type(self).here = self
        await super().start(ctx)


class Schemer(Plugin):
    """Words a step of the maintenance cycle, which the host runs in its own name."""

    name = "schemer"
    wish: Any = None

    @hookimpl
    def cycle_steps(self) -> list[CycleStep]:
        return [CycleStep("collect", self.wish)]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def host(tmp_path: Path, clock: FakeClock) -> Host:
    """Return a host with governance over ``tmp_path``; called again, it is the next run of it."""

    @asynccontextmanager
    async def opened(
        *plugins: Any,
        data: bool = True,
        profile: str = "test",
        socket: bool = False,
        clients: Any = None,
        **settings: Any,
    ) -> AsyncGenerator[Kernel]:
        part: dict[str, Any] = {"data_dir": "data" if data else None, "discover": False, "control_socket": socket}
        if clients is not None:
            part["clients"] = clients
        config = Config.parse({"kernel": part, "profile": profile}, root=tmp_path)
        async with Kernel(config, clock=clock) as kernel:
            await kernel.add_plugin(Governed, settings=settings)
            for plugin in (Doer, *plugins):
                await kernel.add_plugin(plugin)
            yield kernel

    return opened


async def fault_of(awaitable: Any) -> BaseException:
    with pytest.raises(HandlerError) as caught:
        await awaitable
    fault = caught.value.__cause__
    assert fault is not None
    return fault


async def refusal_of(kernel: Kernel, wanted: Intent) -> NotPermittedError:
    fault = await fault_of(kernel.call(Do(wanted)))
    assert isinstance(fault, NotPermittedError)
    return fault


async def until(holds: Callable[[], Awaitable[Any]]) -> None:
    """Wait for what another task, or a thread, does in its own time."""
    with anyio.fail_after(20):
        while not await holds():  # noqa: ASYNC110  # there is nothing to be told by
            await anyio.sleep(0.001)


async def tick(clock: FakeClock) -> None:
    """Let time pass, for what threads do takes real time."""
    while True:
        await anyio.sleep(0.001)
        await clock.advance(LOOK_SEC)


async def codes(kernel: Kernel) -> list[tuple[str, str, str]]:
    """Return kind, actor and code of what stands in the ledger, but for its beginning."""
    entries = (await kernel.call(m.GetAuditTail(1000))).entries
    return [(each.kind, each.actor, each.code) for each in entries if not each.kind.startswith("audit.")]


async def approve(kernel: Kernel, wanted: Intent) -> str:
    """Have a person agree to what the doer would do, and return the approval."""
    refused = await refusal_of(kernel, wanted)
    assert refused.code == "needs_approval"
    await kernel.call(m.Approve(refused.approval, "because"))
    return refused.approval


class TestAsking:
    @pytest.mark.parametrize("data", [False, True])
    async def test_an_act_is_not_in_the_ledger(self, host: Host, data: bool) -> None:
        """What is asked, by whom, and what came of it stand in the ledger; the ledger verifies."""
        async with host(data=data) as kernel:
            done = await kernel.call(Do(intent()))
            assert (await refusal_of(kernel, intent())).code == "guard"
            assert await codes(kernel) == [
                ("actuator", "doer", "allowed"),
                ("actuator", "doer", "done"),
                ("actuator", "doer", "guard"),
            ]
            assert done.entry
            assert (await kernel.call(m.VerifyAudit())).verification.ok

    async def test_an_asker_takes_another_name(self, host: Host) -> None:
        """Who asks is who calls: the host's own question is the host's, and its entry no plugin's to tell of."""
        async with host() as kernel:
            answer = await kernel.call(AskPermission(intent()))
            assert answer.allowed
            assert await codes(kernel) == [("actuator", "the host", "allowed")]
            body = {"entry": answer.entry, "outcome": "done"}
            fault = await fault_of(kernel.call(Ask(body, "governance.tell")))
            assert isinstance(fault.__cause__, UnknownActError)
            with pytest.raises(HandlerError, match="no act of yours"):
                await kernel.submit_and_wait(TellOutcome(answer.entry, "done"), retry=RetryPolicy(max_attempts=1))
            assert (await kernel.call(CheckPermission(answer.entry))).allowed
            await kernel.call(TellOutcome(answer.entry, "done"))

    async def test_an_action_asks_for_somebody_else(self, host: Host) -> None:
        """What comes as an action has the host's name whoever worded it, and is refused."""
        async with host() as kernel:
            answer: Permission = await kernel.submit_and_wait(AskPermission(intent()))
            assert (answer.code, await codes(kernel)) == ("refused", [])

    async def test_an_answer_that_nobody_heard_counts_as_done(self, host: Host) -> None:
        """What was allowed while its asker was cancelled is written as cancelled."""
        async with host() as kernel:
            clerk = Governed.here._clerk
            async with anyio.create_task_group() as group:
                with clerk._turn:  # so that the answer is still being written
                    group.start_soon(kernel.call, AskPermission(intent()))
                    await anyio.wait_all_tasks_blocked()
                    group.cancel_scope.cancel()

            async def is_cancelled() -> bool:
                return ("actuator", "the host", "cancelled") in await codes(kernel)

            await until(is_cancelled)
            assert (await kernel.call(m.GetGovernanceStatus())).open == 0

    async def test_without_governance_something_is_done(self, host: Host) -> None:
        """Once governance is quarantined nothing autonomous is permitted."""
        async with host() as kernel:
            await kernel.call(DisablePlugin("governance", "it is in the way"))
            refused = await refusal_of(kernel, intent())
            assert (refused.code, "does not serve" in refused.reason) == ("refused", True)

    async def test_metrics_say_nothing(self, host: Host) -> None:
        """What was asked, refused and waits is counted."""
        async with host() as kernel:
            await kernel.call(Do(intent()))
            await refusal_of(kernel, INTEGRATION)
            await kernel.call(m.EmergencyStopAll())
            samples = [sample for _, found in kernel._hooks.call("collect_metrics") for sample in found]
            told = {
                sample.name: sample.value for sample in samples if "permission" in sample.name or "app" in sample.name
            }
            assert told == {"permissions_asked": 2.0, "permissions_not_allowed": 1.0, "approvals_waiting": 1.0}


class TestApprovals:
    @pytest.mark.parametrize("data", [False, True])
    async def test_an_approval_is_used_twice(self, host: Host, data: bool) -> None:
        """A person agrees, it is done once under that approval, and asked anew for the next time; events tell."""
        async with host(data=data) as kernel:
            with kernel.subscribe("governance.approval_*") as events:
                approval = await approve(kernel, INTEGRATION)
                assert (await kernel.call(Do(INTEGRATION))).approval == approval
                refused = await refusal_of(kernel, INTEGRATION)
                assert (refused.code, refused.approval != approval) == ("needs_approval", True)
                told = [(await anext(events)).approval.state for _ in range(3)]  # type: ignore[attr-defined]
            assert told == ["pending", "approved", "pending"]
            found = (await kernel.call(m.ListApprovals())).approvals
            assert [each.state for each in found] == ["pending", "used"]
            assert [each.id for each in (await kernel.call(m.ListApprovals(state="used"))).approvals] == [approval]

    async def test_a_restart_forgets_what_waits(self, host: Host) -> None:
        """What waits, and what a person agreed to, is there in the next run, and used in it."""
        async with host() as kernel:
            approval = await approve(kernel, INTEGRATION)
        async with host() as kernel:
            assert (await kernel.call(Do(INTEGRATION))).approval == approval
        async with host() as kernel:
            assert (await refusal_of(kernel, INTEGRATION)).code == "needs_approval"

    async def test_a_change_is_approved_with_it(self, host: Host) -> None:
        """Another content is another question, and voids the approval of the first; an event tells."""
        async with host() as kernel:
            approval = await approve(kernel, INTEGRATION)
            with kernel.subscribe(m.ApprovalDecided) as events:
                await refusal_of(kernel, msgspec.structs.replace(INTEGRATION, digest="b" * 64))
                voided = (await anext(events)).approval
            assert (voided.id, voided.state) == (approval, "void")
            assert (await refusal_of(kernel, INTEGRATION)).approval != approval

    async def test_what_nobody_wants_any_more_waits_for_a_person(self, host: Host) -> None:
        """Who has asked withdraws it, and it is told; nobody else does."""
        async with host() as kernel:
            refused = await refusal_of(kernel, INTEGRATION)
            body = {"approval": refused.approval, "reason": "it came in meanwhile"}
            assert isinstance(await fault_of(kernel.call(m.Withdraw(**body))), ApprovalError)
            with kernel.subscribe(m.ApprovalDecided) as events:
                await kernel.call(Ask(body, "governance.withdraw"))
                voided = (await anext(events)).approval
            assert (voided.id, voided.state, voided.reason) == (refused.approval, "void", "it came in meanwhile")

    @pytest.mark.parametrize("as_action", [False, True])
    async def test_a_plugin_approves(self, host: Host, as_action: bool) -> None:
        """No plugin agrees to anything, by a call or by an action that the host would run for it."""
        async with host() as kernel:
            refused = await refusal_of(kernel, INTEGRATION)
            body = {"approval": refused.approval}
            fault = await fault_of(kernel.call(Ask(body, "governance.approve", as_action=as_action)))
            assert isinstance(fault.__cause__, NotAPersonError)
            assert (await refusal_of(kernel, INTEGRATION)).code == "needs_approval"

    async def test_the_cycle_approves_for_a_plugin(self, host: Host) -> None:
        """A step that a plugin words and the host runs, on the way of a person's call, is no person's word."""
        async with host(Schemer) as kernel:
            refused = await refusal_of(kernel, INTEGRATION)
            Schemer.wish = m.Approve(refused.approval)
            steps = (await kernel.call(Maintain())).steps
            assert [("only a person may approve" in step.error) for step in steps if step.plugin == "schemer"] == [True]
            assert (await kernel.call(m.ListApprovals())).approvals[0].state == "pending"

    async def test_whoever_asks_approves(self, host: Host) -> None:
        """A person on whose behalf something is asked does not agree to it."""
        async with host() as kernel:
            asked = await kernel.call(AskPermission(INTEGRATION))
            fault = await fault_of(kernel.call(m.Approve(asked.approval)))
            assert isinstance(fault, ApprovalError)
            assert isinstance(await fault_of(kernel.call(m.Approve("none"))), UnknownApprovalError)

    async def test_it_does_not_lapse(self, host: Host, clock: FakeClock) -> None:
        """A question that nobody decides lapses, and is put anew when it is asked anew."""
        async with host(approval_lifetime=3600.0) as kernel:
            first = (await refusal_of(kernel, INTEGRATION)).approval
            await clock.advance(3600)
            assert (await refusal_of(kernel, INTEGRATION)).approval != first


class Improve(Request[Done], tag="selfimprovement.approve"):
    """A call by which a person has a plugin decide."""

    body: Any
    tag: str = "governance.approve"


class Relay(Plugin):
    """Passes on what it is told."""

    name = "relay"

    @handler
    async def relay(self, request: Improve) -> Done:
        await self.ctx.call_tag(request.tag, request.body)
        return Done(0, "")


class TestRelays:
    async def test_a_person_cannot_speak_by_a_plugin(self, host: Host) -> None:
        """By a call that is a relay they may, on what the plugin asked itself, and on nothing else whatever it says."""
        async with host(Relay) as kernel:
            relay: Any = kernel.plugins()
            relay = next(entry for entry in kernel._running().plugins.entries() if entry.name == "relay")
            own: Permission = await relay.generation.context.call(AskPermission(INTEGRATION))
            await kernel.call(Improve({"approval": own.approval}))
            decided = (await kernel.call(m.ListApprovals())).approvals[0]
            assert (decided.state, decided.decided_by) == ("approved", "the host by plugin 'relay'")

            other = await refusal_of(kernel, INTEGRATION)
            fault = await fault_of(kernel.call(Improve({"approval": other.approval})))
            assert isinstance(fault.__cause__, ApprovalError)
            await kernel.call(m.EmergencyStopAll())
            fault = await fault_of(kernel.call(Improve({}, "governance.lift")))
            assert isinstance(fault.__cause__, NotAPersonError)


class TestStop:
    @pytest.mark.parametrize("data", [False, True])
    async def test_something_goes_on(self, host: Host, data: bool) -> None:
        """A stop holds at once what is asked, what was approved, ways back, and what is under way at its next step."""
        async with host(data=data) as kernel:
            approval = await approve(kernel, INTEGRATION)
            async with anyio.create_task_group() as group:
                ended, over = list[BaseException](), anyio.Event()

                async def act() -> None:
                    ended.append(await fault_of(kernel.call(Do(intent(component="slow"), wait=True))))
                    over.set()

                group.start_soon(act)
                doer = Doer.here  # type: ignore[attr-defined]
                await doer.began.wait()
                with kernel.subscribe("governance.*") as events:
                    await kernel.call(m.EmergencyStopAll("smoke"))
                    assert isinstance(await anext(events), m.EverythingStopped)
                    for wanted in (intent(), intent(undo=True), INTEGRATION):
                        refused = await refusal_of(kernel, wanted)
                        assert (refused.code, refused.reason) == ("stopped", "emergency stop by the host: smoke")
                    doer.go.set()
                    await over.wait()
                    assert isinstance(ended[0], NotPermittedError)
                    await kernel.call(m.LiftStop("a drill"))
                    lifted = await anext(events)
                    assert isinstance(lifted, m.StopLifted)
                    assert (lifted.by, lifted.reason, lifted.held.why) == ("the host", "a drill", "smoke")
            assert (await kernel.call(Do(INTEGRATION))).approval == approval
            told = await codes(kernel)
            assert ("actuator", "doer", "failed") in told
            assert [kind for kind, *_ in told if kind in ("governance.stop", "governance.lift")] == [
                "governance.stop",
                "governance.lift",
            ]

    async def test_a_restart_lifts_it(self, host: Host) -> None:
        """It holds in the next run, and the lift of that in the one after."""
        async with host() as kernel:
            await kernel.call(m.EmergencyStopAll("smoke"))
        async with host() as kernel:
            assert (await refusal_of(kernel, intent())).code == "stopped"
            await kernel.call(m.LiftStop())
        async with host() as kernel:
            await kernel.call(Do(intent()))

    @pytest.mark.parametrize("as_action", [False, True])
    async def test_a_plugin_lifts_it(self, host: Host, as_action: bool) -> None:
        """A plugin may stop everything, and lifts nothing, in whatever way it says so."""
        async with host(Schemer) as kernel:
            await kernel.call(Ask({"reason": "I fear"}, "governance.stop"))
            stopped = (await kernel.call(m.GetGovernanceStatus())).stopped
            assert stopped is not None
            assert "plugin 'doer'" in stopped.who
            fault = await fault_of(kernel.call(Ask({}, "governance.lift", as_action=as_action)))
            assert isinstance(fault.__cause__, NotAPersonError)
            Schemer.wish = m.LiftStop()
            await kernel.call(Maintain())
            assert (await refusal_of(kernel, intent())).code == "stopped"

    async def test_a_file_made_by_hand_is_not_seen(self, host: Host, clock: FakeClock, tmp_path: Path) -> None:
        """A file called STOP stops at the next question, is told of within a second, and written; so is its removal."""
        async with host() as kernel:
            file = tmp_path / "data" / "governance" / "STOP"
            with kernel.subscribe("governance.*") as events:
                file.touch()
                assert (await refusal_of(kernel, intent())).code == "stopped"
                async with anyio.create_task_group() as group:
                    group.start_soon(tick, clock)
                    assert isinstance(await anext(events), m.EverythingStopped)
                    file.unlink()
                    assert isinstance(await anext(events), m.StopLifted)
                    group.cancel_scope.cancel()
            await kernel.call(Do(intent()))

            async def is_written() -> bool:
                return ("governance.lift", "somebody, by the file", "") in await codes(kernel)

            await until(is_written)

    async def test_a_full_disk_lets_go(self, host: Host, clock: FakeClock) -> None:
        """A stop that cannot be written is said to be so, holds, and can be lifted."""
        async with host() as kernel:
            await kernel.call(Do(intent()))
            with room_for(0):
                assert isinstance(await fault_of(kernel.call(m.EmergencyStopAll("smoke"))), DataFileError)
                assert (await refusal_of(kernel, intent())).code == "stopped"
            await kernel.call(m.LiftStop())
            await clock.advance(TIDY_SEC)
            await kernel.call(Do(intent()))

    async def test_whoever_is_slow_to_hear_holds_all_up(self, host: Host) -> None:
        """A stop is told, answered and written though somebody who has asked to be waited for hears nothing."""
        async with host() as kernel:
            with kernel.subscribe("governance.*", capacity=1, overflow="block"):
                await refusal_of(kernel, INTEGRATION)
                with anyio.fail_after(20):
                    await refusal_of(kernel, intent(component="y", needs_approval="so"))
                    await kernel.call(m.EmergencyStopAll("smoke"))
            assert ("governance.stop", "the host", "") in await codes(kernel)

    async def test_a_stop_waits_for_those_who_write(self, host: Host) -> None:
        """A stop counts when it is said, however many wait for the disk."""
        async with host() as kernel, anyio.create_task_group() as group:
            governance = Governed.here
            with governance._clerk._turn, governance._stop._file._turn:  # as if the disk took for ever
                group.start_soon(kernel.call, m.EmergencyStopAll("smoke"))
                await anyio.wait_all_tasks_blocked()
                assert governance._stop.now() is not None


class TestGuards:
    async def test_a_restart_begins_anew(self, host: Host) -> None:
        """What was counted and put in force is so in the next run; a person ends it for all later ones."""
        async with host() as kernel:
            with kernel.subscribe(m.GuardBreached) as events:
                await kernel.call(Do(intent(actuator="restart")))
                await refusal_of(kernel, intent(actuator="restart"))
                breached = await anext(events)
            assert (breached.measure.breach, breached.kind, breached.component) == ("disable_actuator", "actuator", "x")
        async with host() as kernel:
            assert (await refusal_of(kernel, intent())).code == "guard"
            assert (await refusal_of(kernel, intent(component="y", actuator="restart"))).code == "paused"
            status = await kernel.call(m.GetGovernanceStatus())
            assert [measure.actuator for measure in status.measures] == ["restart", ""]
            reply = await kernel.call(m.ResetGuard("actions_per_component_per_minute", reason="all is well"))
            assert (reply.forgotten, len(reply.lifted)) == (1, 2)
        async with host() as kernel:
            await kernel.call(Do(intent(actuator="restart")))

    async def test_a_measure_never_ends(self, host: Host, clock: FakeClock) -> None:
        """What lasts for a time ends by itself."""
        async with host() as kernel:
            await kernel.call(Do(intent(actuator="restart")))
            refused = await refusal_of(kernel, intent(actuator="restart"))
            assert (refused.code, refused.retry_after) == ("guard", 60.0)
            await clock.advance(599)
            assert (await refusal_of(kernel, intent(actuator="restart"))).retry_after == 1.0
            await clock.advance(1)
            await kernel.call(Do(intent(actuator="restart")))

    async def test_a_plugin_resets_one(self, host: Host) -> None:
        """Only a person has a guard begin anew."""
        async with host() as kernel:
            fault = await fault_of(kernel.call(Ask({"guard": "rollbacks_per_hour"}, "governance.reset_guard")))
            assert isinstance(fault.__cause__, NotAPersonError)

    async def test_settings_are_not_heeded(self, host: Host) -> None:
        """The configuration changes limits, and what is done about a breach."""
        guards = {"actions_per_component_per_minute": {"limit": 2, "breach": "require_human_approval"}}
        async with host(guards=guards) as kernel:
            for _ in range(2):
                await kernel.call(Do(intent()))
            assert (await refusal_of(kernel, intent())).code == "needs_approval"
            state = next(each for each in (await kernel.call(m.GetGuards())).guards if each.key == "x")
            assert (state.used, state.limit, state.breach) == (2, 2, "require_human_approval")


class TestProd:
    async def test_something_is_integrated_without_a_person(self, host: Host) -> None:
        """In ``prod`` each integration needs an approval, whatever it calls itself; taking out again does not."""
        async with host(profile="prod") as kernel:
            refused = await refusal_of(kernel, intent("integration"))
            assert (refused.code, "each integration needs an approval" in refused.reason) == ("needs_approval", True)
            undoing = await refusal_of(kernel, intent("integration", undo=True))
            assert undoing.code == "needs_approval"
            await kernel.call(Do(intent("rollback", undo=True)))
        async with host(profile="prod", approval_kinds=[]) as kernel:
            await kernel.call(Do(intent("integration")))

    async def test_an_anonymous_client_decides(self, host: Host, tmp_path: Path) -> None:
        """In ``prod`` a client that is not named decides nothing, and nothing is done on its behalf."""
        clients = {"*": ["*:*"], "ada": ["*:*"]}
        async with host(profile="prod", socket=True, clients=clients) as kernel:
            refused = await refusal_of(kernel, intent("integration"))
            socket = tmp_path / "data" / "control.sock"
            async with connect(socket, name="bob") as bob:
                with pytest.raises(HandlerError, match=r"kernel\.clients\.bob"):
                    await bob.call_tag("governance.approve", {"approval": refused.approval})
            async with connect(socket, name="ada") as ada:
                decided = await ada.call_tag("governance.approve", {"approval": refused.approval})
                assert decided["approval"]["decided_by"] == "remote client 'ada'"
            await kernel.call(Do(intent("integration")))
            assert (await refusal_of(kernel, intent(sender="remote client 'bob'"))).code == "refused"
            await kernel.call(Do(intent(sender="remote client 'ada'")))


SOURCE = """
from aetherra.plugins.governance.plugin import Governance as Built


class Governance(Built):
    name = "governance"
    MARK = 1
"""


class TestSwap:
    @pytest.mark.parametrize(("how", "data"), [("reload", False), ("reload", True), ("restart", True)])
    async def test_a_swap_forgets_something(self, tmp_path: Path, clock: FakeClock, data: bool, how: str) -> None:
        """Approvals, guards, measures and a stop are those of before; on disk a swap halts nothing under way."""
        file = tmp_path / "governance.py"
        file.write_text(SOURCE)
        part = {"data_dir": "data" if data else None, "discover": False, "control_socket": False}
        plugins = {"governance": {"source": "governance.py"}}
        document = {"kernel": part, "profile": "test", "plugins": plugins}
        async with Kernel(Config.parse(document, root=tmp_path), clock=clock) as kernel:
            await kernel.add_plugin(HmrController, settings={"watch": False})
            await kernel.add_plugin(Doer)
            approval = await approve(kernel, INTEGRATION)
            await kernel.call(Do(intent(actuator="restart")))
            await refusal_of(kernel, intent(actuator="restart"))
            under_way = await kernel.call(AskPermission(intent(component="slow")))
            await kernel.call(m.EmergencyStopAll("smoke"))

            if how == "reload":
                file.write_text(SOURCE.replace("1", "22"))
                await kernel.call(Reload("governance"))
            else:
                await kernel.call(RestartPlugin("governance"))
            assert next(each.generation for each in kernel.plugins() if each.name == "governance") == 2

            assert (await refusal_of(kernel, INTEGRATION)).code == "stopped"
            await kernel.call(m.LiftStop())
            assert (await refusal_of(kernel, intent(component="y", actuator="restart"))).code == "paused"
            assert (await refusal_of(kernel, intent())).code == "guard"
            assert (await kernel.call(Do(INTEGRATION))).approval == approval
            checked = await kernel.call(CheckPermission(under_way.entry))
            assert checked.code == ("allowed" if data and how == "reload" else "refused")
            assert (await kernel.call(m.VerifyAudit())).verification.ok

    async def test_a_swap_lifts_a_stop_that_no_disk_took(self, tmp_path: Path, clock: FakeClock) -> None:
        """What the disk did not take is in force after a swap as well: a stop, and a person's no."""
        file = tmp_path / "governance.py"
        file.write_text(SOURCE)
        part = {"data_dir": "data", "discover": False, "control_socket": False}
        document = {"kernel": part, "profile": "test", "plugins": {"governance": {"source": "governance.py"}}}
        async with Kernel(Config.parse(document, root=tmp_path), clock=clock) as kernel:
            await kernel.add_plugin(HmrController, settings={"watch": False})
            await kernel.add_plugin(Doer)
            approval = await approve(kernel, INTEGRATION)
            file.write_text(SOURCE.replace("1", "22"))
            stop = tmp_path / "data" / "governance" / "STOP"
            (stop.with_name("STOP.new")).mkdir()
            with room_for(0):
                assert isinstance(await fault_of(kernel.call(m.Deny(approval, "no"))), DataFileError)
                assert isinstance(await fault_of(kernel.call(m.EmergencyStopAll("smoke"))), DataFileError)
                stop.unlink()  # the empty file that a full disk has room for
                await kernel.call(Reload("governance"))
                assert next(each.generation for each in kernel.plugins() if each.name == "governance") == 2
                refused = await refusal_of(kernel, intent())
                assert (refused.code, refused.reason) == ("stopped", "emergency stop by the host: smoke")
            await kernel.call(m.LiftStop())
            assert (await refusal_of(kernel, INTEGRATION)).code == "denied"
            told = [kind for kind, *_ in await codes(kernel) if kind in ("governance.stop", "governance.lift")]
            assert told == ["governance.stop", "governance.lift"]


class TestDamage:
    async def test_a_file_that_is_gone_lifts_a_pause(self, host: Host, tmp_path: Path) -> None:
        """To take a file away lifts nothing: a person must agree to all, over restarts, until one has looked."""
        async with host():
            pass
        async with host() as kernel:
            await kernel.call(Do(intent()))
        (tmp_path / "data" / "governance" / "state.json").unlink()
        for _ in range(2):
            async with host():
                pass
        async with host() as kernel:
            refused = await refusal_of(kernel, intent(component="y"))
            assert (refused.code, "state.json is gone" in refused.reason) == ("needs_approval", True)

    async def test_a_lost_state_lets_everything_pass(self, host: Host, tmp_path: Path) -> None:
        """Where nobody can tell what was in force, a person must agree to all but ways back, until one has looked."""
        file = tmp_path / "data" / "governance" / "state.json"
        async with host() as kernel:
            await refusal_of(kernel, INTEGRATION)
        file.write_bytes(file.read_bytes()[:-9])
        async with host():
            pass  # nobody asks anything, and nothing is written for another reason
        for _ in range(2):
            async with host() as kernel:
                refused = await refusal_of(kernel, intent())
                assert (refused.code, "state.json" in refused.reason) == ("needs_approval", True)
                await kernel.call(Do(intent(undo=True)))
        async with host() as kernel:
            await kernel.call(m.ResetGuard("state", reason="I have looked"))
            await kernel.call(Do(intent()))

    async def test_an_older_state_opens_what_was_closed(self, host: Host, tmp_path: Path) -> None:
        """A state that was put back is found at the start and said: nothing is done until a person has looked.

        An approval that it knows as unused is void, also after that.
        """
        file = tmp_path / "data" / "governance" / "state.json"
        async with host() as kernel:
            approval = await approve(kernel, INTEGRATION)
            older = file.read_bytes()
            await kernel.call(Do(INTEGRATION))
        file.write_bytes(older)
        for _ in range(2):
            async with host() as kernel:
                status = await kernel.call(m.GetGovernanceStatus())
                assert [each.breach for each in status.measures] == ["hold_everything"]
                assert "an older" in status.measures[0].reason
                for wanted in (INTEGRATION, intent(undo=True), intent("rollback", undo=True)):
                    refused = await refusal_of(kernel, wanted)
                    assert (refused.code, "aetherra guards reset state" in refused.reason) == ("paused", True)
        async with host() as kernel:
            await kernel.call(m.ResetGuard("state", reason="I have looked"))
            await kernel.call(Do(intent()))
            refused = await refusal_of(kernel, INTEGRATION)
            assert (refused.code, refused.approval != approval) == ("needs_approval", True)
            assert ("governance.reset_guard", "the host", "") in await codes(kernel)

    async def test_counts_of_an_earlier_version_are_lost(self, host: Host, tmp_path: Path, clock: FakeClock) -> None:
        """What it kept in a file of its own counts, and is in the state from then on."""
        folder = tmp_path / "data" / "governance"
        folder.mkdir(parents=True)
        (folder / "state.json").write_bytes(b"{}")
        counts = folder / "guards.jsonl"
        line = '{"count":{"guard":"actions_per_component_per_minute","key":"x"},"at":%r}\n'
        counts.write_text(line % clock.time())
        for _ in range(2):
            async with host() as kernel:
                assert [each.used for each in (await kernel.call(m.GetGuards())).guards if each.key] == [1]
                assert not counts.exists()

    async def test_what_a_kill_cut_off_stays_allowed(self, host: Host) -> None:
        """The next start says of it in the ledger, once, that nobody told what came of it; the status counts it."""
        async with host() as kernel:
            cut_off = (await kernel.call(AskPermission(intent()))).entry

        for found in (1, 0):
            async with host() as kernel:

                async def is_said(kernel: Kernel = kernel) -> bool:
                    return ("actuator", "the host", "interrupted") in await codes(kernel)

                await until(is_said)
                assert (await kernel.call(m.GetGovernanceStatus())).interrupted == found
                entries = (await kernel.call(m.GetAuditTail())).entries
                assert [each.refers_to for each in entries if each.code == "interrupted"] == [cut_off]
                assert (await kernel.call(CheckPermission(cut_off))).code == "refused"

    async def test_a_broken_ledger_takes_entries(self, host: Host, clock: FakeClock, tmp_path: Path) -> None:
        """With a ledger that somebody has shortened nothing is allowed, and status and service say so by themselves."""
        async with host() as kernel:
            await kernel.call(Do(intent()))
        for file in (tmp_path / "data" / "governance" / "audit").glob("*.jsonl"):
            file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:-1]))
        async with host() as kernel:

            async def is_noticed() -> bool:
                await clock.advance(TIDY_SEC)
                service = kernel.registry.get_service_info("governance")
                return service is not None and service.status == ServiceStatus.DEGRADED

            await until(is_noticed)
            assert "aetherra audit adopt" in (await kernel.call(m.GetGovernanceStatus())).problem
            assert (await refusal_of(kernel, intent(component="y"))).code == "unrecorded"
            assert not (await kernel.call(m.VerifyAudit())).verification.ok

    async def test_a_full_disk_lets_something_pass(self, host: Host) -> None:
        """With a full disk nothing is allowed and the service says why; once there is room all is well."""
        async with host() as kernel:
            await kernel.call(Do(intent()))
            with room_for(0):
                assert (await refusal_of(kernel, intent(component="y"))).code == "unrecorded"
                service = kernel.registry.get_service_info("governance")
                assert service is not None
                assert service.status == ServiceStatus.DEGRADED
            await kernel.call(Do(intent(component="y")))
            service = kernel.registry.get_service_info("governance")
            assert service is not None
            assert service.status == ServiceStatus.HEALTHY
