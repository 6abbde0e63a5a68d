"""What self-incorporation counts, as metrics: asked for now and then, and told with its age."""

from __future__ import annotations

from collections.abc import Iterator

from aetherra.plugins import AetherraError, NoHandlerError, PluginContext, ServiceStatus
from aetherra.plugins.homeostasis.sensors import Reading
from aetherra.plugins.self_incorporation.messages import GetSelfIncorporationStatus, SelfIncorporationStatus

__all__ = ["PROVIDER", "IncorporationMetrics"]

PROVIDER = "self_incorporation"
"""The service that is asked."""


class IncorporationMetrics:
    """The last answer of self-incorporation.

    Attributes:
        asked: How often it was asked,
        answered: and how often it answered.
        problem: Why it did not, the last time that it did not.
    """

    def __init__(self, ctx: PluginContext) -> None:
        self._ctx = ctx
        self._last: tuple[float, SelfIncorporationStatus] | None = None
        self.asked = self.answered = 0
        self.problem = ""

    async def ask(self) -> None:
        """Ask, if it is there. What it does not answer leaves its last answer to grow old."""
        if self._ctx.registry.get_service_info(PROVIDER) is None:
            self.problem = f"there is no service {PROVIDER!r}"
            return
        self.asked += 1
        try:
            status = await self._ctx.call(GetSelfIncorporationStatus())
        except AetherraError as exc:
            self.problem = str(exc)
            if not isinstance(exc, NoHandlerError):  # which is no news: it stops, or has stopped
                self._ctx.log.warning("self-incorporation does not say how it is: %s", exc)
        else:
            self.answered += 1
            self.problem = ""
            self._last = (self._ctx.clock.monotonic(), status)

    def read(self, now: float) -> Iterator[tuple[Reading, float]]:
        """Yield its figures with their ages in seconds; nothing before its first answer."""
        info = self._ctx.registry.get_service_info(PROVIDER)
        if info is not None:
            yield Reading("selfinc.healthy", float(info.status is ServiceStatus.HEALTHY), "ratio"), 0.0
        if self._last is None:
            return
        at, status = self._last
        for name, count, unit in (
            ("selfinc.files", status.files, "files"),
            ("selfinc.refusals", status.refusals, "files"),
            ("selfinc.findings", status.findings, "findings"),
            ("selfinc.integrations", status.integrations, "integrations"),
            ("selfinc.failed_integrations", status.failed_integrations, "integrations"),
            ("selfinc.rollbacks", status.rollbacks, "rollbacks"),
            ("selfinc.registered", len(status.registered), "items"),
            ("selfinc.not_serving", len(status.not_serving), "plugins"),
            ("selfinc.quarantined", status.quarantined, "items"),
            ("selfinc.approvals_waiting", status.waiting, "approvals"),
        ):
            yield Reading(name, float(count), unit), now - at
