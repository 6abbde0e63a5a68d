"""The hands on a real host: new plugins come and go by the kernel's privilege, new code of old ones by hot swap."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import anyio
import anyio.lowlevel
import msgspec

from aetherra.plugins import (
    AetherraError,
    GetVitals,
    HandlerError,
    ListPlugins,
    Message,
    PluginContext,
    PluginVitals,
    Request,
    ServiceStatus,
)
from aetherra.plugins.self_incorporation.integration.errors import ActionRefusedError, IntegrationError
from aetherra.plugins.self_incorporation.integration.hands import Write
from aetherra.plugins.self_incorporation.integration.probation import (
    Calls,
    Terms,
    Trial,
    calls_needed,
    fails_too_often,
)
from aetherra.plugins.self_incorporation.integration.workflows import request_of
from aetherra.plugins.self_incorporation.integration.world import Present

__all__ = ["CAPABILITIES", "HostHands", "Loaded", "Snapshot", "Swapping"]

CAPABILITIES = ("call:hmr.*", "call:kernel.plugins", "call:kernel.vitals")
"""What the plugin whose context this is given has to be granted."""
SWAP_SEC = 120.0
"""Seconds that hot swap has for one thing: an import, calls in hand, a start."""
ACTION_SEC = 300.0
"""Seconds after which an action of a workflow is not worth doing."""
NOWHERE = "nowhere"
"""Source of a plugin that the configuration names and nobody has: its name is free."""
TURNS = 20
"""Turns of the event loop in which a call comes to wait for the plugin's turn."""


class Quantiles(msgspec.Struct, frozen=True):
    """Of the times of calls, in seconds."""

    p50: float | None = None
    p95: float | None = None


class Fared(msgspec.Struct, frozen=True):
    """How the calls of one side went, with the fields that are read."""

    calls: int
    refused: int
    errors: int
    in_hand: int
    latency: Quantiles


class SideFared(msgspec.Struct, frozen=True):
    """One side of a canary, with the fields that are read."""

    generation: int
    total: Fared


class CanaryTold(Message, tag="hmr.canary_status"):
    """A canary, with the fields that are read."""

    control: SideFared
    candidate: SideFared


class CodeSwapped(Message, tag="hmr.swapped"):
    """New code serves, with the fields that are read."""

    generation: int


class BeginCanary(Request[CanaryTold], tag="hmr.canary"):
    """Have the code on disk answer a share of a plugin's calls."""

    plugin: str
    share: float


class AskCanary(Request[CanaryTold], tag="hmr.get_canary"):
    """Ask how a canary goes."""

    plugin: str


class PromoteCanary(Request[CodeSwapped], tag="hmr.promote"):
    """Have a candidate serve alone."""

    plugin: str


class AbortCanary(Request[CanaryTold], tag="hmr.abort"):
    """Have the old code serve alone."""

    plugin: str


class ReloadCode(Request[CodeSwapped], tag="hmr.reload"):
    """Swap in the code on disk."""

    plugin: str
    force: bool = False


class Snapshot(Protocol):
    """The files that code was read from."""

    @property
    def files(self) -> Mapping[Path, bytes]:
        """What each of them held, by its path."""
        ...


class Loaded(Protocol):
    """Code that serves."""

    @property
    def code(self) -> Snapshot | None:
        """What it was made of, if it was read from files."""
        ...

    @property
    def origin(self) -> object:
        """What it has in common with the same code brought up afresh, and with no other."""
        ...


class Swapping(Protocol):
    """What is used of the kernel's privilege ``kernel:swap``."""

    def turn(self, plugin: str) -> AbstractAsyncContextManager[None]:
        """Be the only one who changes what serves for a plugin."""
        ...

    def states(self) -> dict[str, str]:
        """Return the state of each plugin."""
        ...

    def is_wanted(self, plugin: str) -> bool:
        """Whether a plugin of this name may be added."""
        ...

    async def add(self, plugin: str, path: Path, settings: Mapping[str, Any] | None = None) -> None:
        """Bring up the plugin in a file or package."""
        ...

    async def remove(self, plugin: str) -> None:
        """Stop a plugin and forget it."""
        ...

    def current(self, plugin: str) -> Loaded | None:
        """Return the code that serves."""
        ...


