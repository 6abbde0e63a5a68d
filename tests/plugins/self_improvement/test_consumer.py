"""The consumer on a real host: what it turns, what it holds, and what it refuses."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import ClassVar

import msgspec
import pytest

from aetherra.plugins import DisablePlugin, RestartPlugin, SetKnob
from aetherra.plugins.homeostasis.messages import Act, Freeze, Undo
from aetherra.plugins.self_improvement.messages import (
    ApproveProposal,
    CarryOut,
    ListProposals,
    TakeBack,
    UndoKept,
)

from .conftest import CALM, EVERY, WATCHED, Plant


async def waiting(here):
    """Have a proposal that waits for approval, and return it."""
    await here.past()
    (only,) = await here.propose()
    assert only.state == "waiting_approval"
    return only


@pytest.fixture
def written(monkeypatch):
    """Have the plant write otherwise."""

    def replace(write):
        monkeypatch.setattr(Plant, "write", write)

    return replace


class TestCarryOut:
    async def test_a_proposal_that_nobody_made_is_carried_out(self, site):
        """One that is not in the register is a ``LookupError``, and turns nothing."""
        async with site(plant={"impact": "high"}) as here:
            only = await waiting(here)
            fault = await here.fault(CarryOut(msgspec.structs.replace(only, id="plant.pool-1")))

            assert isinstance(fault, LookupError)
            assert await here.value() == 1

    @pytest.mark.parametrize(
        "changes",
        [{"after": 16}, {"state": "approved"}, {"impact": "low"}, {"knob": "kernel.workers"}],
        ids=lambda changes: next(iter(changes)),
    )
    async def test_a_proposal_is_carried_out_as_it_was_not_made(self, site, changes):
        """One that differs from the register by a field is refused with an error, and turns nothing."""
        async with site(plant={"impact": "high"}) as here:
            only = await waiting(here)
            fault = await here.fault(CarryOut(msgspec.structs.replace(only, **changes)))

            assert isinstance(fault, ValueError)
            assert "not as it was sent" in str(fault)
            assert (await here.value(), await here.proposal()) == (1, only)

    async def test_an_expired_one_is_carried_out(self, site):
        """What nobody carried out in time is refused, and has expired."""
        async with site(expiry=10.0, plant={"impact": "high"}, trial={"every": 3600.0}) as here:
            only = await waiting(here)
            await here.clock.advance(11.0)
            receipt = await here.call(CarryOut(only))
            only = await here.proposal()

            assert (receipt.status, only.state, await here.value()) == ("refused", "expired", 1)
            assert "expired" in only.reason

    async def test_a_knob_that_is_gone_is_turned(self, site):
        """The proposal is concluded with the knob's name, and an approval of it turns nothing."""
        async with site(plant={"impact": "high"}) as here:
            only = await waiting(here)
            await here.kernel.remove_plugin("plant")
            changed = (await here.call(ApproveProposal(only.id))).proposal

            assert not changed.is_open
            assert changed.state in ("superseded", "failed")
            assert "'plant.pool'" in changed.reason
            assert (await here.status()).on_trial == ""

    async def test_a_knob_that_is_gone_leaves_its_proposal_open(self, site):
        """The next analysis withdraws a proposal whose knob no longer exists."""
        async with site(plant={"impact": "high"}) as here:
            await waiting(here)
            await here.kernel.remove_plugin("plant")
            await here.propose()
            only = await here.proposal()

            assert only.state == "failed"
            assert "there is no knob 'plant.pool' any more" in only.reason

    async def test_a_value_that_somebody_set_is_overwritten(self, site):
        """A knob that is no longer what the proposal says is left to who turned it."""
        async with site(plant={"impact": "high"}) as here:
            only = await waiting(here)
            await here.call(SetKnob("plant.pool", 8))
            await here.call(ApproveProposal(only.id))
            await here.go_on(CALM + EVERY)
            only = await here.proposal()

            assert (only.state, await here.value()) == ("superseded", 8)
            assert "8" in only.reason

    async def test_a_knob_that_cannot_be_set_is_on_trial(self, site, written):
        """What its owner does not take has failed, with the owner's words; nothing is on trial."""

        async def refuse(plant, value):
            raise OSError(f"no room for {value}")

        written(refuse)
        async with site() as here:
            await here.past()
            await here.propose()
            await here.go_on(EVERY)
            only = await here.proposal()

            assert (only.state, await here.value()) == ("failed", 1)
            assert "no room for 2" in only.reason
            assert (await here.status()).on_trial == ""

    async def test_a_knob_without_a_way_back_is_turned(self, site):
        """What cannot be undone is not even proposed."""
        async with site(plant={"undo": ""}) as here:
            await here.past()

            assert await here.propose() == ()
            await here.go_on(2 * EVERY)
            assert await here.value() == 1

    async def test_one_that_was_made_before_is_carried_out_when_off(self, site):
        """In mode ``off`` what is left of other times is held, also once approved; that is nobody's word against it."""
        async with site(data=True, plant={"impact": "high"}) as here:
            only = await waiting(here)
        async with site(data=True, mode="off", plant={"impact": "high"}, clock=here.clock) as here:
            await here.call(ApproveProposal(only.id))
            await here.go_on(CALM + EVERY, measured=False)
            only = await here.proposal()
            receipt = await here.call(CarryOut(only))

            assert (receipt.status, only.state, await here.value()) == ("held", "approved", 1)
            assert "off by its settings" in receipt.reason

    async def test_one_that_waits_is_carried_out_once_the_host_acts(self, site):
        """What was made while all waited for approval goes on waiting when the mode is another."""
        async with site(data=True, mode="propose") as here:
            only = await waiting(here)
        async with site(data=True, mode="act", clock=here.clock) as here:
            receipt = await here.call(CarryOut(only))
            await here.go_on(CALM + EVERY, measured=False)

            assert (receipt.status, await here.value()) == ("held", 1)
            assert (await here.call(ApproveProposal(only.id))).proposal.state == "applied"


