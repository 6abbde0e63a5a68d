"""The audit ledger as its users see it, on disk and in memory alike."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from aetherra.kernel.errors import DataFileError
from aetherra.kernel.ledger import AuditLedger, LedgerBrokenError
from tests.kernel.ledger.conftest import Place, add


@pytest.fixture(params=["disk", "memory"])
def ledger(request: pytest.FixtureRequest, place: Place) -> Iterator[AuditLedger]:
    opened = place.open() if request.param == "disk" else AuditLedger.open(None, clock=place.clock.time)
    with opened:
        yield opened


class TestAppend:
    def test_an_entry_says_something_else_than_was_told(self, ledger: AuditLedger, place: Place) -> None:
        """All that was told, with a number, the time, and the hash of the one before."""
        place.clock.set_time(1234.5)
        first = ledger.append(
            kind="knob", actor="plugin:tuner", component="a.b", summary="turned", code="allowed", digest="ab" * 32,
            facts={"to": 2, "why": "late", "sure": True, "by": 0.5},
        )  # fmt: skip
        second = ledger.append(kind="knob", actor="plugin:tuner", code="done", refers_to=first.sequence)

        assert (first.sequence, first.at, first.kind, first.actor, first.component) == (
            2,
            1234.5,
            "knob",
            "plugin:tuner",
            "a.b",
        )
        assert (first.summary, first.code, first.digest) == ("turned", "allowed", "ab" * 32)
        assert first.facts == {"to": 2, "why": "late", "sure": True, "by": 0.5}
        assert (second.sequence, second.prev_hash, second.refers_to) == (3, first.entry_hash, 2)
        assert ledger.verify().ok

    def test_entries_cannot_be_read_again(self, ledger: AuditLedger) -> None:
        """The last ones, and all from a number on."""
        add(ledger, 5)

        assert [entry.sequence for entry in ledger.tail(3)] == [4, 5, 6]
        assert [entry.sequence for entry in ledger.tail(100)] == [1, 2, 3, 4, 5, 6]
        assert [entry.sequence for entry in ledger.newest_first(2)] == [6, 5]
        assert [entry.sequence for entry in ledger.entries(since=5)] == [5, 6]

    def test_statistics_say_something_else(self, ledger: AuditLedger) -> None:
        """What is kept, and what was not; nothing before it is prepared."""
        ledger.prepare()
        add(ledger, 3)
        told = ledger.statistics()

        assert (told.entries, told.first, told.last, told.refused, told.problem) == (4, 1, 4, 0, "")

    @pytest.mark.parametrize("kind", ["audit.retained", "audit.adopted", "audit.begun"])
    def test_a_plugin_moves_the_beginning(self, ledger: AuditLedger, kind: str) -> None:
        """An entry that looks like an anchor is none if it comes from outside: nothing is dropped by it."""
        add(ledger, 3)
        facts = {"ledger": "mine", "key": "mine", "first": 4, "before": "0" * 64}
        entry = ledger.append(kind=kind, actor="plugin:evil", facts=facts)
        add(ledger)
        ledger.close()
        ledger.prepare()

        assert entry.kind == f"?{kind}"
        assert ledger.statistics().first == 1
        assert (ledger.verify().ok, ledger.verify().entries) == (True, 6)

    def test_the_wall_clock_goes_back(self, ledger: AuditLedger, place: Place) -> None:
        """Numbers, not times, order a ledger."""
        add(ledger)
        place.clock.set_time(5.0)
        add(ledger)

        assert ledger.tail(1)[0].at == 5.0
        assert ledger.verify().ok


class TestRestart:
    def test_a_restart_begins_a_new_chain(self, place: Place) -> None:
        """The next entry follows on the last one; a ledger that is closed is opened by its next use."""
        place.filled(3)
        with place.open() as again:
            add(again)
            again.close()
            add(again)

        assert [entry.sequence for entry in place.open().entries()] == [1, 2, 3, 4, 5, 6]
        assert place.verify().ok

    def test_opening_touches_the_disk(self, place: Place) -> None:
        """Nothing is made or read before it is prepared or appended to."""
        place.open().close()

        assert not place.root.exists()


class TestFault:
    def test_a_fault_that_nobody_expects_stays_in_the_way(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        """Who appends is told of it as it is, the statistics too, and the next append is tried anew."""
        with place.open() as ledger:
            ledger.prepare()

            def broken(*_: object) -> None:
                raise ZeroDivisionError

            with monkeypatch.context() as patch:
                patch.setattr(os, "fsync", broken)
                with pytest.raises(ZeroDivisionError):
                    add(ledger)
            assert (ledger.statistics().problem, ledger.statistics().refused) == ("ZeroDivisionError()", 1)
            add(ledger)

        assert len(place.lines) == 2
        assert place.verify().ok

    def test_preparing_hides_why_it_does_not_go(self, place: Place) -> None:
        """The statistics say it too, until it goes."""
        place.filled(2)
        lines = place.lines
        place.write(lines[:-1])
        with place.open() as ledger:
            with pytest.raises(LedgerBrokenError):
                ledger.prepare()
            assert "ends before entry 3" in ledger.statistics().problem
            place.write(lines)
            ledger.prepare()
            assert ledger.statistics().problem == ""

    def test_a_file_that_cannot_be_read_looks_empty(self, place: Place, tmp_path: Path) -> None:
        """Reading says so."""
        place.filled(2)
        place.files[0].rename(tmp_path / "moved")
        (place.folder / "audit-000000000001.jsonl").mkdir()
        with place.open() as ledger, pytest.raises(DataFileError, match="audit-000000000001"):
            ledger.tail()
