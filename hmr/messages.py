"""What hot swap says and answers: the requests under ``hmr.*`` and its events."""

from __future__ import annotations

from typing import Literal

import msgspec

from aetherra.hmr.errors import SwapCode
from aetherra.registry import Message, Request

How = Literal["reload", "rollback"]
"""By code from disk, or by code from memory."""


class Swapped(Message, tag="hmr.swapped"):
    """A candidate took over: the reply to ``Reload`` and ``Rollback``, and an event for all.

    Attributes:
        plugin: Which.
        old_generation: What served before; 0 if nothing did.
        generation: What serves now.
        seconds: From when its turn came to the new routes, loading and waiting for calls in hand included.
        how: By code from disk, or from memory.
        changed: Files whose content is new; empty too where an installed plugin's first code leaves none to compare.
    """

    plugin: str
    old_generation: int
    generation: int
    seconds: float
    how: How
    changed: tuple[str, ...] = ()


class SwapFailed(Message, tag="hmr.swap_failed"):
    """A swap did not happen, and what served serves on."""

    plugin: str
    code: SwapCode
    problem: str


class Reload(Request[Swapped], tag="hmr.reload"):
    """Load a plugin's code from disk and swap it in; raises ``SwapError`` inside ``HandlerError``.

    Attributes:
        plugin: Which.
        force: Swap even if the new code breaks what the old promised to those who talk with it.
    """

    plugin: str
    force: bool = False


class TakenIn(Message, tag="hmr.taken_in"):
    """Whether there was anything new."""

    news: bool


class TakeIn(Request[TakenIn], tag="hmr.take_in"):
    """Swap in a plugin's code if the disk says something that was not tried yet; the watch asks this at each save."""

    plugin: str


class Rollback(Request[Swapped], tag="hmr.rollback"):
    """Go back to the code that served before, from memory, whatever the disk says."""

    plugin: str


class SwapRecord(msgspec.Struct, frozen=True):
    """One attempt, as ``hmr.status`` lists it."""

    ts: float
    plugin: str
    how: How
    outcome: Literal["swapped", "failed"]
    generation: int
    seconds: float
    problem: str = ""


class HmrStatus(Message, tag="hmr.status_reply"):
    """What is watched, and the last swaps, newest last."""

    watching: bool
    watched: dict[str, str]
    swaps: tuple[SwapRecord, ...]


class GetHmrStatus(Request[HmrStatus], tag="hmr.status"):
    """Ask what is watched and what was swapped."""
