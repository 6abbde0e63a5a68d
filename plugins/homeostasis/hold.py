"""The hold: why nothing is to be changed now, be it a person's freeze or an emergency stop."""

from __future__ import annotations

from logging import Logger, LoggerAdapter
from typing import Any

from aetherra.plugins import DataFileError
from aetherra.plugins.homeostasis.freeze import Freeze
from aetherra.plugins.homeostasis.ledger import Ledger
from aetherra.plugins.homeostasis.messages import FreezeState
from aetherra.plugins.homeostasis.standstill import Standstill

__all__ = ["Hold"]


class Hold:
    """Joins the two, and tells log and history as they begin and end.

    Args:
        freeze: A person's.
        standstill: The emergency stop.
        ledger: The history.
        log: Told, too.
    """

    def __init__(
        self, freeze: Freeze, standstill: Standstill, ledger: Ledger, log: Logger | LoggerAdapter[Any]
    ) -> None:
        self._freeze = freeze
        self._standstill = standstill
        self._ledger = ledger
        self._log = log

    @property
    def why(self) -> str:
        """Why nothing is to be changed, as far as it was looked; ``""`` if it may be."""
        said = self._freeze.now()
        return self._standstill.why if said is None else said.sentence

    async def look(self) -> str:
        """Look whether everything is stopped, and return why nothing is to be changed."""
        if await self._standstill.look():
            text = self._standstill.why or "it is lifted"
            self._ledger.note("emergency stop", text)
            self._log.warning("emergency stop: %s", text)
        return self.why

    def freeze(self, who: str, why: str, until: float | None) -> None:
        """Freeze all actuators.

        Raises:
            ValueError: ``until`` has passed, or is no time; nothing has changed.
            DataFileError: It holds, but not across a restart.
        """
        trouble: DataFileError | None = None
        try:
            self._freeze.freeze(who, why, until)
        except DataFileError as exc:  # it holds all the same
            trouble = exc
        said = self._freeze.now()
        if said is not None:
            self._ledger.froze(said)
            self._log.warning("%s", said.sentence)
        if trouble is not None:
            why = f"all is frozen now, but not after a restart: {trouble.problem}"
            raise DataFileError(trouble.path, why) from trouble

    def unfreeze(self, who: str, why: str) -> None:
        """Let actuators act again.

        Raises:
            DataFileError: It cannot be written: all stays frozen.
        """
        if self._freeze.unfreeze(who, why) is not None:
            self._ledger.note("unfrozen", f"by {who}: {why or 'no reason was given'}")
            self._log.warning("actuators are unfrozen by %s", who)

    def state(self) -> FreezeState:
        """Return whether a person has frozen them."""
        said = self._freeze.now()
        if said is None:
            return FreezeState(frozen=False)
        return FreezeState(True, said.problem or said.why, said.who, said.since, said.until)
