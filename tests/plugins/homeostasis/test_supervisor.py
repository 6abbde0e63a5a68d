"""Tests of the supervisor: one bad part shows, nobody speaks for the host, and unknown is not well."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.plugins import HealthReport, ServiceStatus
from aetherra.plugins.homeostasis.decision import SymptomStatus
from aetherra.plugins.homeostasis.health import DEFAULT_SETPOINTS, Setpoint
from aetherra.plugins.homeostasis.supervisor import Assessment, Component, Supervisor, held
from aetherra.registry import Identity, ServiceRegistry

SETPOINTS = {"loop.lag": Setpoint(0.0, 1.0), "queue.depth": Setpoint(0.0, 10.0), "queue.age": Setpoint(0.0, 10.0)}
WELL = {"loop.lag": 0.0, "queue.depth": 0.0, "queue.age": 0.0}


class AService(msgspec.Struct, frozen=True):
    """A service as the registry tells of it."""

    name: str = "greeter_service"
    plugin: str = "greeter"
    status: ServiceStatus = ServiceStatus.HEALTHY
    reason: str = ""
    heartbeat: float | None = None
    silent: float | None = None


def a_symptom(target: str = "greeter", phase: Any = "holds", symptom: str = "errors") -> SymptomStatus:
    """Return the status of a symptom."""
    return SymptomStatus(symptom, target, phase, known=True, value=0.4, since=12.0, waits_for="", tried=())


def of(assessment: Assessment, name: str) -> Component:
    """Return a component of an assessment."""
    return next(component for component in assessment.components if component.name == name)


@pytest.fixture
def supervisor() -> Supervisor:
    return Supervisor(SETPOINTS)


class TestComponents:
    def test_a_host_that_is_well_has_reasons(self, supervisor: Supervisor) -> None:
        """All is 1, and nothing is said."""
        found = supervisor.assess([AService()], WELL)
        assert (found.overall, found.coverage, found.reasons, found.ready) == (1.0, 1.0, (), True)
        assert [(part.name, part.score, part.reasons) for part in found.components] == [
            ("greeter_service", 1.0, ()), ("loop", 1.0, ()), ("queue", 1.0, ()),
        ]  # fmt: skip

    def test_metrics_are_not_folded_by_part(self, supervisor: Supervisor) -> None:
        """Metrics of one first word are one component, which says what lowers it; it leads, and lowers the whole."""
        found = supervisor.assess([], {**WELL, "queue.depth": 5.0})
        assert found.components[0].name == "queue"
        assert found.components[0].score == pytest.approx(1 - 0.7 * 0.5 - 0.3 * 0.25)
        assert found.reasons == ("queue (0.57): queue.depth is 5, wanted at most 0 (bad above 10)",)
        assert found.overall is not None
        assert found.overall < 0.7

    @pytest.mark.parametrize(
        ("status", "score"),
        [("healthy", 1.0), ("starting", 0.75), ("degraded", 0.5), ("failed", 0.0), ("quarantined", 0.0)],
    )
    def test_a_status_is_worth_something_else(self, supervisor: Supervisor, status: str, score: float) -> None:
        """A service is as well as its status says, and says why."""
        found = supervisor.assess([AService(status=ServiceStatus(status), reason="boom")], WELL)
        part = of(found, "greeter_service")
        assert (part.score, part.plugin) == (score, "greeter")
        assert part.reasons == (() if score == 1.0 else (f"it is {status}", "boom"))

    def test_a_service_that_starts_is_ready(self, supervisor: Supervisor) -> None:
        """While one starts, the host is not ready."""
        assert supervisor.assess([AService(status=ServiceStatus.STARTING)], WELL).ready is False

    def test_a_silent_service_is_well(self, supervisor: Supervisor) -> None:
        """One that is silent for longer than it may be counts as degraded, before anybody calls it so."""
        silent = AService(heartbeat=30.0, silent=31.0)
        part = of(supervisor.assess([silent], WELL), "greeter_service")
        assert (part.score, part.reasons) == (0.5, ("no heartbeat for 31 s, one is due every 30 s",))
        assert of(supervisor.assess([AService(heartbeat=30.0, silent=29.0)], WELL), "greeter_service").score == 1.0

    def test_a_plugins_own_word_does_not_count(self, supervisor: Supervisor) -> None:
        """What it says by its hook counts in place of its status; parts of its own are there as well."""
        reports = [
            HealthReport("greeter_service", ServiceStatus.DEGRADED, 0.8, ("half the phrases",)),
            HealthReport("greeter_cache", ServiceStatus.FAILED, None, ("cold",)),
        ]
        found = supervisor.assess([AService()], WELL, reports=reports)
        assert of(found, "greeter_service").score == 0.8
        assert of(found, "greeter_cache").reasons == ("it is failed", "cold")

    def test_a_plugin_speaks_for_the_host(self, supervisor: Supervisor) -> None:
        """A service or a part that is called like a part of the host does not hide that."""
        reports = [HealthReport("loop", ServiceStatus.HEALTHY, 1.0)]
        found = supervisor.assess([AService(name="queue")], {"loop.lag": 1.0, "queue.depth": 10.0}, reports=reports)
        assert of(found, "loop").score == 0.0
        assert of(found, "queue").score == 0.0
        assert of(found, "service.queue").score == 1.0

    @pytest.mark.parametrize("score", [float("nan"), -1.0])
    def test_a_score_that_is_none_counts(self, supervisor: Supervisor, score: float) -> None:
        """A score that is no number, or below 0, is 0."""
        found = supervisor.assess([], WELL, reports=[HealthReport("part", ServiceStatus.DEGRADED, score)])
        assert of(found, "part").score == 0.0
        assert found.overall is not None


class TestSymptoms:
    @pytest.mark.parametrize(
        ("phase", "score"), [("holds", 0.5), ("settling", 0.5), ("given_up", 0.25), ("suspected", 1.0), ("well", 1.0)]
    )
    def test_a_symptom_lowers_nothing(self, supervisor: Supervisor, phase: str, score: float) -> None:
        """What has a symptom is no better than degraded, and less if nothing helped; a suspicion is none."""
        found = supervisor.assess([AService()], WELL, [a_symptom(phase=phase)])
        assert of(found, "greeter_service").score == score

    def test_a_symptom_is_not_named(self, supervisor: Supervisor) -> None:
        """The reasons say which symptom, for how long, and what is read."""
        found = supervisor.assess([AService()], WELL, [a_symptom()])
        assert found.reasons == ("greeter_service (0.50): errors holds for 12 s at 0.4",)

    def test_a_symptom_makes_it_better(self, supervisor: Supervisor) -> None:
        """A failed service with a symptom is as failed as without."""
        found = supervisor.assess([AService(status=ServiceStatus.FAILED)], WELL, [a_symptom()])
        assert of(found, "greeter_service").score == 0.0

    def test_a_symptom_of_nobody_is_lost(self, supervisor: Supervisor) -> None:
        """One that is no plugin's lowers a component of its own."""
        found = supervisor.assess([AService()], WELL, [a_symptom(target="", symptom="overload"), a_symptom("lane")])
        assert of(found, "greeter_service").score == 1.0
        assert len(of(found, "symptoms").reasons) == 2

    def test_targets_are_taken_for_others(self) -> None:
        """A target is a plugin, with all its services, or a service by name."""
        services = [AService("a", "one"), AService("b", "one"), AService("c", "two")]
        symptoms = [a_symptom("one"), a_symptom("c", symptom="slow"), a_symptom("x")]
        found = held(symptoms, services)
        assert {name: [one.symptom for one in those] for name, those in found.items()} == {
            "a": ["errors"], "b": ["errors"], "c": ["slow"], "": ["errors"],
        }  # fmt: skip


