"""Persons: whose word counts where only a person's does."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from aetherra.registry import AetherraError, Call, Identity

__all__ = ["NotAPersonError", "Person", "Persons"]

_REMOTE = re.compile(r"remote client '(.*)'", re.DOTALL)


class NotAPersonError(AetherraError, PermissionError):
    """Only a person can decide this, and whoever would decide is none.

    Attributes:
        what: What they would do.
        who: Who they are.
        why: Why they do not count as a person.
    """

    def __init__(self, what: str, who: str, why: str) -> None:
        super().__init__(what, who, why)
        self.what, self.who, self.why = what, who, why

    def __str__(self) -> str:
        return f"only a person may {self.what}, and {self.who} is none: {self.why}"


class Person(NamedTuple):
    """One whose word counts.

    Attributes:
        identity: Who they are.
        relay: The plugin that has passed their word on; ``""`` if they said it here.
    """

    identity: Identity
    relay: str = ""

    @property
    def names(self) -> frozenset[str]:
        """By which names they may be mentioned."""
        return frozenset((self.identity.name, str(self.identity)))

    def __str__(self) -> str:
        return f"{self.identity}{f' by plugin {self.relay!r}' if self.relay else ''}"


class Persons:
    """Tells persons from what runs by itself.

    A person speaks by a call of their own, from a client on the control socket or from the program that embeds the
    host. In profile ``prod`` such a client is one that the configuration names: whoever gives no name that it knows is
    anonymous. A plugin is no person, and neither is what comes as an action or within another call, whoever speaks in
    the end: the host runs actions and cycles that plugins have worded.

    Args:
        profile: Of the host.
        clients: Those that the configuration names.
        relays: Calls by which a person may have the plugin that answers them say it.
    """

    def __init__(self, profile: str, clients: Iterable[str], relays: Iterable[str] = ()) -> None:
        self._is_strict = profile == "prod"
        self._clients = frozenset(clients)
        self._relays = frozenset(relays)

    def require(self, call: Call | None, what: str) -> Person:
        """Return the person that a call comes from.

        Args:
            call: Which is being answered.
            what: What they would do, in words that fit after "may".

        Raises:
            NotAPersonError: It comes from none.
        """
        if call is None:
            raise NotAPersonError(what, "nobody", "it is said outside of any call")
        first, relay = call, ""
        if call.parent is not None and self._is_relayed(call, call.parent):
            first, relay = call.parent, call.caller.name
        who = str(first.caller)
        if first.caller.kind == "plugin":
            raise NotAPersonError(what, who, "a plugin never is")
        if first.kind != "call" or first.parent is not None:
            came = f"within the {first.parent.kind} {first.parent.tag!r}" if first.parent else f"as an {first.kind}"
            raise NotAPersonError(what, who, f"it comes {came}, and a person calls")
        if not self.knows(first.caller):
            raise NotAPersonError(what, who, self.remedy(first.caller.name))
        return Person(first.caller, relay)

    def _is_relayed(self, call: Call, parent: Call) -> bool:
        """Whether a plugin says what a person has told it, by a call that it answers and that is meant for that."""
        if parent.tag not in self._relays or call.kind != "call" or call.caller.kind != "plugin":
            return False
        provider: Identity | None = getattr(parent.line.route, "provider", None)
        return provider is not None and (provider.kind, provider.name) == ("plugin", call.caller.name)

    def knows(self, identity: Identity) -> bool:
        """Whether it is known who that is: in ``prod`` a client that the configuration does not name is not."""
        return identity.kind != "remote" or not self._is_strict or identity.name in self._clients

    def knows_sender(self, sender: str) -> bool:
        """The same of one that an intent names, in the words of ``str(Identity)``; none who is named almost so."""
        found = _REMOTE.fullmatch(sender)
        if found is not None:
            return self.knows(Identity("remote", found[1]))
        return not (self._is_strict and "remote client" in sender.casefold())

    @staticmethod
    def remedy(name: str) -> str:
        """Say what makes a client known."""
        return f"in profile 'prod' kernel.clients.{name} in the configuration says who they are"
