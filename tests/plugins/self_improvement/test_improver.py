"""The improver on a real host: one change at a time, watched, kept or taken back, and what crosses its way."""

from __future__ import annotations

import anyio
import msgspec
import pytest

from aetherra.kernel.testing import FakeClock
from aetherra.plugins import HandlerError, Knob, KnobTurned, Plugin, RestartPlugin, SetKnob, hookimpl
from aetherra.plugins.homeostasis.messages import Acted, Freeze, Unfreeze
from aetherra.plugins.self_improvement import SelfImprovementEngine
from aetherra.plugins.self_improvement.agreements import ApprovalError
from aetherra.plugins.self_improvement.book import UnknownProposalError
from aetherra.plugins.self_improvement.heard import CodeRolledBack, CodeSwapped
from aetherra.plugins.self_improvement.improver import HeldError, UnaskedResultError
from aetherra.plugins.self_improvement.messages import (
    ApproveProposal,
    CarryOut,
    GetStrategies,
    ListProposals,
    ProposalResult,
    RejectProposal,
    TakeBack,
    UndoKept,
)
from aetherra.plugins.self_improvement.proposals import ProposalStateError, Round, Withdrawn
from aetherra.plugins.self_improvement.proposals.proposal import Step
from aetherra.plugins.self_improvement.proposals.register import Register

from .conftest import CALM, EVERY, NOW, TRIAL, WATCHED, Plant

LOOK = 2 * EVERY
"""Seconds in which the improver looks at least once."""


def flat(_):
    return 2.0


class Other(Plugin):
    """Has a knob that has nothing to do with anything."""

    name = "other"
    colour = "red"

    def paint(self, colour):
        self.colour = colour

    @hookimpl
    def knobs(self):
        return [Knob(name="other.colour", read=lambda: self.colour, write=self.paint, choices=("red", "blue"))]


class Second(Plant):
    """A plant beside the plant."""

    name = "second"

    @hookimpl
    def knobs(self):
        (knob,) = super().knobs()
        own = {"name": "second.pool", "moves": {"second.latency": "down"}}
        return [Knob(**{name: getattr(knob, name) for name in knob.__struct_fields__} | own)]


BOTH = {name: {"good": 0.2, "bad": 2.0} for name in ("plant.latency", "second.latency")}


