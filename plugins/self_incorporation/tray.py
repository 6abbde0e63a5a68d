"""The tray: brings in what lies in the incoming folders and may come in, each item with those that it needs."""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple, TypeAlias

from aetherra.plugins import AetherraError, DataFileError, NotPermittedError, PluginContext
from aetherra.plugins.self_incorporation.gate.item import Item
from aetherra.plugins.self_incorporation.incorporator import PASSING, Incorporator
from aetherra.plugins.self_incorporation.integration.errors import BusyError, StepFailedError
from aetherra.plugins.self_incorporation.integration.plan import OF_NO_CONCERN, Plan, Step
from aetherra.plugins.self_incorporation.kept_out import KeptOut
from aetherra.plugins.self_incorporation.messages import Incorporated
from aetherra.plugins.self_incorporation.once import Once

__all__ = ["Emptied", "Tray"]

RETRY_SEC = 900.0
"""Seconds after which something is tried again that did not fail by itself."""


class Emptied(NamedTuple):
    """What came of one look into the tray.

    Attributes:
        came: Of each item with those that it needs, what was brought in or waits for a person.
        kept_out: Why the others stay out, by path; what has not changed since it came in, or that nobody
            meant to come in, is none of either.
    """

    came: tuple[Incorporated, ...]
    kept_out: dict[str, str]


_What: TypeAlias = tuple[tuple[str, str, str], ...]
"""Of each item of a group its path, its digest, and the digest of what it would replace."""


class _Refused(NamedTuple):
    what: _What
    why: str
    until: float


class Tray:
    """What was taken out again stays out as it is, and what fails is not tried again until it has changed.

    No guard is breached for it: where one more would be too many, the rest waits.

    Args:
        ctx: Of the plugin that it works in.
        incorporator: Does it.
        kept_out: What was taken out again.
    """

    def __init__(self, ctx: PluginContext, incorporator: Incorporator, kept_out: KeptOut) -> None:
        self._ctx = ctx
        self._incorporator = incorporator
        self._kept_out = kept_out
        self._refused: dict[tuple[str, ...], _Refused] = {}
        self._once = Once(ctx.log)

    async def empty(self, ask_why: str) -> Emptied:
        """Bring in what may come in now.

        Args:
            ask_why: Why a person has to agree, beside what the decisions say.
        """
        plan, judged = await self._incorporator.plan((), anew=False)
        came: list[Incorporated] = []
        stays = {one.item: one.text for one in plan.left_out if one.code not in OF_NO_CONCERN}
        steps = {step.path: step for step in plan.steps}
        why_out = {one.item.path: await self._why_out(one.item) for one in judged}
        groups = {group: _what(steps[path] for path in group) for group in _groups(plan)}
        self._forget_others(groups)
        not_now = await self._ctx.run_sync(self._kept_out.problem)
        for group, what in groups.items():
            taken_out = next(filter(None, (why_out[path] for path in group)), "")
            if why := not_now or taken_out or self._why_refused(group):
                stays |= dict.fromkeys(group, why)
                continue
            try:
                came.append(await self._incorporator.integrate(group, ask_why=ask_why, careful=True))
                self._refused.pop(group, None)
            except NotPermittedError as exc:
                why = str(exc)
                if exc.code in PASSING:  # it is its turn again when that is over
                    why = not_now = f"nothing comes in now: {exc.reason}"
                    self._once.say("", exc.code, "nothing is brought in: %s", exc)
                else:
                    self._refuse(group, what, exc.code, exc, math.inf)
                stays |= dict.fromkeys(group, why)
            except BusyError as exc:
                not_now = str(exc)
                stays |= dict.fromkeys(group, not_now)
            except AetherraError as exc:
                stays |= dict.fromkeys(group, str(exc))
                until = math.inf if isinstance(exc, StepFailedError) else self._ctx.clock.monotonic() + RETRY_SEC
                self._refuse(group, what, type(exc).__name__, exc, until)
        if not not_now:
            self._once.keep(groups)
        return Emptied(tuple(came), stays)

    async def _why_out(self, item: Item) -> str:
        """Return why an item was taken out; ``""`` if it was not. Earlier versions knew it by its own files alone."""
        for before in item.digests()[1:]:
            if self._kept_out.why(before):
                with suppress(DataFileError):  # it is known in this run all the same
                    await self._ctx.run_sync(self._kept_out.rename, before, item.digest)
        known = item.digest, *item.known_as()
        return next((why for digest in known if (why := self._kept_out.why(digest))), "")

    def _why_refused(self, group: tuple[str, ...]) -> str:
        refused = self._refused.get(group)
        if refused is None or self._ctx.clock.monotonic() >= refused.until:
            return ""
        return f"{refused.why}; it is tried again once something has changed"

    def _refuse(self, group: tuple[str, ...], what: _What, code: str, exc: AetherraError, until: float) -> None:
        self._refused[group] = _Refused(what, str(exc), until)
        self._once.say(group, code, "%s is not brought in: %s", ", ".join(group), exc)

    def _forget_others(self, groups: dict[tuple[str, ...], _What]) -> None:
        """Forget what was said of items that are gone, or are others now."""
        self._refused = {group: one for group, one in self._refused.items() if groups.get(group) == one.what}
        self._once.keep({"", *(group for group in groups if group in self._refused)})


def _what(steps: Iterable[Step]) -> _What:
    return tuple((step.path, step.digest, step.replaces) for step in steps)


def _groups(plan: Plan) -> list[tuple[str, ...]]:
    """Return the paths of each step's item with those of the steps that it needs, which come first."""
    steps = {step.number: step for step in plan.steps}
    groups: list[tuple[str, ...]] = []
    needed: set[int] = set()
    for step in reversed(plan.steps):
        if step.number in needed:
            continue
        closure: set[int] = set()
        pending = [step.number]
        while pending:
            number = pending.pop()
            if number not in closure:
                closure.add(number)
                pending.extend(steps[number].after)
        needed |= closure
        groups.append(tuple(steps[number].path for number in sorted(closure)))
    return groups[::-1]
