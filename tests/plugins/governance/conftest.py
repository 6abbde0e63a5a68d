"""An office as the plugin puts it together, over a folder or in memory, with a clock that stands still."""

from __future__ import annotations

import resource
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aetherra.kernel.testing import FakeClock
from aetherra.plugins import Identity, Intent, Permission, Person, Persons
from aetherra.plugins.governance.approvals import Approvals
from aetherra.plugins.governance.clerk import Answer, Clerk, Hearing
from aetherra.plugins.governance.emergency_stop import EmergencyStop
from aetherra.plugins.governance.gatekeeper import Gatekeeper
from aetherra.plugins.governance.guards import Guards
from aetherra.plugins.governance.kept import Kept
from aetherra.plugins.governance.measures import Measures
from aetherra.plugins.governance.recollection import recollect
from aetherra.plugins.governance.scribe import Scribe
from aetherra.plugins.governance.settings import GUARDS, GovernanceSettings, Guard
from aetherra.plugins.ledger import AuditLedger
from aetherra.plugins.storage import StateFile

INC = Identity("plugin", "self_incorporation", 1)
HOMEOSTASIS = Identity("plugin", "homeostasis", 1)
ADA = Person(Identity("remote", "ada"))


def intent(kind: str = "actuator", component: str = "x", **fields: Any) -> Intent:
    """Return an intent; only what matters is said."""
    return Intent(**{"kind": kind, "component": component, "summary": f"{kind} of {component}", **fields})


@contextmanager
def room_for(size: int) -> Generator[None]:
    """Let no file of this process grow beyond a size, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@dataclass
class Office:
    """The parts of governance, as the plugin puts them together."""

    clock: FakeClock
    stop: EmergencyStop
    measures: Measures
    guards: Guards
    approvals: Approvals
    gatekeeper: Gatekeeper
    ledger: AuditLedger
    scribe: Scribe
    clerk: Clerk

    def ask(self, asker: Identity, wanted: Intent) -> Answer:
        return self.clerk.ask(asker, wanted, Hearing())

    def permission(self, asker: Identity, wanted: Intent) -> Permission:
        return self.ask(asker, wanted).permission

    def entries(self) -> list[tuple[str, str, str, str]]:
        """Return kind, actor, component and code of what stands in the ledger, but for its beginning."""
        found = [(e.kind, e.actor, e.component, e.code) for e in self.ledger.entries()]
        return [each for each in found if not each[0].startswith("audit.")]

    def close(self) -> None:
        self.ledger.close()


@pytest.fixture
def office(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., Office]:
    """Return what opens an office over ``tmp_path``; called again, it is the one of a later run."""
    shared = FakeClock()

    def opened(
        *, folder: Path | None = tmp_path / "data" / "governance", profile: str = "standard", clients: Any = (),
        clock: FakeClock | None = None, approval_kinds: Any = (), **limits: Guard,
    ) -> Office:  # fmt: skip
        clock = clock or shared
        settings = GovernanceSettings()
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        file = StateFile(None if folder is None else folder / "state.json", Kept)
        ledger = AuditLedger.open(None if folder is None else folder.parent, clock=clock.time)
        known = recollect(file, ledger)
        kept = known.kept
        stop = EmergencyStop(None if folder is None else folder / "STOP", clock.time)
        guards = Guards({name: limits.get(name, settings.guard(name)) for name in GUARDS}, clock.monotonic)
        guards.recall(kept.counted, clock.time())
        approvals = Approvals(clock.time, settings.approval_lifetime, 3, kept.approvals)
        measures = Measures(clock.time, kept.measures)
        gatekeeper = Gatekeeper(
            stop=stop,
            measures=measures,
            persons=Persons(profile, clients),
            guards=guards,
            approvals=approvals,
            time=clock.time,
            approval_kinds=approval_kinds,
        )
        scribe = Scribe(ledger, clock.monotonic)
        clerk = Clerk(
            gatekeeper=gatekeeper,
            scribe=scribe,
            approvals=approvals,
            measures=measures,
            guards=guards,
            stop=stop,
            file=file,
            time=clock.time,
            known=known,
        )
        made = Office(clock, stop, measures, guards, approvals, gatekeeper, ledger, scribe, clerk)
        clerk.begin(is_new=known.is_new)
        request.addfinalizer(made.close)
        return made

    return opened