class TestTrial:
    async def test_what_helps_is_not_kept(self, site):
        """A change that makes its metric better stays, with what it did, and the library knows."""
        async with site() as here:
            only = await here.kept()

            assert (only.before, only.after) == (1, 2)
            assert only.outcome.verdict == "better"
            assert only.outcome.lift == pytest.approx(0.5, abs=0.05)
            assert [each.proposal.state for each in here.states] == ["proposed", "applied", "kept"]
            (strategy,) = (await here.call(GetStrategies())).strategies
            assert (strategy.tried, strategy.worked, strategy.knob) == (1, 1, "plant.pool")

    async def test_what_does_nothing_stays(self, site):
        """No effect is no reason to keep a change; the knob goes back, and the library knows that it did not help."""
        async with site(law=flat) as here:
            await here.tried()
            await here.go_on(WATCHED)
            only = await here.proposal()

            assert (only.state, only.outcome.verdict, await here.value()) == ("undone", "same", 1)
            (strategy,) = (await here.call(GetStrategies("plant.latency"))).strategies
            assert (strategy.tried, strategy.worked, strategy.worse) == (1, 0, 0)

    async def test_harm_is_watched_to_the_end(self, site):
        """What makes its metric worse is taken back long before the end of its trial."""
        async with site(law=lambda pool: 2.0 * pool) as here:
            await here.tried()
            await here.go_on(TRIAL["settle"] + TRIAL["after"] / 2)
            only = await here.proposal()

            assert (only.state, only.outcome.verdict, await here.value()) == ("undone", "worse", 1)

    async def test_another_metric_may_get_worse(self, site):
        """A guarded metric that a change makes worse has it taken back, though its own gets better."""
        async with site(trial=TRIAL | {"guards": {"plant.errors": "down"}}) as here:
            here.extra = {"plant.errors": lambda pool: 1.0 * pool**2}
            await here.tried()
            await here.go_on(TRIAL["settle"] + TRIAL["after"] / 2)
            only = await here.proposal()

            assert (only.state, await here.value()) == ("undone", 1)
            assert "it made plant.errors worse" in only.reason

    async def test_a_trial_without_points_lasts_for_ever(self, site):
        """Too few points to tell: it is watched once more as long, then taken back, and nothing is learnt from it."""
        async with site() as here:
            await here.tried()
            await here.go_on(WATCHED, measured=False)
            assert (await here.proposal()).state == "applied"
            await here.go_on(TRIAL["after"], measured=False)
            only = await here.proposal()

            assert (only.state, await here.value()) == ("inconclusive", 1)
            assert (await here.status()).calibration.count == 0

    @pytest.mark.parametrize(
        ("event", "what"),
        [
            (Acted("d-1", "workers", "", True, "made workers 4", None), "homeostasis acted: made workers 4"),
            (CodeSwapped("greeter"), "the code of greeter was swapped"),
            (CodeRolledBack("greeter"), "the code of greeter was rolled back"),
        ],
        ids=["act", "swap", "rollback"],
    )
    async def test_what_else_changed_the_host_counts_as_the_change(self, site, event, what):
        """Nobody can say what did what: the change is taken back, and nothing is learnt from it."""
        async with site() as here:
            await here.tried()
            await here.kernel.publish(event)
            await here.go_on(LOOK)
            only = await here.proposal()

            assert (only.state, await here.value()) == ("inconclusive", 1)
            assert what in only.reason
            assert (await here.call(GetStrategies())).strategies == ()

    @pytest.mark.parametrize(
        "event",
        [
            Acted("d-1", "workers", "", True, "would make workers 4", None, dry_run=True),
            Acted("d-1", "workers", "", False, "workers are 4 already", None),
        ],
        ids=["dry run", "no change"],
    )
    async def test_what_changed_nothing_disturbs(self, site, event):
        """A dry run, and an act that changed nothing, leave a trial alone."""
        async with site() as here:
            await here.tried()
            await here.kernel.publish(event)
            await here.go_on(WATCHED)

            assert (await here.proposal()).state == "kept"

    async def test_another_knob_that_is_turned_is_not_seen(self, site):
        """A person who turns another knob while a change is on trial makes it inconclusive, and says so."""
        async with site(more=[Other]) as here:
            await here.tried()
            await here.call(SetKnob("other.colour", "blue"))
            await here.go_on(LOOK)
            only = await here.proposal()

            assert (only.state, await here.value()) == ("inconclusive", 1)
            assert "set other.colour to blue" in only.reason

    async def test_a_persons_value_is_taken_back(self, site):
        """Who turns the very knob on trial has it from then on: their value stands."""
        async with site() as here:
            await here.tried()
            await here.turn(8)
            await here.go_on(LOOK)
            only = await here.proposal()

            assert (only.state, await here.value()) == ("superseded", 8)

    async def test_two_changes_are_on_trial(self, site):
        """While one is on trial no other is begun; it is afterwards."""
        async with site(more=[Second], setpoints=BOTH) as here:
            here.extra = {"second.latency": flat}
            await here.past()
            await here.propose()
            await here.go_on(EVERY)
            states = {one.knob: one.state for one in (await here.call(ListProposals())).proposals}
            assert sorted(states.values()) == ["applied", "proposed"]
            first = next(name for name, state in states.items() if state == "applied")
            for _ in range(int((WATCHED + CALM) / EVERY) + 2):
                await here.go_on(EVERY)
                found = {one.knob: one.state for one in (await here.call(ListProposals())).proposals}
                assert sorted(found.values()).count("applied") <= 1
                if "proposed" not in found.values():
                    break

            assert found.pop(first) == ("kept" if first == "plant.pool" else "undone")
            assert list(found.values()) == ["applied"]


