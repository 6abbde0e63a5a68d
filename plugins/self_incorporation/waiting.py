"""The waiting list: plans that wait for a person, or may come to; on disk before anybody is asked about them."""

from __future__ import annotations

import threading
from typing import Any, Self

import msgspec

from aetherra.plugins.self_incorporation.integration.plan import Step
from aetherra.plugins.storage import StateFile

__all__ = ["Awaited", "Waiting", "WaitingList"]


class Awaited(msgspec.Struct, frozen=True):
    """An item that a plan would bring in.

    Attributes:
        name: What it would be registered as.
        root: The tree that it lies in.
        path: Its own in that tree.
        digest: Of it, as it was judged.
        replaces: The digest of what was registered under that name; ``""`` if nothing was.
    """

    name: str
    root: str
    path: str
    digest: str
    replaces: str

    @classmethod
    def of(cls, step: Step) -> Self:
        """Return the item of a step."""
        return cls(step.name, step.root, step.path, step.digest, step.replaces)


class Waiting(msgspec.Struct, frozen=True):
    """A plan that a person is asked about.

    Attributes:
        items: What it is for, as it was asked for.
        sender: Who has asked for it; ``""`` if nobody has.
        ask_why: Why a person has to agree, beside what the decisions say: asked again so, the approval is used up.
        approval: The approval it waits for; ``""`` until that is known.
        settings: What plugins are to be loaded with, by name.
        of: What would come in; empty of what waits since before that was noted.
    """

    items: tuple[str, ...]
    sender: str
    ask_why: str = ""
    approval: str = ""
    settings: dict[str, dict[str, Any]] = {}
    of: tuple[Awaited, ...] = ()


class WaitingList:
    """Plans by their digest, which is what approvals are bound to.

    Any thread may use it.

    Args:
        file: Where it is kept.

    Attributes:
        problem: Why what waited in an earlier run is not known; ``""`` if it is.
    """

    def __init__(self, file: StateFile[dict[str, Waiting]]) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._plans = file.load() or {}
        self.problem = file.problem and (
            f"what waited for a person is not known any more: {file.problem}; whatever is still wanted is to be asked "
            "for again"
        )

    def all(self) -> dict[str, Waiting]:
        """Return all plans, those that were put on last at the end."""
        return dict(self._plans)

    def get(self, digest: str) -> Waiting | None:
        """Return the plan of a digest, ``None`` if it is not on the list."""
        return self._plans.get(digest)

    def put(self, digest: str, waiting: Waiting) -> None:
        """Put a plan on the list, in place of what the same asked of the same items before.

        Raises:
            DataFileError: The disk does not take it; the list is as it was.
        """
        asked = (waiting.items, waiting.sender)
        with self._lock:
            others = {
                name: one for name, one in self._plans.items() if name != digest and (one.items, one.sender) != asked
            }
            plans = {**others, digest: waiting}
            if plans != self._plans:
                self._file.save(plans)
                self._plans = plans

    def take(self, digest: str) -> None:
        """Take a plan off the list, if it is there.

        Raises:
            DataFileError: The disk does not take it: it is on the list of the next run, and off it in this one.
        """
        with self._lock:
            if digest in self._plans:
                self._plans = {name: one for name, one in self._plans.items() if name != digest}
                self._file.save(self._plans)