class HostHands:
    """Does to a host what integrations ask for; see ``Hands``.

    Args:
        ctx: Of the plugin that integrates; it needs the grants in ``CAPABILITIES``, and those of what workflows do.
        swapping: ``ctx.privilege("kernel:swap")``.
        terms: What new code has to show.
    """

    def __init__(self, ctx: PluginContext, swapping: Swapping, terms: Terms | None = None) -> None:
        self._ctx = ctx
        self._swapping = swapping
        self._terms = terms or Terms()
        self._earlier: dict[str, object] = {}
        self._on_trial: set[str] = set()

    async def plugins(self) -> Mapping[str, Present]:
        """Return the plugins there are."""
        found = await self._ctx.call(ListPlugins())
        return {info.name: Present.of(info) for info in found.plugins if info.source != NOWHERE}

    # New plugins

    async def load(self, name: str, path: Path, settings: Mapping[str, Any]) -> None:
        """Bring up a plugin that is not there."""
        if not self._swapping.is_wanted(name):
            taken = name in self._swapping.states()
            problem = f"there is a plugin {name!r} already" if taken else f"the configuration turns {name!r} off"
            raise IntegrationError(name, problem)
        await self._swapping.add(name, path, settings or None)

    async def prove(self, name: str, check: Callable[[], Awaitable[None]]) -> None:
        """Watch a plugin in its first time: it serves, is well, and does not fail what it is asked."""
        origin, clock = self._origin(name), self._ctx.clock
        begun = await self._vitals(name)
        end = clock.monotonic() + self._terms.first_time
        while clock.monotonic() < end:
            await clock.sleep(min(self._terms.look, end - clock.monotonic()))
            await check()
            if self._origin(name) is not origin:
                raise IntegrationError(name, "its code was changed back, or by somebody, in its first time")
            if problem := _complaint(begun, await self._vitals(name), self._terms):
                raise IntegrationError(name, problem)

    async def unload(self, name: str) -> None:
        """Stop a plugin and forget it."""
        if self._swapping.states().get(name) in (None, "stopped"):
            return
        others = sorted(other.name for other in (await self.plugins()).values() if name in other.requires)
        if others:
            raise IntegrationError(name, f"plugin {others[0]!r} needs it; remove that first")
        await self._swapping.remove(name)

    # New code of old plugins

    async def replace(self, name: str, write: Write, check: Callable[[], Awaitable[None]]) -> str:
        """Swap new code in: by a canary if there are calls enough to judge it by, else watched by itself."""
        if name not in self._swapping.states():
            raise IntegrationError(name, f"there is no plugin {name!r} to swap; roll its integration back")
        self._earlier[name] = self._origin(name)
        rate = await self._rate(name)
        if rate * self._terms.seconds >= calls_needed(self._terms):
            self._on_trial.add(name)  # until it is known to be over: this may be cancelled at any moment
            told = await self._queued(name, BeginCanary(name, self._terms.share), write)
            if isinstance(told, CanaryTold):
                return await self._judge(name, told, check)
            self._on_trial.discard(name)
            if not _is_no_case_for_a_canary(told):
                raise told
            write = _nothing
        swapped = await self._queued(name, ReloadCode(name), write)
        if isinstance(swapped, AetherraError):
            raise swapped
        await self.prove(name, check)
        return f"was swapped, with {rate:.3g} calls a second too few for a canary, and did well by itself"

    async def _judge(self, name: str, told: CanaryTold, check: Callable[[], Awaitable[None]]) -> str:
        """Promote a canary's candidate if it is as good as its control; else abort it."""
        terms, clock = self._terms, self._ctx.clock
        trial, end, control = Trial(terms), clock.monotonic() + terms.seconds, told.control.generation
        try:
            if self._origin(name) is not self._earlier[name]:
                raise IntegrationError(
                    name, "its files were swapped in by somebody before it could be tried beside them"
                )
            while True:
                await clock.sleep(terms.look)
                await check()
                told = await self._ctx.call(AskCanary(name), timeout=SWAP_SEC)
                if told.control.generation != control:
                    raise IntegrationError(name, "what it was tried beside was replaced meanwhile")
                verdict = trial.look(_calls(told.control.total), _calls(told.candidate.total))
                if verdict == "PASS":
                    break
                if verdict == "FAIL" or clock.monotonic() >= end:
                    late = f" after {terms.seconds:g} s" if verdict == "INCONCLUSIVE" else ""
                    raise IntegrationError(name, f"its canary was not let through{late}: {trial.reason}")
            await self._ctx.call(PromoteCanary(name), timeout=SWAP_SEC)
            self._on_trial.discard(name)
        except BaseException:
            with anyio.CancelScope(shield=True):  # bounded by the call's own time
                await self._abort(name)
            raise
        return f"was let through by its canary: {trial.reason}"

    async def _abort(self, name: str) -> None:
        self._on_trial.discard(name)
        try:
            await self._ctx.call(AbortCanary(name), timeout=SWAP_SEC)
        except AetherraError as exc:
            self._ctx.log.info("the canary of %s is over: %s", name, exc)

    async def put_back(self, name: str, path: Path, write: Write, settings: Mapping[str, Any]) -> None:
        """Have earlier code serve again; what serves it already is left alone."""
        earlier = self._earlier.pop(name, None)
        if name in self._on_trial:
            await self._abort(name)
        if name not in self._swapping.states():
            await write()
            await self.load(name, path, settings)
            return
        if earlier is not None and earlier is self._origin(name):
            await write()
            if earlier is self._origin(name):
                return
            write = _nothing
        swapped = await self._queued(name, ReloadCode(name, force=True), write)
        if isinstance(swapped, AetherraError):
            self._ctx.log.warning("%s cannot be swapped back, and is started anew: %s", name, swapped)
            await self.unload(name)
            await self.load(name, path, settings)

    async def _queued(self, name: str, request: Request[Any], write: Write) -> Any:
        """Ask hot swap for something in the turn right after that in which files are put in their places.

        So no watch, which the files would call, comes between.

        Returns:
            The reply, or the error that there was in place of one.

        Raises:
            BaseException: What ``write`` raised; hot swap was not asked.
        """
        replies: list[Any] = []
        failures: list[BaseException] = []

        async def ask() -> None:
            try:
                replies.append(await self._ctx.call(request, timeout=SWAP_SEC))
            except AetherraError as exc:
                replies.append(exc)

        async with anyio.create_task_group() as group, self._swapping.turn(name):
            group.start_soon(ask)
            for _ in range(TURNS):
                await anyio.lowlevel.checkpoint()
            try:
                await write()
            except Exception as exc:  # noqa: BLE001  # raised below, out of the group
                failures.append(exc)
                group.cancel_scope.cancel()
        if failures:
            raise failures[0]
        return replies[0]

    # Actions

    async def perform(self, tag: str, body: dict[str, Any], key: str) -> Any:
        """Have an action done, once under its key, and return its reply."""
        try:
            action = await self._ctx.submit(request_of(tag, body), idempotency_key=key, deadline=ACTION_SEC)
        except AetherraError as exc:
            raise ActionRefusedError(tag, str(exc)) from exc
        return await action.wait()

    # Looking

    def strayed(self, name: str, files: Mapping[Path, str]) -> bool:
        """Whether code of other files serves than those, which are given with their SHA-256."""
        loaded = self._current(name)
        if loaded is None or loaded.code is None:
            return False
        return any(sha256(data).hexdigest() != files[path] for path, data in loaded.code.files.items() if path in files)

    def _current(self, name: str) -> Loaded | None:
        return self._swapping.current(name) if name in self._swapping.states() else None

    def _origin(self, name: str) -> object:
        loaded = self._current(name)
        return None if loaded is None else loaded.origin

    async def _rate(self, name: str) -> float:
        """Return how many calls a second a plugin has now."""
        seconds = self._terms.traffic
        if not seconds:
            return 0.0
        before = await self._vitals(name)
        await self._ctx.clock.sleep(seconds)
        now = await self._vitals(name)
        return (now.calls - before.calls) / seconds if now.generation == before.generation else 0.0

    async def _vitals(self, name: str) -> PluginVitals:
        vitals = await self._ctx.call(GetVitals())
        for one in vitals.plugins:
            if one.plugin == name:
                return one
        raise IntegrationError(name, f"plugin {name!r} is gone")


