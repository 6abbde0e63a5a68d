"""The service registry: which services there are, who provides them, and how they are."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import anyio
import msgspec

from aetherra.registry.bus import Bus
from aetherra.registry.errors import CallTimeoutError, ServiceConflictError, ServiceNotFoundError
from aetherra.registry.health import DEAD, HealthReport, ServiceStatus, fold_health
from aetherra.registry.identity import HOST, Identity
from aetherra.registry.messages import Message

SILENCE = 300.0
"""Seconds that a service may be silent, once it has sent a heartbeat, if it names no bound of its own."""


class ServiceRegistered(Message, tag="service.registered"):
    """A service is there, or a new generation of its plugin took it over."""

    service: str
    plugin: str
    generation: int
    tags: tuple[str, ...]


class ServiceStatusChanged(Message, tag="service.status_changed"):
    """A service went from one status to another."""

    service: str
    old: ServiceStatus
    new: ServiceStatus
    reason: str = ""


class ServiceUnregistered(Message, tag="service.unregistered"):
    """A service is gone."""

    service: str
    plugin: str
    generation: int


class ServiceInfo(msgspec.Struct, frozen=True):
    """A snapshot of one service.

    Attributes:
        name: What it is found by.
        status: Its state now; ``reason`` says why if it is not healthy.
        plugin: Who provides it, ``"host"`` for the kernel's own.
        generation: Which loaded version of that plugin does.
        version: The provider's own version text.
        tags: The requests it answers.
        since: Unix time of its registration.
        calls: Calls its tags have had from this generation.
        errors: How many of them had no reply: they raised, or took too long.
        requires: Services that it needs.
        unmet: Those of them that are not there, or are failed.
        heartbeat: Seconds that it may be silent before it is degraded; ``None`` if nobody expects it to say anything.
        silent: Seconds since its last heartbeat, ``None`` if nobody expects one.
    """

    name: str
    status: ServiceStatus
    reason: str
    plugin: str
    generation: int
    version: str
    tags: tuple[str, ...]
    since: float
    calls: int
    errors: int
    requires: tuple[str, ...] = ()
    unmet: tuple[str, ...] = ()
    heartbeat: float | None = None
    silent: float | None = None

    def report(self) -> HealthReport:
        """Return how the service is, by its status alone."""
        return HealthReport(self.name, self.status, None, (self.reason,) if self.reason else ())


class Lease:
    """A service lent to its provider, until it is released or the provider's generation ends."""

    def __init__(
        self,
        registry: ServiceRegistry,
        name: str,
        provider: Identity,
        *,
        version: str,
        tags: tuple[str, ...],
        status: ServiceStatus,
        requires: tuple[str, ...],
        heartbeat: float | None,
    ) -> None:
        self.name = name
        self.provider = provider
        self.version = version
        self.tags = tags
        self.status = status
        self.reason = ""
        self.doubt = ""
        self.since = registry.bus.clock.time()
        self.requires = requires
        self.interval = heartbeat
        self.last_beat = registry.bus.clock.monotonic()
        self.is_silent = False
        self._registry = registry

    def heartbeat(self) -> None:
        """Say that the service is alive; from the first time on, or from its registration, silence degrades it.

        A service that was degraded for its silence is healthy again.
        """
        self._registry.beat(self)

    def set_status(self, status: ServiceStatus, reason: str = "") -> None:
        """Say how the service is; nothing happens once the lease is released or taken over.

        A new reason for the same status is kept, but is no event.
        """
        self._registry.change(self, status, reason)

    @property
    def shown(self) -> tuple[ServiceStatus, str]:
        """What others see: what the provider says, but that a healthy service in doubt is degraded, and why."""
        if self.doubt and self.status is ServiceStatus.HEALTHY:
            return ServiceStatus.DEGRADED, self.doubt
        return self.status, self.reason

    def release(self) -> None:
        """Give the service back; twice does no harm."""
        self._registry.end(self)


