"""What is said of items, and of what is decided about them."""

from __future__ import annotations

import msgspec

from aetherra.plugins import Message, Request
from aetherra.plugins.self_incorporation.code.classifier import FileKind
from aetherra.plugins.self_incorporation.gate.decision import Decision, Verdict
from aetherra.plugins.self_incorporation.gate.item import Item
from aetherra.plugins.self_incorporation.index.report import Risk
from aetherra.plugins.self_incorporation.messages.bounds import Digest, Limit, Reason

__all__ = ["DecideItem", "ItemDecided", "Items", "Judged", "JudgedItem", "ListItems", "SecurityEval"]


class JudgedItem(msgspec.Struct, frozen=True):
    """An item, and what was decided about it.

    Attributes:
        item: As the index knows it.
        decision: The latest about exactly these bytes; ``None`` if there is none.
        registered: Under which name it was brought in; ``""`` if it was not, or not as it is now.
    """

    item: Item
    decision: Decision | None
    registered: str = ""


class Items(Message, tag="selfinc.items_reply"):
    """Items by path; ``total`` are what was asked for, of which these are the first."""

    items: tuple[JudgedItem, ...]
    total: int


class ListItems(Request[Items], tag="selfinc.items"):
    """Ask what could be brought in, and what was decided about it.

    Attributes:
        name: Only those of this name or path.
        verdict: Only those that were decided so.
        kind: Only those of this kind.
        judged: Only those that something was decided about.
        limit: How many, at most.
    """

    name: str = ""
    verdict: Verdict | None = None
    kind: FileKind | None = None
    judged: bool = False
    limit: Limit = 100


class Judged(Message, tag="selfinc.security_eval_reply"):
    """What was decided about the items of all roots, and what somebody should look at.

    Attributes:
        severities: Findings in the index, by severity.
        riskiest: The riskiest files, and why.
        verdicts: Items by what was decided about them.
        blocked: Decisions that keep an item out, those of the highest risk first, at most 100.
        judged: Items that were judged now, as they, the rules, the policy or their grants are new.
        drifted: Those of them that do more, or are riskier, than when they were judged before.
        quarantined: Those that were set aside now.
        held: Those that would have been set aside, and why they were not.
    """

    severities: dict[str, int]
    riskiest: tuple[Risk, ...]
    verdicts: dict[str, int]
    blocked: tuple[Decision, ...]
    judged: int
    drifted: int
    quarantined: tuple[str, ...]
    held: dict[str, str]


class SecurityEval(Request[Judged], tag="selfinc.security_eval"):
    """Decide about every item that is new, has changed, or falls under other rules, and set aside what must be.

    Items are plugins, agents and workflows wherever they lie, and all that lies in an incoming folder; others are
    judged when somebody asks for them by name.
    """


class ItemDecided(Message, tag="selfinc.decide_reply"):
    """What is decided about an item now."""

    decision: Decision


class DecideItem(Request[ItemDecided], tag="selfinc.decide"):
    """Say that exactly these bytes may come in, or may not. Only a person may.

    Attributes:
        item: Its name or path.
        digest: Of the item as the person has looked at it; it must be that still.
        accept: Whether it may.
        reason: Why.
    """

    item: str
    digest: Digest
    accept: bool
    reason: Reason
