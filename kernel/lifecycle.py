"""Restarts and quarantine: a plugin's own code brought up afresh, taken out of service, and brought back."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import anyio

from aetherra.kernel.entry import Code, Entry
from aetherra.kernel.errors import PluginLoadError
from aetherra.kernel.generation import Generation
from aetherra.kernel.host import Host
from aetherra.kernel.manager import PluginManager
from aetherra.kernel.messages import PluginDisabled, PluginEnabled, PluginRestarted
from aetherra.kernel.sources import Loaded
from aetherra.registry import (
    AetherraError,
    Identity,
    Lease,
    ServiceConflictError,
    ServiceFailedError,
    ServiceQuarantinedError,
    ServiceStartingError,
    ServiceStatus,
)

log = logging.getLogger("aetherra.kernel.lifecycle")
END_PATIENCE = 0.5
"""Seconds that a reply waits for the end of the generation that served before; it ends by itself then."""


class Lifecycle:
    """What may be done to a plugin without new code; hot swap brings that.

    Each waits for its turn where somebody else changes what serves for the plugin.
    """

    def __init__(self, host: Host, plugins: PluginManager) -> None:
        self._host = host
        self._plugins = plugins

    async def restart(self, name: str, reason: str = "") -> PluginRestarted:
        """Bring a plugin's code up afresh, from memory and without its state, and let it take over.

        The calls in the old generation's hands are not waited for: it has ``stop_timeout`` seconds to finish them, and
        takes none any more. An exclusive plugin is suspended first, its new calls wait. One that has failed is loaded
        from its source.

        Raises:
            PluginNotFoundError: There is none of that name.
            PluginLoadError: It did not start, and serves on as before; of an exclusive plugin nothing serves then. Or
                it is quarantined.
        """
        async with self._turn(name) as entry:
            if entry.state == "quarantined":
                raise PluginLoadError(name, "starting", f"it is quarantined ({entry.reason}); enable it instead")
            old = entry.generation
            if old is None:
                now = await self._revive(entry)
            else:
                now = await self._replace(entry, old)
            self._plugins.outcomes.restarts += 1
            log.info("%s was restarted as generation %d%s", name, now.identity.generation, _because(reason))
            return PluginRestarted(name, 0 if old is None else old.identity.generation, now.identity.generation)

    @asynccontextmanager
    async def _turn(self, name: str) -> AsyncGenerator[Entry]:
        await self._plugins.entry(name).settled.wait()
        async with self._plugins.turn(name) as entry:
            if entry.state == "stopped":
                raise PluginLoadError(name, "swapping", "it is being stopped")
            yield entry

    async def _revive(self, entry: Entry) -> Generation:
        """Bring up one that has failed."""
        entry.state = "loading"
        self._plugins.say_absent(entry, ServiceStartingError)
        try:
            return await self._start(entry, await self._plugins.loader.load_again(entry))
        except BaseException as exc:
            if entry.state == "loading" and isinstance(exc, PluginLoadError):
                self._plugins.fail(entry, exc)
            elif entry.state == "loading":
                entry.state = "failed"
                self._plugins.say_absent(entry, ServiceFailedError)
            raise

    async def _replace(self, entry: Entry, old: Generation) -> Generation:
        loaded = entry.loaded
        is_exclusive = old.spec.plugin_type.exclusive
        try:
            code = await self._plugins.loader.load_again(entry)
            now = None if is_exclusive else await self._start(entry, code)
        except PluginLoadError as exc:
            raise _and_then(exc, f"{old} serves on") from exc
        if now is None:
            now = await self._replace_exclusive(entry, old, code)
        await self._retire(old, None if loaded is entry.loaded else loaded)
        return now

    async def _retire(self, old: Generation, unused: Loaded | None = None) -> None:
        ended = self._plugins.retire(old, unused)
        with anyio.move_on_after(END_PATIENCE):
            await ended.wait()

    async def _replace_exclusive(self, entry: Entry, old: Generation, code: Code) -> Generation:
        with anyio.CancelScope(shield=True):  # bounded; half suspended, it would own what its successor needs
            with self._host.clock.move_on_after(self._host.config.kernel.stop_timeout):
                await old.activity.pause()  # first, as an event in hand may call the plugin itself
            with self._host.bus.parked(old.spec.tags):
                await old.suspend()
                try:
                    await self._start(entry, code)
                except PluginLoadError as exc:
                    await old.stop()
                    if entry.state == "serving":
                        self._plugins.fail(entry, exc)
                    raise
        assert entry.generation is not None
        return entry.generation

    async def _start(self, entry: Entry, code: Code) -> Generation:
        """Start code that is not in use yet, and let it take over; if that fails, nothing of it is left."""
        old = entry.generation
        candidate: Generation | None = None
        try:
            candidate = await self._plugins.make_generation(entry, code.spec)
            if old is not None:
                old.activity.hold()
            self._plugins.promote(entry, code, candidate)
        except BaseException as exc:
            if old is not None:
                old.activity.resume()
            if candidate is not None:
                with anyio.CancelScope(shield=True):
                    await candidate.stop()
            if code.loaded is not entry.loaded:
                code.loaded.unload()
            if isinstance(exc, AetherraError) and not isinstance(exc, PluginLoadError):
                raise PluginLoadError(entry.name, "starting", str(exc)) from exc
            raise
        return candidate

    async def disable(self, name: str, reason: str = "") -> PluginDisabled:
        """Take a plugin out of service, and keep it until it is enabled or mended by a swap.

        Its callers are told so at once. The generation that served has ``stop_timeout`` seconds to finish what it has
        in hand. One that is quarantined already is told the reason anew.

        Raises:
            PluginNotFoundError: There is none of that name.
        """
        async with self._turn(name) as entry:
            generation, was_quarantined = entry.generation, entry.state == "quarantined"
            entry.state, entry.reason = "quarantined", reason or "it was disabled"
            entry.lease = self._show(entry, entry.lease if generation is None else generation.standing.lease)
            entry.generation = None
            if generation is not None:
                generation.detach()
            self._plugins.say_absent(entry, ServiceQuarantinedError)
            if not was_quarantined:
                self._plugins.outcomes.disabled += 1
                log.warning("%s is quarantined%s", name, _because(reason))
            number = entry.last_number if generation is None else generation.identity.generation
            if generation is not None:
                await self._retire(generation)
            return PluginDisabled(name, number)

    def _show(self, entry: Entry, before: Lease | None) -> Lease | None:
        """Have the plugin's service stay, as quarantined."""
        spec = entry.spec
        provider = Identity("plugin", entry.name, entry.last_number) if before is None else before.provider
        lease: Lease | None = None
        with suppress(ServiceConflictError):  # it had failed, as another provides it
            lease = self._host.registry.register(
                spec.service if spec is not None else entry.name,
                provider=provider,
                version=before.version if before is not None else "0",
                tags=spec.tags if spec is not None else (),
                status=before.status if before is not None else ServiceStatus.FAILED,
                requires=before.requires if before is not None else (),
                replaces=before,
            )
            lease.set_status(ServiceStatus.QUARANTINED, entry.reason)
        return lease

    async def enable(self, name: str) -> PluginEnabled:
        """Bring the code of a quarantined plugin back, afresh and without its state.

        Raises:
            PluginNotFoundError: There is none of that name.
            PluginLoadError: It did not start, and stays quarantined; or it is not.
        """
        async with self._turn(name) as entry:
            if entry.state != "quarantined":
                raise PluginLoadError(name, "starting", f"it is {entry.state}, not quarantined")
            await self._plugins.wait_ended(name)
            loaded = entry.loaded
            try:
                now = await self._start(entry, await self._plugins.loader.load_again(entry))
            except PluginLoadError as exc:
                raise _and_then(exc, "it stays quarantined") from exc
            if loaded is not None and loaded is not entry.loaded:
                loaded.unload()
            log.info("%s serves again, as generation %d", name, now.identity.generation)
            return PluginEnabled(name, now.identity.generation)


def _and_then(error: PluginLoadError, what: str) -> PluginLoadError:
    return PluginLoadError(error.plugin, error.phase, f"{error.problem}; {what}")


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""
