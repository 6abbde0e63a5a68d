"""The kernel as a service: answers ``kernel.*`` by asking its parts."""

from __future__ import annotations

import logging
import os
import platform
from collections import Counter
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from functools import partial
from itertools import accumulate
from typing import Any

import anyio
import anyio.to_thread
import msgspec

from aetherra.kernel import messages as m
from aetherra.kernel.actions.messages import (
    DeadLetters,
    GetActions,
    ListDeadLetters,
    ParkDeadLetters,
    Parked,
    Purged,
    PurgeDeadLetters,
    RedriveDeadLetter,
    RedriveDeadLetters,
    TuneActions,
    UnparkDeadLetters,
    Unparked,
)
from aetherra.kernel.actions.queue import ActionQueue
from aetherra.kernel.actions.redrive import Redriven, Redriver, RedriveReport
from aetherra.kernel.actions.tally import ActionStatistics
from aetherra.kernel.config import Config
from aetherra.kernel.footprint import footprint_of
from aetherra.kernel.host import HookCaller
from aetherra.kernel.knob_board import KnobBoard
from aetherra.kernel.lifecycle import Lifecycle
from aetherra.kernel.maintenance import run_cycle
from aetherra.kernel.manager import PluginManager
from aetherra.kernel.own_knobs import own_knobs
from aetherra.kernel.vitals import VitalSigns
from aetherra.kernel.watchdog import Watchdog
from aetherra.registry import HOST, Call, Request, Route, ServiceRegistry, ServiceStatus, current_call, fold_health

log = logging.getLogger("aetherra.kernel.service")
SERVICE_NAME = "kernel"
HEARTBEAT_CHECK = 15.0
"""Seconds between two looks at who has fallen silent."""
REPLY_BYTES = 4 * 2**20
"""What dead letters may amount to in one reply, which a client's protocol bounds as well."""


