"""Tests of the ledger: no intact line is ever lost to a damaged one, and nothing in a file makes it raise."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aetherra.kernel.testing import FakeClock
from aetherra.plugins.homeostasis.decision import Decision, Effect, Evidence, Outcome
from aetherra.plugins.homeostasis.freeze import Frozen
from aetherra.plugins.homeostasis.ledger import Concluded, Decided, Entry, Froze, Ledger, Noted, Settled

EVIDENCE = Evidence(metric="plugin.a.errors", value=0.4, bound="above 0.2", votes=3, of=5, needed=3)


def a_decision(number: int | str = 1, **fields: Any) -> Decision:
    """Return a decision with that id."""
    values: dict[str, Any] = {
        "id": f"d{number}", "kind": "act", "action": "restart_plugin", "target": "a", "arguments": {}, "value": None,
        "symptom": "errors", "disruptive": True, "settle": 30.0, "at": 1.0, "evidence": EVIDENCE, "considered": (),
        "expects": "", "undoes": "", "reason": "errors: plugin.a.errors is 0.4, above 0.2",
    }  # fmt: skip
    return Decision(**{**values, **fields})


def an_effect(number: int | str = 1) -> Effect:
    """Return the effect of a decision with that id."""
    return Effect(f"d{number}", "errors", "a", "restart_plugin", "plugin.a.errors", 0.4, 0.0, True, 30.0, "0.4 to 0")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["disk", "memory"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> Ledger:
    return Ledger(tmp_path if request.param == "disk" else None, clock.time)


def written(folder: Path) -> list[bytes]:
    """Return the lines of all files, the oldest first."""
    return [line for path in sorted(folder.glob("*.jsonl")) for line in path.read_bytes().splitlines()]


class TestEntries:
    def test_entries_come_back_otherwise(self, ledger: Ledger) -> None:
        """All kinds come back as they were, newest first."""
        frozen = Frozen(frozen=True, who="ada", why="work", since=1.0)
        ledger.decided(a_decision(arguments={"a": 1, "b": "x", "c": None}))
        ledger.concluded(a_decision(), Outcome("failed", "boom"))
        ledger.settled(an_effect())
        ledger.froze(frozen)
        ledger.note("runlevel", "DEGRADED", target="host")
        ts = 1_700_000_000.0
        assert ledger.entries() == [
            Noted(ts, "runlevel", "DEGRADED", "host"),
            Froze(ts, frozen),
            Settled(ts, an_effect()),
            Concluded(ts, "d1", "errors", "a", Outcome("failed", "boom")),
            Decided(ts, a_decision(arguments={"a": 1, "b": "x", "c": None})),
        ]

    async def test_a_question_is_answered_with_others(self, ledger: Ledger, clock: FakeClock) -> None:
        """What is asked for by decision, symptom, target, time and number is what is found."""
        ledger.decided(a_decision(1))
        await clock.advance(10.0)
        ledger.decided(a_decision(2, symptom="wedge", target="b"))
        ledger.concluded(a_decision(2, symptom="wedge", target="b"), Outcome())
        ledger.settled(an_effect(1))
        ledger.decided(a_decision(3, kind="undo", undoes="d1"))

        def ids(**question: Any) -> list[str]:
            return [entry.subject[0] for entry in ledger.entries(**question)]

        assert ids(decision="d1") == ["d3", "d1", "d1"]
        assert ids(symptom="wedge") == ["d2", "d2"]
        assert ids(target="a", limit=2) == ["d3", "d1"]
        assert ids(since=clock.time(), symptom="errors") == ["d3", "d1"]
        assert ids(limit=0) == []

    def test_all_files_are_read_for_the_latest(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """With ``since``, no file is read behind the one that begins before it; a clock set back hides nothing."""
        now = 0.0
        ledger = Ledger(tmp_path, lambda: now, max_bytes=1, files=10)
        for moment in (0.0, 10_000.0, 20_000.0, 19_000.0, 20_500.0):  # one file each
            now = moment
            ledger.note("mark", str(moment))
        oldest = min(tmp_path.glob("*.jsonl"))
        oldest.unlink()
        oldest.mkdir()  # whoever reads it is told
        assert [entry.ts for entry in ledger.entries(since=20_000.0)] == [20_500.0, 20_000.0]
        assert caplog.messages == []
        assert len(ledger.entries(since=0.0)) == 4
        assert "cannot be read" in caplog.text

    def test_a_restart_forgets(self, tmp_path: Path, clock: FakeClock) -> None:
        """What one run has written the next one reads, and adds to."""
        Ledger(tmp_path, clock.time).decided(a_decision(1))
        ledger = Ledger(tmp_path, clock.time)
        ledger.decided(a_decision(2))
        assert [entry.subject[0] for entry in ledger.entries()] == ["d2", "d1"]

    def test_memory_grows_for_ever(self, clock: FakeClock) -> None:
        """Without a disk the oldest leave, and are counted."""
        ledger = Ledger(None, clock.time)
        for number in range(2100):
            ledger.decided(a_decision(number))
        assert len(ledger.entries()) == 2000
        assert (ledger.statistics().written, ledger.statistics().dropped) == (2100, 100)

    @pytest.mark.parametrize("bad", ["\udcff", {"x": "\udcff"}, {"x": object()}, {"x": 2**70}])
    def test_what_json_cannot_hold_is_lost(self, ledger: Ledger, bad: Any) -> None:
        """Such an entry is there, as text where it must be."""
        if isinstance(bad, str):
            ledger.concluded(a_decision(), Outcome("failed", bad))
            (entry,) = ledger.entries()
            assert isinstance(entry, Concluded)
        else:
            ledger.decided(a_decision("odd", arguments=bad))
            (entry,) = ledger.entries()
            assert isinstance(entry, Decided)
            assert entry.decision.id == "dodd"
            assert set(entry.decision.arguments) == {"x"}


class TestFiles:
    def test_a_file_grows_for_ever(self, tmp_path: Path, clock: FakeClock) -> None:
        """A full file is followed by another; of more than so many the oldest leaves, the youngest entries stay."""
        ledger = Ledger(tmp_path, clock.time, max_bytes=2000, files=3)
        for number in range(100):
            ledger.decided(a_decision(number))
        paths = sorted(tmp_path.iterdir())
        assert len(paths) == 3
        assert all(path.stat().st_size <= 2000 for path in paths)
        ids = [entry.subject[0] for entry in ledger.entries()]
        assert ids == [f"d{99 - index}" for index in range(len(ids))]
        assert len(ids) >= 6

    def test_a_line_longer_than_a_file_is_lost(self, tmp_path: Path, clock: FakeClock) -> None:
        """It has a file of its own."""
        ledger = Ledger(tmp_path, clock.time, max_bytes=10)
        for number in range(3):
            ledger.decided(a_decision(number))
        paths = sorted(tmp_path.iterdir())
        assert [len(path.read_bytes().splitlines()) for path in paths] == [1, 1, 1]
        assert paths[0].name == "ledger.00000001.jsonl"

    def test_a_disk_that_takes_nothing_loses_entries(
        self, tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """What cannot be written waits, can be read meanwhile, is told once, and is written in order later."""
        folder = tmp_path / "gone"
        ledger = Ledger(folder, clock.time)
        ledger.decided(a_decision(1))
        ledger.decided(a_decision(2))
        assert [entry.subject[0] for entry in ledger.entries()] == ["d2", "d1"]
        assert ledger.statistics().unwritten == 2
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        folder.mkdir()
        ledger.decided(a_decision(3))
        assert [msgspec.json.decode(line)["decision"]["id"] for line in written(folder)] == ["d1", "d2", "d3"]
        assert [entry.subject[0] for entry in ledger.entries()] == ["d3", "d2", "d1"]
        assert (ledger.statistics().unwritten, ledger.statistics().written) == (0, 3)

    def test_somebody_elses_lines_are_in_the_way(self, tmp_path: Path, clock: FakeClock) -> None:
        """Lines that are no entries, of another version, or in other files, are passed over, counted, and stay."""
        ledger = Ledger(tmp_path, clock.time)
        ledger.decided(a_decision(1))
        (path,) = tmp_path.iterdir()
        alien = b'{"entry": "dreamt", "ts": 1}\n[]\n\xff\xfe\n\n' + b"[" * 100_000 + b'\n{"entry": "decided"}\n'
        deep = b'{"entry": "noted", "ts": 1, "what": "", "text": "", "facts": {"a": ' + b"[" * 100_000
        alien += deep + b"]" * 100_000 + b"}}\n"
        with path.open("ab") as file:
            file.write(alien)
        (tmp_path / "ledger.1.jsonl").write_bytes(b"x\n")
        (tmp_path / "notes.txt").write_bytes(b"x\n")
        ledger.decided(a_decision(2))
        assert [entry.subject[0] for entry in ledger.entries()] == ["d2", "d1"]
        assert ledger.statistics().strange == 6
        assert alien in path.read_bytes()

    def test_a_folder_in_a_files_place_is_in_the_way(self, tmp_path: Path, clock: FakeClock) -> None:
        """A file that cannot be read hides only itself."""
        Ledger(tmp_path, clock.time).decided(a_decision(1))
        (tmp_path / "ledger.00000002.jsonl").mkdir()
        (tmp_path / "ledger.00000003.jsonl").touch()
        ledger = Ledger(tmp_path, clock.time)
        ledger.decided(a_decision(2))
        assert [entry.subject[0] for entry in ledger.entries()] == ["d2", "d1"]

    def test_a_closed_ledger_takes_nothing(self, tmp_path: Path, clock: FakeClock) -> None:
        """The next entry opens it again."""
        ledger = Ledger(tmp_path, clock.time)
        ledger.decided(a_decision(1))
        ledger.close()
        ledger.decided(a_decision(2))
        assert len(written(tmp_path)) == 2

    @pytest.mark.parametrize("bounds", [{"max_bytes": 0}, {"files": 0}])
    def test_a_bound_without_meaning_is_taken(self, tmp_path: Path, clock: FakeClock, bounds: dict[str, int]) -> None:
        """A ledger that could hold nothing is an error."""
        with pytest.raises(ValueError, match="expected"):
            Ledger(tmp_path, clock.time, **bounds)


ENTRIES = st.lists(
    st.one_of(
        st.builds(Decided, st.floats(0, 1e10), st.builds(a_decision, st.integers(0, 9))),
        st.builds(Settled, st.floats(0, 1e10), st.builds(an_effect, st.integers(0, 9))),
        st.builds(Noted, st.floats(0, 1e10), st.text(), st.text()),
    ),
    max_size=6,
)


class TestTorn:
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(ENTRIES, st.data())
    def test_a_tear_takes_an_intact_line(self, tmp_path: Path, entries: list[Entry], data: st.DataObject) -> None:
        """Cut at any byte, a file still gives every whole line before the cut, and what is appended after it."""
        for path in tmp_path.iterdir():
            path.unlink()
        ledger = Ledger(tmp_path, lambda: 0.0)
        for entry in entries:
            ledger.append(entry)
        ledger.close()
        path = tmp_path / "ledger.00000001.jsonl"
        whole = path.read_bytes() if entries else b""
        cut = data.draw(st.integers(0, len(whole)))
        path.write_bytes(whole[:cut])
        readable, torn = [], whole[:cut].split(b"\n")
        for entry, line in zip(entries, torn, strict=False):
            if line == whole.split(b"\n")[len(readable)] and line:
                readable.append(entry)
        after = Ledger(tmp_path, lambda: 0.0)
        assert after.entries() == readable[::-1]
        after.note("after", "the cut")
        assert after.entries() == [Noted(0.0, "after", "the cut"), *readable[::-1]]

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(ENTRIES, st.lists(st.binary(max_size=30), max_size=6), st.randoms())
    def test_rubbish_takes_an_intact_line(
        self, tmp_path: Path, entries: list[Entry], rubbish: list[bytes], random: Any
    ) -> None:
        """Whatever lines stand between them, all intact ones are found, and nothing is raised."""
        for path in tmp_path.iterdir():
            path.unlink()
        ledger = Ledger(tmp_path, lambda: 0.0)
        for entry in entries:
            ledger.append(entry)
        path = tmp_path / "ledger.00000001.jsonl"
        lines = path.read_bytes().split(b"\n")[:-1] if entries else []
        for piece in rubbish:
            lines.insert(random.randint(0, len(lines)), piece)
        path.write_bytes(b"\n".join(lines))
        assert ledger.entries() == entries[::-1]
