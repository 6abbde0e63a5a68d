"""What hot swap says and answers: the requests under ``hmr.*`` and its events."""

from __future__ import annotations

from typing import Literal

import msgspec

from aetherra.hmr.errors import SwapCode
from aetherra.registry import Figures, Message, Request

How = Literal["reload", "rollback", "canary"]
"""By code from disk, by code from memory, or by a canary."""
Outcome = Literal["swapped", "rolled_back", "failed"]
"""New code serves; earlier code serves again; or what served serves on."""


class Prepared(Message, tag="hmr.prepared"):
    """A candidate has proved itself, and is about to take over.

    Attributes:
        plugin: Which.
        generation: The candidate.
        how: By code from disk, from memory, or from a canary.
    """

    plugin: str
    generation: int
    how: How


class Swapped(Message, tag="hmr.swapped"):
    """A candidate took over: the reply to ``Reload`` and ``Rollback``, and an event for all.

    Attributes:
        plugin: Which.
        old_generation: What served before; 0 if nothing did.
        generation: What serves now.
        seconds: From when its turn came to the new routes, loading and waiting for calls in hand included.
        how: By code from disk, from memory, or from a canary.
        changed: Files whose content is new; empty too where an installed plugin's first code leaves none to compare.
    """

    plugin: str
    old_generation: int
    generation: int
    seconds: float
    how: How
    changed: tuple[str, ...] = ()


class SwapFailed(Message, tag="hmr.swap_failed"):
    """A swap did not happen, and what served serves on, unless ``down`` says why it does not."""

    plugin: str
    code: SwapCode
    problem: str
    down: str = ""


class RolledBack(Message, tag="hmr.rolled_back"):
    """Earlier code serves again, because somebody asked for it, or because the later code failed while it was watched.

    Attributes:
        plugin: Which.
        generation: What serves now: a generation of its own, of the earlier code.
        rejected: The generation that was taken out.
        seconds: As in ``Swapped``.
        automatic: Whether hot swap decided it.
        reason: Why, as it was asked for or as it was seen.
    """

    plugin: str
    generation: int
    rejected: int
    seconds: float
    automatic: bool
    reason: str


class Reload(Request[Swapped], tag="hmr.reload"):
    """Load a plugin's code from disk and swap it in; raises ``SwapError`` inside ``HandlerError``.

    Attributes:
        plugin: Which.
        force: Swap even if the new code breaks what the old promised to those who talk with it.
    """

    plugin: str
    force: bool = False


class TakenIn(Message, tag="hmr.taken_in"):
    """Whether there was anything new; and if it has not come to rest, in how many seconds to ask again."""

    news: bool
    again_in: float = 0.0


class TakeIn(Request[TakenIn], tag="hmr.take_in"):
    """Swap in a plugin's code if the disk says something that was not tried yet; the watch asks this at each save."""

    plugin: str


class Rollback(Request[Swapped], tag="hmr.rollback"):
    """Go back to the code that served before, from memory, whatever the disk says.

    Attributes:
        plugin: Which.
        force: Have it take the state that it handed over when it was replaced, and not what the later code has made of
            it since, where it cannot read that.
        reason: For the history.
    """

    plugin: str
    force: bool = False
    reason: str = ""


class SwapRecord(msgspec.Struct, frozen=True):
    """One attempt, as ``hmr.status`` lists it.

    Attributes:
        ts: When it ended, in seconds since 1970.
        plugin: Which.
        how: By code from disk, from memory, or from a canary.
        outcome: How it ended.
        generation: What served after it.
        seconds: What it took.
        problem: Why it failed, or why earlier code was brought back.
        old_generation: What served before it.
        source: The SHA-256 of the files that were to be swapped in, in hexadecimal; ``""`` where they never loaded, or
            where the interpreter's own import brought them.
        changed: Files whose content was new.
    """

    ts: float
    plugin: str
    how: How
    outcome: Outcome
    generation: int
    seconds: float
    problem: str = ""
    old_generation: int = 0
    source: str = ""
    changed: tuple[str, ...] = ()


class HmrStatus(Message, tag="hmr.status_reply"):
    """What is watched, and the last swaps, newest last."""

    watching: bool
    watched: dict[str, str]
    swaps: tuple[SwapRecord, ...]


class GetHmrStatus(Request[HmrStatus], tag="hmr.status"):
    """Ask what is watched and what was swapped; of one plugin, or of all."""

    plugin: str = ""


# Canaries


class GenerationFigures(msgspec.Struct, frozen=True):
    """How one side of a canary fares, since it began: in all, and by tag."""

    generation: int
    total: Figures
    tags: dict[str, Figures]


class CanaryStatus(Message, tag="hmr.canary_status"):
    """A canary as it is, or, as the reply to ``Abort``, as it was.

    Attributes:
        plugin: Which.
        share: The part of the keys that goes to the candidate, 0 to 1.
        seen_share: The part of the calls that did; ``None`` before the first.
        key: The field of the requests that is their key; ``""`` for all that they say.
        seconds: Since it began.
        control: The generation that serves.
        candidate: The one on trial.
        new_tags: Requests that only the candidate knows, and that are answered once it is promoted.
    """

    plugin: str
    share: float
    seen_share: float | None
    key: str
    seconds: float
    control: GenerationFigures
    candidate: GenerationFigures
    new_tags: tuple[str, ...] = ()


class Canary(Request[CanaryStatus], tag="hmr.canary"):
    """Have the code on disk answer a share of a plugin's calls, or change the share of what does.

    Attributes:
        plugin: Which.
        share: The part of all keys that the candidate gets, 0 to 1. More of it moves keys to the candidate, and none
            back.
        key: The field of the plugin's requests whose value decides; without one it is all that a request says.
    """

    plugin: str
    share: float = 0.1
    key: str = ""


class Promote(Request[Swapped], tag="hmr.promote"):
    """Have the candidate of a plugin's canary serve alone; raises ``SwapError`` inside ``HandlerError``."""

    plugin: str


class Abort(Request[CanaryStatus], tag="hmr.abort"):
    """Stop the candidate of a plugin's canary; the old generation serves alone again."""

    plugin: str


class GetCanary(Request[CanaryStatus], tag="hmr.get_canary"):
    """Ask how both sides of a plugin's canary fare."""

    plugin: str
