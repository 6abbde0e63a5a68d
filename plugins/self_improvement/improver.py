"""The improver: sends proposals to their consumer, watches what they do, and keeps or takes back."""

from __future__ import annotations

from collections.abc import Sequence

import anyio

from aetherra.plugins import AetherraError, HandlerError, KnobInfo, KnobTurned, ListKnobs, PluginContext
from aetherra.plugins.self_improvement.agreements import Agreements
from aetherra.plugins.self_improvement.book import Book
from aetherra.plugins.self_improvement.consumer import Consumer
from aetherra.plugins.self_improvement.history import MetricHistory
from aetherra.plugins.self_improvement.messages import CarryOut, ProposalReceipt, ProposalResult, TakeBack
from aetherra.plugins.self_improvement.proposals import Proposal, ProposalStateError, Round, State, Value, same_value
from aetherra.plugins.self_improvement.settings import TrialSettings
from aetherra.plugins.self_improvement.trial import Guard, Trial, Word

__all__ = ["HeldError", "Improver", "UnaskedResultError"]

PATIENCE = 120.0
"""Seconds that a proposal may take to be carried out or taken back."""
CLOCK_SEC = 5.0
"""Seconds between two looks by which the wall clock may stray from the other one without having been set."""


HOMEOSTASIS = "plugin 'homeostasis'"
"""How events name it."""
WAITING: tuple[State, ...] = ("proposed", "waiting_approval", "approved")
"""States of a proposal that has changed nothing yet."""


class HeldError(AetherraError, RuntimeError):
    """A change cannot be taken back now."""

    def __init__(self, proposal: str, why: str) -> None:
        super().__init__(proposal, why)
        self.proposal, self.why = proposal, why

    def __str__(self) -> str:
        return f"proposal {self.proposal!r} cannot be taken back now: {self.why}"


class UnaskedResultError(AetherraError, ValueError):
    """A consumer tells of something that nobody asked of it."""

    def __init__(self, proposal: str, state: str, status: str) -> None:
        super().__init__(proposal, state, status)
        self.proposal, self.state, self.status = proposal, state, status

    def __str__(self) -> str:
        return f"proposal {self.proposal!r} is {self.state!r}, and nobody waits to hear that it is {self.status!r}"


