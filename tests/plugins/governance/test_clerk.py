"""Tests of the clerk: on disk before it is answered, and nothing allowed that is not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aetherra.plugins import DataFileError, Identity, Permission
from aetherra.plugins.governance import approvals
from aetherra.plugins.governance import clerk as module
from aetherra.plugins.governance.clerk import Hearing, UnknownActError, UnknownGuardError
from aetherra.plugins.governance.kept import GUARD, KEY, STATE, UNCOUNTED, Kept
from aetherra.plugins.governance.scribe import Asked, Note
from aetherra.plugins.governance.settings import Guard
from aetherra.plugins.storage import StateFile
from tests.plugins.governance.conftest import ADA, HOMEOSTASIS, INC, Office, intent, room_for

Opened = Callable[..., Office]
SECRET = "Zk3qX9vTb7LwR2mPd8Yc"
"""A name that the ledger takes for a token."""
INTEGRATION = intent("integration", "greeter", digest="a" * 64, needs_approval="policy")


def approved(kept: Office, asker: Identity = INC) -> str:
    """Have a person agree to an integration, and return the approval."""
    asked = kept.permission(asker, INTEGRATION)
    kept.clerk.decide(asked.approval, ADA, approve=True, reason="because")
    return asked.approval


class TestAsk:
    def test_what_is_allowed_is_not_on_disk(self, office: Opened) -> None:
        """A run that ends without a word leaves the use of the approval, the entry and the count."""
        kept = office()
        used = approved(kept)
        answered = kept.permission(INC, INTEGRATION)
        assert (answered.code, answered.approval) == ("allowed", used)
        later = office()
        assert later.approvals.get(used).state == "used"
        assert later.guards.states()[0].used == 1
        entry = next(later.ledger.entries(since=answered.entry))
        assert entry is not None
        assert (entry.kind, entry.actor, entry.code, entry.digest) == ("integration", INC.name, "allowed", "a" * 64)
        assert entry.facts["approval"] == used

    def test_a_changed_item_is_allowed(self, office: Opened) -> None:
        """What was approved is void once another content is asked for, over a restart as well."""
        kept = office()
        used = approved(kept)
        other = intent("integration", "greeter", digest="b" * 64, needs_approval="policy")
        answer = kept.ask(INC, other)
        assert [each.id for each in answer.voided] == [used]
        assert answer.permission.code == "needs_approval"
        assert office().permission(INC, INTEGRATION).code == "needs_approval"
        assert office().approvals.get(used).state == "void"

    def test_other_words_use_an_approval_unseen(self, office: Opened) -> None:
        """The digest says what is to be done; where the words changed since, list and ledger have both."""
        kept = office()
        asked = kept.permission(INC, INTEGRATION).approval
        kept.permission(INC, msgspec.structs.replace(INTEGRATION, summary="bring it in, as 3 have asked"))
        kept.clerk.tidy()
        assert office().approvals.get(asked).since == "bring it in, as 3 have asked"
        kept.clerk.decide(asked, ADA, approve=True, reason="")
        answer = kept.permission(INC, msgspec.structs.replace(INTEGRATION, summary="bring it in, as 4 have asked"))
        assert (answer.code, answer.approval) == ("allowed", asked)
        decided, acted = kept.ledger.tail(2)
        assert decided.facts["asked_since_as"] == "bring it in, as 3 have asked"
        assert (acted.summary, acted.facts["agreed_to"]) == ("bring it in, as 4 have asked", INTEGRATION.summary)
        assert kept.approvals.get(asked).since == "bring it in, as 4 have asked"

    def test_a_figure_in_a_sentence_wears_the_disk_out(self, office: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
        """Words alone are told at once, and wait for the next tidying to be on disk, which then has nothing to do."""
        kept = office()
        asked = kept.permission(INC, INTEGRATION).approval
        saved: list[Kept] = []
        monkeypatch.setattr(kept.clerk._file, "save", saved.append)
        for number in range(3):
            kept.permission(INC, msgspec.structs.replace(INTEGRATION, summary=f"as {number} have asked"))
        assert (kept.approvals.get(asked).since, saved) == ("as 2 have asked", [])
        kept.clerk.tidy()
        kept.clerk.tidy()
        assert [each.since for state in saved for each in state.approvals] == ["as 2 have asked"]

    def test_an_approval_that_is_remembered_no_more_was_never_given(
        self, office: Opened, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One that is the oldest of too many is forgotten when it is used, and has been used all the same, once."""
        monkeypatch.setattr(approvals, "REMEMBERED", 0)
        kept = office()
        used = approved(kept)
        answer = kept.permission(INC, INTEGRATION)
        assert (answer.code, answer.approval) == ("allowed", used)
        assert kept.ledger.tail(1)[0].facts["approval"] == used
        assert office().permission(INC, INTEGRATION).code == "needs_approval"

    def test_many_at_once_use_one_approval_twice(self, office: Opened) -> None:
        """However many ask at the same time, one of them has the use of an approval."""
        kept = office(integrations_per_hour=Guard(100, 3600.0, "pause_self_incorporation"))
        approved(kept)
        answers: list[Permission] = []
        start = threading.Barrier(8)

        def ask() -> None:
            start.wait()
            answers.append(kept.permission(INC, INTEGRATION))

        askers = [threading.Thread(target=ask) for _ in range(8)]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()
        assert sorted(each.code for each in answers) == ["allowed"] + ["needs_approval"] * 7
        assert [code for *_, code in kept.entries()].count("allowed") == 1

    def test_many_at_once_pass_one_limit(self, office: Opened) -> None:
        """However many ask at the same time, no more are let pass than the guard's limit."""
        kept = office()
        codes: list[str] = []
        start = threading.Barrier(12)

        def ask(number: int) -> None:
            start.wait()
            codes.append(kept.permission(INC, intent("integration", str(number))).code)

        askers = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()
        assert (codes.count("allowed"), set(codes)) == (5, {"allowed", "guard", "paused"})

    def test_a_stop_while_it_is_written_comes_too_late(self, office: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
        """A stop that is said while an answer is written makes it a no, also in the ledger, and nothing is used up."""
        kept = office()
        used = approved(kept)
        question = kept.scribe.question

        def stop_meanwhile(*said: Any) -> Asked:
            asked = question(*said)
            kept.stop.stop("ada", "smoke")
            return asked

        monkeypatch.setattr(kept.scribe, "question", stop_meanwhile)
        assert kept.permission(INC, INTEGRATION).code == "stopped"
        assert kept.guards.states()[0].used == 0
        assert office().guards.states()[0].used == 0
        assert office().approvals.get(used).state == "approved"
        assert [code for *_, code in kept.entries()][-2:] == ["allowed", "cancelled"]

    def test_nobody_waits_and_it_counts_as_done(self, office: Opened) -> None:
        """What was allowed to somebody who has gone is written as cancelled, whether they went before or after."""
        kept = office()
        gone = Hearing()
        kept.clerk.give_up(gone)
        kept.clerk.ask(HOMEOSTASIS, intent(component="x"), gone)
        late = Hearing()
        entry = kept.clerk.ask(HOMEOSTASIS, intent(component="y"), late).permission.entry
        kept.clerk.give_up(late)
        kept.clerk.give_up(late)
        assert [(component, code) for _, _, component, code in kept.entries()] == [
            ("x", "allowed"),
            ("x", "cancelled"),
            ("y", "allowed"),
            ("y", "cancelled"),
        ]
        assert kept.clerk.check(HOMEOSTASIS, entry).code == "refused"
        assert not [state.key for state in kept.guards.states() if state.key]

    def test_a_name_that_the_ledger_redacts_is_not_counted(self, office: Opened) -> None:
        """What counts an act outlives the run also where the ledger takes its name for a secret."""
        kept = office()
        assert kept.permission(HOMEOSTASIS, intent(component=SECRET)).allowed
        assert SECRET not in [entry.facts.get(KEY) for entry in kept.ledger.entries()]
        assert office().permission(HOMEOSTASIS, intent(component=SECRET)).code == "guard"

    def test_a_plugin_says_what_only_governance_may(self, office: Opened) -> None:
        """A fact by the name of one of governance's own is left out, of a question and of an outcome."""
        kept = office()
        lies: dict[str, Any] = {STATE: 99, GUARD: "integrations_per_hour", KEY: INC.name, UNCOUNTED: True, "lag": 1}
        entry = kept.permission(HOMEOSTASIS, intent(undo=True, facts=lies)).entry
        kept.clerk.tell(HOMEOSTASIS, entry, "done", "", lies)
        assert [entry.facts for entry in kept.ledger.entries(since=entry)] == [
            {STATE: 1, "lag": 1, "undo": True},
            {STATE: 2, "lag": 1},
        ]

    def test_a_breach_is_forgotten(self, office: Opened) -> None:
        """What is in force because of a breach outlives the run, and the ledger names it."""
        kept = office()
        kept.permission(HOMEOSTASIS, intent(actuator="restart"))
        kept.permission(HOMEOSTASIS, intent(actuator="restart"))
        later = office()
        assert later.permission(HOMEOSTASIS, intent(component="y", actuator="restart")).code == "paused"
        assert [entry.facts.get("breach") for entry in later.ledger.entries() if entry.code == "guard"] == [
            "disable_actuator"
        ]


class TestPeek:
    def test_a_peek_leaves_a_trace(self, office: Opened) -> None:
        """It says what would be answered and leaves nothing anywhere."""
        kept = office()
        kept.permission(HOMEOSTASIS, intent())
        before = (kept.entries(), kept.clerk.standing())
        peeks = [kept.clerk.peek(HOMEOSTASIS, intent()), kept.clerk.peek(INC, INTEGRATION)]
        assert [each.code for each in peeks] == ["guard", "needs_approval"]
        assert peeks[0].reason.startswith("one more actuator would be more than guard")
        assert peeks[0].reason.endswith("; again in 60 s")
        assert (kept.entries(), kept.clerk.standing()) == before


class TestCheckAndTell:
    def test_what_came_of_it_is_nowhere(self, office: Opened) -> None:
        """The outcome refers to the entry that allowed it, and is told once, by the one to whom it was allowed."""
        kept = office()
        entry = kept.permission(HOMEOSTASIS, intent()).entry
        assert kept.clerk.check(HOMEOSTASIS, entry).allowed
        with pytest.raises(UnknownActError):
            kept.clerk.tell(INC, entry, "done", "", {})
        number = kept.clerk.tell(HOMEOSTASIS, entry, "failed", "it broke", {"lag": 1.5})
        told = next(kept.ledger.entries(since=number))
        assert told is not None
        assert (told.refers_to, told.code, told.summary, told.facts["lag"]) == (entry, "failed", "it broke", 1.5)
        with pytest.raises(UnknownActError, match=f"entry {entry} of the ledger is no act of yours"):
            kept.clerk.tell(HOMEOSTASIS, entry, "done", "", {})

    def test_a_stop_leaves_what_is_under_way(self, office: Opened) -> None:
        """Between steps a stop is heard, at once, and the end of it as well; nobody hears of others' acts."""
        kept = office()
        entry = kept.permission(HOMEOSTASIS, intent()).entry
        kept.stop.stop("ada", "smoke")
        assert kept.clerk.check(HOMEOSTASIS, entry).code == "stopped"
        kept.stop.lift("ada", "")
        assert kept.clerk.check(HOMEOSTASIS, entry).allowed
        assert kept.clerk.check(INC, entry).code == "refused"
        assert kept.clerk.check(HOMEOSTASIS, 999).code == "refused"

    def test_an_outcome_is_lost_with_the_disk(self, office: Opened) -> None:
        """What came of something while the disk was full is said to be unwritten, and is written later."""
        kept = office()
        entry = kept.permission(HOMEOSTASIS, intent()).entry
        with room_for(0), pytest.raises(DataFileError):
            kept.clerk.tell(HOMEOSTASIS, entry, "done", "", {})
        assert kept.clerk.standing().untold == 1
        kept.clerk.tidy()
        assert (kept.clerk.standing().untold, kept.entries()[-1][3]) == (0, "done")

    def test_acts_that_nobody_ends_fill_the_memory(self, office: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of too many that are under way the oldest may go no further, and end as interrupted."""
        monkeypatch.setattr(module, "MOST_OPEN", 3)
        kept = office(folder=None)
        entries = [kept.permission(HOMEOSTASIS, intent(component=str(number))).entry for number in range(4)]
        assert [kept.clerk.check(HOMEOSTASIS, entry).allowed for entry in entries] == [False, True, True, True]
        kept.clerk.tidy()
        assert [(each.refers_to, each.code) for each in kept.ledger.tail(1)] == [(entries[0], "interrupted")]


class TestWithdraw:
    def test_a_wish_that_is_over_comes_back(self, office: Opened) -> None:
        """What its asker has withdrawn is void in the next run, too, stands in the ledger, and is asked about anew."""
        kept = office()
        asked = approved(kept)
        kept.clerk.withdraw(asked, INC, "it came in meanwhile")

        assert kept.entries()[-1] == ("governance.withdraw", str(INC), "greeter", "void")
        later = office()
        assert (later.approvals.get(asked).state, later.approvals.get(asked).reason) == ("void", "it came in meanwhile")
        assert later.permission(INC, INTEGRATION).code == "needs_approval"

    def test_a_full_disk_has_it_stand(self, office: Opened) -> None:
        """It is void at once, whatever the disk takes, and on disk once that has room."""
        kept = office()
        asked = approved(kept)
        with room_for(0), pytest.raises(DataFileError):
            kept.clerk.withdraw(asked, INC, "it is gone")
        assert kept.approvals.get(asked).state == "void"
        kept.clerk.tidy()
        assert office().approvals.get(asked).state == "void"
        assert kept.entries()[-1] == ("governance.withdraw", str(INC), "greeter", "void")


class TestFullDisk:
    def test_something_is_allowed(self, office: Opened) -> None:
        """Nothing is, and the reason is clear; refusals keep theirs; once there is room all goes on by itself."""
        kept = office()
        used = approved(kept)
        kept.permission(HOMEOSTASIS, intent())
        with room_for(0):
            answers = [
                kept.permission(INC, INTEGRATION),
                kept.permission(INC, intent("integration", "other", needs_approval="policy")),
                kept.permission(HOMEOSTASIS, intent(component="y")),
                kept.permission(HOMEOSTASIS, intent()),
            ]
            assert [each.code for each in answers] == ["unrecorded", "unrecorded", "unrecorded", "guard"]
            assert "it cannot be recorded, so it is not allowed: " in answers[0].reason
            assert kept.clerk.standing().problem
            assert kept.approvals.get(used).state == "approved"
        assert kept.permission(INC, INTEGRATION).allowed
        assert kept.permission(HOMEOSTASIS, intent(component="y")).allowed
        kept.clerk.tidy()
        assert kept.clerk.standing().problem == ""
        later = office()
        assert [each.breach for each in later.measures.in_force()] == ["disable_actuator"]
        assert later.ledger.verify().ok

    @pytest.mark.parametrize("place", ["state", "ledger", "count"])
    def test_one_place_is_enough(
        self, office: Opened, tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """If any one cannot be written, nothing is allowed and the approval is unused; then it is used once.

        A count is written by itself only where the ledger does not say it as it is.
        """
        folder = tmp_path / "data" / "governance"
        asker = Identity("plugin", SECRET, 1) if place == "count" else INC
        kept = office()
        used = approved(kept, asker)
        size = 1_000_000
        if place == "state":
            (folder / "state.json.new").mkdir()
        elif place == "ledger":
            for _ in range(100):
                kept.scribe.write(Note(kind="filler", actor="a", summary="words " * 150))
            size = 50_000
        else:
            question = kept.scribe.question

            def and_no_more(*said: Any) -> Asked:
                asked = question(*said)
                (folder / "state.json.new").mkdir()
                return asked

            monkeypatch.setattr(kept.scribe, "question", and_no_more)
        with room_for(size):
            assert kept.permission(asker, INTEGRATION).code == "unrecorded"
        monkeypatch.undo()
        assert kept.approvals.get(used).state == "approved"
        assert kept.guards.states()[0].used == 0
        if place != "ledger":
            (folder / "state.json.new").rmdir()
        answers = [kept.permission(asker, INTEGRATION).code for _ in range(2)]
        assert answers == ["allowed", "needs_approval"]
        later = office()
        assert later.approvals.get(used).state == "used"
        assert later.guards.states()[0].used == 1

    def test_a_no_needs_the_disk(self, office: Opened) -> None:
        """A yes that cannot be written is none; a no holds all the same."""
        kept = office()
        asked = kept.permission(INC, INTEGRATION).approval
        with room_for(0):
            with pytest.raises(DataFileError):
                kept.clerk.decide(asked, ADA, approve=True, reason="")
            assert kept.approvals.get(asked).state == "pending"
            with pytest.raises(DataFileError):
                kept.clerk.decide(asked, ADA, approve=False, reason="")
            assert kept.approvals.get(asked).state == "denied"
        kept.clerk.tidy()
        assert office().approvals.get(asked).state == "denied"
        assert [kind for kind, *_ in kept.entries()] == ["integration", "governance.deny"]

    def test_a_reset_that_nobody_wrote_counts(self, office: Opened) -> None:
        """A reset that cannot be written has changed nothing."""
        kept = office()
        kept.permission(HOMEOSTASIS, intent())
        kept.permission(HOMEOSTASIS, intent())
        before = kept.clerk.standing()
        with room_for(0), pytest.raises(DataFileError):
            kept.clerk.reset("actions_per_component_per_minute", None, ADA, "")
        after = kept.clerk.standing()
        assert (after.guards, after.measures) == (before.guards, before.measures)

    def test_half_a_reset_counts(self, office: Opened, tmp_path: Path) -> None:
        """A reset of which a part was written is taken back, in the ledger and on disk as well."""
        kept = office()
        kept.permission(HOMEOSTASIS, intent())
        kept.permission(HOMEOSTASIS, intent())
        beside = tmp_path / "data" / "governance" / "state.json.new"
        beside.mkdir()
        with pytest.raises(DataFileError):
            kept.clerk.reset("actions_per_component_per_minute", None, ADA, "")
        beside.rmdir()
        later = office()
        assert [measure.breach for measure in later.measures.in_force()] == ["disable_actuator"]
        assert [state.used for state in later.guards.states() if state.key] == [1]
        resets = [code for kind, *_, code in later.entries() if kind == "governance.reset_guard"]
        assert resets == ["", "cancelled"]


class TestReset:
    def test_a_reset_does_not_last(self, office: Opened) -> None:
        """What was counted and in force is over, after a restart too, and the ledger says who did it and why."""
        kept = office()
        for key in ("x", "y"):
            kept.permission(HOMEOSTASIS, intent(component=key))
        kept.permission(HOMEOSTASIS, intent(component="x"))
        forgotten, lifted = kept.clerk.reset("actions_per_component_per_minute", "x", ADA, "it is well")
        assert (forgotten, [each.key for each in lifted]) == (1, ["x"])
        later = office()
        assert later.permission(HOMEOSTASIS, intent(component="x")).allowed
        assert later.permission(HOMEOSTASIS, intent(component="y")).code == "guard"
        reset = next(entry for entry in later.ledger.entries() if entry.kind == "governance.reset_guard")
        assert (reset.actor, reset.facts["reason"]) == ("remote client 'ada'", "it is well")

    def test_an_unknown_guard_is_reset(self, office: Opened) -> None:
        """A name that is none is answered with those there are."""
        with pytest.raises(UnknownGuardError, match=r"integrations_per_hour, .*, state"):
            office(folder=None).clerk.reset("integrations", None, ADA, "")


class TestStop:
    def test_a_stop_is_written_twice(self, office: Opened) -> None:
        """A stop and its end are written once each, also what was said while no host ran."""
        kept = office()
        for _ in range(2):
            kept.clerk.note_stop(kept.stop.last())
        kept.stop.stop("ada", "smoke")
        for _ in range(2):
            kept.clerk.note_stop(kept.stop.last())
        later = office()
        later.clerk.note_stop(later.stop.last())
        later.stop.lift("bob", "a drill")
        last = office()
        last.clerk.note_stop(last.stop.last())
        again = office()
        again.clerk.note_stop(again.stop.last())
        assert [(kind, actor) for kind, actor, *_ in last.entries()] == [
            ("governance.stop", "ada"),
            ("governance.lift", "bob"),
        ]


class TestTidy:
    def test_a_start_reads_all_that_was_ever_written(
        self, office: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The state on disk is never far behind the ledger, and counts nothing twice."""
        monkeypatch.setattr(module, "MOST_BEHIND", 5)
        kept = office()
        for number in range(9):
            kept.permission(HOMEOSTASIS, intent(component=str(number)))
        saved = StateFile(tmp_path / "data" / "governance" / "state.json", Kept).load()
        assert saved is not None
        assert 0 < kept.scribe.last - saved.entry < 5
        counted = [state.key for state in office().guards.states() if state.key]
        assert counted == [str(number) for number in range(9)]
