"""The clearing: lets go of what is known of trees that are no roots any more; no disk is looked through for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from aetherra.plugins import AetherraError, PluginContext
from aetherra.plugins.self_incorporation.gate.safety_index import SafetyIndex
from aetherra.plugins.self_incorporation.index.code_index import CodeIndex
from aetherra.plugins.self_incorporation.places import Places
from aetherra.plugins.self_incorporation.surveyor import Surveyor

__all__ = ["Clearing"]


class Clearing:
    """Files leave the index, and decisions the safety index; what people said of some bytes stays.

    Args:
        ctx: Of the plugin that it works in.
        places: Knows which are roots.
        surveyor: Has the turn at the index.
        index: Of files.
        safety: Of decisions.
        kept: Returns the digests of what came in or is in quarantine: decisions on these stay.
    """

    def __init__(
        self,
        ctx: PluginContext,
        places: Places,
        surveyor: Surveyor,
        index: CodeIndex,
        safety: SafetyIndex,
        kept: Callable[[], Iterable[str]],
    ) -> None:
        self._ctx = ctx
        self._places = places
        self._surveyor = surveyor
        self._index = index
        self._safety = safety
        self._kept = kept

    async def clear(self) -> tuple[str, ...]:
        """Let go of all such trees, and return their names; what fails is logged, and tried again at the next start."""
        cleared: list[str] = []
        try:
            for root in await self._ctx.run_sync(self._strays):
                await self._surveyor.forget(root)
                while await self._ctx.run_sync(self._forget_decisions, root):
                    pass
                cleared.append(root)
        except (OSError, AetherraError) as exc:
            self._ctx.log.warning("what is known of trees that are no roots any more stays for now: %s", exc)
        if cleared:
            self._ctx.log.info("no root any more, and known no longer: %s", ", ".join(cleared))
        return tuple(cleared)

    def _strays(self) -> list[str]:
        return self._places.strays([*self._index.roots(), *self._safety.roots(but=self._kept())])

    def _forget_decisions(self, root: str) -> int:
        return self._safety.forget_root(root, but=self._kept())
