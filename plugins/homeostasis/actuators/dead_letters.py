"""Actuators on dead letters: have their actions done again, or put them aside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from aetherra.plugins import (
    ListDeadLetters,
    ParkDeadLetters,
    RedriveDeadLetters,
    UnparkDeadLetters,
)
from aetherra.plugins.homeostasis.actuators.actuator import Actuator, Applied

MOST_JOINED = 1000
"""Letters that parking in several goes remembers for the way back, as what stands is kept and handed over whole."""


class Which(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which dead letters, the target beside, which is the type of their actions; times are Unix times."""

    reason: str | None = None
    since: float | None = None
    before: float | None = None
    limit: int = 100


class LettersActuator(Actuator[Which]):
    """One on the dead letters of a type of action, or of all."""

    arguments_type = Which
    seconds = 30.0

    def component(self, target: str) -> str:
        """Return which letters."""
        return f"kernel.dlq.{target}" if target else "kernel.dlq"


class RedriveLetters(LettersActuator):
    """Submits the actions of dead letters again."""

    name = "redrive_dead_letters"
    description = "submit the actions of dead letters again, the oldest first; what fails again is a letter again"

    async def plan(self, target: str, arguments: Which) -> Applied:
        """Say which ones."""
        return await self._redrive(target, arguments, dry_run=True)

    async def apply(self, target: str, arguments: Which) -> Applied:
        """Submit them."""
        return await self._redrive(target, arguments, dry_run=False)

    async def _redrive(self, target: str, arguments: Which, *, dry_run: bool) -> Applied:
        report = await self.ctx.call(
            RedriveDeadLetters(action_type=target or None, dry_run=dry_run, **msgspec.structs.asdict(arguments)),
            timeout=self.seconds,
        )
        done, refused = len(report.redriven), len(report.refused)
        return Applied(done > 0, f"{done} dead letters redriven, {refused} refused")


class ParkLetters(LettersActuator):
    """Puts dead letters aside, where nobody redrives them and no alarm counts them."""

    name = "park_dead_letters"
    description = "put dead letters aside, out of counts and redriving; taken back by putting them where they were"

    async def plan(self, target: str, arguments: Which) -> Applied:
        """Say how many there are."""
        trace_ids = await self._find(target, arguments)
        return Applied(bool(trace_ids), f"{len(trace_ids)} dead letters to park")

    async def apply(self, target: str, arguments: Which) -> Applied:
        """Park them by name, so that the way back concerns these and no others."""
        trace_ids = await self._find(target, arguments)
        parked = (await self.ctx.call(ParkDeadLetters(trace_ids=trace_ids), timeout=self.seconds)).parked
        before = {"trace_ids": list(trace_ids)} if parked else {}
        return Applied(parked > 0, f"{parked} dead letters parked", before)

    async def undo(self, target: str, before: Mapping[str, Any]) -> Applied:
        """Put them back."""
        del target
        request = UnparkDeadLetters(trace_ids=tuple(before["trace_ids"]))
        unparked = (await self.ctx.call(request, timeout=self.seconds)).unparked
        return Applied(unparked > 0, f"{unparked} dead letters put back")

    async def _find(self, target: str, arguments: Which) -> tuple[str, ...]:
        request = ListDeadLetters(action_type=target or None, **msgspec.structs.asdict(arguments))
        return tuple(letter.trace_id for letter in (await self.ctx.call(request)).letters)

    def join(self, first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
        """All that was parked is put back, or the latest of more than ``MOST_JOINED``: others stay parked."""
        together = dict.fromkeys([*first["trace_ids"], *second["trace_ids"]])
        return {"trace_ids": [*together][-MOST_JOINED:]}