class TestTakeBack:
    async def test_a_way_back_that_fails_counts_as_undone(self, site, written):
        """A change that cannot be taken back has failed, and says both why it should be and why it could not."""

        async def only_up(plant, value):
            if value < plant.pool:
                raise OSError("it only grows")
            plant.pool = value

        written(only_up)
        async with site() as here:
            only = await here.tried()
            changed = (await here.call(UndoKept(only.id, "too expensive"))).proposal

            assert (changed.state, await here.value()) == ("failed", 2)
            assert "too expensive" in changed.reason
            assert "it only grows" in changed.reason
            assert (await here.status()).on_trial == ""

    async def test_what_was_sent_otherwise_is_taken_back(self, site):
        """Only a proposal as it is in the register is taken back."""
        async with site() as here:
            only = await here.tried()
            fault = await here.fault(TakeBack(msgspec.structs.replace(only, before=16)))

            assert isinstance(fault, ValueError)
            assert await here.value() == 2

    async def test_a_take_back_by_hand_is_done(self, site):
        """Who sends one by hand is told what to send instead, and the trial goes on."""
        async with site() as here:
            only = await here.tried()
            receipt = await here.call(TakeBack(only, "by hand"))
            only = await here.proposal()

            assert (receipt.status, only.state, await here.value()) == ("refused", "applied", 2)
            assert "selfimprovement.undo" in receipt.reason

    async def test_a_knob_that_went_during_the_trial_holds_the_trial(self, site):
        """A change whose knob is gone is concluded when its trial is, and others may follow."""
        async with site() as here:
            only = await here.tried()
            await here.kernel.remove_plugin("plant")
            await here.call(UndoKept(only.id))
            only = await here.proposal()

            assert only.state in ("superseded", "failed")
            assert "could not be taken back" in only.reason
            assert (await here.call(ListProposals("applied"))).proposals == ()


class TestFailedWrites:
    async def test_what_a_failed_write_has_moved_stays(self, site, written):
        """A write that moves the knob and then fails is set back, and the reason says so; nothing is on trial."""

        async def write(self, value):
            self.pool = value
            if value == 2:
                raise OSError("the pump is stuck")

        written(write)
        async with site() as here:
            await here.past()
            await here.propose()
            await here.go_on(EVERY)
            only = await here.proposal()

            assert (only.state, await here.value()) == ("failed", 1)
            assert "it stood at 2, and was set back to 1" in only.reason
            assert (await here.status()).on_trial == ""

    async def test_a_write_that_cannot_be_set_back_is_silent(self, site, written):
        """Where it stands is told when it cannot be set back either."""

        async def write(self, value):
            self.pool = 2
            raise OSError("the pump is stuck")

        written(write)
        async with site() as here:
            await here.past()
            await here.propose()
            await here.go_on(EVERY)
            only = await here.proposal()

            assert (only.state, await here.value()) == ("failed", 2)
            assert "it stands at 2, and could not be set back to 1" in only.reason


