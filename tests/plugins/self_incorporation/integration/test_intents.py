"""The journal: what it says after a crash is what was on disk before anything was changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from aetherra.plugins.self_incorporation.integration.intents import (
    Begun,
    Committed,
    GoingBack,
    Journal,
    Sent,
    TakenBack,
    Undone,
    WayBack,
)
from aetherra.plugins.self_incorporation.integration.tree import Change, File, Folder


def begun(token: str) -> Begun:
    changes = (Change("place", "a.py", None, File("ab", 2, 0o644)), Change("place", "b", Folder(0o755), None))
    return Begun(token=token, at=1.0, plan="digest", summary="1 step", names=("a",), changes=changes)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "integrations.jsonl")


class TestTheJournal:
    def test_knows_how_far_each_integration_came(self, journal: Journal, tmp_path: Path) -> None:
        """Read by the next host, as it was written by the last."""
        way_back = WayBack("a.undo", {"x": 1})
        for record in (
            begun("one"),
            Sent(token="one", key="one.1", tag="a.do", undo=way_back),
            Sent(token="one", key="one.2", tag="a.do", undo=None),
            TakenBack(token="one", key="one.2"),
            Committed(token="one", at=2.0),
            begun("two"),
            Committed(token="two", at=3.0),
            GoingBack(token="two", at=4.0, reason="why"),
            begun("three"),
            Undone(token="three", at=5.0, reason="because", left=("a",)),
            begun("four"),
        ):
            journal.append(record)

        found = Journal(journal.path).histories()
        assert {token: history.stage for token, history in found.items()} == {
            "one": "committed",
            "two": "going_back",
            "three": "undone",
            "four": "open",
        }
        assert found["one"].begun == begun("one")
        assert found["one"].sent == (Sent(token="one", key="one.1", tag="a.do", undo=way_back),)
        assert (found["two"].reason, found["three"].left) == ("why", ("a",))

    def test_a_torn_line_is_left_out_and_counted(self, journal: Journal) -> None:
        """What a kill in the middle of a write leaves says nothing; the next record stands on a line of its own."""
        journal.append(begun("one"))
        journal.append(Committed(token="one", at=2.0))
        journal.path.write_bytes(journal.path.read_bytes()[:-10])
        again = Journal(journal.path)
        again.append(begun("two"))

        assert {token: history.stage for token, history in again.histories().items()} == {"one": "open", "two": "open"}
        assert again.unreadable == 1

    def test_a_changed_line_counts_for_nothing(self, journal: Journal) -> None:
        """A record whose checksum does not fit is none."""
        journal.append(begun("one"))
        journal.path.write_bytes(journal.path.read_bytes().replace(b"a.py", b"b.py"))
        assert journal.histories() == {}
        assert journal.unreadable == 1

    def test_forgets_in_one_step(self, journal: Journal) -> None:
        """What is kept says the same as before."""
        for token in ("one", "two", "three"):
            journal.append(begun(token))
        journal.append(Sent(token="two", key="k", tag="a.do", undo=None))
        journal.append(Committed(token="two", at=2.0))
        journal.append(Undone(token="three", at=2.0, reason="r"))
        before = journal.histories()
        journal.keep_only([before["two"], before["three"]])
        assert journal.histories() == {"two": before["two"], "three": before["three"]}
