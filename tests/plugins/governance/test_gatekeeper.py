"""Tests of the gatekeeper: what holds, and what comes first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from aetherra.plugins import Identity
from aetherra.plugins.governance.gatekeeper import name_of
from aetherra.plugins.governance.guards import Count
from aetherra.registry import HOST
from tests.plugins.governance.conftest import ADA, HOMEOSTASIS, INC, Office, intent

Opened = Callable[..., Office]
BOB = Identity("remote", "bob")


class TestOrder:
    def test_one_uses_up_the_guard_of_another(self, office: Opened) -> None:
        """A plugin that rolls back until it is held keeps nobody else from rolling back."""
        kept = office(folder=None)
        flood = Identity("plugin", "flood", 1)
        answers = [kept.permission(flood, intent("rollback", str(number))).code for number in range(4)]

        assert answers == ["allowed", "allowed", "allowed", "needs_approval"]
        assert kept.permission(INC, intent("rollback", "mine")).code == "allowed"

    def test_a_later_check_comes_first(self, office: Opened) -> None:
        """Stop, pause, sender, guard, approval: with everything against it, each is told once those before are gone."""
        kept = office(folder=None, profile="prod", approval_kinds=["integration"])
        for number in range(3):
            kept.permission(INC, intent("quarantine", str(number)))
        for _ in range(5):
            kept.guards.count(Count("integrations_per_hour", INC.name))
        kept.stop.stop("ada", "smoke")
        wanted = intent("integration", sender="remote client 'bob'")

        def judged(**fields: Any) -> str:
            return kept.gatekeeper.judge(INC, intent(**{"kind": "integration", "sender": str(BOB), **fields})).code

        assert judged() == "stopped"
        kept.stop.lift("ada", "")
        assert judged() == "paused"
        kept.measures.lift("quarantines_per_hour")
        assert judged() == "refused"
        assert "bob" in kept.gatekeeper.judge(INC, wanted).reason
        assert judged(sender="") == "guard"
        kept.guards.reset("integrations_per_hour")
        assert judged(sender="") == "needs_approval"
        assert judged(sender="", kind="actuator") == "allowed"

    def test_judging_changes_something(self, office: Opened) -> None:
        """To be judged counts for nothing, asks nobody and puts nothing in force."""
        kept = office(folder=None)
        for _ in range(20):
            kept.gatekeeper.judge(INC, intent("integration", needs_approval="policy"))
            kept.gatekeeper.judge(HOMEOSTASIS, intent())
        assert (kept.approvals.all(), kept.measures.in_force(), kept.guards.states()[1].used) == ((), (), 0)


class TestVerdict:
    def test_a_guard_does_not_say_when(self, office: Opened) -> None:
        """Who is one too many is told which guard and after how many seconds; so is who is disabled since."""
        kept = office(folder=None)
        assert kept.permission(HOMEOSTASIS, intent()).allowed
        refused = kept.permission(HOMEOSTASIS, intent())
        assert (refused.code, refused.retry_after) == ("guard", 60.0)
        assert "'actions_per_component_per_minute' lets pass for 'x': 1 in 60 s" in refused.reason
        disabled = kept.permission(HOMEOSTASIS, intent())
        assert (disabled.code, disabled.retry_after) == ("paused", 600.0)

    def test_a_person_cannot_help_a_breach(self, office: Opened) -> None:
        """What is one too many and may be agreed to is asked of a person, and is then done."""
        kept = office(folder=None)
        for number in range(3):
            assert kept.permission(INC, intent("rollback", str(number), digest="a")).allowed
        asked = kept.ask(INC, intent("rollback", "fourth", digest="a"))
        assert (asked.permission.code, asked.breached is not None) == ("needs_approval", True)
        kept.clerk.decide(asked.permission.approval, ADA, approve=True, reason="")
        assert kept.permission(INC, intent("rollback", "fourth", digest="a")).allowed
        assert kept.permission(INC, intent("rollback", "fifth", digest="a")).code == "needs_approval"

    def test_an_approval_opens_a_guard(self, office: Opened) -> None:
        """An approval for another reason lets nothing through that a guard refuses, and stays unused."""
        kept = office(folder=None)
        wanted = intent("integration", digest="a", needs_approval="policy")
        asked = kept.permission(INC, wanted)
        kept.clerk.decide(asked.approval, ADA, approve=True, reason="")
        for number in range(5):
            assert kept.permission(INC, intent("integration", str(number))).allowed
        assert kept.permission(INC, wanted).code == "guard"
        assert kept.approvals.get(asked.approval).state == "approved"

    def test_a_denial_is_asked_again(self, office: Opened) -> None:
        """A person's no is answered with who and why, and no new question is put for the same."""
        kept = office(folder=None)
        wanted = intent("integration", digest="a", needs_approval="policy")
        asked = kept.permission(INC, wanted)
        kept.clerk.decide(asked.approval, ADA, approve=False, reason="no such plugin")
        denied = kept.permission(INC, wanted)
        assert (denied.code, denied.approval) == ("denied", asked.approval)
        assert denied.reason == "denied by remote client 'ada': no such plugin"
        assert len(kept.approvals.all()) == 1

    def test_too_many_questions_are_put(self, office: Opened) -> None:
        """So many of one asker wait, and further ones are refused with the reason."""
        kept = office(folder=None)
        for number in range(3):
            kept.permission(INC, intent("integration", str(number), needs_approval="policy"))
        refused = kept.permission(INC, intent("integration", "4", needs_approval="policy"))
        assert (refused.code, "too many requests" in refused.reason) == ("refused", True)
        assert kept.permission(HOMEOSTASIS, intent(needs_approval="policy")).code == "needs_approval"

    def test_all_stops_what_goes_back(self, office: Opened) -> None:
        """The emergency stop holds ways back as well."""
        kept = office(folder=None)
        kept.stop.stop("ada", "")
        assert kept.permission(INC, intent("rollback", undo=True)).code == "stopped"

    def test_an_anonymous_client_asks_in_prod(self, office: Opened) -> None:
        """In ``prod`` a client asks for nothing unless the configuration names it; elsewhere it may."""
        assert office(folder=None, profile="prod").permission(BOB, intent()).code == "refused"
        assert office(folder=None, profile="prod", clients=["bob"]).permission(BOB, intent()).allowed
        assert office(folder=None).permission(BOB, intent()).allowed


class TestHalted:
    def test_a_limit_halts_what_is_under_way(self, office: Opened) -> None:
        """What is under way is halted by a stop or a pause, and not because one more would be too many."""
        kept = office(folder=None)
        wanted = intent("integration")
        assert kept.permission(INC, wanted).allowed
        for number in range(4):
            assert kept.permission(INC, intent("integration", str(number))).allowed
        assert kept.gatekeeper.halted("self_incorporation", wanted) is None
        assert kept.permission(INC, intent("integration", "sixth")).code == "guard"
        halted = kept.gatekeeper.halted("self_incorporation", wanted)
        assert halted is not None
        assert halted.code == "paused"


class TestNameOf:
    @pytest.mark.parametrize(("identity", "name"), [(INC, "self_incorporation"), (BOB, str(BOB)), (HOST, "the host")])
    def test_two_askers_have_one_name(self, identity: Identity, name: str) -> None:
        """A plugin is one over its generations; a client that calls itself like it is another."""
        assert name_of(identity) == name
