"""What others say, with the fields that are used here: hot swap, as a swap changes what is measured, and governance."""

from aetherra.plugins import Message, Request

__all__ = ["ApprovalDecided", "Approve", "CodeRolledBack", "CodeSwapped", "Deny"]


class CodeSwapped(Message, tag="hmr.swapped"):
    """A plugin's code was swapped."""

    plugin: str


class CodeRolledBack(Message, tag="hmr.rolled_back"):
    """A plugin's earlier code serves again."""

    plugin: str


class ApprovalDecided(Message, tag="governance.approval_decided"):
    """A person has agreed to something, or has not; it may be a proposal."""


class Decided(Message, tag="governance.decide_reply"):
    """Their word counts."""


class Approve(Request[Decided], tag="governance.approve"):
    """Agree to one thing, once."""

    approval: str
    reason: str = ""


class Deny(Request[Decided], tag="governance.deny"):
    """Disagree with it."""

    approval: str
    reason: str = ""
