"""Tests of the keeper of statuses: degraded while there is a symptom, its own word afterwards."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.plugins import AetherraError, ServiceStatus
from aetherra.plugins.homeostasis.decision import SymptomStatus
from aetherra.plugins.homeostasis.status_keeper import StatusKeeper

HEALTHY, DEGRADED, FAILED = ServiceStatus.HEALTHY, ServiceStatus.DEGRADED, ServiceStatus.FAILED


class AService(msgspec.Struct, frozen=True):
    """A service as the registry tells of it."""

    name: str
    plugin: str
    status: ServiceStatus = HEALTHY
    reason: str = ""
    heartbeat: float | None = None
    silent: float | None = None


class Registry:
    """A registry in which a service says how it is, and somebody else may doubt it."""

    def __init__(self, *plugins: str) -> None:
        self.said = dict.fromkeys(plugins, HEALTHY)
        self.doubts: dict[str, str] = {}
        self.told: list[tuple[str, str]] = []
        self.broken = False

    async def doubt(self, service: str, reason: str) -> None:
        if self.broken or service not in self.said:
            raise AetherraError(f"no service {service!r}")
        self.told.append((service, reason))
        self.doubts[service] = reason

    def restart(self, service: str) -> None:
        """A new generation takes the service over, of which nobody doubts anything."""
        self.doubts.pop(service, None)

    def status(self, service: str) -> ServiceStatus:
        return DEGRADED if self.said[service] is HEALTHY and self.doubts.get(service) else self.said[service]

    def services(self) -> list[AService]:
        return [AService(name, name, self.status(name)) for name in self.said]


def symptoms(*targets: str, symptom: str = "errors", since: float = 5.0) -> list[SymptomStatus]:
    """Return a symptom that holds on each target."""
    return [SymptomStatus(symptom, target, "holds", True, 0.4, since, "", ()) for target in targets]


@pytest.fixture
def registry() -> Registry:
    return Registry("a", "b")


@pytest.fixture
def keeper(registry: Registry) -> StatusKeeper:
    return StatusKeeper(registry.doubt)


async def test_a_symptom_does_not_show(registry: Registry, keeper: StatusKeeper) -> None:
    """The service is degraded while the symptom holds, and what it says of itself afterwards."""
    await keeper.keep(registry.services(), symptoms("a"))
    assert (registry.status("a"), registry.status("b")) == (DEGRADED, HEALTHY)
    assert registry.told == [("a", "errors holds for 5 s at 0.4")]
    await keeper.keep(registry.services(), [])
    assert registry.status("a") is HEALTHY
    assert registry.told[1:] == [("a", "")]


async def test_a_symptom_hides_a_failure(registry: Registry, keeper: StatusKeeper) -> None:
    """A service that says that it failed is failed, before, while and after it is in doubt."""
    registry.said["a"] = FAILED
    await keeper.keep(registry.services(), symptoms("a"))
    assert registry.status("a") is FAILED
    await keeper.keep(registry.services(), [])
    assert registry.status("a") is FAILED


async def test_the_same_is_said_each_second(registry: Registry, keeper: StatusKeeper) -> None:
    """While nothing changes but time, nothing is said; another symptom is."""
    for second in range(10):
        await keeper.keep(registry.services(), symptoms("a", since=float(second)))
    assert len(registry.told) == 1
    await keeper.keep(registry.services(), [*symptoms("a"), *symptoms("a", symptom="slow")])
    assert registry.told[-1] == ("a", "errors holds for 5 s at 0.4; slow holds for 5 s at 0.4")


async def test_a_new_generation_is_healthy(registry: Registry, keeper: StatusKeeper) -> None:
    """One that has its predecessor's symptom is called so, too."""
    await keeper.keep(registry.services(), symptoms("a"))
    registry.restart("a")
    assert registry.status("a") is HEALTHY
    await keeper.keep(registry.services(), symptoms("a"))
    assert registry.status("a") is DEGRADED


async def test_what_failed_is_forgotten(
    registry: Registry, keeper: StatusKeeper, caplog: pytest.LogCaptureFixture
) -> None:
    """What could not be said or taken back is logged once, and done as soon as it goes."""
    registry.broken = True
    for _ in range(3):
        await keeper.keep(registry.services(), symptoms("a"))
    assert [line.partition(": ")[2] for line in caplog.messages] == ["no service 'a'"]
    registry.broken = False
    await keeper.keep(registry.services(), symptoms("a"))
    assert registry.status("a") is DEGRADED
    registry.broken = True
    await keeper.keep(registry.services(), [])
    registry.broken = False
    await keeper.keep(registry.services(), [])
    assert registry.status("a") is HEALTHY


async def test_a_service_that_is_gone_is_spoken_of(registry: Registry, keeper: StatusKeeper) -> None:
    """Of a service that is no more nothing is said, and nothing remembered."""
    await keeper.keep(registry.services(), symptoms("a"))
    del registry.said["a"]
    told = list(registry.told)
    await keeper.keep(registry.services(), symptoms("a"))
    await keeper.let_go()
    assert registry.told == told


async def test_a_doubt_outlives_its_keeper(registry: Registry, keeper: StatusKeeper) -> None:
    """At the end all is taken back."""
    await keeper.keep(registry.services(), symptoms("a", "b"))
    await keeper.let_go()
    assert [registry.status(name) for name in "ab"] == [HEALTHY, HEALTHY]


STEPS = st.lists(
    st.tuples(
        st.sets(st.sampled_from(["a", "b"])), st.booleans(), st.sampled_from(["", "a", "b"]),
        st.sampled_from([HEALTHY, DEGRADED, FAILED]),
    ),
    max_size=15,
)  # fmt: skip


@given(STEPS)
async def test_they_fall_out_of_step(steps: list[tuple[set[str], bool, str, ServiceStatus]]) -> None:
    """After each look that could speak, what has a symptom is not healthy, and what has none is what it says."""
    registry = Registry("a", "b")
    keeper = StatusKeeper(registry.doubt)
    for targets, broken, restarted, said in steps:
        registry.restart(restarted)
        if restarted:
            registry.said[restarted] = said
        registry.broken = broken
        await keeper.keep(registry.services(), symptoms(*targets))
        if not broken:
            for name in "ab":
                assert (registry.status(name) is not HEALTHY) == (name in targets or registry.said[name] is not HEALTHY)
                assert name in targets or registry.status(name) is registry.said[name]
