"""Tests of what a start knows of the run before it: state and ledger vouch for each other."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aetherra.kernel.ledger import adopt, head_folder
from aetherra.plugins import DataFileError
from aetherra.plugins.governance import recollection as module
from aetherra.plugins.governance.clerk import Hearing
from aetherra.plugins.governance.count_file import FILE_NAME
from aetherra.plugins.governance.kept import Kept
from aetherra.plugins.governance.recollection import Recollection, recollect
from aetherra.plugins.ledger import AuditLedger, LedgerSettings
from aetherra.plugins.storage import StateFile
from tests.plugins.governance.conftest import ADA, HOMEOSTASIS, INC, Office, intent, room_for

Opened = Callable[..., Office]
INTEGRATION = intent("integration", "greeter", digest="a" * 64, needs_approval="policy")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "governance"


@pytest.fixture
def state(folder: Path) -> Path:
    return folder / "state.json"


def known(folder: Path) -> Recollection:
    """Return what a start would know now."""
    return recollect(StateFile(folder / "state.json", Kept), AuditLedger.open(folder.parent))


def ends(kept: Office) -> list[tuple[int, str]]:
    """Return which acts ended, and how, by the ledger."""
    return [(each.refers_to, each.code) for each in kept.ledger.entries() if each.refers_to]


class TestCutOff:
    def test_what_was_under_way_stays_allowed(self, office: Opened) -> None:
        """Each act whose outcome nobody told ends as interrupted, once, and no other does."""
        kept = office()
        done, slow = (kept.permission(HOMEOSTASIS, intent(component=each)).entry for each in ("done", "slow"))
        kept.clerk.tell(HOMEOSTASIS, done, "done", "", {})
        for found in (1, 0):
            later = office()
            later.clerk.tidy()
            assert later.clerk.standing().interrupted == found
            assert ends(later) == [(done, "done"), (slow, "interrupted")]
        entry = later.ledger.tail(1)[0]
        assert (entry.kind, entry.actor, entry.component) == ("actuator", HOMEOSTASIS.name, "slow")
        assert entry.summary.startswith("interrupted: actuator of slow; ")

    def test_a_state_that_was_saved_forgets_it(self, office: Opened) -> None:
        """However much was written, and saved, since an act began: it is still known that it was under way."""
        kept = office()
        slow = kept.permission(HOMEOSTASIS, intent(component="slow")).entry
        kept.permission(INC, INTEGRATION)
        kept.clerk._save()
        assert known(Path(str(kept.clerk._file.path)).parent).kept.entry == kept.scribe.last
        later = office()
        later.permission(INC, intent("integration", "other", needs_approval="policy"))
        last = office()
        last.clerk.tidy()
        assert ends(last) == [(slow, "interrupted")]

    def test_a_start_that_is_killed_says_it_twice(self, office: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
        """A kill between two of them leaves the other for the next start, which says none again."""
        kept = office()
        slow = [kept.permission(HOMEOSTASIS, intent(component=each)).entry for each in "xyz"]
        later = office()
        write, written = later.scribe.write, list[Any]()

        def die_after_one(note: Any) -> int:
            if written:
                raise KeyboardInterrupt
            written.append(note)
            return write(note)

        monkeypatch.setattr(later.scribe, "write", die_after_one)
        with pytest.raises(KeyboardInterrupt):
            later.clerk.tidy()
        last = office()
        last.clerk.tidy()
        assert last.clerk.standing().interrupted == 2
        assert ends(last) == [(each, "interrupted") for each in slow]

    def test_a_full_disk_takes_it_for_said(self, office: Opened) -> None:
        """What the disk does not take now is said when it does."""
        kept = office()
        slow = kept.permission(HOMEOSTASIS, intent()).entry
        later = office()
        with room_for(0):
            later.clerk.tidy()
        assert ends(later) == []
        later.clerk.tidy()
        assert ends(later) == [(slow, "interrupted")]

    def test_an_outcome_that_no_disk_took_is_forgotten(self, office: Opened) -> None:
        """What was told and could not be written before the kill is as open as if nobody had told it."""
        kept = office()
        slow = kept.permission(HOMEOSTASIS, intent()).entry
        with room_for(0), pytest.raises(DataFileError):
            kept.clerk.tell(HOMEOSTASIS, slow, "done", "", {})
        kept.clerk._save()
        later = office()
        later.clerk.tidy()
        assert ends(later) == [(slow, "interrupted")]

    def test_a_cancelled_act_counts_after_a_restart(self, office: Opened) -> None:
        """What nobody heard the permission of is counted by no guard, in the next run neither."""
        kept = office()
        kept.permission(HOMEOSTASIS, intent(component="y"))
        hearing = Hearing()
        hearing.is_gone = True
        kept.clerk.ask(HOMEOSTASIS, intent(), hearing)
        assert office().permission(HOMEOSTASIS, intent()).allowed


class TestPutBack:
    def test_an_older_state_is_believed(self, office: Opened, state: Path) -> None:
        """One that the ledger has gone beyond is not the last: what was used is void, and what was counted counts."""
        kept = office()
        asked = kept.permission(INC, INTEGRATION)
        kept.clerk.decide(asked.approval, ADA, approve=True, reason="")
        older = state.read_bytes()
        assert kept.permission(INC, INTEGRATION).allowed
        state.write_bytes(older)
        found = known(state.parent)
        assert found.doubt.startswith(f"an older {state} was put back: it is state ")
        assert [(each.id, each.state) for each in found.kept.approvals] == [(asked.approval, "void")]
        assert [each.count.guard for each in found.kept.counted] == ["integrations_per_hour"]
        assert found.is_new

    def test_a_lifted_breach_is_believed(self, office: Opened, state: Path) -> None:
        """The same where it is a breach that the older one does not know."""
        kept = office()
        kept.permission(HOMEOSTASIS, intent(actuator="restart"))
        older = state.read_bytes()
        kept.permission(HOMEOSTASIS, intent(actuator="restart"))
        state.write_bytes(older)
        assert known(state.parent).doubt

    def test_the_state_of_an_earlier_version_is_believed(self, office: Opened, state: Path) -> None:
        """One without a number is older than any that has one."""
        kept = office()
        kept.permission(HOMEOSTASIS, intent())
        state.write_bytes(b'{"approvals":[],"measures":[]}')
        assert known(state.parent).doubt

    def test_what_was_put_back_makes_others_newer(self, office: Opened, state: Path) -> None:
        """What a start saves then is newer than all that the ledger names, the last before it, too."""
        kept = office()
        kept.permission(HOMEOSTASIS, intent())
        older = state.read_bytes()
        for _ in range(3):
            kept.clerk._save()
        kept.permission(HOMEOSTASIS, intent(component="y"))
        last = state.read_bytes()
        state.write_bytes(older)
        assert known(state.parent).doubt
        later = office()
        assert known(state.parent).doubt == ""
        later.permission(HOMEOSTASIS, intent(component="z"))
        state.write_bytes(last)
        assert known(state.parent).doubt

    @pytest.mark.parametrize("times", [1, 3])
    def test_a_death_between_state_and_entry_is_taken_for_it(self, office: Opened, state: Path, times: int) -> None:
        """A state that no entry names yet is the newest, also if several were saved without one."""
        kept = office()
        kept.permission(HOMEOSTASIS, intent())
        for _ in range(times):
            kept.clerk._save()
        assert (known(state.parent).doubt, known(state.parent).lost) == ("", "")

    def test_a_ledger_that_ends_too_early_is_believed(self, office: Opened, folder: Path) -> None:
        """A state that was saved beside more entries than there are is no state of this ledger, which may be gone."""
        kept = office()
        kept.permission(HOMEOSTASIS, intent())
        kept.clerk._save()
        kept.close()
        shutil.rmtree(folder / "audit")
        shutil.rmtree(head_folder(folder.parent, LedgerSettings()))
        assert "which ends before that" in known(folder).doubt

    def test_entries_that_went_with_a_ledger_are_not_missed(self, office: Opened, folder: Path) -> None:
        """A person who goes on from a broken ledger has not said that what it said of guards and approvals is void."""
        kept = office()
        for component in "xyz":
            kept.permission(HOMEOSTASIS, intent(component=component))
        kept.close()
        (file,) = (folder / "audit").glob("*.jsonl")
        file.write_bytes(file.read_bytes().replace(b"actuator of z", b"actuator of a"))
        done = adopt(folder.parent, LedgerSettings(), actor="ada", reason="", clock=kept.clock.time)
        assert done is not None
        assert not done.continued
        assert "what came next is gone" in known(folder).doubt

    def test_entries_that_were_dropped_as_too_old_are_missed(
        self, office: Opened, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What the ledger's own bounds have dropped is nobody's doing."""
        kept = office()
        kept.permission(HOMEOSTASIS, intent())
        monkeypatch.setattr(kept.clerk, "_keep_up", lambda: None)  # as if a death came first
        kept.close()
        settings = LedgerSettings(segment_bytes=4096, max_bytes=4096)
        with AuditLedger.open(folder.parent, settings, clock=kept.clock.time) as ledger:
            for _ in range(20):
                ledger.append(kind="filler", actor="a", summary="words " * 100)
            assert ledger.statistics().first > 3
        assert known(folder).doubt == ""

    def test_a_ledger_that_nobody_can_read_is_believed(self, office: Opened, folder: Path) -> None:
        """Where it cannot be told what was done since, nothing is known."""
        office().permission(HOMEOSTASIS, intent())
        shutil.rmtree(folder / "audit")
        (folder / "audit").touch()
        assert "what was done since cannot be read" in known(folder).doubt