class TestApproval:
    async def test_a_high_impact_is_not_asked_for(self, site):
        """What can do much harm waits until somebody approves it; then it is carried out and watched as any other."""
        async with site(plant={"impact": "high"}) as here:
            await here.past()
            (only,) = await here.propose()
            await here.go_on(LOOK)
            assert ((await here.proposal()).state, await here.value()) == ("waiting_approval", 1)
            changed = (await here.call(ApproveProposal(only.id, "go ahead"))).proposal

            assert (changed.state, await here.value()) == ("applied", 2)
            assert "go ahead" in changed.steps[-2].reason
            await here.go_on(WATCHED)
            assert (await here.proposal()).state == "kept"

    async def test_a_rejected_one_is_forgotten_or_done(self, site):
        """It is kept with who said so and why, nothing is turned, and it is not proposed again at once."""
        async with site(plant={"impact": "high"}) as here:
            await here.past()
            (only,) = await here.propose()
            await here.call(RejectProposal(only.id, "not before Monday"))
            again = await here.propose()

            only = await here.proposal()
            assert (only.state, await here.value(), again) == ("rejected", 1, ())
            assert only.reason.endswith("not before Monday")
            assert "rejected by" in only.reason

    @pytest.mark.parametrize("mode", ["propose", "off"])
    async def test_a_mode_that_does_not_act_acts(self, site, mode):
        """In mode ``propose`` all wait for approval; ``off`` makes none."""
        async with site(mode=mode) as here:
            await here.past()
            made = await here.propose()
            await here.go_on(LOOK)

            assert (await here.value(), (await here.status()).mode) == (1, mode)
            assert [one.state for one in made] == ["waiting_approval"] * (mode == "propose")
            if mode == "propose":
                await here.call(ApproveProposal(made[0].id))
                assert ((await here.proposal()).state, await here.value()) == ("applied", 2)

    @pytest.mark.parametrize(
        ("profile", "mode"), [("dev", "propose"), ("prod", "propose"), ("standard", "act"), ("test", "act")]
    )
    async def test_a_profile_has_another_mode(self, site, profile, mode):
        """``dev`` and ``prod`` ask before they act, where the settings do not say."""
        async with site(profile=profile) as here:
            assert (await here.status()).mode == mode

    async def test_a_rejection_crosses_a_change_that_is_under_way(self, site):
        """Who rejects while the knob is being turned is told that it is too late; the register tells what is."""
        begun, go_on, faults = anyio.Event(), anyio.Event(), []

        async def slow(plant, value):
            begun.set()
            await go_on.wait()
            plant.pool = value

        async with site(plant={"impact": "high"}) as here:
            await here.past()
            (only,) = await here.propose()
            Plant.write, write = slow, Plant.write
            try:
                async with anyio.create_task_group() as group:
                    group.start_soon(here.call, ApproveProposal(only.id))
                    await begun.wait()
                    group.start_soon(_fault, here, RejectProposal(only.id), faults)
                    await anyio.wait_all_tasks_blocked()
                    go_on.set()
            finally:
                go_on.set()
                Plant.write = write

            assert isinstance(faults[0], ProposalStateError)
            assert ((await here.proposal()).state, await here.value()) == ("applied", 2)

    @pytest.mark.parametrize("request_of", [ApproveProposal, RejectProposal, UndoKept])
    async def test_an_unknown_one_is_taken(self, site, request_of):
        """A name that nobody knows is an error that says where to look."""
        async with site() as here:
            fault = await here.fault(request_of("plant.pool-1"))

            assert isinstance(fault, LookupError)
            assert "'plant.pool-1'" in str(fault)
            assert "selfimprovement.proposals" in str(fault)


async def _fault(here, request, faults):
    faults.append(await here.fault(request))


class TestFreeze:
    async def test_a_frozen_host_is_changed(self, site):
        """While changes are frozen a proposal is held; it is carried out once they no longer are."""
        async with site(healing=True) as here:
            await here.call(Freeze("maintenance"))
            await here.past()
            await here.propose()
            await here.go_on(LOOK)
            assert ((await here.proposal()).state, await here.value()) == ("proposed", 1)
            await here.call(Unfreeze())
            await here.go_on(LOOK)

            assert ((await here.proposal()).state, await here.value()) == ("applied", 2)

    async def test_what_did_not_help_stays_after_a_freeze(self, site):
        """A freeze stops ways back as well; the way back is taken afterwards, for the reason of before."""
        async with site(healing=True, law=flat) as here:
            await here.tried()
            await here.call(Freeze("maintenance"))
            await here.go_on(WATCHED)
            assert ((await here.proposal()).state, await here.value()) == ("applied", 2)
            await here.call(Unfreeze())
            await here.go_on(LOOK)
            only = await here.proposal()

            assert (only.state, only.outcome.verdict, await here.value()) == ("undone", "same", 1)

    async def test_a_persons_undo_seems_done_in_a_freeze(self, site):
        """Who wants something back while changes are frozen is told that it cannot be now, and may ask again."""
        async with site(healing=True) as here:
            only = await here.kept()
            await here.call(Freeze("maintenance"))
            fault = await here.fault(UndoKept(only.id))
            assert isinstance(fault, HeldError)
            assert "maintenance" in str(fault)
            await here.go_on(LOOK)
            assert ((await here.proposal()).state, await here.value()) == ("kept", 2)
            await here.call(Unfreeze())
            await here.call(UndoKept(only.id, "too expensive"))
            only = await here.proposal()

            assert (only.state, await here.value()) == ("undone", 1)
            assert "too expensive" in only.reason


