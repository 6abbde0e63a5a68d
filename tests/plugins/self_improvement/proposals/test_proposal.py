"""Tests of proposals: names, states, and what may follow what."""

from __future__ import annotations

import pickle

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.plugins.self_improvement.proposals.proposal import (
    OPEN,
    TRANSITIONS,
    MeasuredEffect,
    Proposal,
    ProposalStateError,
    proposal_id,
)

STATES = sorted(TRANSITIONS)


class TestStates:
    @given(states=st.lists(st.sampled_from(STATES), max_size=12))
    def test_a_proposal_takes_a_state_that_its_own_does_not_lead_to(self, states, proposal):
        """Only what the table says may follow does; all else is refused, and changes nothing."""
        one = proposal()
        taken = ["proposed"]
        for number, state in enumerate(states):
            if state in TRANSITIONS[one.state]:
                one = one.moved(state, one.created + number, state)
                taken.append(state)
            else:
                with pytest.raises(ProposalStateError) as refused:
                    one.moved(state, one.created + number)
                assert (refused.value.proposal, refused.value.state, refused.value.wanted) == (one.id, one.state, state)

        assert one.state == taken[-1]
        assert one.is_open == (one.state in OPEN)
        assert [step.state for step in one.steps or [one]] == taken

    def test_a_concluded_one_comes_to_life_again(self):
        """Of what is concluded only what was kept may still change, and no state leads back to an open one."""
        concluded = set(TRANSITIONS) - OPEN

        assert {state for state in concluded if TRANSITIONS[state]} == {"kept"}
        assert not any(TRANSITIONS[state] & OPEN for state in concluded)

    def test_a_state_is_named_that_there_is_not(self):
        """All states that others lead to have a line of their own."""
        assert {state for after in TRANSITIONS.values() for state in after} | {"proposed"} == set(TRANSITIONS)

    def test_when_it_was_concluded_is_forgotten(self, proposal):
        """The time of the last step counts, and an open one has none."""
        one = proposal().moved("applied", 10.0)
        assert one.concluded is None

        kept = one.moved("kept", 20.0, "it helped", outcome=MeasuredEffect(verdict="better"))
        assert kept.concluded == 20.0
        assert kept.moved("superseded", 30.0).concluded == 30.0
        assert kept.moved("superseded", 30.0).outcome == MeasuredEffect(verdict="better")

    def test_what_is_on_trial_expires(self, proposal):
        """A proposal expires while it waits to be carried out, not afterwards."""
        one = proposal(expires=100.0)

        assert not one.is_due(99.9)
        assert one.is_due(100.0)
        assert one.moved("waiting_approval", 5.0).is_due(100.0)
        assert not one.moved("applied", 5.0).is_due(1000.0)
        assert not one.moved("rejected", 5.0).is_due(1000.0)

    def test_the_error_does_not_say_what_would_do(self, proposal):
        """It names the proposal, both states and the ways there are, and survives pickling."""
        with pytest.raises(ValueError, match="cannot become 'kept'; it may become applied, approved") as refused:
            proposal().moved("kept", 1.0)

        assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)
        with pytest.raises(ProposalStateError, match="it may become nothing, it is concluded"):
            proposal().moved("rejected", 1.0).moved("applied", 2.0)

    def test_a_proposal_is_another_after_it_was_kept_on_disk(self, proposal):
        """Encoded and read back it is the same, whether its values are whole, broken or names."""
        for before, after in ((4, 6), (0.5, 0.25), ("fifo", "lifo")):
            one = proposal(before=before, after=after).moved("applied", 5.0)
            back = msgspec.json.decode(msgspec.json.encode(one), type=Proposal)

            assert back == one
            assert type(back.before) is type(before)


class TestProposalId:
    def test_two_proposals_have_one_name(self):
        """Names say knob and second; what is taken gets a number."""
        first = proposal_id("greeter.batch", 1_796_000_000.9)
        assert first == "greeter.batch-20261130-005320"

        second = proposal_id("greeter.batch", 1_796_000_000.0, {first})
        assert second == f"{first}-2"
        assert proposal_id("greeter.batch", 1_796_000_000.0, {first, second}) == f"{first}-3"
