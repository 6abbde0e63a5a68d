"""The troubles: what is wrong with the parts of self-incorporation, as the plugin's status shows it."""

from __future__ import annotations

from aetherra.plugins import PluginContext, ServiceStatus

__all__ = ["Troubles"]


class Troubles:
    """One at a time for each part; the status is degraded while there is any."""

    def __init__(self, ctx: PluginContext) -> None:
        self._ctx = ctx
        self._troubles: dict[str, str] = {}

    def note(self, part: str, why: str) -> None:
        """Show that something is wrong with a part, or with ``""`` that it is not any more."""
        if why == self._troubles.get(part, ""):
            return
        if why:
            self._troubles[part] = why
            self._ctx.log.error("%s", why)
        else:
            del self._troubles[part]
        reason = "; ".join(self._troubles.values())
        self._ctx.set_status(ServiceStatus.DEGRADED if reason else ServiceStatus.HEALTHY, reason)

    def all(self) -> tuple[str, ...]:
        """Return what is wrong now."""
        return tuple(self._troubles.values())
