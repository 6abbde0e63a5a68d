"""What a running kernel answers: requests under ``kernel.*``, for plugins, the command line and other processes.

Those about actions and dead letters are in ``actions/messages.py``.
"""

from __future__ import annotations

from typing import Any

from aetherra.kernel.actions.tally import ActionStatistics
from aetherra.kernel.entry import PluginInfo
from aetherra.kernel.hookspecs import CyclePhase
from aetherra.kernel.knobs import KnobInfo, KnobValue
from aetherra.kernel.outcomes import LifecycleStatistics
from aetherra.kernel.retired import RetiredGeneration
from aetherra.kernel.vitals import PluginVitals
from aetherra.kernel.watchdog import LoopStatistics
from aetherra.registry import BusStatistics, HealthReport, Message, Request, ServiceInfo, ServiceStatus


class KernelStatistics(Message, tag="kernel.statistics_reply"):
    """A snapshot of everything the kernel counts.

    Attributes:
        uptime: Seconds since the start.
        bus: Calls and events.
        actions: The action queue and the dead letter queue.
        loop: The event loop.
        plugins: How many plugins are in which state.
        lifecycle: What became of plugins.
    """

    uptime: float
    bus: BusStatistics
    actions: ActionStatistics
    loop: LoopStatistics
    plugins: dict[str, int]
    lifecycle: LifecycleStatistics = LifecycleStatistics()


class GetStatistics(Request[KernelStatistics], tag="kernel.statistics"):
    """Ask for what the kernel counts; without ``detail`` without its routes, topics and types of actions.

    What is left costs next to nothing, for who asks every second.
    """

    detail: bool = True


class Health(Message, tag="kernel.health_reply"):
    """How the host is: all of it, and each part."""

    overall: HealthReport
    parts: tuple[HealthReport, ...]


class GetHealth(Request[Health], tag="kernel.health"):
    """Ask how the host is."""


class HostStatus(Message, tag="kernel.status_reply"):
    """Who this host is and how it does, in brief."""

    pid: int
    profile: str
    root: str
    data_dir: str | None
    uptime: float
    backend: str
    python: str
    health: HealthReport
    services: int
    plugins: dict[str, int]
    actions_running: int
    actions_waiting: int
    actions_done: int
    dead_letters: int
    calls: int
    call_errors: int
    calls_in_flight: int
    slow_calls: int
    refused: int
    loop_lag: float
    blocked_by: dict[str, int]


class GetStatus(Request[HostStatus], tag="kernel.status"):
    """Ask for a brief status."""


class ServiceList(Message, tag="kernel.services_reply"):
    """The services there are."""

    services: tuple[ServiceInfo, ...]


class ListServices(Request[ServiceList], tag="kernel.services"):
    """Ask which services there are."""


class ServiceDoubted(Message, tag="kernel.doubt_service_reply"):
    """What a service is shown as now."""

    status: ServiceStatus


class DoubtService(Request[ServiceDoubted], tag="kernel.doubt_service"):
    """Have a service that calls itself healthy be shown as degraded, for a reason; ``""`` ends that.

    It ends with the generation that provides the service, too.
    """

    service: str
    reason: str = ""


class PluginList(Message, tag="kernel.plugins_reply"):
    """The plugins there are."""

    plugins: tuple[PluginInfo, ...]


class ListPlugins(Request[PluginList], tag="kernel.plugins"):
    """Ask which plugins there are, failed ones too."""


class Grants(Message, tag="kernel.grants_reply"):
    """What the configuration grants.

    Attributes:
        plugin: To whom.
        grants: What; nothing to a plugin that it does not name.
        clients: The programs on the control socket that it names.
    """

    plugin: str
    grants: tuple[str, ...]
    clients: tuple[str, ...]


class GetGrants(Request[Grants], tag="kernel.grants"):
    """Ask what the configuration grants to a plugin, whether there is one of that name or not."""

    plugin: str


class RetiredList(Message, tag="kernel.retired_reply"):
    """Generations that have ended and are still in memory."""

    generations: tuple[RetiredGeneration, ...]


class ListRetired(Request[RetiredList], tag="kernel.retired"):
    """Ask which generations of a plugin, or of all, have ended and are still in memory.

    With ``why`` each is told with what keeps it; finding that out slows the host down for seconds.
    """

    plugin: str = ""
    why: bool = False


class PluginRemoved(Message, tag="kernel.plugin_removed"):
    """A plugin was stopped and forgotten."""

    plugin: str


class RemovePlugin(Request[PluginRemoved], tag="kernel.remove_plugin"):
    """Stop a plugin and forget it until the next start."""

    plugin: str


class PluginRestarted(Message, tag="kernel.plugin_restarted"):
    """A plugin's code was brought up afresh, and serves.

    ``old_generation`` served before, 0 if none did. It may still have calls in hand, which it has ``stop_timeout``
    seconds to finish.
    """

    plugin: str
    old_generation: int
    generation: int


class RestartPlugin(Request[PluginRestarted], tag="kernel.restart_plugin"):
    """Bring up a plugin's code afresh, from memory and without its state, and let it take over.

    If it does not start, what served before serves on, unless it is exclusive. One that has failed is loaded from its
    source. ``reason`` is for the log.
    """

    plugin: str
    reason: str = ""


class PluginDisabled(Message, tag="kernel.plugin_disabled"):
    """A plugin is quarantined; ``generation`` served last."""

    plugin: str
    generation: int