def _complaint(begun: PluginVitals, now: PluginVitals, terms: Terms) -> str:
    """Return what is wrong with a plugin in its first time, empty if nothing is."""
    if now.state != "serving":
        return f"it is {now.state} in its first time"
    if now.status not in (ServiceStatus.HEALTHY, ServiceStatus.STARTING):
        return f"its service is {now.status} in its first time"
    if now.faults > begun.faults:
        return f"{now.faults - begun.faults} of its tasks, events or repeated methods failed in its first time"
    same = now.generation == begun.generation
    ended = now.calls - now.in_hand - (begun.calls - begun.in_hand if same else 0)
    failed = now.errors - (begun.errors if same else 0)
    if ended > 0 and fails_too_often(ended, min(failed, ended), terms):
        return f"{failed} of its first {ended} calls failed"
    return ""


def _calls(fared: Fared) -> Calls:
    return Calls(
        fared.calls - fared.in_hand + fared.refused,
        fared.errors + fared.refused,
        fared.in_hand,
        fared.latency.p50,
        fared.latency.p95,
    )


def _is_no_case_for_a_canary(error: object) -> bool:
    """Whether hot swap says that a plugin can have no canary at all, as one that is exclusive."""
    return isinstance(error, HandlerError) and type(error.__cause__).__name__ == "CanaryError"


async def _nothing() -> None:
    """Write nothing: the files are in their places."""
