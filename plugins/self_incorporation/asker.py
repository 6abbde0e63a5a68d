"""The asker: who asks for what is answered now, and why a person must agree to it."""

from __future__ import annotations

from typing import NamedTuple

from aetherra.plugins import NotAPersonError, Persons, current_call

__all__ = ["Asker", "asker"]


class Asker(NamedTuple):
    """Who asks for something.

    Attributes:
        name: What governance knows them by; ``""`` if nobody does.
        ask_why: Why a person must agree; ``""`` if a person asks.
    """

    name: str
    ask_why: str


def asker(persons: Persons) -> Asker:
    """Tell who asks for what is answered now."""
    call = current_call()
    try:
        person = persons.require(call, "bring something in unasked")
    except NotAPersonError as exc:
        return Asker("" if call is None else str(call.caller), f"{exc.who} asks for it, which is no person")
    return Asker(str(person.identity), "")
