"""The intake: brings in and takes out where there is a place for the way back, and looks after what came in."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Self

from aetherra.plugins import DataFileError, PluginContext, ServiceRegistered, Swapper
from aetherra.plugins.governance.messages import ApprovalDecided
from aetherra.plugins.self_incorporation.aftercare import Aftercare
from aetherra.plugins.self_incorporation.assessor import Assessor
from aetherra.plugins.self_incorporation.followup import FollowUp
from aetherra.plugins.self_incorporation.gate.item import Item
from aetherra.plugins.self_incorporation.gate.quarantine import QuarantineManager
from aetherra.plugins.self_incorporation.gate.safety_index import SafetyIndex
from aetherra.plugins.self_incorporation.incorporator import Incorporator
from aetherra.plugins.self_incorporation.integration.host_hands import HostHands
from aetherra.plugins.self_incorporation.integration.integrator import CoreIntegrator
from aetherra.plugins.self_incorporation.kept_out import KeptOut
from aetherra.plugins.self_incorporation.messages import Incorporated, Scanned, TakenOut
from aetherra.plugins.self_incorporation.school import School
from aetherra.plugins.self_incorporation.settings import SelfIncorporationSettings
from aetherra.plugins.self_incorporation.tray import Tray
from aetherra.plugins.self_incorporation.troubles import Troubles
from aetherra.plugins.self_incorporation.waiting import Waiting, WaitingList
from aetherra.plugins.storage import StateFile

__all__ = ["Intake"]

LOOK_AFTER_SEC = 30.0
"""Seconds between two looks at what was brought in."""


class Intake:
    """All that is there only with a data directory.

    Attributes:
        integrator: Does it, and knows what was done.
        incorporator: Has it done, under a permit.
        tray: Empties the incoming folders.
        aftercare: Takes out again what does not serve, or must go.
    """

    def __init__(
        self,
        ctx: PluginContext,
        *,
        assessor: Assessor,
        integrator: CoreIntegrator,
        incorporator: Incorporator,
        aftercare: Aftercare,
        quarantine: QuarantineManager,
        waiting: WaitingList,
        kept_out: KeptOut,
        troubles: Troubles,
    ) -> None:
        self._ctx = ctx
        self.integrator = integrator
        self.incorporator = incorporator
        self.aftercare = aftercare
        self.tray = Tray(ctx, incorporator, kept_out)
        self._quarantine = quarantine
        self._follow_up = FollowUp(ctx, assessor, incorporator, integrator, waiting)
        self._kept_out = kept_out
        self._troubles = troubles
        troubles.note("waiting", waiting.problem)
        troubles.note("kept out", kept_out.problem())

    @classmethod
    async def open(
        cls,
        ctx: PluginContext,
        folder: Path,
        settings: SelfIncorporationSettings,
        *,
        assessor: Assessor,
        school: School,
        troubles: Troubles,
        quarantine: QuarantineManager,
        safety: SafetyIndex,
    ) -> Self:
        """Open what is kept in a folder, and undo what an earlier run has not finished.

        Args:
            ctx: Of the plugin that it works in.
            folder: Where it is kept.
            settings: Of the plugin.
            assessor: Knows items and decisions.
            school: Says in which order.
            troubles: Told what cannot be read.
            quarantine: What came of what is in it must go,
            safety: and of what was signed by a key that was revoked since.
        """
        swapper: Swapper = ctx.privilege("kernel:swap")
        integrator = CoreIntegrator(
            HostHands(ctx, swapper, settings.trial),
            folder / "integrations",
            now=ctx.clock.time,
            log=ctx.log,
            destination=None if settings.destination is None else ctx.root / settings.destination,
        )
        await integrator.recover()
        waiting = WaitingList(StateFile(folder / "waiting.json", dict[str, Waiting]))
        kept_out = KeptOut(StateFile(folder / "taken_out.json", dict[str, str]))
        incorporator = Incorporator(ctx, assessor, integrator, school, waiting, kept_out)
        why_out = partial(_why_out, quarantine, safety)
        return cls(
            ctx,
            assessor=assessor,
            integrator=integrator,
            incorporator=incorporator,
            aftercare=Aftercare(ctx, incorporator, integrator, seconds=settings.aftercare, why_out=why_out),
            quarantine=quarantine,
            waiting=waiting,
            kept_out=kept_out,
            troubles=troubles,
        )

    # By itself

    def attend(self) -> None:
        """Begin in a task of its own, and from then on look after what came in, and hear what concerns it."""
        self._ctx.subscribe(ApprovalDecided, self._hear)
        self._ctx.subscribe(ServiceRegistered, self._meet)
        self._ctx.subscribe(Incorporated, self._notice)
        self._ctx.subscribe(Scanned, self._notice)
        self._ctx.start_soon(self._begin)
        self._ctx.every(LOOK_AFTER_SEC, self._look_after)

    async def _begin(self) -> None:
        """Bring up what was brought in earlier, and go on with what was agreed to meanwhile."""
        await self.aftercare.take_out_held()
        for brought in await self.integrator.bring_up():
            if brought.problem:
                self._ctx.log.warning(
                    "%s was brought in earlier, and does not serve: %s", brought.name, brought.problem
                )
        await self._follow_up.catch_up()

    async def _hear(self, told: ApprovalDecided) -> None:
        """Do what a person has agreed to, in a task of its own."""
        self._ctx.start_soon(self._follow_up.hear, told)

    async def _meet(self, told: ServiceRegistered) -> None:
        """Once governance serves, take out what must go, and go on with what was agreed to."""
        if told.service == "governance":
            self._ctx.start_soon(self.aftercare.take_out_held)
            self.go_on()

    async def _notice(self, _: Incorporated | Scanned) -> None:
        """Once something came in or was looked at, see whether anybody is still to be asked about the rest."""
        self.go_on()

    def go_on(self) -> None:
        """Go on with what was agreed to, in a task of its own."""
        self._ctx.start_soon(self._follow_up.catch_up)

    async def _look_after(self) -> None:
        """Take out what does not serve, and go on with what was agreed to."""
        await self.aftercare.look()
        await self._follow_up.catch_up()

    async def look_at_files(self) -> None:
        """See whether it is known what is kept out."""
        self._troubles.note("kept out", await self._ctx.run_sync(self._kept_out.problem))

    # When asked to

    async def note_word(self, item: Item, *, accept: bool) -> None:
        """Have a person's word on an item hold for the same files under any name, where nobody asks for these."""
        why = f"a person has rejected the same as {item.path}"
        known = item.known_as()
        change = partial(self._kept_out.let_in, known) if accept else partial(self._kept_out.add, known, why)
        try:
            await self._ctx.run_sync(change)
        except DataFileError as exc:
            self._ctx.log.error("what is kept out cannot be written: %s", exc)  # noqa: TRY400 - the text says it all

    def kept(self) -> list[str]:
        """Return the digests of what came in, and of what is in quarantine."""
        came_in = (one.digest for one in self.integrator.registered.values())
        return [*came_in, *(one.digest for one in self._quarantine.all(kept=True))]

    async def take_out(self, token: str, *, reason: str, sender: str) -> TakenOut:
        """Put everything back to what it was before an integration."""
        taken = await self.incorporator.take_out(token, reason=reason, sender=sender)
        self.aftercare.forget(taken.names)
        return taken

    async def take_out_held(self, digest: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Take out what must go, and return the names of what is out, and of what came of one item and is not."""
        out = await self.aftercare.take_out_held()
        return out, tuple(name for name, one in self.integrator.registered.items() if one.digest == digest)


def _why_out(quarantine: QuarantineManager, safety: SafetyIndex, digest: str) -> str:
    if quarantine.holds(digest):
        return "is in quarantine"
    return "was signed with a key that was revoked" if safety.revoked(digest) else ""