class TestUndo:
    async def test_what_is_kept_cannot_be_undone(self, site):
        """A person takes back what is kept; the register has who and why."""
        async with site() as here:
            only = await here.kept()
            changed = (await here.call(UndoKept(only.id, "too expensive"))).proposal

            assert (changed.state, await here.value()) == ("undone", 1)
            assert changed.reason.startswith("taken back by")
            await here.go_on(LOOK)
            assert await here.value() == 1

    async def test_what_is_on_trial_cannot_be_undone(self, site):
        """So is what is on trial, and the next may begin."""
        async with site() as here:
            only = await here.tried()
            changed = (await here.call(UndoKept(only.id))).proposal

            assert (changed.state, await here.value()) == ("undone", 1)
            assert (await here.status()).on_trial == ""

    async def test_what_was_never_done_is_undone(self, site):
        """There is nothing to take back of one that was not carried out: an error, and it stays as it is."""
        async with site(plant={"impact": "high"}) as here:
            await here.past()
            (only,) = await here.propose()
            fault = await here.fault(UndoKept(only.id))

            assert isinstance(fault, ProposalStateError)
            assert (await here.proposal()).state == "waiting_approval"

    async def test_a_value_that_a_person_set_is_undone(self, site):
        """What somebody else turned since is theirs: the kept one is superseded, and its undo an error."""
        async with site() as here:
            only = await here.kept()
            await here.turn(8)
            assert (await here.proposal()).state == "superseded"
            await here.fault(UndoKept(only.id))

            assert await here.value() == 8


class TestResult:
    async def test_a_result_of_nothing_is_taken(self, site):
        """A result for an unknown proposal is a ``LookupError``, and changes nothing."""
        async with site() as here:
            await here.tried()
            before = await here.call(ListProposals())
            fault = await here.fault(ProposalResult("plant.pool-1", "applied", 2))

            assert isinstance(fault, UnknownProposalError)
            assert isinstance(fault, LookupError)
            assert await here.call(ListProposals()) == before
            assert (await here.status()).on_trial == before.proposals[0].id

    @pytest.mark.parametrize("status", ["applied", "undone", "failed", "refused", "superseded"])
    async def test_a_result_counts_twice(self, site, status):
        """A result for one that is concluded is an error, and changes nothing."""
        async with site() as here:
            only = await here.tried()
            await here.call(UndoKept(only.id))
            before = await here.call(ListProposals())
            fault = await here.fault(ProposalResult(only.id, status, 2))

            assert isinstance(fault, ProposalStateError | UnaskedResultError)
            assert await here.call(ListProposals()) == before

    async def test_what_nobody_asked_for_is_believed(self, site):
        """Who says that a kept change is undone, and was not asked for that, is not believed: the knob knows better."""
        async with site() as here:
            only = await here.tried()
            await here.go_on(WATCHED + EVERY)
            before = await here.call(ListProposals())
            fault = await here.fault(ProposalResult(only.id, "undone", 1))

            assert isinstance(fault, UnaskedResultError)
            assert "nobody waits to hear" in str(fault)
            assert await here.call(ListProposals()) == before

    async def test_the_clock_is_set_during_a_trial(self, site):
        """Points before and after do not go together any more: the change is taken back, and nothing is learnt."""
        async with site() as here:
            only = await here.tried()
            here.clock.set_time(here.clock.time() - 7200.0)
            await here.go_on(2 * EVERY)
            (after,) = (await here.call(ListProposals())).proposals

            assert (after.id, after.state, after.outcome) == (only.id, "inconclusive", None)
            assert "the clock was set by -7200 s" in after.reason

    async def test_a_second_result_begins_the_trial_anew(self, site):
        """``applied`` a second time is an error; the trial goes on since when it began."""
        async with site() as here:
            only = await here.tried()
            await here.go_on(WATCHED / 2)
            await here.fault(ProposalResult(only.id, "applied", 2))
            await here.go_on(WATCHED / 2 + EVERY)

            assert (await here.proposal()).state == "kept"

    async def test_a_change_beside_the_trial_is_nobodys(self, site):
        """What a consumer elsewhere carried out beside a trial makes both inconclusive; both are concluded."""
        async with site(more=[Second], setpoints=BOTH) as here:
            here.extra = {"second.latency": flat}
            await here.past()
            await here.propose()
            await here.go_on(EVERY)
            (waits,) = (await here.call(ListProposals("proposed"))).proposals
            await here.call(SetKnob(waits.knob, waits.after))
            await here.call(ProposalResult(waits.id, "applied", waits.after))
            await here.go_on(LOOK)

            found = (await here.call(ListProposals())).proposals
            assert [one.state for one in found] == ["inconclusive", "inconclusive"]
            assert [await here.value(one.knob) for one in found] == [1, 1]


