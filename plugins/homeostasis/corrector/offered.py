"""Corrections that plugins offer by the hook ``correction_categories``: asked with care, as anybody wrote them."""

from __future__ import annotations

from aetherra.plugins import Advise, Correction, LogFacts
from aetherra.plugins.homeostasis.corrector.hands import Hands
from aetherra.plugins.homeostasis.corrector.messages import MakeOffered, OfferedDone
from aetherra.plugins.homeostasis.corrector.port import Port

MOST = 50
"""Offers that cannot be used and are told of."""


class Offered(Correction):
    """A plugin's correction, named ``plugin.category``; its fix is a change, and goes by the way of all."""

    name = "offered"

    def __init__(self, plugin: str, theirs: Correction, hands: Hands) -> None:
        name: object = getattr(theirs, "name", None)
        if not isinstance(name, str) or not name.isidentifier():
            raise TypeError(f"expected its name in snake_case, got {name!r}")
        self.called = f"{plugin}.{name}"
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


class Offers:
    """What plugins offer; what cannot be used is left out, and said once of each plugin and reason."""

    def __init__(self, port: Port, hands: Hands) -> None:
        self._port = port
        self._hands = hands
        self._said: dict[tuple[str, str], None] = {}

    def now(self) -> list[Offered]:
        """Return what they offer now; who raises or offers something else is left out by the host."""
        found: list[Offered] = []
        for plugin, corrections in self._port.hooks.call("correction_categories"):
            for theirs in corrections:
                try:
                    found.append(Offered(plugin, theirs, self._hands))
                except Exception as exc:  # noqa: BLE001  # the others are none the worse
                    self._leave_out(plugin, f"{type(theirs).__qualname__}: {exc}")
        return found

    def _leave_out(self, plugin: str, why: str) -> None:
        if (plugin, why) not in self._said and len(self._said) < MOST:
            self._said[plugin, why] = None
            self._port.log.warning("a correction of plugin %r is left out: %s", plugin, why)

    async def make(self, request: MakeOffered) -> OfferedDone:
        """Make a correction; advice is an answer, and no failure of the request.

        Raises:
            LookupError: None is offered by that name now.
        """
        theirs = next((each.theirs for each in self.now() if each.called == request.category), None)
        if theirs is None:
            raise LookupError(f"no plugin offers the correction {request.category!r} now")
        try:
            return OfferedDone(str(await theirs.fix(dict(request.subject))))
        except Advise as advice:
            return OfferedDone("", advice.text or "a person must mend it")
