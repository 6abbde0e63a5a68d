"""What is said of bringing in, and of taking out."""

from __future__ import annotations

from typing import Any

import msgspec

from aetherra.plugins import Message, Request
from aetherra.plugins.self_incorporation.integration.describe import Description
from aetherra.plugins.self_incorporation.integration.intents import Stage
from aetherra.plugins.self_incorporation.integration.plan import Plan
from aetherra.plugins.self_incorporation.integration.registrations import Registration
from aetherra.plugins.self_incorporation.messages.bounds import Digest, Limit, Reason

__all__ = [
    "Incorporated",
    "Integrate",
    "Integration",
    "Integrations",
    "ListIntegrations",
    "LookAround",
    "LookedAround",
    "MakePlan",
    "Planned",
    "Rollback",
    "TakenOut",
]


class Planned(Message, tag="selfinc.plan_reply"):
    """A plan, and exactly what carrying it out would do; nothing was done.

    Settings have their values where they were given with the request, else their names alone.

    Attributes:
        plan: Its steps, and what is left out and why.
        would: What would happen; ``None`` if there is no step, or where there is a problem.
        problem: Why it cannot be said what would happen, nor be done; ``""`` if it can.
    """

    plan: Plan
    would: Description | None
    problem: str = ""


class MakePlan(Request[Planned], tag="selfinc.plan"):
    """Ask for a plan for some items, by name or path; for none: for all that lie in the incoming folders.

    Attributes:
        items: By name or path.
        settings: As of ``Integrate``.
    """

    items: tuple[str, ...] = ()
    settings: dict[str, dict[str, Any]] = {}


class Incorporated(Message, tag="selfinc.integrate_reply"):
    """What came of it: the reply to ``Integrate``, and an event after each integration.

    Attributes:
        token: What it is rolled back by; ``""`` if nothing was done.
        names: What was brought in, or waits to be, by the names it is registered under.
        notes: How each step went, for people.
        approval: The approval that it waits for; ``""`` if it does not.
        why_not: Why nothing was done; ``""`` if it was.
    """

    token: str
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    approval: str = ""
    why_not: str = ""


class Integrate(Request[Incorporated], tag="selfinc.integrate"):
    """Bring items in: all of them, or none.

    If it needs an approval, it waits for that, and is then done by itself if nothing has changed.

    Attributes:
        items: By name or path; for none: all approved ones of the incoming folders.
        digest: Of the plan that was looked at, which must be what would be done now; ``None`` for any.
        settings: What plugins are loaded with, by their names, in place of what the configuration says, ``{}`` for
            that; one that is not named keeps what it came in with.
    """

    items: tuple[str, ...] = ()
    digest: Digest | None = None
    settings: dict[str, dict[str, Any]] = {}


class LookedAround(Message, tag="selfinc.look_reply"):
    """What was found at all roots, what was decided, and what came of it.

    Attributes:
        files_found: Files below the roots.
        files_new: Of them, those that were seen for the first time.
        files_changed: With other content than last time.
        files_removed: In the index last time, and gone.
        files_refused: That are not in the index.
        verdicts: Items by what is decided about them.
        quarantined: Those that were set aside now.
        held: Those that would have been set aside, and why they were not.
        brought_in: What came of bringing in what lies in the incoming folders, of each item with those it needs.
        kept_out: Why other items of the incoming folders stay out, by path.
        problems: Why some roots were not looked at, and from which incoming folders nothing can come in.
    """

    files_found: int
    files_new: int
    files_changed: int
    files_removed: int
    files_refused: int
    verdicts: dict[str, int]
    quarantined: tuple[str, ...]
    held: dict[str, str]
    brought_in: tuple[Incorporated, ...]
    kept_out: dict[str, str]
    problems: tuple[str, ...] = ()


class LookAround(Request[LookedAround], tag="selfinc.look"):
    """Do at once what is done by itself every ``scan_interval``: scan all roots, decide, bring in what may come in."""


class TakenOut(Message, tag="selfinc.rollback_reply"):
    """An integration was rolled back: the reply to ``Rollback``, and an event after each.

    Attributes:
        token: Which.
        names: What was brought in by it.
        left: What could not be undone; nothing if all is as it was, byte for byte.
        reason: Why.
        automatic: Whether self-incorporation decided it.
    """

    token: str
    names: tuple[str, ...]
    left: tuple[str, ...]
    reason: str
    automatic: bool = False


class Rollback(Request[TakenOut], tag="selfinc.rollback"):
    """Put everything back to what it was before an integration."""

    token: str
    reason: Reason = "somebody asked for it"


class Integration(msgspec.Struct, frozen=True):
    """One integration that is remembered.

    Attributes:
        token: Its name.
        at: Unix time of its beginning.
        names: What it brought in.
        summary: For people.
        stage: How far it is: ``open``, ``committed``, ``going_back`` or ``undone``.
        reason: Why it was undone.
        left: What could not be.
    """

    token: str
    at: float
    names: tuple[str, ...]
    summary: str
    stage: Stage
    reason: str = ""
    left: tuple[str, ...] = ()


class Integrations(Message, tag="selfinc.integrations_reply"):
    """Integrations, the latest first, and what of them is registered now.

    Attributes:
        integrations: The latest ones.
        registered: What was brought in and is there, by name; of its settings the names alone.
        waiting: Items that wait for an approval, by its id.
        problems: What somebody has to see to: nothing is brought in until then, or not unasked.
    """

    integrations: tuple[Integration, ...]
    registered: dict[str, Registration]
    waiting: dict[str, tuple[str, ...]]
    problems: tuple[str, ...]


class ListIntegrations(Request[Integrations], tag="selfinc.integrations"):
    """Ask what was brought in."""

    limit: Limit = 100
