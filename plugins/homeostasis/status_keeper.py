"""The keeper of statuses: what has a symptom is called degraded in the registry for as long as it has it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable

from aetherra.plugins import AetherraError, ServiceStatus
from aetherra.plugins.homeostasis.decision import SymptomStatus
from aetherra.plugins.homeostasis.supervisor import Service, held, worst_of

__all__ = ["StatusKeeper"]

log = logging.getLogger("aetherra.plugins.homeostasis.status_keeper")


class StatusKeeper:
    """Keeps the registry's statuses in step: what has a symptom is called degraded while it has it, by whoever looks.

    Args:
        doubt: Says why a service is in doubt, ``""`` that it is no more. A service in doubt that calls itself healthy
            is degraded; what it says of itself stays, and shows again afterwards.
    """

    def __init__(self, doubt: Callable[[str, str], Awaitable[object]]) -> None:
        self._doubt = doubt
        self._doubted: dict[str, frozenset[str]] = {}
        self._problem = ""

    async def keep(self, services: Iterable[Service], symptoms: Iterable[SymptomStatus]) -> None:
        """Bring all statuses in step with the symptoms that hold. What cannot be done is logged once, and tried again.

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
            before = self._doubted.get(name, frozenset[str]())
            if names != before or (names and status is ServiceStatus.HEALTHY):
                await self._say(name, names, "; ".join(worst_of(wanted)[1]))

    async def _say(self, service: str, names: frozenset[str], reason: str) -> None:
        try:
            await self._doubt(service, reason)
        except AetherraError as exc:
            if str(exc) != self._problem:
                log.warning("the status of service %r cannot be kept in step with its symptoms: %s", service, exc)
            self._problem = str(exc)
            return
        self._problem = ""
        if names:
            self._doubted[service] = names
        else:
            self._doubted.pop(service, None)

    async def let_go(self) -> None:
        """Take back all that was said of services, at the end."""
        for name in list(self._doubted):
            await self._say(name, frozenset(), "")
