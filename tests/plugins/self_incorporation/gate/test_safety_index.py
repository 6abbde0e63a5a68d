"""Decisions and what people said of them, over restarts."""

import sqlite3

import msgspec
import pytest

from aetherra.plugins.self_incorporation.gate.decision import Decision, Ground, Line, Mode
from aetherra.plugins.self_incorporation.gate.safety_index import KEPT, Review, SafetyIndex
from aetherra.plugins.self_incorporation.gate.tiers import Tier


def decision(at=1.0, path="a.py", verdict="approved", **changed):
    made = Decision(
        item="a", root="/r", path=path, digest="d1", verdict=verdict, tier=Tier.TRUSTED, mode=Mode.STRICT, risk=0.25,
        rationale=(Ground("threat", "shell-dropper", (Line("a.py", 3),)), Ground("risk", "low", against=False)),
        capabilities=("network", "process"), missing_grants=("process:spawn",), policy="p", rules=3, decided_at=at,
    )  # fmt: skip
    return msgspec.structs.replace(made, **changed)


def kept(safety):
    with safety._database.reading() as db:
        return db.execute("SELECT count(*) FROM decisions").fetchone()[0]


@pytest.fixture
def safety():
    with SafetyIndex(":memory:") as index:
        yield index


class TestDecisions:
    def test_a_decision_does_not_survive(self, tmp_path):
        """With every ground and every line, also over a restart."""
        with SafetyIndex(tmp_path / "safety.sqlite3") as index:
            index.record(decision())
        with SafetyIndex(tmp_path / "safety.sqlite3") as index:
            assert index.latest("/r", "a.py") == decision()
            assert index.latest("/r", "b.py") is None
            assert index.latest("/s", "a.py") is None

    def test_the_same_decision_fills_the_disk(self, safety):
        """One that says nothing new is not kept again; one that does is."""
        for at in range(10):
            safety.record(decision(float(at)))
        safety.record(decision(11.0, risk=0.5))

        assert kept(safety) == 2
        assert safety.latest("/r", "a.py").risk == 0.5

    def test_a_decision_that_was_renewed_is_of_yesterday(self, safety):
        """It is from when it was said last, and hangs on what it hung on then."""
        safety.record(decision(1.0, basis="b", looked_for=("os",)))
        renewed = decision(2.0, basis="c", looked_for=("sys",))
        safety.record(renewed)

        assert kept(safety) == 1
        assert safety.latest("/r", "a.py") == renewed

    def test_old_decisions_are_kept_for_ever(self, safety):
        """Of an item that many are made of, the latest are kept, and the one that drift is measured by."""
        safety.record(decision(0.0))
        for at in range(1, KEPT + 20):
            safety.record(decision(float(at), verdict="blocked", risk=at / 1000))

        assert kept(safety) == KEPT + 1
        assert safety.baseline("/r", "a.py") == decision(0.0)

    def test_a_blocked_item_is_measured_by(self, safety):
        """What kept an item out is no measure: only what let it in, or would on approval."""
        assert safety.baseline("/r", "a.py") is None
        safety.record(decision(1.0, verdict="blocked"))
        assert safety.baseline("/r", "a.py") is None
        safety.record(decision(2.0, verdict="needs_approval"))
        safety.record(decision(3.0, verdict="quarantined"))

        assert safety.baseline("/r", "a.py").decided_at == 2.0

    def test_all_are_not_the_latest(self, safety):
        """One decision for each item, by path, of one root or of all."""
        safety.record(decision(1.0))
        safety.record(decision(2.0, risk=0.5))
        safety.record(decision(3.0, path="b.py"))
        safety.record(decision(4.0, root="/s"))

        assert [(each.root, each.path, each.risk) for each in safety.all()] == [
            ("/r", "a.py", 0.5), ("/r", "b.py", 0.25), ("/s", "a.py", 0.25),
        ]  # fmt: skip
        assert [each.path for each in safety.all("/r", limit=1)] == ["a.py"]
        assert safety.forget("/r", "a.py") == 2
        assert [each.path for each in safety.all("/r")] == ["b.py"]

    def test_a_root_leaves_with_what_came_in_from_it(self, safety):
        """Decisions of one root go, a bounded number at a time; those on some bytes stay, as do other roots'."""
        for number in range(5):
            safety.record(decision(path=f"{number}.py", digest=f"d{number}"))
        safety.record(decision(path="a.py", root="/other", digest="other"))

        assert safety.roots(but=["d1"]) == ["/other", "/r"]
        assert [safety.forget_root("/r", but=["d1"], at_most=3) for _ in range(3)] == [3, 1, 0]
        assert (safety.roots(), safety.roots(but=["d1"])) == (["/other", "/r"], ["/other"])
        assert [one.path for one in safety.all()] == ["a.py", "1.py"]

    def test_a_forged_row_is_taken_for_a_decision(self, tmp_path):
        """A file whose rows are no decisions is moved aside when it is opened after a crash."""
        path = tmp_path / "safety.sqlite3"
        with SafetyIndex(path) as index:
            index.record(decision())
        with sqlite3.connect(path) as db:
            db.execute("PRAGMA ignore_check_constraints = 1")
            db.execute("UPDATE decisions SET decision = 'no json'")
        db.close()
        with SafetyIndex(path) as index:
            assert index.set_aside is not None
            assert index.latest("/r", "a.py") is None


class TestReviews:
    def test_what_a_person_said_is_said_of_other_bytes(self, tmp_path):
        """It is bound to a digest, survives, and may be replaced."""
        with SafetyIndex(tmp_path / "safety.sqlite3") as index:
            index.review(Review("d1", "reject", "Bob", "no", 1.0))
            index.review(Review("d1", "accept", "Ada", "read it", 2.0))
        with SafetyIndex(tmp_path / "safety.sqlite3") as index:
            assert index.reviewed("d1") == Review("d1", "accept", "Ada", "read it", 2.0)
            assert index.reviewed("d2") is None
