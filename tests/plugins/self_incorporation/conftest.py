"""A house: a real tree, index, gate, integrator and lists, and a host that answers as a test says."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import cache
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest

from aetherra.kernel import PluginInfo, permits
from aetherra.kernel.messages import ListPlugins, PluginList
from aetherra.kernel.testing import FakeClock
from aetherra.plugins import (
    AskPermission,
    CheckPermission,
    GetGrants,
    Grants,
    Identity,
    Intent,
    NoHandlerError,
    OutcomeRecorded,
    Permission,
    Permit,
    TellOutcome,
)
from aetherra.plugins.governance.approvals import Approval
from aetherra.plugins.governance.messages import ApprovalList, Decided, ListApprovals, Withdraw
from aetherra.plugins.self_incorporation.assessor import Assessor, GrantBook
from aetherra.plugins.self_incorporation.followup import FollowUp
from aetherra.plugins.self_incorporation.gate.policy import PolicySettings
from aetherra.plugins.self_incorporation.gate.quarantine import QuarantineManager
from aetherra.plugins.self_incorporation.gate.safety_index import SafetyIndex
from aetherra.plugins.self_incorporation.gate.security_gate import SecurityGate
from aetherra.plugins.self_incorporation.incorporator import Incorporator
from aetherra.plugins.self_incorporation.index.code_index import CodeIndex
from aetherra.plugins.self_incorporation.index.scanner import Scanner
from aetherra.plugins.self_incorporation.integration import integrator
from aetherra.plugins.self_incorporation.integration.integrator import CoreIntegrator
from aetherra.plugins.self_incorporation.kept_out import KeptOut
from aetherra.plugins.self_incorporation.night.store import NightStore
from aetherra.plugins.self_incorporation.places import Places
from aetherra.plugins.self_incorporation.school import School
from aetherra.plugins.self_incorporation.stock import Stock
from aetherra.plugins.self_incorporation.tray import Tray
from aetherra.plugins.self_incorporation.turn import Turn
from aetherra.plugins.self_incorporation.waiting import Waiting, WaitingList
from aetherra.plugins.storage import StateFile
from tests.plugins.self_incorporation.integration.conftest import FakeHands

YES = Permission(allowed=True, code="allowed", reason="", entry=1)
NAME = "self_incorporation"


class Host:
    """What a plugin's context is to these parts; governance says what a test put down, else yes."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.name = NAME
        self.identity = Identity("plugin", NAME, 1)
        self.log = logging.getLogger("tests.self_incorporation")
        self.says: Callable[[Intent, bool], Permission] = lambda _intent, _peek: YES
        self.before: Callable[[Intent], Awaitable[None]] | None = None
        self.asked: list[Intent] = []
        self.told: list[TellOutcome] = []
        self.published: list[Any] = []
        self.approvals: tuple[Approval, ...] | None = ()
        self.withdrawn: dict[str, str] = {}
        self.serving: list[str] = []
        self.grants: dict[str, tuple[str, ...]] = {}

    async def run_sync(self, function: Callable[..., Any], *args: Any) -> Any:
        return await anyio.to_thread.run_sync(function, *args)

    async def publish(self, event: Any) -> None:
        self.published.append(event)

    async def call(self, request: Any, *, timeout: float = 0.0) -> Any:
        match request:
            case AskPermission(intent=intent, peek=peek):
                if not peek:
                    self.asked.append(intent)
                    if self.before is not None:
                        await self.before(intent)
                return self.says(intent, peek)
            case CheckPermission():
                return YES
            case TellOutcome():
                self.told.append(request)
                return OutcomeRecorded(1)
            case ListPlugins():
                return PluginList(tuple(_serving(name) for name in self.serving))
            case GetGrants(plugin=plugin):
                return Grants(plugin, self.grants.get(plugin, ()), ())
            case ListApprovals() if self.approvals is not None:
                return ApprovalList(self.approvals)
            case Withdraw():
                self.withdrawn[request.approval] = request.reason
                return Decided(approval("", "void", id=request.approval))
            case _:
                raise NoHandlerError(type(request).__name__)

    def permitted(self, intent: Intent) -> AbstractAsyncContextManager[Permit]:
        return permits.permitted(self, intent, "standard")  # type: ignore[arg-type]

    async def peek_permission(self, intent: Intent) -> Permission:
        return await permits.peek(self, intent, "standard")  # type: ignore[arg-type]


