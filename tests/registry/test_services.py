"""The directory of services."""

from __future__ import annotations

from typing import Any, get_type_hints

import anyio
import pytest

from aetherra.kernel.testing import FakeClock
from aetherra.registry import (
    Bus,
    CallTimeoutError,
    HandlerError,
    Identity,
    Message,
    Request,
    Route,
    ServiceConflictError,
    ServiceInfo,
    ServiceNotFoundError,
    ServiceRegistered,
    ServiceRegistry,
    ServiceStatus,
    ServiceStatusChanged,
    ServiceUnregistered,
)

OLD, NEW = Identity("plugin", "greeter", 1), Identity("plugin", "greeter", 2)
RIVAL = Identity("plugin", "rival", 1)


class Greeting(Message, tag="greeter.greeting"):
    pass


class Greet(Request[Greeting], tag="greeter.greet"):
    ok: bool = True


def registry() -> ServiceRegistry:
    return ServiceRegistry(Bus(clock=FakeClock()))


def heard(services: ServiceRegistry) -> Any:
    return services.bus.subscribe("service.*")


def told(events: Any) -> list[Message]:
    return [events.mailbox.get_nowait().event for _ in range(len(events.mailbox))]


class TestRegister:
    def test_a_service_is_found_by_its_name(self) -> None:
        """The snapshot says who provides it, since when and what it answers."""
        services = registry()
        services.register("greeting", provider=OLD, version="1.2", tags=["b.b", "a.a"])

        assert services.get_service_info("greeting") == ServiceInfo(
            name="greeting",
            status=ServiceStatus.HEALTHY,
            reason="",
            plugin="greeter",
            generation=1,
            version="1.2",
            tags=("a.a", "b.b"),
            since=1_700_000_000.0,
            calls=0,
            errors=0,
        )
        assert services.get_service_info("greting") is None

    def test_services_are_listed_by_name(self) -> None:
        """The order is that of the names, not of registration."""
        services = registry()
        for name in ("b", "c", "a"):
            services.register(name)
        assert [info.name for info in services.list()] == ["a", "b", "c"]

    def test_the_annotations_of_the_class_can_be_read(self) -> None:
        """A method named ``list`` shadows nothing that its neighbours' annotations need."""
        for method in (ServiceRegistry.list, ServiceRegistry.wait_for, ServiceRegistry.register):
            assert get_type_hints(method)
        assert get_type_hints(ServiceRegistry.list)["return"] == list[ServiceInfo]

    def test_a_held_name_is_refused(self) -> None:
        """The error names both; the holder keeps it."""
        services = registry()
        services.register("greeting", provider=OLD)
        events = heard(services)
        with pytest.raises(ServiceConflictError, match=r"plugin 'rival' .*'greeting', which plugin 'greeter'"):
            services.register("greeting", provider=RIVAL)
        assert services.list()[0].plugin == "greeter"
        assert told(events) == []

    async def test_calls_and_errors_are_those_of_the_providers_routes(self) -> None:
        """A tag that another provider answers does not count."""
        services = registry()

        async def greet(request: Greet) -> Greeting:
            if not request.ok:
                raise ValueError("no")
            return Greeting()

        services.bus.add_routes([Route(Greet, greet, OLD)])
        services.register("greeting", provider=OLD, tags=["greeter.greet", "greeter.nowhere"])
        services.register("rival", provider=RIVAL, tags=["greeter.greet"])
        await services.bus.call(Greet())
        with pytest.raises(HandlerError):
            await services.bus.call(Greet(ok=False))

        assert [(info.calls, info.errors) for info in services.list()] == [(2, 1), (0, 0)]


class TestLease:
    def test_a_new_generation_takes_the_name_over_in_one_step(self) -> None:
        """Watchers hear of the new one, and never that the service was gone."""
        services = registry()
        old = services.register("greeting", provider=OLD)
        events = heard(services)
        services.register("greeting", provider=NEW, tags=["greeter.greet"], replaces=old)

        assert services.list()[0].generation == 2
        assert told(events) == [ServiceRegistered("greeting", "greeter", 2, ("greeter.greet",))]

    def test_a_stale_lease_can_change_nothing(self) -> None:
        """Neither status nor existence of what the new generation provides."""
        services = registry()
        old = services.register("greeting", provider=OLD)
        services.register("greeting", provider=NEW, replaces=old)
        events = heard(services)
        old.set_status(ServiceStatus.FAILED, "late")
        old.release()

        assert (services.list()[0].status, services.list()[0].generation) == (ServiceStatus.HEALTHY, 2)
        assert told(events) == []

    def test_a_stale_lease_gives_no_right_to_replace(self) -> None:
        """The name now belongs to another."""
        services = registry()
        old = services.register("greeting", provider=OLD)
        old.release()
        services.register("greeting", provider=RIVAL)
        with pytest.raises(ServiceConflictError):
            services.register("greeting", provider=NEW, replaces=old)

    def test_a_generation_may_rename_its_service(self) -> None:
        """The lease that is replaced ends, whatever its name was."""
        services = registry()
        old = services.register("greeting", provider=OLD)
        services.register("salutation", provider=NEW, replaces=old)
        assert [info.name for info in services.list()] == ["salutation"]

    def test_release_gives_the_name_free_once(self) -> None:
        """Releasing twice does not take the next holder's service away."""
        services = registry()
        lease = services.register("greeting", provider=OLD)
        events = heard(services)
        lease.release()
        services.register("greeting", provider=RIVAL)
        lease.release()

        assert services.list()[0].plugin == "rival"
        assert told(events) == [
            ServiceUnregistered("greeting", "greeter", 1),
            ServiceRegistered("greeting", "rival", 1, ()),
        ]

    def test_a_change_of_status_is_an_event(self) -> None:
        """Both statuses and the reason are told; the same status again is none, though its reason is kept."""
        services = registry()
        lease = services.register("greeting", provider=OLD)
        events = heard(services)
        lease.set_status(ServiceStatus.DEGRADED, "slow")
        lease.set_status(ServiceStatus.DEGRADED, "slower")

        info = services.get_service_info("greeting")
        assert info is not None
        assert (info.status, info.reason) == (ServiceStatus.DEGRADED, "slower")
        assert told(events) == [
            ServiceStatusChanged("greeting", ServiceStatus.HEALTHY, ServiceStatus.DEGRADED, "slow"),
        ]


