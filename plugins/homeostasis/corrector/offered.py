"""Corrections that plugins offer by the hook ``correction_categories``: asked with care, as anybody wrote them."""

from __future__ import annotations

from collections.abc import Iterator

from aetherra.plugins import Advise, Correction, LogFacts
from aetherra.plugins.homeostasis.corrector.hands import Hands
from aetherra.plugins.homeostasis.corrector.messages import MakeOffered, OfferedDone
from aetherra.plugins.homeostasis.corrector.port import Port


class Offered(Correction):
    """A plugin's correction, named ``plugin.category``; its fix is a change, and goes by the way of all."""

    name = "offered"

    def __init__(self, plugin: str, theirs: Correction, hands: Hands) -> None:
        self.called = f"{plugin}.{theirs.name}"
        self.theirs = theirs
        self._hands = hands

    def matches(self, facts: LogFacts) -> dict[str, str] | None:
        """Return what they do, as texts."""
        subject = self.theirs.matches(facts)
        return None if subject is None else {str(key): str(value) for key, value in subject.items()}

    async def fix(self, subject: dict[str, str]) -> str:
        """Have theirs made."""
        done = await self._hands.act(MakeOffered(category=self.called, subject=subject))
        if done.advice:
            raise Advise(done.advice)
        return done.text

    async def check(self, subject: dict[str, str]) -> bool:
        """Look by theirs."""
        return bool(await self.theirs.check(dict(subject)))


def offered(port: Port, hands: Hands) -> Iterator[Offered]:
    """Yield what plugins offer now."""
    for plugin, corrections in port.hooks.call("correction_categories"):
        yield from (Offered(plugin, each, hands) for each in corrections)


async def make_offered(correction: Correction, subject: dict[str, str]) -> OfferedDone:
    """Make a correction; advice is an answer, and no failure of the request."""
    try:
        return OfferedDone(str(await correction.fix(dict(subject))))
    except Advise as advice:
        return OfferedDone("", advice.text or "a person must mend it")