class ServiceRegistry:
    """The directory of services, on a bus that carries their messages and the registry's own events."""

    def __init__(self, bus: Bus | None = None) -> None:
        self.bus = bus or Bus()
        self._leases: dict[str, Lease] = {}
        self._changed = anyio.Event()

    def register(
        self,
        name: str,
        *,
        provider: Identity = HOST,
        version: str = "0",
        tags: Iterable[str] = (),
        status: ServiceStatus = ServiceStatus.HEALTHY,
        requires: Iterable[str] = (),
        heartbeat: float | None = None,
        replaces: Lease | None = None,
    ) -> Lease:
        """Provide a service under a name, until the returned lease is released.

        Args:
            name: What it is found by.
            provider: Who provides it.
            version: The provider's own version text.
            tags: The requests it answers.
            status: Its state from the start.
            requires: Services that it needs.
            heartbeat: Seconds that it may be silent before it is degraded; ``None`` for no such bound.
            replaces: The lease of an older generation, which ends in the same step.

        Raises:
            ServiceConflictError: Another provider holds the name.
        """
        holder = self._leases.get(name)
        if holder is not None and holder is not replaces:
            raise ServiceConflictError(name, str(holder.provider), str(provider))
        if replaces is not None and replaces.name != name:
            self.end(replaces)
        lease = Lease(
            self,
            name,
            provider,
            version=version,
            tags=tuple(sorted(tags)),
            status=status,
            requires=tuple(sorted(requires)),
            heartbeat=heartbeat,
        )
        self._leases[name] = lease
        self._tell(ServiceRegistered(name, provider.name, provider.generation, lease.tags))
        return lease

    def unregister(self, name: str) -> None:
        """Take a service away, whoever holds its lease.

        Raises:
            ServiceNotFoundError: There is none of that name.
        """
        self.end(self._lease(name))

    def get_service_info(self, name: str) -> ServiceInfo | None:
        """Return a snapshot of one service, or ``None`` if there is none of that name."""
        lease = self._leases.get(name)
        return None if lease is None else self._info(lease)

    def list(self) -> list[ServiceInfo]:
        """Return a snapshot of each service, by name."""
        return [self._info(self._leases[name]) for name in sorted(self._leases)]

    async def wait_for(
        self, name: str, *, status: ServiceStatus = ServiceStatus.HEALTHY, timeout: float | None = None
    ) -> ServiceInfo:
        """Wait until a service is there with this status, and return it.

        Raises:
            CallTimeoutError: It was not within ``timeout`` seconds (default: the bus's); says what it was instead.
        """
        seconds = self.bus.default_timeout if timeout is None else timeout
        with self.bus.clock.move_on_after(seconds):
            while (info := self.get_service_info(name)) is None or info.status is not status:
                await self._changed.wait()
            return info
        info = self.get_service_info(name)
        state = "there is no such service" if info is None else f"it is {info.status}"
        raise CallTimeoutError(name, seconds, f"{state}, waited for {status}")

    def health(self, component: str = "services") -> HealthReport:
        """Fold the statuses of all services into one report."""
        return fold_health(component, (info.report() for info in self.list()))

    def change(self, lease: Lease, status: ServiceStatus, reason: str) -> None:
        """Set a lease's status; see ``Lease.set_status``."""
        if self._leases.get(lease.name) is lease:
            old, _ = lease.shown
            lease.status, lease.reason = status, reason
            self._tell_change(lease, old)

    def doubt(self, name: str, reason: str) -> None:
        """Have a service that calls itself healthy be degraded, for a reason that somebody else sees; ``""`` ends it.

        It lasts until then, or as long as the lease. What the provider says of itself stays, and shows again.

        Raises:
            ServiceNotFoundError: There is none of that name.
        """
        lease = self._lease(name)
        old, _ = lease.shown
        lease.doubt = reason
        self._tell_change(lease, old)

    def _tell_change(self, lease: Lease, old: ServiceStatus) -> None:
        new, reason = lease.shown
        if old is not new:
            self._tell(ServiceStatusChanged(lease.name, old, new, reason))

    def beat(self, lease: Lease) -> None:
        """Note a sign of life; see ``Lease.heartbeat``."""
        lease.last_beat = self.bus.clock.monotonic()
        lease.interval = SILENCE if lease.interval is None else lease.interval
        if lease.is_silent:
            lease.is_silent = False
            self.change(lease, ServiceStatus.HEALTHY, "")

    def check_heartbeats(self) -> tuple[str, ...]:
        """Degrade each healthy service that has been silent for too long, and return their names."""
        now = self.bus.clock.monotonic()
        silent = [
            lease
            for lease in self._leases.values()
            if lease.interval is not None
            and lease.status is ServiceStatus.HEALTHY
            and now - lease.last_beat > lease.interval
        ]
        for lease in silent:
            lease.is_silent = True
            self.change(lease, ServiceStatus.DEGRADED, f"no heartbeat for {now - lease.last_beat:.0f} s")
        return tuple(lease.name for lease in silent)

    def services_of(self, plugins: Iterable[str]) -> tuple[str, ...]:
        """Return the services that these plugins provide, by name."""
        names = set(plugins)
        return tuple(sorted(lease.name for lease in self._leases.values() if lease.provider.name in names))

    def dependents(self, name: str) -> tuple[str, ...]:
        """Return the services that need this one, directly or by way of others, by name."""
        found: set[str] = set()
        ahead = [name]
        while ahead:
            needed = ahead.pop()
            users = {lease.name for lease in self._leases.values() if needed in lease.requires} - found
            found |= users
            ahead.extend(users)
        return tuple(sorted(found))

    def end(self, lease: Lease) -> None:
        """End a lease; see ``Lease.release``."""
        if self._leases.get(lease.name) is lease:
            del self._leases[lease.name]
            self._tell(ServiceUnregistered(lease.name, lease.provider.name, lease.provider.generation))

    def _lease(self, name: str) -> Lease:
        try:
            return self._leases[name]
        except KeyError:
            raise ServiceNotFoundError(name, difflib.get_close_matches(name, self._leases, n=3)) from None

    def _tell(self, event: Message) -> None:
        self._changed.set()
        self._changed = anyio.Event()
        self.bus.publish_nowait(event)

    def _info(self, lease: Lease) -> ServiceInfo:
        found = (self.bus.route(tag) for tag in lease.tags)
        routes = [route for route in found if route is not None and route.provider == lease.provider]
        status, reason = lease.shown
        return ServiceInfo(
            name=lease.name,
            status=status,
            reason=reason,
            plugin=lease.provider.name,
            generation=lease.provider.generation,
            version=lease.version,
            tags=lease.tags,
            since=lease.since,
            calls=sum(route.calls for route in routes),
            errors=sum(route.errors for route in routes),
            requires=lease.requires,
            unmet=tuple(name for name in lease.requires if not self._serves(name)),
            heartbeat=lease.interval,
            silent=None if lease.interval is None else self.bus.clock.monotonic() - lease.last_beat,
        )

    def _serves(self, name: str) -> bool:
        return name in self._leases and self._leases[name].status not in DEAD