class TestEarlierVersion:
    def test_its_files_are_not_read(self, office: Opened, folder: Path, state: Path) -> None:
        """What it kept in two files is known, and from then on kept in one; what it left open is found."""
        folder.mkdir(parents=True)
        kept = office(folder=None)
        asked = kept.permission(INC, INTEGRATION)
        told = msgspec.to_builtins(kept.approvals.get(asked.approval))
        state.write_bytes(msgspec.json.encode({"approvals": [told], "measures": [], "stop": {"stopped": False}}))
        (folder / FILE_NAME).write_bytes(
            b'{"count":{"guard":"actions_per_component_per_minute","key":"x"},"at":%d}\n' % kept.clock.time()
        )
        with AuditLedger.open(folder.parent, clock=kept.clock.time) as ledger:
            slow = ledger.append(kind="actuator", actor="homeostasis", component="x", code="allowed").sequence
        found = known(folder)
        assert (found.lost, found.doubt, found.is_new) == ("", "", True)
        later = office()
        assert later.permission(HOMEOSTASIS, intent()).code == "guard"
        later.clerk.tidy()
        assert ends(later) == [(slow, "interrupted")]
        (folder / FILE_NAME).unlink()
        last = office()
        assert [each.used for each in last.guards.states() if each.key] == [1]
        assert last.permission(INC, INTEGRATION).approval == asked.approval

    def test_its_counts_are_gone_unnoticed(self, folder: Path, state: Path) -> None:
        """Where the other file is gone, what was counted is lost."""
        folder.mkdir(parents=True)
        state.write_bytes(b"{}")
        assert known(folder).lost == f"{folder / FILE_NAME} is gone"

    def test_all_of_its_ledger_is_read(self, office: Opened, folder: Path, state: Path, monkeypatch: Any) -> None:
        """However long it is, no more is read than the bound, from its end."""
        monkeypatch.setattr(module, "MOST_READ", 3)
        folder.mkdir(parents=True)
        state.write_bytes(b"{}")
        (folder / FILE_NAME).touch()
        with AuditLedger.open(folder.parent) as ledger:
            slow = [ledger.append(kind="x", actor="a", code="allowed").sequence for _ in range(5)]
        assert [entry for entry, _ in known(folder).kept.open] == slow[-3:]
