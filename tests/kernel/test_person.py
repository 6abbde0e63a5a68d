"""Tests of whose word counts as a person's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from aetherra.kernel.person import NotAPersonError, Persons
from aetherra.plugins import Call, Identity
from aetherra.registry import HOST
from aetherra.registry.call import Line

ADA = Identity("remote", "ada")
PLUGIN = Identity("plugin", "improver", 3)


def call(caller: Identity, tag: str = "governance.approve", kind: Any = "call", parent: Call | None = None) -> Call:
    return Call(Line(caller, tag, kind), 1.0, 0.0, parent, 0, object())


def answered_by(provider: Identity, made: Call) -> Call:
    """Return a call that is being answered by a plugin."""
    made.line.route = SimpleNamespace(provider=provider)
    return made


class TestRequire:
    @pytest.mark.parametrize("who", [ADA, HOST])
    def test_a_person_is_none(self, who: Identity) -> None:
        """A client's own call and one of the program that embeds the host count."""
        person = Persons("standard", ()).require(call(who), "approve")
        assert (person.identity, person.relay) == (who, "")
        assert person.names == {who.name, str(who)}

    def test_a_plugin_is_a_person(self) -> None:
        """A plugin never is, and the error says who it is and what it would have done."""
        with pytest.raises(NotAPersonError, match=r"only a person may approve, and plugin 'improver'.* is none"):
            Persons("standard", ()).require(call(PLUGIN), "approve")

    @pytest.mark.parametrize("kind", ["action", "event"])
    @pytest.mark.parametrize("who", [ADA, HOST])
    def test_an_action_is_a_person(self, who: Identity, kind: str) -> None:
        """The host runs actions that plugins have worded: the host's name is no proof."""
        with pytest.raises(NotAPersonError, match=f"it comes as an {kind}"):
            Persons("standard", ()).require(call(who, kind=kind), "approve")

    @pytest.mark.parametrize("who", [ADA, HOST])
    @pytest.mark.parametrize("kind", ["call", "action"])
    def test_what_a_call_leads_to_is_a_person(self, who: Identity, kind: str) -> None:
        """The host runs cycles whose steps plugins have worded, on the way of a person's call."""
        step = call(HOST, parent=call(who, "kernel.maintain", kind))
        with pytest.raises(NotAPersonError, match=f"it comes within the {kind} 'kernel.maintain'"):
            Persons("standard", ()).require(step, "approve")

    def test_outside_of_any_call_somebody_is_a_person(self) -> None:
        """What nobody has called counts as nobody's word."""
        with pytest.raises(NotAPersonError, match="outside of any call"):
            Persons("standard", ()).require(None, "approve")


class TestRelays:
    def relayed(self, parent: Call, provider: Identity = PLUGIN, caller: Identity = PLUGIN) -> Call:
        return call(caller, parent=answered_by(provider, parent))

    def test_a_person_cannot_speak_by_a_plugin(self) -> None:
        """A call that is a relay passes a person's word on, and whose it is and by whom is known."""
        persons = Persons("standard", (), ["selfimprovement.approve"])
        person = persons.require(self.relayed(call(ADA, "selfimprovement.approve")), "approve")
        assert (person.identity, person.relay) == (ADA, "improver")
        assert str(person) == "remote client 'ada' by plugin 'improver'"

    @pytest.mark.parametrize(
        ("parent", "provider"),
        [
            (call(ADA, "selfimprovement.status"), PLUGIN),
            (call(ADA, "selfimprovement.approve"), Identity("plugin", "other", 1)),
            (call(PLUGIN, "selfimprovement.approve"), PLUGIN),
            (call(HOST, "selfimprovement.approve", "action"), PLUGIN),
            (call(HOST, "selfimprovement.approve", parent=call(ADA, "kernel.maintain")), PLUGIN),
        ],
    )
    def test_a_plugin_speaks_for_a_person(self, parent: Call, provider: Identity) -> None:
        """Another call is no relay, nor one that another plugin answers, or that a plugin makes or has worded."""
        persons = Persons("standard", (), ["selfimprovement.approve"])
        with pytest.raises(NotAPersonError):
            persons.require(self.relayed(parent, provider), "approve")


class TestProd:
    def test_an_anonymous_client_is_a_person(self) -> None:
        """In ``prod`` a client is somebody once the configuration names it; the host needs no name."""
        persons = Persons("prod", ["ada"])
        assert persons.require(call(ADA), "approve").identity == ADA
        assert persons.require(call(HOST), "approve").identity == HOST
        with pytest.raises(NotAPersonError, match=r"kernel\.clients\.bob"):
            persons.require(call(Identity("remote", "bob")), "approve")

    def test_a_sender_is_taken_on_trust(self) -> None:
        """In ``prod`` a client on whose behalf something is to be done must be named, too."""
        persons = Persons("prod", ["ada"])
        assert persons.knows_sender(str(ADA))
        assert persons.knows_sender("")
        assert persons.knows_sender(str(PLUGIN))
        for sender in ("remote client 'bob'", "remote client ada", "Remote client 'ada'", " remote client 'ada'"):
            assert not persons.knows_sender(sender)
        assert Persons("standard", ()).knows_sender("remote client 'bob'")