class DisablePlugin(Request[PluginDisabled], tag="kernel.disable_plugin"):
    """Stop a plugin, and keep it in quarantine until it is enabled, mended by a swap, or the host ends.

    Its callers get a ``ServiceQuarantinedError`` with the ``reason``. Plugins that require it are left to cope.
    """

    plugin: str
    reason: str = ""


class PluginEnabled(Message, tag="kernel.plugin_enabled"):
    """A quarantined plugin serves again."""

    plugin: str
    generation: int


class EnablePlugin(Request[PluginEnabled], tag="kernel.enable_plugin"):
    """Bring up the code of a quarantined plugin again; if it does not start, it stays quarantined."""

    plugin: str


class Vitals(Message, tag="kernel.vitals_reply"):
    """How all plugins do.

    Attributes:
        at: When this was read, in seconds of the host's ``clock.monotonic()``.
        plugins: Each plugin, by name.
    """

    at: float
    plugins: tuple[PluginVitals, ...]


class GetVitals(Request[Vitals], tag="kernel.vitals"):
    """Ask how all plugins do; cheap enough to be asked every second.

    ``since`` is the ``at`` of an earlier reply: latencies are then of the calls that ended after it.
    """

    since: float | None = None


class Footprint(Message, tag="kernel.footprint_reply"):
    """What a plugin keeps in memory.

    Attributes:
        plugin: Whose.
        bytes: How much, as far as the interpreter can tell: what C extensions hold, it does not see.
        objects: In how many objects.
        complete: Whether that is all; if not, there were more objects than are looked at, or they changed meanwhile.
    """

    plugin: str
    bytes: int
    objects: int
    complete: bool


class GetFootprint(Request[Footprint], tag="kernel.footprint"):
    """Ask how much memory is reachable from a plugin's object and the globals of its modules alone.

    Other plugins, the host's own objects, and what other modules have in their globals are not looked into.
    """

    plugin: str


class CallLimits(Message, tag="kernel.call_limits"):
    """What holds for calls and attempts that say nothing else.

    Attributes:
        default_timeout: Seconds that one may take.
    """

    default_timeout: float


class TuneCalls(Request[CallLimits], tag="kernel.tune_calls"):
    """Change what holds for calls and attempts from now on, until the next start; answered with what is then.

    ``None`` leaves it as it is. Calls in hand and actions accepted before keep what they have.
    """

    default_timeout: float | None = None


class Knobs(Message, tag="kernel.list_knobs_reply"):
    """The knobs there are, by name."""

    knobs: tuple[KnobInfo, ...]


class ListKnobs(Request[Knobs], tag="kernel.list_knobs"):
    """Ask what may be turned while the host runs: the kernel's own knobs, and those of the plugins that serve.

    One that cannot be read is listed with its ``problem``. What a plugin declares wrongly is left out, and in the log.
    """


class KnobSet(Message, tag="kernel.set_knob_reply"):
    """A knob has its value: ``after``, as it was read back. It had ``before``, which may be the same."""

    name: str
    before: KnobValue
    after: KnobValue


class SetKnob(Request[KnobSet], tag="kernel.set_knob"):
    """Set a knob until its plugin's next generation, or the next start, or somebody sets it again.

    While its plugin is being swapped this waits, and then sets it in the generation that serves. Knobs of one plugin
    are set one after the other. A write that has begun is finished, or given up when its time is over, also if the
    caller is cancelled.

    Fails with an ``UnknownKnobError``, a ``KnobRangeError``, a ``KnobChangedError``, or a ``KnobError`` where the
    plugin could not do it, took too long, or did something else.

    Attributes:
        name: Which.
        value: A number in its range, or one of its choices.
        expected: What it must be now, but for the last digits of a float (1e-9 of it), else it is left as it is;
            ``None`` sets it in any case.
        reason: For those who hear of it.
    """

    name: str
    value: KnobValue
    expected: KnobValue | None = None
    reason: str = ""


class KnobTurned(Message, tag="kernel.knob_set"):
    """A knob reads another value, as somebody has set it, well or not.

    Attributes:
        knob: Its name.
        before: What it was; ``None`` if that could not be read.
        after: What it is; ``None`` if that cannot be read.
        who: Who has set it.
        reason: Why, in their words.
        generation: Of the plugin in which it was set; 0 for the kernel's own.
    """

    knob: str
    before: KnobValue | None
    after: KnobValue | None
    who: str
    reason: str = ""
    generation: int = 0


class HostContract(Message, tag="kernel.contracts_reply"):
    """What the host promises: its messages and their JSON Schemas, as ``aetherra contract check`` compares them."""

    document: dict[str, Any]


class GetContracts(Request[HostContract], tag="kernel.contracts"):
    """Ask for the contract of the whole host."""


class StepDone(Message, tag="kernel.maintenance_step"):
    """A step of a maintenance cycle ended, well or with an error."""

    phase: CyclePhase
    plugin: str
    tag: str
    seconds: float
    error: str = ""


class CycleReport(Message, tag="kernel.maintenance_report"):
    """One maintenance cycle.

    Attributes:
        seconds: How long it took.
        steps: What was done, in order.
        idle_phases: Phases in which no plugin has a part.
        findings: The fields of all steps' replies, under their own names.
    """

    seconds: float
    steps: tuple[StepDone, ...]
    idle_phases: tuple[CyclePhase, ...]
    findings: dict[str, Any]


class Maintain(Request[CycleReport], tag="kernel.maintain"):
    """Run one maintenance cycle over the host and its project; each step has ``step_timeout`` seconds."""

    step_timeout: float = 600.0
