"""The standing of one generation: what its plugin says of itself, what its code fails in, and how both are shown."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aetherra.registry import Identity, Lease, ServiceStatus
from aetherra.registry.errors import is_signal

log = logging.getLogger("aetherra.kernel.generation")


class Standing:
    """How a generation is: as its plugin says, but no better than degraded while its code fails in something.

    Attributes:
        faults: How often its tasks, events and repeated methods failed.
        lease: Of its service, once it serves.
    """

    def __init__(self, identity: Identity) -> None:
        self.faults = 0
        self.lease: Lease | None = None
        self._identity = identity
        self._said = (ServiceStatus.HEALTHY, "")
        self._troubles: dict[str, str] = {}

    def set_status(self, status: ServiceStatus, reason: str = "") -> None:
        """Say how the service is; said before it serves, it counts from when it does.

        ``HEALTHY`` also says that earlier faults of tasks and events are over.
        """
        self._said = (status, reason)
        if status is ServiceStatus.HEALTHY:
            self._troubles.clear()
        self.show()

    def heartbeat(self) -> None:
        """Say that the service is alive; before it serves, that goes without saying."""
        if self.lease is not None:
            self.lease.heartbeat()

    def status(self) -> tuple[ServiceStatus, str]:
        """Return how it is, and why."""
        if self._said[0] is ServiceStatus.HEALTHY and self._troubles:
            return ServiceStatus.DEGRADED, self.trouble
        return self._said

    @property
    def trouble(self) -> str:
        """What its code fails in now, of tasks, events and repeated methods; ``""`` if in nothing."""
        return next(reversed(self._troubles.values()), "")

    def show(self) -> None:
        """Have the registry show it."""
        if self.lease is not None:
            self.lease.set_status(*self.status())

    def record_fault(self, what: str, fault: BaseException) -> None:
        """Count a fault, log it, and be degraded by it."""
        self.faults += 1
        log.error("%s failed in %s", self._identity, what, exc_info=fault)
        self._troubles.pop(what, None)
        self._troubles[what] = f"{what}: {fault!r}"
        self.show()

    async def contained(self, what: str, begin: Callable[[], Awaitable[Any]]) -> None:
        """Do something that the plugin does again and again: a fault degrades it until the next time goes well."""
        try:
            await begin()
        except BaseException as exc:
            if is_signal(exc):
                raise
            self.record_fault(what, exc)
        else:
            if self._troubles.pop(what, None) is not None:
                self.show()
