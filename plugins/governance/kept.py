"""What is kept of governance from one run to the next, and what its entries in the ledger say of that."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from aetherra.plugins import Fact, Intent
from aetherra.plugins.governance.approvals import Approval
from aetherra.plugins.governance.emergency_stop import Stopped
from aetherra.plugins.governance.guards import Count, Counted
from aetherra.plugins.governance.measures import Measure

__all__ = ["ENDS", "STATE", "UNCOUNTED", "Kept", "OpenAct", "count_said", "facts_of", "without_own"]

OWN = "governance."
"""How the names of facts begin that only governance itself gives."""
STATE = f"{OWN}state"
"""The fact that says which state was on disk when an entry was written."""
UNCOUNTED = f"{OWN}uncounted"
"""The fact of an outcome that says that no guard counts its act after all: nobody heard that it was allowed."""
GUARD, KEY = f"{OWN}guard", f"{OWN}key"
ENDS = frozenset({"done", "unchanged", "failed", "cancelled", "interrupted"})
"""How an act may end."""


class OpenAct(msgspec.Struct, frozen=True):
    """Something that was allowed and is under way."""

    asker: str
    intent: Intent


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What outlives the host. With the entries of the ledger that were written since, it is all that was known.

    Attributes:
        approvals: All that are open, and the last that are over.
        measures: Those in force.
        stop: What was said of the emergency stop when somebody last looked.
        counted: What guards have counted.
        open: What was under way, by entry.
        entry: The last entry of the ledger when this was saved; 0 if none was known.
        number: How often a state was saved; 0 by a version that did not count, which kept ``counted`` in another file.
    """

    approvals: tuple[Approval, ...] = ()
    measures: tuple[Measure, ...] = ()
    stop: Stopped = Stopped(stopped=False)
    counted: tuple[Counted, ...] = ()
    open: tuple[tuple[int, OpenAct], ...] = ()
    entry: int = 0
    number: int = 0


def without_own(facts: Mapping[str, Fact]) -> dict[str, Fact]:
    """Return somebody's facts without those that only governance may give."""
    return {name: value for name, value in facts.items() if not name.startswith(OWN)}


def facts_of(count: Count | None) -> dict[str, Fact]:
    """Return the facts by which the entry of an act says what counts it."""
    return {} if count is None else {GUARD: count.guard, KEY: count.key}


def count_said(facts: Mapping[str, Fact]) -> Count | None:
    """Return what counts the act of an entry; ``None`` if nothing does, or it does not say so."""
    try:
        return msgspec.convert({"guard": facts.get(GUARD), "key": facts.get(KEY)}, Count)
    except msgspec.ValidationError:
        return None