class TestKnobsOfHomeostasis:
    """``kernel.workers`` is an actuator of homeostasis, and a knob: the laggard host wants fewer of them."""

    SETTINGS: ClassVar = {"setpoints": {"loop.lag": {"good": 0.02, "bad": 0.5}, "plant.latency": None}}
    CORRECTION = Act("set_workers", arguments={"value": 12})

    @asynccontextmanager
    async def lagging(self, site, **settings):
        async with site(healing=True, plant={"knob": False}, **self.SETTINGS, **settings) as here:
            here.lag = 0.4
            here.extra = {"loop.lag": lambda _: here.lag}
            await here.past()
            yield here

    async def tried(self, here):
        """Have fewer workers tried, and return how many there were before and are on trial."""
        await here.propose()
        await here.go_on(EVERY)
        only = await here.proposal()
        assert (only.knob, only.state, await here.value(only.knob)) == ("kernel.workers", "applied", only.after)
        return only

    async def test_a_knob_that_homeostasis_holds_is_tried(self, site):
        """While a correction of it stands, its knob is its own: nothing is tried on it, and the status says so."""
        async with self.lagging(site) as here:
            configured = await here.value("kernel.workers")
            await here.call(self.CORRECTION)
            await here.go_on(CALM)
            (only,) = await here.propose()
            await here.go_on(2 * EVERY)

            assert (only.knob, await here.value("kernel.workers")) == ("kernel.workers", 12)
            assert (await here.proposal()).state == "proposed"
            why = "homeostasis holds kernel.workers by 'set_workers'"
            assert (await here.status()).left_alone == {"kernel.workers": why}
            assert (await here.call(CarryOut(only))).reason == why
            await here.call(Undo("set_workers"))
            assert await here.value("kernel.workers") == configured
            assert (await here.status()).left_alone == {}
            await here.go_on(CALM + EVERY)
            assert (await here.proposal()).state == "superseded"
            await here.propose()
            await here.go_on(EVERY)
            assert await here.value("kernel.workers") < configured

    async def test_what_is_on_trial_outlives_a_correction_of_it(self, site):
        """A trial ends as homeostasis turns its knob, and the value before it is back once homeostasis lets go."""
        async with self.lagging(site) as here:
            only = await self.tried(here)
            await here.call(self.CORRECTION)
            await here.go_on(4 * EVERY)
            assert await here.value("kernel.workers") == 12
            await here.call(Undo("set_workers"))
            await here.go_on(2 * EVERY)

            assert ((await here.proposal()).state, await here.value("kernel.workers")) == ("inconclusive", only.before)

    async def test_what_is_kept_is_given_up_or_set_against_a_correction(self, site):
        """An engine that is started anew meanwhile finds what it keeps turned, and neither gives it up nor sets it."""
        async with self.lagging(site, data=True) as here:
            only = await self.tried(here)
            here.lag = 0.001
            await here.go_on(WATCHED)
            assert (await here.proposal()).state == "kept"
            for value in (12, only.before):
                await here.call(Act("set_workers", arguments={"value": value}))
                await here.call(RestartPlugin("self_improvement"))
                await here.go_on(4 * EVERY)
                assert ((await here.proposal()).state, await here.value("kernel.workers")) == ("kept", value)
            await here.call(Undo("set_workers"))
            await here.go_on(4 * EVERY)
            assert ((await here.proposal()).state, await here.value("kernel.workers")) == ("kept", only.after)

    async def test_what_has_become_what_it_was_is_held(self, site):
        """A correction that another one has taken back stands no more, and its knob is anybody's."""
        async with self.lagging(site) as here:
            await here.call(self.CORRECTION)
            await here.call(Act("set_workers", arguments={"value": 8}))

            assert (await here.status()).left_alone == {}


class TestNobodyToAsk:
    async def test_a_freeze_is_passed_while_its_keeper_is_away(self, site):
        """While homeostasis does not serve nobody can say whether changes are frozen: all is held."""
        async with site(healing=True, plant={"impact": "high"}) as here:
            only = await waiting(here)
            await here.call(Freeze("hands off"))
            await here.call(DisablePlugin("homeostasis"))
            only = (await here.call(ApproveProposal(only.id))).proposal
            await here.go_on(CALM + EVERY)
            receipt = await here.call(CarryOut(only))

            assert (receipt.status, await here.value()) == ("held", 1)
            assert "nobody can say whether changes are frozen" in receipt.reason
