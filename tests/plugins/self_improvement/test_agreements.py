"""Self-improvement on a governed host: whom it asks before it turns a knob, what it tells, and when it waits."""

from __future__ import annotations

from typing import Any

import pytest

from aetherra.plugins import AskPermission, DisablePlugin, EnablePlugin, Permission, Plugin, SetKnob, handler
from aetherra.plugins.governance.messages import (
    Approve,
    Deny,
    EmergencyStopAll,
    GetAuditTail,
    GetGovernanceStatus,
    LiftStop,
    ListApprovals,
)
from aetherra.plugins.self_improvement.agreements import Agreements
from aetherra.plugins.self_improvement.messages import (
    ApproveProposal,
    CarryOut,
    ListProposals,
    RejectProposal,
    UndoKept,
)

from .conftest import CALM, EVERY, WATCHED, Plant


class Courier(Plugin):
    """Sends proposals that are not its own."""

    name = "courier"
    capabilities = ("call:selfimprovement.*",)

    async def start(self, ctx):
        Courier.here = self


async def ledger(here):
    """Return what stands in the ledger of what self-improvement did: kind, component, and answer or outcome."""
    entries = (await here.call(GetAuditTail(1000))).entries
    return [
        (entry.kind, entry.component, entry.code) for entry in entries if entry.actor.startswith("self_improvement")
    ]


async def approvals(here, state=None):
    """Return the requests for approval."""
    return (await here.call(ListApprovals(state))).approvals


async def waiting(here):
    """Have a proposal that waits for approval, and return it with the request for it."""
    await here.past()
    (only,) = await here.propose()
    assert only.state == "waiting_approval"
    (asked,) = await approvals(here, "pending")
    return only, asked


class TestAsking:
    async def test_a_knob_is_turned_without_leave(self, site):
        """Each turn is allowed before and told after: carried out, taken back, as the ledger has it."""
        async with site(governed={}) as here:
            only = await here.tried()
            await here.call(UndoKept(only.id))
            await here.at_rest()

            assert await here.value() == 1
            assert await ledger(here) == [
                ("proposal", "plant.pool", "allowed"),
                ("proposal", "plant.pool", "done"),
                ("knob", "plant.pool", "allowed"),
                ("knob", "plant.pool", "done"),
            ]

    async def test_a_knob_that_was_not_turned_is_told_as_turned(self, site, monkeypatch):
        """What its owner did not take is told as failed."""

        async def refuse(plant, value):
            raise OSError("no room")

        monkeypatch.setattr(Plant, "write", refuse)
        async with site(governed={}) as here:
            await here.past()
            await here.propose()
            await here.go_on(EVERY)

            assert await ledger(here) == [("proposal", "plant.pool", "allowed"), ("proposal", "plant.pool", "failed")]

    async def test_what_is_kept_is_set_again_without_leave(self, site):
        """After a restart of the plugin that has the knob it is allowed, and told."""
        async with site(governed={}) as here:
            await here.kept()
            await here.call(DisablePlugin("plant"))
            await here.call(EnablePlugin("plant"))
            await here.go_on(2 * EVERY)

            assert await here.value() == 2
            assert (await ledger(here))[-2:] == [("knob", "plant.pool", "allowed"), ("knob", "plant.pool", "done")]

    async def test_a_host_in_prod_that_nobody_governs_is_changed(self, site):
        """There a proposal is held, approved or not, with what to do about it."""
        async with site(profile="prod", mode="act") as here:
            await here.past()
            await here.propose()
            await here.go_on(EVERY)
            only = await here.proposal()
            receipt = await here.call(CarryOut(only))

            assert (receipt.status, only.state, await here.value()) == ("held", "proposed", 1)
            assert "enable the plugin 'governance'" in receipt.reason

    async def test_what_another_sends_counts_for_us(self, site):
        """It is asked for on behalf of who sends it."""
        async with site(governed={}, trial={"every": 3600.0}) as here:
            await here.kernel.add_plugin(Courier)
            await here.past()
            (only,) = await here.propose()
            receipt = await Courier.here.ctx.call(CarryOut(only))
            entries = (await here.call(GetAuditTail(10))).entries

            assert (receipt.status, await here.value()) == ("taken", 2)
            assert any("plugin 'courier'" in f"{entry.actor} {entry.facts}" for entry in entries)

    async def test_a_sender_of_many_is_not_held(self, site):
        """One more than the guard lets pass waits for a person, is asked about once, and carried out by their word."""
        guard = {"proposals_per_sender_per_minute": {"limit": 1, "seconds": 86_400.0}}
        async with site(governed={"guards": guard}, cool_down=10.0) as here:
            only = await here.tried()
            await here.call(UndoKept(only.id))
            await here.go_on(CALM)
            assert len(await here.propose()) == 1
            await here.go_on(4 * EVERY)
            assert await here.value() == 1
            (measure,) = (await here.call(GetGovernanceStatus())).measures
            assert (measure.breach, measure.key) == ("require_human_approval", "self_improvement")
            (asked,) = await approvals(here)
            assert (await here.call(GetGovernanceStatus())).codes["needs_approval"] == 1
            await here.call(Approve(asked.id))
            await here.go_on(2 * EVERY)
            assert await here.value() == 2