class Improver:
    """One change at a time, so that it can be told what did what.

    Args:
        ctx: Of the plugin that it works in.
        book: The proposals.
        history: Where effects are read from.
        consumer: Sets kept values once more after a start.
        agreements: What persons have agreed to.
        settings: How effects are seen.
    """

    def __init__(
        self,
        ctx: PluginContext,
        book: Book,
        history: MetricHistory,
        consumer: Consumer,
        agreements: Agreements,
        settings: TrialSettings,
    ) -> None:
        self._ctx = ctx
        self._book = book
        self._history = history
        self._consumer = consumer
        self._agreements = agreements
        self._settings = settings
        self._turn = anyio.Lock()
        self._words: dict[str, Word] = {}
        self._told: dict[str, str] = {}
        self._stood: dict[str, int] = {}
        self._calm = ctx.clock.time()
        self._ahead = ctx.clock.time() - ctx.clock.monotonic()
        self.trial: Trial | None = None

    # What is done

    async def take(self, found: Round) -> Sequence[Proposal]:
        """Take up what one look at everything came to, and return what was new; the next look carries it out."""
        async with self._turn:
            for withdrawn in found.withdrawn:
                if self._book.get(withdrawn.proposal).state in WAITING:
                    await self._book.move(withdrawn.proposal, withdrawn.state, withdrawn.reason)
            added = [await self._book.add(proposal) for proposal in found.proposals]
            await self._see_agreements()
            return added

    async def look(self) -> None:
        """See how the trial goes, begin the next one, and see that what is kept stands."""
        async with self._turn:
            await self._book.keep()
            self._see_whether_the_clock_was_set()
            if stopped := await self._agreements.stopped():
                self.disturb(stopped)
            await self._see_agreements()
            await self._conclude_what_nobody_watches()
            if self.trial is not None:
                await self._see(self.trial)
            if self.trial is None:
                await self._expire()
                await self._stand_by()
                await self._send_next()

    async def undo(self, proposal: str, why: str) -> None:
        """Take back what is on trial or kept.

        Raises:
            UnknownProposalError: There is none of that id.
            ProposalStateError: It changed nothing that could be taken back.
            HeldError: A later change of the knob stands on it, or its consumer must not take it back now.
        """
        async with self._turn:
            one = self._book.get(proposal)
            if one.state not in ("applied", "kept"):
                raise ProposalStateError(one.id, one.state, "undone")
            last = next((each for each, _ in self._book.standing() if each.knob == one.knob), one)
            if self.trial is not None and self.trial.proposal.knob == one.knob:
                last = self.trial.proposal
            if last.id != one.id:
                raise HeldError(one.id, f"{last.id} stands on it: take that back first")
            held = await self._take_back(one, Word("undone", why))
            if held and one.state == "kept":
                self._words.pop(one.id, None)
                raise HeldError(one.id, held)
            if held:
                raise HeldError(one.id, f"{held}; it will be, as soon as it may")

    async def approve(self, proposal: str, reason: str, why: str) -> Proposal:
        """Let a proposal be carried out, as soon as no other is on trial.

        The word of the person who asks counts where agreements are kept, too, and if it does not there, it does not
        here.

        Raises:
            UnknownProposalError: There is none of that id.
            ProposalStateError: Its state does not lead there.
            NotPermittedError: It cannot be agreed to now.
            AetherraError: Who keeps agreements does not take their word.
        """
        known = self._book.get(proposal)
        known.moved("approved", self._ctx.clock.time())
        await self._agreements.pass_on(known, reason, agrees=True)
        async with self._turn:
            if self._book.get(proposal).state != "approved":  # who keeps agreements may have told of it by now
                await self._book.move(proposal, "approved", why)
            await self._send_next()
        return self._book.get(proposal)

    async def hear_of_agreement(self) -> None:
        """See what a person has agreed to elsewhere, and what not."""
        async with self._turn:
            await self._see_agreements()

    async def reject(self, proposal: str, why: str) -> Proposal:
        """Have a proposal not carried out; one that is being carried out just now is on trial by then, and raises."""
        async with self._turn:
            return await self._book.move(proposal, "rejected", why)

    async def _send_next(self) -> None:
        """Send what may be carried out, the most important first, until one is on trial.

        None before the host was left alone for as long as a trial takes: what it is held against must be its usual way.
        """
        if self._ctx.clock.time() < self._calm + self._settings.settle + self._settings.after:
            return
        for proposal in self._book.open():
            if self.trial is not None:
                return
            if proposal.state in ("proposed", "approved"):
                receipt = await self._ask(CarryOut(proposal))
                if receipt is not None and receipt.status == "held":
                    self._tell_once(proposal, f"held: {receipt.reason}")

    async def _see_agreements(self) -> None:
        """Have persons asked about what waits for them, where somebody keeps that; and see what they said there."""
        for one in self._book.all("waiting_approval", "approved"):
            found = await self._agreements.look(one)
            if found.code == "denied":
                await self._book.move(one.id, "rejected", found.reason)
            elif one.state == "waiting_approval" and found.allowed and found.approval:
                await self._book.move(one.id, "approved", found.reason)
            elif one.state == "waiting_approval" and not found.approval:
                await self._agreements.why_not(self._agreements.carrying_out(one))

    def _see_whether_the_clock_was_set(self) -> None:
        """Times of points are the wall clock's: when it is set, those before and after a change do not go together."""
        ahead = self._ctx.clock.time() - self._ctx.clock.monotonic()
        if abs(ahead - self._ahead) > CLOCK_SEC:
            self.disturb(f"the clock was set by {ahead - self._ahead:+.0f} s")
        self._ahead = ahead

    async def _see(self, trial: Trial) -> None:
        word = self._words.get(trial.proposal.id)
        if word is None:
            await self._see_that_it_still_is_so(trial)
            now = self._ctx.clock.time()
            word = await self._ctx.run_sync(trial.judge, self._points, now)
        if word is None:
            return
        if word.state == "kept":
            self.trial = None
            await self._book.move(trial.proposal.id, "kept", word.reason, outcome=word.effect)
        else:
            await self._take_back(trial.proposal, word)

    async def _see_that_it_still_is_so(self, trial: Trial) -> None:
        """See that the knob has the value that is on trial: a restart of its plugin takes it away without a word."""
        knob = next((knob for knob in await self._knobs() if knob.name == trial.proposal.knob), None)
        if knob is None:
            self.disturb(f"{trial.proposal.knob} has gone")
        elif knob.generation != (trial.generation or knob.generation):
            self.disturb(f"plugin {knob.plugin!r} was started anew")
        elif knob.value is not None and not same_value(knob.value, trial.proposal.after):
            self.disturb(f"{knob.name} has become {knob.value}")
        else:
            trial.generation = knob.generation

    async def _take_back(self, proposal: Proposal, word: Word) -> str:
        """Have a change taken back; return why not yet, ``""`` if it is. The trial goes on, and asks again."""
        self._words[proposal.id] = word
        receipt = await self._ask(TakeBack(self._book.get(proposal.id), word.reason))
        held = "its consumer does not answer" if receipt is None else receipt.reason if receipt.status == "held" else ""
        if held:
            self._tell_once(proposal, f"cannot be taken back now: {held}")
        return held

    async def _ask(self, request: CarryOut | TakeBack) -> ProposalReceipt | None:
        try:
            return await self._ctx.call(request, timeout=PATIENCE)
        except AetherraError as exc:
            self._tell_once(request.proposal, f"its consumer does not answer: {exc}")
            return None

    def _tell_once(self, proposal: Proposal, what: str) -> None:
        if self._told.get(proposal.id) != what:
            self._told[proposal.id] = what
            self._ctx.log.info("proposal %s %s", proposal.id, what)

    def _points(self, metric: str, since: float, until: float) -> list[tuple[float, float]]:
        return self._history.points(metric, since, until)

    # What it hears

    def waits_for(self, proposal: str) -> bool:
        """Whether it has asked for a change to be taken back."""
        return proposal in self._words

    async def take_result(self, result: ProposalResult) -> Proposal:
        """Hear what became of a proposal at its consumer; one in a state that does not lead there raises."""
        proposal = self._book.get(result.proposal_id)
        if result.status == "applied":
            return await self._applied(proposal, result)
        if proposal.state in WAITING:
            state: State = "superseded" if result.status == "superseded" else "failed"
            if result.status == "refused" and proposal.is_due(self._ctx.clock.time()):
                state = "expired"
            return await self._book.move(proposal.id, state, result.reason)
        return await self._taken_back(proposal, result)

    async def _applied(self, proposal: Proposal, result: ProposalResult) -> Proposal:
        now, beside = self._ctx.clock.time(), self.trial
        if beside is None:
            self.trial = self._trial(proposal, now, self._calm)
        try:
            moved = await self._book.move(proposal.id, "applied", result.reason or f"{proposal.knob} is {result.value}")
        except BaseException:
            self.trial = beside
            raise
        if beside is not None:
            beside.disturb(f"{moved.id} was carried out")
        self._calm = now
        return moved

    async def _taken_back(self, proposal: Proposal, result: ProposalResult) -> Proposal:
        word = self._words.pop(proposal.id, None)
        if word is None:
            raise UnaskedResultError(proposal.id, proposal.state, result.status)
        self._calm = self._ctx.clock.time()
        if self.trial is not None and self.trial.proposal.id == proposal.id:
            self.trial = None
        if result.status == "undone" or (result.status == "superseded" and _is(result.value, proposal.before)):
            state: State = word.state if proposal.state == "applied" else "undone"
            return await self._book.move(proposal.id, state, word.reason, outcome=word.effect)
        state = "superseded" if result.status == "superseded" else "failed"
        reason = f"{word.reason}; it could not be taken back: {result.reason}"
        return await self._book.move(proposal.id, state, reason, outcome=word.effect)

    async def turned(self, event: KnobTurned) -> None:
        """Hear that somebody turned a knob: what another one sets is theirs from then on."""
        if _but_generation(event.who) == _but_generation(str(self._ctx.identity)):
            return
        self.disturb(f"{event.who} set {event.knob} to {event.after}")
        if _but_generation(event.who) == HOMEOSTASIS:
            return  # it corrects for a while, and takes that back
        for proposal, _ in list(self._book.standing()):
            if proposal.knob == event.knob and not _is(event.after, proposal.after):
                await self._give_up(proposal.knob, f"{event.who} has set {event.knob} to {event.after}")

    def disturb(self, what: str) -> None:
        """Hear that something else changed the host."""
        self._calm = self._ctx.clock.time()
        if self.trial is not None:
            self.trial.disturb(what)

    # Across starts and swaps

    def go_on(self, proposal: str, begun: float, calm: float) -> None:
        """Go on with the trial of the generation before."""
        self.trial = self._trial(self._book.get(proposal), begun, calm)

    def _trial(self, proposal: Proposal, begun: float, calm: float) -> Trial:
        guards = [Guard(metric, good) for metric, good in self._settings.guards.items()]
        return Trial(proposal, begun, calm, self._settings, guards)

    async def _conclude_what_nobody_watches(self) -> None:
        """Take back what was on trial when an earlier run ended, or was carried out beside another trial."""
        left = [one for one in self._book.all("applied") if self.trial is None or self.trial.proposal.id != one.id]
        if not left:
            return
        values = {knob.name: knob.value for knob in await self._knobs()}
        for one in left:
            why = "nobody can say what it did, as it was not watched to the end"
            if _is(values.get(one.knob), one.after):
                await self._take_back(one, Word("inconclusive", why))
            elif not await self._consumer.why_not(one.knob):
                await self._book.move(one.id, "inconclusive", f"{why}; {one.knob} is {values.get(one.knob)}")

    async def _expire(self) -> None:
        now = self._ctx.clock.time()
        for one in self._book.open():
            if one.is_due(now):
                await self._book.move(one.id, "expired", "nobody carried it out in time")

    async def _stand_by(self) -> None:
        """Set kept values once more, in each generation of their knob's plugin once, where it is what it was at first.

        Who turns the knob after that has a reason of their own.
        """
        standing = list(self._book.standing())
        if not standing:
            return
        knobs = {knob.name: knob for knob in await self._knobs()}
        for proposal, original in standing:
            knob = knobs.get(proposal.knob)
            if knob is None or knob.value is None or self._stood.get(knob.name) == knob.generation:
                continue
            if same_value(knob.value, original) and not await self._set_again(proposal, original):
                continue
            if not (same_value(knob.value, original) or same_value(knob.value, proposal.after)):
                if await self._consumer.why_not(knob.name):
                    continue
                await self._give_up(knob.name, f"{knob.name} is {knob.value} now, which is neither of its values")
            self._stood[knob.name] = knob.generation

    async def _set_again(self, proposal: Proposal, original: Value) -> bool:
        try:
            return await self._consumer.stand_by(proposal, original)
        except HandlerError as exc:
            self._tell_once(proposal, f"is kept and could not be set once more: {exc.__cause__ or exc}")
            return False

    async def _give_up(self, knob: str, why: str) -> None:
        for one in self._book.all("kept"):
            if one.knob == knob:
                await self._book.move(one.id, "superseded", why)

    async def _knobs(self) -> tuple[KnobInfo, ...]:
        return (await self._ctx.call(ListKnobs(), timeout=PATIENCE)).knobs


def _but_generation(who: str) -> str:
    """Return who that is, whichever generation: what an earlier one of ours has done is ours."""
    return who.partition(" (generation ")[0]


def _is(value: Value | None, wanted: Value) -> bool:
    return value is not None and same_value(value, wanted)
