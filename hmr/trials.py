"""The trials: the canaries of a host, at most one a plugin, and what has to wait for their end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import anyio

from aetherra.hmr.canary import CanaryError, Trial
from aetherra.hmr.messages import CanaryStatus
from aetherra.kernel import PluginContext


class Trials:
    """Knows which plugin has a canary.

    Args:
        ctx: Of the plugin that runs them.
        drain_timeout: Seconds that a candidate has to finish its calls when it is aborted.
        over: Told of a plugin whose canary is over, if something was put off until then.
    """

    def __init__(self, ctx: PluginContext, *, drain_timeout: float, over: Callable[[str], None]) -> None:
        self._ctx = ctx
        self._drain_timeout = drain_timeout
        self._over = over
        self._trials: dict[str, Trial] = {}
        self._put_off: set[str] = set()

    def get(self, plugin: str) -> Trial | None:
        """Return a plugin's canary, ``None`` if it has none."""
        trial = self._trials.get(plugin)
        return trial if trial is not None and trial.is_running else None

    def find(self, plugin: str) -> Trial:
        """Return a plugin's canary.

        Raises:
            CanaryError: It has none.
        """
        trial = self.get(plugin)
        if trial is None:
            raise CanaryError(plugin, "has no canary; hmr.canary begins one")
        return trial

    def refuse(self, plugin: str, what: str) -> None:
        """Let no other swap come between.

        Raises:
            CanaryError: The plugin has a canary.
        """
        if self.get(plugin) is not None:
            raise CanaryError(plugin, f"has a canary: promote or abort it, then {what}")

    def put_off(self, plugin: str) -> bool:
        """Whether a plugin has a canary; if so, ``over`` is told when it has none any more."""
        running = self.get(plugin) is not None
        if running:
            self._put_off.add(plugin)
        return running

    def keep(self, trial: Trial) -> CanaryStatus:
        """Remember a trial that has begun, and tell of it."""
        self._trials[trial.plugin] = trial
        return self.tell(trial)

    def tell(self, trial: Trial) -> CanaryStatus:
        """Log what a trial is, and return it."""
        status = trial.status()
        by = f" by {status.key!r}" if status.key else ""
        self._ctx.log.info(
            "%s: canary, generation %d beside %d for %.3g %% of the calls%s",
            status.plugin, status.candidate.generation, status.control.generation, status.share * 100, by,
        )  # fmt: skip
        return status

    def let_go(self, trial: Trial) -> None:
        """Forget a trial if it is over, and have go on what was put off."""
        if trial.is_running:
            return
        if self._trials.get(trial.plugin) is trial:
            del self._trials[trial.plugin]
        if trial.plugin in self._put_off and self.get(trial.plugin) is None:
            self._put_off.remove(trial.plugin)
            self._over(trial.plugin)

    async def abort(self, plugin: str) -> CanaryStatus:
        """Stop a plugin's candidate, and return how both sides fared.

        Raises:
            CanaryError: There is no canary.
        """
        return await self._abort(self.find(plugin), self._drain_timeout, "aborted")

    def abort_orphans(self) -> None:
        """Have candidates stopped that are beside nothing any more, as their plugin was removed or rolled back."""
        for trial in [trial for trial in self._trials.values() if trial.is_orphaned]:
            self._ctx.start_soon(self._abort_if_running, trial, self._drain_timeout, "which serves no more")

    async def abort_all(self) -> None:
        """Stop all candidates at once, side by side."""
        async with anyio.create_task_group() as group:
            for trial in list(self._trials.values()):
                group.start_soon(self._abort_if_running, trial, 0.0, "as hot swap is stopped")

    async def _abort_if_running(self, trial: Trial, patience: float, reason: str) -> None:
        with suppress(CanaryError):  # it was aborted or promoted a moment ago
            await self._abort(trial, patience, reason)

    async def _abort(self, trial: Trial, patience: float, reason: str) -> CanaryStatus:
        try:
            status = await trial.abort(patience)
        finally:
            self.let_go(trial)
        self._ctx.log.info(
            "%s: canary is over, generation %d beside %d, %s",
            status.plugin, status.candidate.generation, status.control.generation, reason,
        )  # fmt: skip
        return status