class TestOverall:
    def test_unknown_is_well(self, supervisor: Supervisor) -> None:
        """What nobody knows is left out and lowers the coverage; of nothing nothing is known."""
        found = supervisor.assess([], {"loop.lag": 0.0})
        assert (found.overall, found.coverage) == (1.0, 0.5)
        assert of(found, "queue").score is None
        assert of(found, "queue").reasons == ("nobody knows",)
        assert supervisor.assess([], {}).overall is None

    def test_one_plugin_condemns_the_host(self, supervisor: Supervisor) -> None:
        """A failed plugin among ten costs a third; a failed kernel nearly all."""
        fine = [AService(f"s{number}", f"p{number}") for number in range(9)]
        failed = supervisor.assess([*fine, AService(status=ServiceStatus.FAILED)], WELL).overall
        kernel = supervisor.assess([*fine, AService("kernel", "host", ServiceStatus.FAILED)], WELL).overall
        assert failed is not None
        assert kernel is not None
        assert 0.6 < failed < 0.66
        assert kernel < 0.3

    def test_weights_count_for_nothing(self) -> None:
        """A component counts as the settings say."""
        supervisor = Supervisor(SETPOINTS, {"greeter_service": 1.0})
        found = supervisor.assess([AService(status=ServiceStatus.FAILED)], WELL)
        assert found.overall is not None
        assert found.overall < 0.3

    async def test_the_registrys_own_services_do_not_fit(self) -> None:
        """What the registry tells of services can be judged as it is, with the setpoints that are built in."""
        registry = ServiceRegistry()
        lease = registry.register("greeter", provider=Identity("plugin", "greeter", 1), heartbeat=5.0)
        lease.set_status(ServiceStatus.DEGRADED, "tired")
        found = Supervisor(DEFAULT_SETPOINTS).assess(registry.list(), {"loop.lag": 0.0})
        assert of(found, "greeter").reasons == ("it is degraded", "tired")