class TestRestart:
    async def test_a_kept_value_is_lost_in_a_restart(self, site):
        """After a restart the knob begins anew; what is kept is set once more."""
        async with site(data=True) as here:
            await here.kept()
        async with site(data=True, clock=FakeClock(NOW + 3600)) as here:
            assert await here.value() == 1
            await here.go_on(LOOK, measured=False)

            assert ((await here.proposal()).state, await here.value()) == ("kept", 2)

    async def test_an_approved_value_is_lost_in_a_restart(self, site):
        """What somebody approved and was kept is set once more in mode ``propose``, too."""
        async with site(data=True, mode="propose") as here:
            await here.past()
            (only,) = await here.propose()
            await here.call(ApproveProposal(only.id))
            await here.go_on(WATCHED)
            assert (await here.proposal()).state == "kept"
        async with site(data=True, mode="propose", clock=FakeClock(NOW + 3600)) as here:
            await here.go_on(LOOK, measured=False)

            assert ((await here.proposal()).state, await here.value()) == ("kept", 2)

    async def test_a_restart_takes_a_persons_value(self, site):
        """A knob that begins with another value than before was changed by somebody: it is theirs."""
        async with site(data=True) as here:
            await here.kept()
        async with site(data=True, plant={"pool": 4}, clock=FakeClock(NOW + 3600)) as here:
            await here.go_on(LOOK, measured=False)
            only = await here.proposal()

            assert (only.state, await here.value()) == ("superseded", 4)
            assert "plant.pool is 4 now" in only.reason

    async def test_a_knob_that_is_gone_gives_a_kept_value_up(self, site):
        """A plugin that is not there may come back: what is kept is left as it is meanwhile, and set then."""
        async with site(data=True) as here:
            await here.kept()
        async with site(data=True, plant={"knob": False}, clock=FakeClock(NOW + 3600)) as here:
            await here.go_on(LOOK, measured=False)
            assert (await here.proposal()).state == "kept"
            await here.kernel.remove_plugin("plant")
            await here.kernel.add_plugin(Plant, settings={})
            await here.go_on(LOOK, measured=False)

            assert await here.value() == 2

    async def test_a_reload_of_the_plant_loses_the_kept_value(self, site):
        """A plugin that begins anew beside us has its kept value again."""
        async with site() as here:
            await here.kept()
            await here.kernel.restart_plugin("plant")
            assert await here.value() == 1
            await here.go_on(LOOK)

            assert ((await here.proposal()).state, await here.value()) == ("kept", 2)

    async def test_a_kept_way_back_is_taken_over_and_over(self, site, tmp_path):
        """Where a later kept change gave the first one back, the knob is left alone after a start."""
        async with site(data=True) as here:
            there = await here.kept()
        (file,) = tmp_path.rglob("improvement.sqlite3")
        back = {"id": f"{there.id}-2", "direction": "lower", "before": 2, "after": 1}
        back |= {"steps": (*there.steps, Step(NOW + 1800.0, "kept"))}
        with Register(file) as register:
            register.save(msgspec.structs.replace(there, **back))
        async with site(data=True, clock=FakeClock(NOW + 3600)) as here:
            await here.go_on(5 * LOOK, measured=False)

            assert await here.value() == 1
            assert len(here.turns) <= 1
            assert (await here.status()).proposals == {"kept": 2}

    async def test_a_chain_of_kept_values_is_set_in_the_middle(self, site):
        """Of two kept changes of one knob the last one's value is set after a start."""
        async with site(data=True) as here:
            await here.kept()
            await here.go_on(TRIAL["before"])
            await here.propose()
            await here.go_on(EVERY + WATCHED)
            assert ((await here.status()).proposals, await here.value()) == ({"kept": 2}, 4)
        async with site(data=True, clock=FakeClock(NOW + 7200)) as here:
            await here.go_on(LOOK, measured=False)

            assert await here.value() == 4

    async def test_a_lower_one_of_two_is_taken_back(self, site):
        """The first of two kept changes of a knob cannot be undone while the second stands on it; then it can."""
        async with site() as here:
            first = await here.kept()
            await here.go_on(TRIAL["before"])
            (second,) = await here.propose()
            await here.go_on(EVERY + WATCHED)
            fault = await here.fault(UndoKept(first.id))
            assert isinstance(fault, HeldError)
            assert second.id in str(fault)
            await here.call(UndoKept(second.id))
            assert await here.value() == 2
            await here.call(UndoKept(first.id))

            assert ((await here.status()).proposals, await here.value()) == ({"undone": 2}, 1)

    @pytest.mark.parametrize(("pool", "value"), [(1, 1), (2, 1), (8, 8)], ids=["anew", "stands", "theirs"])
    async def test_what_was_on_trial_at_a_kill_stays_for_ever(self, site, pool, value):
        """Nobody watched it to the end: it is inconclusive, and taken back if it still stands."""
        async with site(data=True) as here:
            await here.tried()
        async with site(data=True, plant={"pool": pool}, clock=FakeClock(NOW + 3600)) as here:
            await here.go_on(LOOK, measured=False)
            only = await here.proposal()

            assert (only.state, await here.value()) == ("inconclusive", value)
            assert "not watched to the end" in only.reason
            assert (await here.status()).on_trial == ""

    async def test_what_was_on_trial_at_a_kill_stays_after_a_freeze(self, site):
        """If changes are frozen after the start, it is taken back when they no longer are."""
        async with site(data=True) as here:
            await here.tried()
        async with site(data=True, healing=True, plant={"pool": 2}, clock=FakeClock(NOW + 3600)) as here:
            await here.call(Freeze("maintenance"))
            await here.go_on(LOOK, measured=False)
            assert ((await here.proposal()).state, await here.value()) == ("applied", 2)
            await here.call(Unfreeze())
            await here.go_on(LOOK, measured=False)

            assert ((await here.proposal()).state, await here.value()) == ("inconclusive", 1)

    async def test_what_nobody_carried_out_waits_for_ever(self, site):
        """A proposal that nobody approved in time expires, and is kept as such."""
        async with site(plant={"impact": "high"}, expiry=60.0) as here:
            await here.past()
            await here.propose()
            await here.go_on(60.0 + LOOK)
            only = await here.proposal()

            assert (only.state, await here.value()) == ("expired", 1)
            assert only.reason


