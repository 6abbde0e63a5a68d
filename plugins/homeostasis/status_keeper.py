"""The keeper of statuses: what has a symptom is called degraded in the registry for as long as it has it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

import msgspec

from aetherra.plugins import AetherraError, ServiceStatus
from aetherra.plugins.homeostasis.decision import SymptomStatus
from aetherra.plugins.homeostasis.supervisor import Service, held, worst_of

__all__ = ["KeeperStatistics", "StatusKeeper"]


class KeeperStatistics(msgspec.Struct, frozen=True):
    """A snapshot.

    Attributes:
        degraded: Services that are called degraded for a symptom, and why.
        set: How often one was.
        withdrawn: How often that was taken back.
        failed: How often either could not be done; it is tried again.
        problem: Why, the last time.
    """

    degraded: dict[str, str]
    set: int
    withdrawn: int
    failed: int
    problem: str


class StatusKeeper:
    """Keeps the registry's statuses in step: what has a symptom is called degraded while it has it, by whoever looks.

    Args:
        doubt: Says why a service is in doubt, ``""`` that it is no more. A service in doubt that calls itself healthy
            is degraded; what it says of itself stays, and shows again afterwards.
    """

    def __init__(self, doubt: Callable[[str, str], Awaitable[object]]) -> None:
        self._doubt = doubt
        self._doubted: dict[str, tuple[frozenset[str], str]] = {}
        self._set = self._withdrawn = self._failed = 0
        self._problem = ""

    async def keep(self, services: Iterable[Service], symptoms: Iterable[SymptomStatus]) -> None:
        """Bring all statuses in step with the symptoms that hold. What cannot be done is counted, and tried next time.

        A service that is healthy though it is in doubt is told again: it is of a new generation.
        """
        services = list(services)
        holding = held(symptoms, services)
        statuses = {service.name: service.status for service in services}
        for name in [name for name in self._doubted if name not in statuses]:
            del self._doubted[name]
        for name, status in statuses.items():
            wanted = holding.get(name, [])
            names = frozenset(symptom.symptom for symptom in wanted)
            before, _ = self._doubted.get(name, (frozenset[str](), ""))
            if names != before or (names and status is ServiceStatus.HEALTHY):
                await self._say(name, names, "; ".join(worst_of(wanted)[1]))

    async def _say(self, service: str, names: frozenset[str], reason: str) -> None:
        try:
            await self._doubt(service, reason)
        except AetherraError as exc:
            self._failed += 1
            self._problem = str(exc)
            return
        if names:
            self._doubted[service] = (names, reason)
            self._set += 1
        else:
            self._doubted.pop(service, None)
            self._withdrawn += 1

    async def let_go(self) -> None:
        """Take back all that was said of services, at the end."""
        for name in list(self._doubted):
            await self._say(name, frozenset(), "")

    def statistics(self) -> KeeperStatistics:
        """Return a snapshot."""
        degraded = {name: reason for name, (_, reason) in sorted(self._doubted.items())}
        return KeeperStatistics(degraded, self._set, self._withdrawn, self._failed, self._problem)