class TestUnregister:
    def test_whoever_holds_it_the_service_is_gone(self) -> None:
        """It is told, and its lease is worth nothing."""
        services = registry()
        lease = services.register("greeting", provider=OLD)
        events = heard(services)
        services.unregister("greeting")
        lease.set_status(ServiceStatus.FAILED)

        assert services.list() == []
        assert told(events) == [ServiceUnregistered("greeting", "greeter", 1)]

    def test_an_unknown_name_has_its_neighbours_named(self) -> None:
        """The error helps whoever misspelled it."""
        services = registry()
        services.register("greeting")
        with pytest.raises(ServiceNotFoundError, match=r"no service named 'greting' .* nearest services: 'greeting'"):
            services.unregister("greting")


class TestWaitFor:
    async def test_one_that_is_there_is_returned_at_once(self) -> None:
        """Waiting for what holds already does not wait."""
        services = registry()
        services.register("greeting")
        assert (await services.wait_for("greeting")).name == "greeting"

    async def test_it_waits_until_the_status_is_reached(self) -> None:
        """Registration alone is not enough."""
        services = registry()
        found: list[ServiceInfo] = []

        async def wait() -> None:
            found.append(await services.wait_for("greeting"))

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            lease = services.register("greeting", status=ServiceStatus.STARTING)
            await anyio.wait_all_tasks_blocked()
            assert found == []
            lease.set_status(ServiceStatus.HEALTHY)
        assert found[0].status is ServiceStatus.HEALTHY

    @pytest.mark.parametrize(
        ("status", "state"), [(None, "there is no such service"), (ServiceStatus.DEGRADED, "it is degraded")]
    )
    async def test_a_timeout_says_what_it_was_instead(self, status: ServiceStatus | None, state: str) -> None:
        """The error holds the last known state."""
        services = registry()
        if status is not None:
            services.register("greeting", status=status)
        errors: list[CallTimeoutError] = []

        async def wait() -> None:
            try:
                await services.wait_for("greeting", timeout=2.0)
            except CallTimeoutError as exc:
                errors.append(exc)

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await services.bus.clock.advance(2.0)  # type: ignore[attr-defined]
        assert state in str(errors[0])


class TestHealth:
    def test_all_services_fold_into_one_report(self) -> None:
        """A failed one shows by name, with its reason."""
        services = registry()
        services.register("a")
        services.register("b").set_status(ServiceStatus.FAILED, "no disk")
        report = services.health("host")

        assert (report.component, report.status) == ("host", ServiceStatus.DEGRADED)
        assert report.reasons == ("b is failed: no disk",)


class TestDoubt:
    async def test_a_service_in_doubt_looks_well(self) -> None:
        """It is degraded for as long as somebody has a reason, and then as it says itself."""
        registry = ServiceRegistry()
        lease = registry.register("shop", provider=Identity("plugin", "shop", 1))
        with registry.bus.subscribe(ServiceStatusChanged) as changes:
            registry.doubt("shop", "its error rate is high")
            info = registry.get_service_info("shop")
            assert info is not None
            assert (info.status, info.reason) == (ServiceStatus.DEGRADED, "its error rate is high")
            registry.doubt("shop", "its error rate is very high")
            registry.doubt("shop", "")
            assert [(await anext(changes)).new for _ in range(2)] == [ServiceStatus.DEGRADED, ServiceStatus.HEALTHY]
            assert lease.status is ServiceStatus.HEALTHY

    async def test_a_doubt_hides_what_the_service_says(self) -> None:
        """A service that says itself that it has failed has failed."""
        registry = ServiceRegistry()
        lease = registry.register("shop", provider=Identity("plugin", "shop", 1))
        registry.doubt("shop", "its error rate is high")
        lease.set_status(ServiceStatus.FAILED, "no power")
        info = registry.get_service_info("shop")
        assert info is not None
        assert (info.status, info.reason) == (ServiceStatus.FAILED, "no power")

    async def test_a_new_generation_is_doubted(self) -> None:
        """A doubt ends with the lease that it was about."""
        registry = ServiceRegistry()
        old = registry.register("shop", provider=Identity("plugin", "shop", 1))
        registry.doubt("shop", "its error rate is high")
        registry.register("shop", provider=Identity("plugin", "shop", 2), replaces=old)
        info = registry.get_service_info("shop")
        assert info is not None
        assert info.status is ServiceStatus.HEALTHY

    async def test_a_service_that_is_not_there_is_doubted(self) -> None:
        """It is told."""
        with pytest.raises(ServiceNotFoundError, match="shop"):
            ServiceRegistry().doubt("shop", "no reason")
