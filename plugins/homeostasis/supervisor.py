"""The supervisor: how each component and the whole host are, and why not better."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Protocol

import msgspec

from aetherra.plugins import HealthReport, ServiceStatus, fold_health
from aetherra.plugins.homeostasis.decision import SymptomStatus
from aetherra.plugins.homeostasis.health import Setpoint, health_score

__all__ = ["Assessment", "Component", "Service", "Supervisor", "held", "worst_of"]

SYMPTOMS = "symptoms"
"""The component that symptoms lower which are no plugin's."""
PLUGIN_WEIGHT = 0.5
"""A plugin that is as bad as can be leaves 0.6 of the host's health or so: it cannot condemn the host alone."""
WITH_SYMPTOM = 0.5
GIVEN_UP = 0.25
"""At most the health of what has a symptom, and of what has one against which nothing helped."""


class Service(Protocol):
    """What is known of a service, as the registry tells."""

    @property
    def name(self) -> str:
        """What it is found by."""
        ...

    @property
    def plugin(self) -> str:
        """Who provides it."""
        ...

    @property
    def status(self) -> ServiceStatus:
        """What it is called now."""
        ...

    @property
    def reason(self) -> str:
        """Why."""
        ...

    @property
    def heartbeat(self) -> float | None:
        """Seconds that it may be silent; ``None`` if nobody expects it to say anything."""
        ...

    @property
    def silent(self) -> float | None:
        """Seconds for which it is."""
        ...


class Component(msgspec.Struct, frozen=True):
    """How one part of the host is.

    Attributes:
        name: A service, the first word of its metrics, or ``symptoms``.
        plugin: Whose it is; ``""``: the host's.
        score: 0 (useless) to 1 (well); ``None`` if nobody knows.
        loss: Its part of what the host's health lacks.
        reasons: What lowers its score, most first.
    """

    name: str
    plugin: str
    score: float | None
    loss: float
    reasons: tuple[str, ...]


class Assessment(msgspec.Struct, frozen=True):
    """How the host is.

    Attributes:
        overall: 0 to 1; ``None`` if nobody knows.
        coverage: Share of the components, by weight, of which anything is known.
        reasons: What lowers it, most first.
        components: All of them, the one that costs the host most first.
        ready: Whether no service is starting any more.
    """

    overall: float | None
    coverage: float
    reasons: tuple[str, ...]
    components: tuple[Component, ...]
    ready: bool


class Supervisor:
    """Judges the components, by what is measured, what services say, and which symptoms hold.

    The host's health loses most by its worst component and a little by all others, as ``health_score`` says.

    Args:
        setpoints: What is wanted of metrics; those of one first word make one component.
        weights: How much a component counts, by name, in place of its setpoints' weight, or ``PLUGIN_WEIGHT``; the
            kernel counts 1.
    """

    def __init__(self, setpoints: Mapping[str, Setpoint], weights: Mapping[str, float] | None = None) -> None:
        self._weights = {"kernel": 1.0, **(weights or {})}
        self._parts: defaultdict[str, dict[str, Setpoint]] = defaultdict(dict)
        for metric, setpoint in setpoints.items():
            self._parts[metric.partition(".")[0]][metric] = setpoint

    def assess(
        self,
        services: Iterable[Service],
        readings: Mapping[str, float | None],
        symptoms: Iterable[SymptomStatus] = (),
        reports: Iterable[HealthReport] = (),
    ) -> Assessment:
        """Return how the host is.

        Args:
            services: All there are.
            readings: What was measured, by metric.
            symptoms: As the controller tells; one whose target is a plugin or a service is that one's.
            reports: What plugins say by the ``health`` hook; for a service it counts in place of its status.
        """
        services = list(services)
        holding = held(symptoms, services)
        said = {report.component: report for report in reports}
        found = [self._by_metrics(name, part, readings) for name, part in self._parts.items()]
        found += [
            _of_service(service, said.pop(service.name, None), holding.pop(service.name, [])) for service in services
        ]
        found += [_of_report(report) for report in said.values()]
        if others := [status for statuses in holding.values() for status in statuses]:
            score, reasons = worst_of(others)
            found.append(Component(SYMPTOMS, "", score, 0.0, reasons))
        return self._fold(found, ready=not any(service.status is ServiceStatus.STARTING for service in services))

    def _by_metrics(self, name: str, part: Mapping[str, Setpoint], readings: Mapping[str, float | None]) -> Component:
        health = health_score(readings, part)
        reasons = tuple(reason.sentence for reason in health.reasons)
        return Component(name, "", health.score, 0.0, reasons or (() if health.known else ("nobody knows",)))

    def _fold(self, components: Sequence[Component], *, ready: bool) -> Assessment:
        by_name: dict[str, Component] = {}
        for component in components:  # the host's own first: nobody speaks for them
            name = component.name if component.name not in by_name else f"service.{component.name}"
            by_name[name] = msgspec.structs.replace(component, name=name)
        wanted = {name: _whole(self._weight(component)) for name, component in by_name.items()}
        health = health_score({name: component.score for name, component in by_name.items()}, wanted)
        losses = {reason.metric: reason.loss for reason in health.reasons}
        told = [msgspec.structs.replace(component, loss=losses.get(name, 0.0)) for name, component in by_name.items()]
        told.sort(key=lambda component: (-component.loss, component.score is not None, component.name))
        reasons = tuple(
            f"{component.name} ({component.score:.2f}): {'; '.join(component.reasons[:3])}"
            for component in told
            if component.loss > 0 and component.score is not None
        )
        return Assessment(health.score, health.coverage, reasons, tuple(told), ready)

    def _weight(self, component: Component) -> float:
        if component.name in self._weights:
            return self._weights[component.name]
        if component.plugin or component.name not in self._parts:
            return PLUGIN_WEIGHT
        return max(setpoint.weight for setpoint in self._parts[component.name].values())