class TestByHand:
    async def test_a_proposal_that_waits_is_carried_out(self, site):
        """Who sends one that waits for approval does not approve it."""
        async with site(plant={"impact": "high"}) as here:
            await here.past()
            (only,) = await here.propose()
            receipt = await here.call(CarryOut(only))

            assert (receipt.status, await here.value()) == ("held", 1)
            assert receipt.reason == "it waits for approval, as a wrong value can do much harm"

    @pytest.mark.parametrize("undone", [False, True], ids=["on trial", "undone"])
    async def test_a_proposal_is_carried_out_twice(self, site, undone):
        """One that was carried out, or is concluded, is refused, and stays what it is."""
        async with site() as here:
            only = await here.tried()
            if undone:
                await here.call(UndoKept(only.id))
                only = await here.proposal()
            value = await here.value()
            receipt = await here.call(CarryOut(only))

            assert receipt.status == ("refused" if undone else "held")
            assert (await here.value(), await here.proposal()) == (value, only)

    async def test_what_was_not_done_is_taken_back(self, site):
        """What is not carried out cannot be taken back: refused, and as it was."""
        async with site(plant={"impact": "high"}) as here:
            await here.past()
            (only,) = await here.propose()
            receipt = await here.call(TakeBack(only))

            assert receipt.status == "refused"
            assert await here.proposal() == only

    async def test_a_second_one_is_carried_out_beside_the_trial(self, site):
        """While one is on trial, another that somebody sends is held."""
        async with site(more=[Second], setpoints=BOTH) as here:
            here.extra = {"second.latency": flat}
            await here.past()
            await here.propose()
            await here.go_on(EVERY)
            (waits,) = (await here.call(ListProposals("proposed"))).proposals
            receipt = await here.call(CarryOut(waits))

            assert (receipt.status, await here.value(waits.knob)) == ("held", 1)
            assert "on trial" in receipt.reason


