"""The hold: a freeze and an emergency stop as one answer, and who said what."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest

from aetherra.plugins import DataFileError, Intent, Permission
from aetherra.plugins.homeostasis.freeze import Freeze
from aetherra.plugins.homeostasis.hold import Hold
from aetherra.plugins.homeostasis.ledger import Ledger
from aetherra.plugins.homeostasis.messages import FreezeState
from aetherra.plugins.homeostasis.standstill import Standstill

NOW = 1_700_000_000.0
LOG = logging.getLogger("hold")


class Governed:
    """Who governs the host, and what they answer."""

    def __init__(self) -> None:
        self.answer = Permission(allowed=True, code="allowed")

    async def peek_permission(self, _: Intent) -> Permission:
        return self.answer

    def permitted(self, _: Intent) -> AbstractContextManager[Any]:
        raise AssertionError("a look asks for nothing")


@pytest.fixture
def held(tmp_path):
    """Return a hold over a file, who governs, and the history."""
    governed, ledger = Governed(), Ledger(None, lambda: NOW)
    standstill = Standstill(governed, lambda _: nullcontext())
    return Hold(Freeze(tmp_path / "frozen.json", lambda: NOW), standstill, ledger, LOG), governed, ledger


class TestHold:
    async def test_a_stop_is_told_at_each_look(self, held, caplog):
        """An emergency stop is seen by a look, and told once as it begins and once as it ends."""
        hold, governed, ledger = held
        assert (await hold.look(), hold.why) == ("", "")
        governed.answer = Permission(allowed=False, code="stopped", reason="Ada stopped it")
        assert [await hold.look() for _ in range(3)] == ["Ada stopped it"] * 3
        governed.answer = Permission(allowed=True, code="allowed")
        assert await hold.look() == ""

        assert [(each.what, each.text) for each in reversed(ledger.entries())] == [
            ("emergency stop", "Ada stopped it"),
            ("emergency stop", "it is lifted"),
        ]
        assert len(caplog.records) == 2

    async def test_a_stop_is_a_freeze(self, held):
        """A person's freeze is told before a stop, and is none of its making."""
        hold, governed, _ = held
        governed.answer = Permission(allowed=False, code="stopped", reason="Ada stopped it")
        await hold.look()
        assert hold.state() == FreezeState(frozen=False)
        hold.freeze("Grace", "we are moving", None)
        assert hold.state() == FreezeState(True, "we are moving", "Grace", NOW, None)
        assert hold.why == "all actuators are frozen by Grace: we are moving"
        hold.unfreeze("Grace", "moved")

        assert (hold.why, hold.state().frozen) == ("Ada stopped it", False)

    async def test_nobody_knows_who_said_it(self, held):
        """The history has both, and nothing of an unfreezing where nothing was frozen."""
        hold, _, ledger = held
        hold.unfreeze("Ada", "")
        hold.freeze("Ada", "lunch", NOW + 60.0)
        hold.unfreeze("Grace", "")
        unfrozen, froze = ledger.entries()

        assert (froze.frozen.who, froze.frozen.why) == ("Ada", "lunch")
        assert (unfrozen.what, unfrozen.text) == ("unfrozen", "by Grace: no reason was given")

    async def test_a_freeze_that_cannot_be_written_is_none(self, tmp_path):
        """It holds, is in the history, and the error says that a restart ends it."""
        ledger = Ledger(None, lambda: NOW)
        freeze = Freeze(tmp_path / "gone" / "frozen.json", lambda: NOW)
        hold = Hold(freeze, Standstill(Governed(), lambda _: nullcontext()), ledger, LOG)
        with pytest.raises(DataFileError, match="frozen now, but not after a restart"):
            hold.freeze("Ada", "lunch", None)

        assert hold.state().frozen
        assert len(ledger.entries()) == 1