@cache
def _whole(weight: float) -> Setpoint:
    """Return what is wanted of a component's own score."""
    return Setpoint(1.0, 0.0, weight)


def held(symptoms: Iterable[SymptomStatus], services: Iterable[Service]) -> dict[str, list[SymptomStatus]]:
    """Return the symptoms that hold, by the service whose they are; ``""`` for those of none.

    A target is a service's name, or a plugin's, which means all its services.
    """
    of_plugin: defaultdict[str, list[str]] = defaultdict(list)
    names: set[str] = set()
    for service in services:
        of_plugin[service.plugin].append(service.name)
        names.add(service.name)
    found: defaultdict[str, list[SymptomStatus]] = defaultdict(list)
    for status in symptoms:
        if status.phase in ("holds", "settling", "given_up"):
            for name in of_plugin.get(status.target) or [status.target if status.target in names else ""]:
                found[name].append(status)
    return dict(found)


def _of_service(service: Service, report: HealthReport | None, symptoms: list[SymptomStatus]) -> Component:
    owner = "" if service.plugin == "host" else service.plugin
    if report is None and service.status is ServiceStatus.HEALTHY and service.silent is None and not symptoms:
        return Component(service.name, owner, 1.0, 0.0, ())
    said = report or HealthReport(service.name, service.status, None, (service.reason,) if service.reason else ())
    component = _of_report(said)
    score, reasons = component.score, component.reasons
    if service.silent is not None and service.heartbeat is not None and service.silent > service.heartbeat:
        score = min(1.0 if score is None else score, WITH_SYMPTOM)
        reasons = (*reasons, f"no heartbeat for {service.silent:.0f} s, one is due every {service.heartbeat:g} s")
    if symptoms:
        limit, why = worst_of(symptoms)
        score = min(1.0 if score is None else score, limit)
        reasons = (*why, *reasons)
    return Component(service.name, owner, score, 0.0, reasons)


def _of_report(report: HealthReport) -> Component:
    score = fold_health(report.component, [report]).score
    lacks = score is not None and score < 1
    return Component(report.component, "", score, 0.0, (f"it is {report.status}", *report.reasons) if lacks else ())


def worst_of(symptoms: Sequence[SymptomStatus]) -> tuple[float, tuple[str, ...]]:
    """Return the health that symptoms leave at most, and what they are."""
    given_up = any(status.phase == "given_up" for status in symptoms)
    return GIVEN_UP if given_up else WITH_SYMPTOM, tuple(_sentence(status) for status in symptoms)


def _sentence(status: SymptomStatus) -> str:
    state = {"holds": "holds", "settling": "is being treated", "given_up": "could not be helped"}.get(status.phase, "")
    value = "" if status.value is None else f" at {status.value:.4g}"
    return f"{status.symptom} {state} for {status.since:.0f} s{value}"