class TestAgreeing:
    async def test_nobody_hears_of_what_waits(self, site):
        """What waits for approval stands among all that waits for a person, once, however often it is looked at."""
        async with site(governed={}, plant={"impact": "high"}) as here:
            only, asked = await waiting(here)
            await here.go_on(CALM + 4 * EVERY)

            assert (asked.kind, asked.component, asked.asker) == ("proposal", "plant.pool", "self_improvement")
            assert asked.summary == "turn plant.pool from 1 to 2 workers"
            assert "much harm" in asked.why
            assert (await approvals(here), await here.value()) == ((asked,), 1)
            assert (await here.proposal()).id == only.id

    async def test_an_approval_there_counts_for_nothing_here(self, site):
        """It is carried out, the approval is used up by that, and there is nothing left to approve."""
        async with site(governed={}, plant={"impact": "high"}) as here:
            only, asked = await waiting(here)
            await here.go_on(CALM)
            await here.call(Approve(asked.id, "go on"))
            await here.at_rest()
            assert (await here.proposal()).state == "approved"
            await here.go_on(EVERY)

            assert ((await here.proposal()).state, await here.value()) == ("applied", 2)
            assert [one.state for one in await approvals(here)] == ["used"]
            assert await here.fault(ApproveProposal(only.id)) is not None
            assert [turn.after for turn in here.turns] == [2]

    async def test_an_approval_here_counts_for_nothing_there(self, site):
        """It is passed on in the name of the person, used up, and nothing waits there any more."""
        async with site(governed={}, plant={"impact": "high"}) as here:
            only, asked = await waiting(here)
            await here.go_on(CALM)
            await here.call(ApproveProposal(only.id, "go on"))
            await here.at_rest()

            assert ((await here.proposal()).state, await here.value()) == ("applied", 2)
            (used,) = await approvals(here)
            assert (used.id, used.state) == (asked.id, "used")
            assert used.decided_by == "the host by plugin 'self_improvement'"
            assert await here.fault(Approve(asked.id)) is not None
            assert [turn.after for turn in here.turns] == [2]

    async def test_a_no_there_counts_for_nothing_here(self, site):
        """It is rejected with the person's reason, also after it was approved here."""
        async with site(governed={}, plant={"impact": "high"}) as here:
            only, asked = await waiting(here)
            await here.call(SetKnob("kernel.workers", 9))  # which must settle first
            await here.at_rest()
            await here.call(ApproveProposal(only.id))
            await here.call(Deny(asked.id, "not today"))
            await here.go_on(CALM + EVERY)
            rejected = await here.proposal()

            assert (rejected.state, await here.value()) == ("rejected", 1)
            assert "not today" in rejected.reason

    async def test_a_no_here_counts_for_nothing_there(self, site):
        """What is rejected here waits there no more."""
        async with site(governed={}, plant={"impact": "high"}) as here:
            only, _ = await waiting(here)
            await here.call(RejectProposal(only.id, "not today"))

            (denied,) = await approvals(here)
            assert (denied.state, denied.reason) == ("denied", "not today")

    async def test_a_plugin_agrees(self, site):
        """It cannot, here or there; the proposal goes on waiting."""
        async with site(governed={}, plant={"impact": "high"}) as here:
            await here.kernel.add_plugin(Courier)
            only, asked = await waiting(here)
            for request in (ApproveProposal(only.id), Approve(asked.id)):
                with pytest.raises(Exception, match="person"):
                    await Courier.here.ctx.call(request)

            assert ((await here.proposal()).state, await here.value()) == ("waiting_approval", 1)

    async def test_what_waits_is_forgotten_by_a_restart(self, site):
        """The request for it is the same afterwards, and an approval that was given meanwhile counts."""
        async with site(data=True, governed={}, plant={"impact": "high"}) as here:
            _, asked = await waiting(here)
            await here.call(Approve(asked.id))
        async with site(data=True, governed={}, plant={"impact": "high"}, clock=here.clock) as here:
            await here.go_on(CALM + EVERY)

            assert ((await here.proposal()).state, await here.value()) == ("applied", 2)
            assert [one.state for one in await approvals(here)] == ["used"]


