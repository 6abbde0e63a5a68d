"""The hooks that any plugin may implement: synchronous, many listeners, called by pluggy's rules."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec
import pluggy

from aetherra.kernel.actions.letter import DeadLetter
from aetherra.kernel.corrections import Correction
from aetherra.kernel.knobs import Knob
from aetherra.kernel.votes import SourceFacts, Vote
from aetherra.registry import Call, HealthReport, Identity, Message, Request

PROJECT = "aetherra"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Mark a plugin's method as the implementation of the hook of that name."""

CyclePhase = Literal["collect", "correct", "analyse", "propose", "discover", "classify", "judge", "plan"]
PHASES: tuple[CyclePhase, ...] = (
    "collect", "correct", "analyse", "propose", "discover", "classify", "judge", "plan",
)  # fmt: skip
"""One maintenance cycle, in order."""


class MetricSample(msgspec.Struct, frozen=True):
    """One reading: ``value`` in ``unit``, or ``None`` with the reason why nobody knows."""

    name: str
    value: float | None
    unit: str
    reason: str = ""


class CycleStep(msgspec.Struct, frozen=True):
    """A request that is a plugin's part in one phase of a maintenance cycle."""

    phase: CyclePhase
    request: Request[Any]


class Hooks:
    """What the host asks of all plugins. An implementation that raises is logged and left out; the others are asked."""

    @hookspec
    def collect_metrics(self) -> Iterable[MetricSample]:
        """Return what the plugin measures of itself, now; called every few seconds, so it must be quick."""
        raise AssertionError("a specification is not called")

    @hookspec
    def health(self) -> HealthReport | None:
        """Return how the plugin is, if it knows better than its service status tells."""

    @hookspec
    def dead_letter(self, letter: DeadLetter) -> None:
        """Hear of an action that was dead-lettered."""

    @hookspec
    def before_call(self, call: Call, request: Request[Any]) -> None:
        """See a request on its way to its handler, in the task of its caller; must be quick."""

    @hookspec
    def after_call(self, call: Call, seconds: float, error: BaseException | None) -> None:
        """See a call that is over; ``error`` is what its caller gets if there is no reply."""

    @hookspec
    def event_published(self, event: Message, publisher: Identity, kept: int) -> None:
        """See an event that was put in the mailboxes of ``kept`` subscribers."""

    @hookspec
    def act_refused(self, who: Identity, tag: str, error: Exception) -> None:
        """See a call, an event or a subscription that was refused before anybody heard of it."""

    @hookspec
    def cycle_steps(self) -> Iterable[CycleStep]:
        """Return the plugin's parts in a maintenance cycle."""
        raise AssertionError("a specification is not called")

    @hookspec
    def release_memory(self) -> int | None:
        """Let go of what can be made again, as caches; return how many bytes that was, ``None`` if nobody knows.

        Called when memory is short, on the event loop, so it must be quick.
        """

    @hookspec
    def correction_categories(self) -> Iterable[Correction]:
        """Return the kinds of trouble in the log that the plugin knows to mend; asked whenever plugins change."""
        raise AssertionError("a specification is not called")

    @hookspec
    def knobs(self) -> Iterable[Knob]:
        """Return what of the plugin may be turned while it serves; asked whenever knobs are listed or set."""
        raise AssertionError("a specification is not called")

    @hookspec
    def classify_file(self, path: str, head: bytes, facts: SourceFacts | None) -> Vote | None:
        """Return what the plugin takes a file for, ``None`` if it cannot tell.

        Called in a worker thread for each file that a scan reads, so it must be quick and touch nothing. One that is
        slow, or raises on three files, is not asked again during that scan. Raise the plugin's ``version`` when it
        would vote otherwise: then all files are read again.

        Args:
            path: Of the file, relative to the root that is scanned.
            head: Its first 4096 bytes, or all if there are fewer.
            facts: What was read off it if it is Python, else ``None``.
        """