PHASES = st.sampled_from(["well", "suspected", "holds", "settling", "given_up"])
SERVICES = st.lists(
    st.builds(AService, st.sampled_from("abcd"), st.sampled_from("pqr"), st.sampled_from(ServiceStatus)),
    max_size=6, unique_by=lambda service: service.name,
)  # fmt: skip
READINGS = st.dictionaries(st.sampled_from(list(WELL)), st.one_of(st.none(), st.floats(0, 20)))
SYMPTOMS = st.lists(st.builds(a_symptom, st.sampled_from(["p", "q", "a", "z", ""]), PHASES), max_size=4)


@given(SERVICES, READINGS, SYMPTOMS)
def test_an_assessment_contradicts_itself(
    services: list[AService], readings: dict[str, float | None], symptoms: list[SymptomStatus]
) -> None:
    """Whatever there is, scores lie in 0 to 1, losses add up to what lacks, and each loss has a reason."""
    found = Supervisor(SETPOINTS).assess(services, readings, symptoms)
    known = [part for part in found.components if part.score is not None]
    assert all(0 <= part.score <= 1 for part in known if part.score is not None)
    assert (found.overall is None) == (not known)
    if found.overall is not None:
        assert sum(part.loss for part in found.components) == pytest.approx(1 - found.overall)
        assert (found.overall < 1) == bool(found.reasons)
    assert all(part.reasons for part in found.components if part.score is None or part.score < 1)
    assert {part.name for part in found.components} >= {service.name for service in services}


@given(SERVICES, st.fixed_dictionaries({name: st.floats(0, 20) for name in WELL}), SYMPTOMS)
def test_a_symptom_heals(services: list[AService], readings: dict[str, float], symptoms: list[SymptomStatus]) -> None:
    """No component is better for a symptom, nor is the host for one of a service."""
    supervisor = Supervisor(SETPOINTS)
    without, found = supervisor.assess(services, readings), supervisor.assess(services, readings, symptoms)
    for part in without.components:
        score = of(found, part.name).score
        assert score is not None
        assert part.score is not None
        assert score <= part.score
    if not any(part.name == "symptoms" for part in found.components):
        assert found.overall is not None
        assert without.overall is not None
        assert found.overall <= without.overall + 1e-9