class TestStopping:
    async def test_a_stop_is_passed(self, site):
        """Nothing is carried out while it holds, approved or not, and nothing is written of it over and over."""
        async with site(governed={}, plant={"impact": "high"}) as here:
            only, asked = await waiting(here)
            await here.call(Approve(asked.id))
            await here.at_rest()
            await here.call(EmergencyStopAll("fire"))
            before = len((await here.call(GetAuditTail(1000))).entries)
            await here.go_on(2 * CALM)
            only = await here.proposal()
            receipt = await here.call(CarryOut(only))

            assert (receipt.status, only.state, await here.value()) == ("held", "approved", 1)
            assert "fire" in receipt.reason
            assert len((await here.call(GetAuditTail(1000))).entries) == before
            await here.call(LiftStop())
            await here.go_on(CALM + 2 * EVERY)
            assert ((await here.proposal()).state, await here.value()) == ("applied", 2)

    async def test_a_trial_goes_on_while_everything_is_stopped(self, site):
        """It ends undecided, as the host was not what it usually is; it is taken back once the stop is lifted."""
        async with site(governed={}) as here:
            await here.tried()
            await here.call(EmergencyStopAll("fire"))
            await here.go_on(WATCHED)
            assert ((await here.proposal()).state, await here.value()) == ("applied", 2)
            assert "stopped" not in [code for *_, code in await ledger(here)], "it is asked about over and over"
            await here.call(LiftStop())
            await here.go_on(EVERY)
            only = await here.proposal()

            assert (only.state, await here.value()) == ("inconclusive", 1)
            assert "fire" in only.reason
            assert only.outcome is None, "something is learnt of it"

    async def test_nothing_is_set_again_while_everything_is_stopped(self, site):
        """What is kept is set again once it is lifted."""
        async with site(governed={}) as here:
            await here.kept()
            await here.call(EmergencyStopAll("fire"))
            await here.call(DisablePlugin("plant"))
            await here.call(EnablePlugin("plant"))
            await here.go_on(4 * EVERY)
            assert await here.value() == 1
            assert "stopped" not in [code for *_, code in await ledger(here)], "it is asked about over and over"
            await here.call(LiftStop())
            await here.go_on(2 * EVERY)
            assert await here.value() == 2

    async def test_governance_that_does_not_serve_lets_all_pass(self, site):
        """While it is away everything is held, ways back as well; it goes on when it is there again."""
        async with site(governed={}) as here:
            only = await here.tried()
            await here.call(DisablePlugin("governance"))
            fault = await here.fault(UndoKept(only.id))
            assert "does not serve" in str(fault)
            assert await here.value() == 2
            await here.call(EnablePlugin("governance"))
            await here.go_on(2 * EVERY)
            assert (await here.value(), (await here.call(ListProposals("applied"))).proposals) == (1, ())


class Asked(Plugin):
    """Governs a host as a test wants it, and remembers in what words it was asked."""

    name = "governance"

    def __init__(self, settings=None):
        super().__init__(settings)
        Asked.here = self
        self.peeks, self.answer, self.asked = Permission(allowed=True, code="allowed"), None, []

    @handler
    async def ask(self, request: AskPermission) -> Permission:
        if request.peek:
            return self.peeks
        self.asked.append(request.intent)
        return self.answer or self.peeks


class TestAnswers:
    async def test_what_is_only_asked_for_is_begun(self, site):
        """Whatever ended between the look and the question: it is asked so that a person must agree."""
        async with site() as here:
            await here.kernel.add_plugin(Asked)
            Asked.here.peeks = Permission(allowed=False, code="needs_approval", reason="a guard was passed")
            await here.past()
            await here.propose()
            await here.go_on(EVERY)

            assert [one.needs_approval for one in Asked.here.asked] == ["a guard was passed"] * len(Asked.here.asked)
            assert Asked.here.asked

    @pytest.mark.parametrize("code", ["refused", "unrecorded"])
    async def test_a_stop_is_over_where_nobody_says_so(self, code):
        """While who governs is restarted, or its disk is full, it is as it was."""
        agreements = Agreements(host := Answering(), "act")
        for said, stopped in [(code, ""), ("stopped", "fire"), (code, "fire"), ("allowed", ""), (code, "")]:
            host.code = said
            assert await agreements.stopped() == stopped


class Answering:
    """Answers every look in one way."""

    code: Any = "allowed"

    async def peek_permission(self, intent):
        return Permission(allowed=self.code == "allowed", code=self.code, reason="fire")