def _serving(name: str) -> PluginInfo:
    return PluginInfo(name, "serving", 1, "", "1", "", (), (), 0, "")


def refusing(code: str, reason: str = "not now", approval: str = "") -> Callable[[Intent, bool], Permission]:
    """Return a governance that says no, for one reason."""
    return lambda _intent, _peek: Permission(allowed=False, code=code, reason=reason, approval=approval)  # type: ignore[arg-type]


class House:
    """All parts from the index to the tray, over one folder; ``restart`` makes them anew, as the next run does."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "project"
        self.incoming = self.root / "incoming"
        self.incoming.mkdir(parents=True)
        self.state = folder / "state"
        self.state.mkdir()
        self.host = Host()
        self.hands = FakeHands()
        self.index = CodeIndex(":memory:")
        self.safety = SafetyIndex(":memory:")
        self.scanner = Scanner(self.index, clock=time.perf_counter)
        self.quarantine = QuarantineManager(self.state / "quarantine", clock=lambda: 1.0)
        self.nights = NightStore(None, lambda: 1.0, lambda _: None)
        self.begin()

    def begin(self) -> None:
        ctx: Any = self.host
        self.stock = Stock(self.index)
        self.places = Places(self.root, ["."], ["incoming"])
        book = GrantBook(ctx)
        gate = SecurityGate(PolicySettings(), self.safety, grants=book, quarantine=self.quarantine)
        self.assessor = Assessor(ctx, self.stock, gate, book, self.places)
        self.school = School(self.nights, self.scanner, Turn(ctx), self.index.file, self.host.log)
        self.integrator = CoreIntegrator(self.hands, self.state / "integrations", now=lambda: 5.0, log=self.host.log)
        self.waiting = WaitingList(StateFile(self.state / "waiting.json", dict[str, Waiting]))
        self.kept_out = KeptOut(StateFile(self.state / "taken_out.json", dict[str, str]))
        self.incorporator = Incorporator(ctx, self.assessor, self.integrator, self.school, self.waiting, self.kept_out)
        self.follow_up = FollowUp(ctx, self.assessor, self.incorporator, self.integrator, self.waiting)
        self.tray = Tray(ctx, self.incorporator, self.kept_out)

    async def restart(self) -> None:
        self.begin()
        await self.integrator.recover()

    def put(self, files: dict[str, str]) -> None:
        """Write files below the project, and scan."""
        for name, text in files.items():
            place = self.root / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        self.scan()

    def scan(self) -> None:
        self.scanner.scan(self.root, now=time.time() + 60)


_INSTALLED = cache(integrator.installed)
"""What is installed does not change while tests run, and takes long to read."""


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a house that has recovered."""
    monkeypatch.setattr(integrator, "installed", _INSTALLED)
    found = House(tmp_path)
    await found.integrator.recover()
    yield found
    found.nights.close()
    found.safety.close()
    found.index.close()


def closed_to(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of the system that says no to paths with some part, as to who may not enter a folder."""

    def guarded(path: Any, *args: Any, **named: Any) -> Any:
        if part in str(path):
            raise PermissionError(13, "Permission denied", path)
        return function(path, *args, **named)

    return guarded


def plugin_text(name: str) -> str:
    """Return the source of a plugin that does nothing but be there."""
    return f'from aetherra.plugins import Plugin\n\n\nclass It(Plugin):\n    name = "{name}"\n    version = "1"\n'


def approval(digest: str, state: str, *, id: str = "a1", sender: str = "") -> Approval:
    """Return an approval of an integration."""
    return Approval(
        id=id,
        state=state,  # type: ignore[arg-type]
        kind="integration",
        component="it",
        digest=digest,
        summary="bring it in",
        asker=NAME,
        sender=sender,
        why="it is so",
        asked_at=0.0,
        expires_at=100.0,
    )