class TestBesides:
    async def test_a_restart_of_the_knobs_plugin_is_judged(self, site):
        """A restart takes the value away: the trial is over, and nothing is learnt from it."""
        async with site() as here:
            only = await here.tried()
            await here.call(RestartPlugin("plant"))
            await here.go_on(2 * EVERY)
            (after,) = (await here.call(ListProposals())).proposals

            assert (after.id, after.state, after.outcome) == (only.id, "inconclusive", None)
            assert "meanwhile" in after.reason
            assert await here.value() == 1
            assert (await here.call(GetStrategies())).strategies == ()

    async def test_a_kept_change_is_undone_beneath_one_on_trial(self, site):
        """What a later change of the knob stands on cannot be taken back before that one is."""
        async with site(law=lambda pool: 4.0 / pool) as here:
            first = await here.kept()
            await here.go_on(600.0)
            await here.propose()
            await here.go_on(CALM)
            states = {each.id: each.state for each in (await here.call(ListProposals())).proposals}
            assert sorted(states.values()) == ["applied", "kept"], states
            fault = await here.fault(UndoKept(first.id))

            assert isinstance(fault, HeldError)
            assert "stands on it" in str(fault)
            assert await here.value() == 4

    async def test_a_plugin_approves(self, site):
        """What waits for a person is approved by none but one."""

        class Eager(Plugin):
            name = "eager"

            async def approve(self, proposal):
                await self.ctx.call(ApproveProposal(proposal))

        eager = []

        class Watched(Eager):
            async def start(self, ctx):
                eager.append(self)

        async with site(plant={"impact": "high"}, more=[Watched]) as here:
            await here.past()
            (only,) = await here.propose()
            with pytest.raises(HandlerError) as caught:
                await eager[0].approve(only.id)

            assert isinstance(caught.value.__cause__, ApprovalError)
            assert (await here.proposal()).state == "waiting_approval"

    async def test_what_is_on_trial_is_withdrawn(self, site):
        """What was carried out while others looked at everything is not concluded by what they saw before."""
        engines = []

        class Seen(SelfImprovementEngine):
            async def start(self, ctx):
                engines.append(self)
                await super().start(ctx)

        async with site(engine=Seen) as here:
            only = await here.tried()
            gone = Withdrawn(only.id, "superseded", "the problem is gone")
            await engines[0]._improver.take(
                Round(at=0.0, proposals=(), passed=(), withdrawn=(gone,), problems=(), unknown=())
            )

            assert (await here.proposal()).state == "applied"

    async def test_what_homeostasis_turns_for_a_while_is_given_up(self, site):
        """Homeostasis corrects and takes that back: what is kept stays kept, though a person's turn ends it."""
        async with site() as here:
            only = await here.kept()
            turned = KnobTurned("plant.pool", 2, 4, "plugin 'homeostasis' (generation 3)")
            await here.kernel.publish(turned)
            await here.at_rest()
            assert (await here.proposal()).state == "kept"

            await here.kernel.publish(msgspec.structs.replace(turned, who="remote client 'ada'"))
            await here.at_rest()
            assert ((await here.proposal()).id, (await here.proposal()).state) == (only.id, "superseded")
