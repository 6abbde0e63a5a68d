"""Tests of the scribe: nothing that was told is lost, and refusals without end fill no disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from aetherra.plugins import DataFileError
from aetherra.plugins.governance import scribe as module
from aetherra.plugins.governance.scribe import MOST_UNTOLD, REPEATS_SEC, Note
from tests.plugins.governance.conftest import HOMEOSTASIS, INC, Office, intent, room_for

Opened = Callable[..., Office]


class TestUntold:
    def test_what_the_disk_did_not_take_is_lost(self, office: Opened) -> None:
        """It is written, in order, before what comes next once there is room, and until then it is known why not."""
        kept = office()
        kept.scribe.write(Note(kind="first", actor="a"))
        with room_for(0):
            for number in range(3):
                with pytest.raises(DataFileError):
                    kept.scribe.keep(Note(kind="kept", actor="a", component=str(number)))
            with pytest.raises(DataFileError):
                kept.scribe.write(Note(kind="not kept", actor="a"))
            assert kept.scribe.problem
        kept.scribe.write(Note(kind="last", actor="a"))
        assert [(kind, component) for kind, _, component, _ in kept.entries()] == [
            ("first", ""),
            ("kept", "0"),
            ("kept", "1"),
            ("kept", "2"),
            ("last", ""),
        ]
        assert (kept.scribe.problem, len(kept.scribe.untold)) == ("", 0)
        assert kept.ledger.verify().ok

    def test_it_catches_up_only_when_asked(self, office: Opened) -> None:
        """Nobody need ask for anything: to catch up writes it, or says why it could not."""
        kept = office()
        kept.scribe.catch_up()
        with room_for(0):
            with pytest.raises(DataFileError):
                kept.scribe.keep(Note(kind="kept", actor="a"))
            kept.scribe.catch_up()
            assert kept.scribe.problem
        kept.scribe.catch_up()
        assert (kept.scribe.problem, kept.entries()) == ("", [("kept", "a", "", "")])

    def test_a_broken_ledger_is_found_when_it_is_too_late(self, office: Opened, tmp_path: Path) -> None:
        """To catch up says what is wrong with the ledger before anybody asks for anything."""
        office().scribe.write(Note(kind="first", actor="a"))
        for file in (tmp_path / "data" / "governance" / "audit").iterdir():
            file.unlink()
        later = office()
        later.scribe.catch_up()
        assert "aetherra audit adopt" in later.scribe.problem

    def test_they_fill_the_memory(self, office: Opened) -> None:
        """So many are kept, the newest."""
        kept = office()
        kept.scribe.recall(Note(kind="kept", actor="a", component=str(number)) for number in range(MOST_UNTOLD + 5))
        assert (len(kept.scribe.untold), kept.scribe.untold[0].component) == (MOST_UNTOLD, "5")


class TestRepeats:
    async def test_a_plugin_that_asks_without_end_fills_the_disk(self, office: Opened) -> None:
        """The same refusal is written once a minute, under one number, and how often it was given once that is over."""
        kept = office()
        kept.stop.stop("ada", "smoke")
        numbers = {kept.permission(HOMEOSTASIS, intent()).entry for _ in range(50)}
        assert len(numbers) == 1
        await kept.clock.advance(REPEATS_SEC)
        kept.clerk.tidy()
        told = [entry for entry in kept.ledger.entries() if entry.code == "stopped"]
        assert [(each.refers_to, each.facts.get("repeated", 0)) for each in told] == [(0, 0), (numbers.pop(), 49)]

    def test_another_refusal_is_left_out(self, office: Opened) -> None:
        """Another asker, component, kind, sender, content or words are another refusal."""
        kept = office()
        kept.stop.stop("ada", "smoke")
        for asker, wanted in (
            (HOMEOSTASIS, intent()),
            (INC, intent()),
            (HOMEOSTASIS, intent(component="y")),
            (HOMEOSTASIS, intent(kind="knob")),
            (HOMEOSTASIS, intent(sender="ada")),
            (HOMEOSTASIS, intent(digest="a" * 64)),
            (HOMEOSTASIS, intent(summary="something else")),
        ):
            kept.permission(asker, wanted)
        assert len(kept.entries()) == 7

    def test_what_is_lost_is_not_said(self, office: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of too many outcomes that the disk does not take the oldest are lost, and an entry says how many."""
        monkeypatch.setattr(module, "MOST_UNTOLD", 2)
        kept = office()
        entries = [kept.permission(HOMEOSTASIS, intent(component=str(number))).entry for number in range(5)]
        with room_for(0):
            for entry in entries:
                with pytest.raises(DataFileError):
                    kept.clerk.tell(HOMEOSTASIS, entry, "done", "", {})
        assert (kept.clerk.standing().untold, kept.clerk.standing().lost) == (2, 3)
        kept.clerk.tidy()
        assert [kind for kind, *_ in kept.entries()][-3:] == ["governance.lost", "actuator", "actuator"]
        lost = next(entry for entry in kept.ledger.entries() if entry.kind == "governance.lost")
        assert (lost.facts["lost"], kept.clerk.standing().lost) == (3, 0)

    async def test_what_was_allowed_is_left_out(self, office: Opened) -> None:
        """What was allowed is written each time."""
        kept = office()
        for _ in range(3):
            assert kept.permission(HOMEOSTASIS, intent()).allowed
            await kept.clock.advance(60)
        assert [code for *_, code in kept.entries()] == ["allowed"] * 3