class KernelService:
    """Handlers of the kernel's own requests."""

    def __init__(
        self,
        *,
        config: Config,
        registry: ServiceRegistry,
        actions: ActionQueue,
        hooks: HookCaller,
        plugins: PluginManager,
        lifecycle: Lifecycle,
        redriver: Redriver,
        watchdog: Watchdog,
    ) -> None:
        self._config = config
        self._registry = registry
        self._actions = actions
        self._hooks = hooks
        self._plugins = plugins
        self._lifecycle = lifecycle
        self._redriver = redriver
        self._watchdog = watchdog
        self._vitals = VitalSigns(registry, plugins.entries, lambda: watchdog.statistics().held)
        self._knobs = KnobBoard(registry.bus, hooks, plugins, own_knobs(config.kernel, actions, registry.bus))
        self._begun = registry.bus.clock.monotonic()

    @contextmanager
    def serving(self) -> Generator[None]:
        """Answer while the body runs."""
        handlers: list[tuple[type[Request[Any]], Callable[[Any], Awaitable[Any]]]] = [
            (m.GetStatistics, self._on_statistics),
            (m.GetHealth, self._on_health),
            (m.GetStatus, self._on_status),
            (m.ListServices, self._on_services),
            (m.DoubtService, self._on_doubt_service),
            (m.ListPlugins, self._on_plugins),
            (m.GetGrants, self._on_grants),
            (m.ListRetired, self._on_retired),
            (m.RemovePlugin, self._on_remove_plugin),
            (m.RestartPlugin, self._on_restart_plugin),
            (m.DisablePlugin, self._on_disable_plugin),
            (m.EnablePlugin, self._on_enable_plugin),
            (m.GetVitals, self._on_vitals),
            (m.GetFootprint, self._on_footprint),
            (GetActions, self._on_actions),
            (TuneActions, self._on_tune_actions),
            (m.TuneCalls, self._on_tune_calls),
            (m.ListKnobs, self._on_list_knobs),
            (m.SetKnob, self._on_set_knob),
            (ListDeadLetters, self._on_dead_letters),
            (RedriveDeadLetter, self._on_redrive),
            (RedriveDeadLetters, self._on_redrive_where),
            (PurgeDeadLetters, self._on_purge),
            (ParkDeadLetters, self._on_park),
            (UnparkDeadLetters, self._on_unpark),
            (m.GetContracts, self._on_contracts),
            (m.Maintain, self._on_maintain),
        ]
        routes = [Route(request_type, answer, HOST) for request_type, answer in handlers]
        self._registry.bus.add_routes(routes)
        self._lease = lease = self._registry.register(SERVICE_NAME, tags=[route.tag for route in routes])
        try:
            yield
        finally:
            lease.release()
            self._registry.bus.remove_routes(routes)

    def say_stopping(self) -> None:
        """Have all who look see that the host stops."""
        self._lease.set_status(ServiceStatus.STOPPING, "the host stops")

    async def check_heartbeats(self) -> None:
        """Degrade services that have fallen silent, until cancelled."""
        while True:
            await self._registry.bus.clock.sleep(HEARTBEAT_CHECK)
            for name in self._registry.check_heartbeats():
                log.warning("service %r is degraded: it has sent no heartbeat", name)

    def statistics(self, *, detail: bool = True) -> m.KernelStatistics:
        """Return a snapshot of all that is counted; see ``GetStatistics``."""
        return m.KernelStatistics(
            uptime=self._registry.bus.clock.monotonic() - self._begun,
            bus=self._registry.bus.statistics(detail=detail),
            actions=self._actions.statistics(detail=detail),
            loop=self._watchdog.statistics(),
            plugins=dict(Counter(entry.state for entry in self._plugins.entries())),
            lifecycle=self._plugins.outcomes.statistics(),
        )

    def health(self) -> m.Health:
        """Fold the services' statuses, and what plugins say by the ``health`` hook in place of their own.

        A plugin may also report on parts that are no service; for the service of another it cannot speak.
        """
        services = {info.name: info for info in self._registry.list()}
        reports = {name: info.report() for name, info in services.items()}
        for plugin, report in self._hooks.call("health"):
            if report.component not in services or services[report.component].plugin == plugin:
                reports[report.component] = report
        parts = tuple(reports[name] for name in sorted(reports))
        return m.Health(fold_health("host", parts), parts)

    async def _on_statistics(self, request: m.GetStatistics) -> m.KernelStatistics:
        return self.statistics(detail=request.detail)

    async def _on_health(self, _: m.GetHealth) -> m.Health:
        return self.health()

    async def _on_status(self, _: m.GetStatus) -> m.HostStatus:
        numbers = self.statistics()
        data_dir = self._config.data_dir
        return m.HostStatus(
            pid=os.getpid(),
            profile=self._config.profile,
            root=str(self._config.root),
            data_dir=None if data_dir is None else str(data_dir),
            uptime=numbers.uptime,
            backend=anyio.get_cancelled_exc_class().__module__.partition(".")[0],
            python=platform.python_version(),
            health=self.health().overall,
            services=len(self._registry.list()),
            plugins=numbers.plugins,
            actions_running=numbers.actions.running,
            actions_waiting=numbers.actions.waiting + sum(lane.depth for lane in numbers.actions.lanes.values()),
            actions_done=numbers.actions.done,
            dead_letters=numbers.actions.dlq.depth,
            calls=numbers.bus.calls,
            call_errors=numbers.bus.call_errors,
            calls_in_flight=sum(route.in_hand for route in numbers.bus.routes),
            slow_calls=numbers.bus.slow,
            refused=numbers.bus.refused,
            loop_lag=numbers.loop.lag,
            blocked_by=numbers.loop.blocked,
        )

    async def _on_services(self, _: m.ListServices) -> m.ServiceList:
        return m.ServiceList(tuple(self._registry.list()))

    async def _on_doubt_service(self, request: m.DoubtService) -> m.ServiceDoubted:
        self._registry.doubt(request.service, request.reason)
        info = self._registry.get_service_info(request.service)
        assert info is not None
        return m.ServiceDoubted(info.status)

    async def _on_plugins(self, _: m.ListPlugins) -> m.PluginList:
        return m.PluginList(tuple(self._plugins.plugins()))

    async def _on_grants(self, request: m.GetGrants) -> m.Grants:
        named = self._config.plugins.get(request.plugin)
        clients = tuple(name for name in self._config.kernel.clients if name != "*")
        return m.Grants(request.plugin, () if named is None else named.grants, clients)

    async def _on_retired(self, request: m.ListRetired) -> m.RetiredList:
        alive = partial(self._plugins.retired.alive, request.plugin, why=request.why)
        return m.RetiredList(tuple(await anyio.to_thread.run_sync(alive) if request.why else alive()))

    async def _on_remove_plugin(self, request: m.RemovePlugin) -> m.PluginRemoved:
        await self._plugins.remove(request.plugin)
        return m.PluginRemoved(request.plugin)

    async def _on_restart_plugin(self, request: m.RestartPlugin) -> m.PluginRestarted:
        return await self._lifecycle.restart(request.plugin, request.reason)

    async def _on_disable_plugin(self, request: m.DisablePlugin) -> m.PluginDisabled:
        return await self._lifecycle.disable(request.plugin, request.reason)

    async def _on_enable_plugin(self, request: m.EnablePlugin) -> m.PluginEnabled:
        return await self._lifecycle.enable(request.plugin)

    async def _on_vitals(self, request: m.GetVitals) -> m.Vitals:
        return m.Vitals(*self._vitals.read(request.since))

    async def _on_footprint(self, request: m.GetFootprint) -> m.Footprint:
        weight = await footprint_of(request.plugin, self._plugins)
        return m.Footprint(request.plugin, weight.bytes, weight.objects, weight.complete)

    async def _on_actions(self, _: GetActions) -> ActionStatistics:
        return self._actions.statistics()

    async def _on_tune_actions(self, request: TuneActions) -> ActionStatistics:
        with self._knobs.turned_by_hand(_call(), "kernel.tune_actions"):
            self._actions.tune(workers=request.workers, lanes=request.lanes)
        return self._actions.statistics()

    async def _on_tune_calls(self, request: m.TuneCalls) -> m.CallLimits:
        bus = self._registry.bus
        if request.default_timeout is not None:
            with self._knobs.turned_by_hand(_call(), "kernel.tune_calls"):
                bus.set_default_timeout(request.default_timeout)
        return m.CallLimits(bus.default_timeout)

    async def _on_list_knobs(self, _: m.ListKnobs) -> m.Knobs:
        return m.Knobs(self._knobs.snapshot())

    async def _on_set_knob(self, request: m.SetKnob) -> m.KnobSet:
        return await self._knobs.set(request, _call())

    async def _on_dead_letters(self, request: ListDeadLetters) -> DeadLetters:
        return await anyio.to_thread.run_sync(self._read_letters, request)

    def _read_letters(self, request: ListDeadLetters) -> DeadLetters:
        dlq = self._actions.dlq
        if request.trace_id is not None:
            return DeadLetters((dlq.find(request.trace_id, parked=request.parked),))
        letters = dlq.items(
            limit=request.limit,
            reason=request.reason,
            action_type=request.action_type,
            since=request.since,
            before=request.before,
            parked=request.parked,
        )
        sizes = accumulate(len(msgspec.json.encode(letter)) for letter in letters)
        fitting = max(1, sum(size <= REPLY_BYTES for size in sizes))
        return DeadLetters(
            letters=tuple(letters[:fitting]),
            cut=fitting < len(letters),
            unreadable=dlq.statistics().unreadable,
            aside=str(dlq.aside or ""),
        )

    async def _on_redrive(self, request: RedriveDeadLetter) -> Redriven:
        handle = await self._redriver.redrive(request.trace_id)
        return Redriven(request.trace_id, handle.trace_id)

    async def _on_redrive_where(self, request: RedriveDeadLetters) -> RedriveReport:
        return await self._redriver.redrive_where(**msgspec.structs.asdict(request))

    async def _on_purge(self, request: PurgeDeadLetters) -> Purged:
        remove = partial(self._actions.dlq.remove, **msgspec.structs.asdict(request))
        return Purged(await anyio.to_thread.run_sync(remove))

    async def _on_park(self, request: ParkDeadLetters) -> Parked:
        park = partial(self._actions.dlq.park, **msgspec.structs.asdict(request))
        return Parked(await anyio.to_thread.run_sync(park))

    async def _on_unpark(self, request: UnparkDeadLetters) -> Unparked:
        unpark = partial(self._actions.dlq.unpark, **msgspec.structs.asdict(request))
        return Unparked(await anyio.to_thread.run_sync(unpark))

    async def _on_contracts(self, _: m.GetContracts) -> m.HostContract:
        from aetherra.kernel.contracts import host_contract  # noqa: PLC0415  # for who asks, not at the host's start

        routes = self._registry.bus.routes()
        plugins = [code for entry in self._plugins.entries() if (code := entry.code()) is not None]
        return m.HostContract(await anyio.to_thread.run_sync(host_contract, routes, plugins))

    async def _on_maintain(self, request: m.Maintain) -> m.CycleReport:
        return await run_cycle(self._registry.bus, self._hooks, step_timeout=request.step_timeout)


def _call() -> Call:
    """Return the call that is handled now."""
    call = current_call()
    assert call is not None
    return call
