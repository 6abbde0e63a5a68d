"""The register of proposals: what is saved is there the next time, within bounds, and nothing unreadable is fatal."""

import math
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aetherra.plugins.self_improvement.proposals import (
    Context,
    Evidence,
    ExpectedEffect,
    MeasuredEffect,
    Outcome,
    Proposal,
    State,
)
from aetherra.plugins.self_improvement.proposals.register import Register

CONTEXT = Context(metric="queue.normal.wait_p95", problem="beyond_setpoint", load="high")


class Cycle(msgspec.Struct, frozen=True):
    started: float
    found: tuple[str, ...] = ()


def proposal(name: str = "p1", created: float = 100.0, state: State = "proposed", **more: Any) -> Proposal:
    given: dict[str, Any] = {
        "id": name,
        "kind": "scale_up",
        "knob": "kernel.workers",
        "direction": "raise",
        "before": 4,
        "after": 8,
        "metric": CONTEXT.metric,
        "good": "down",
        "context": CONTEXT,
        "rationale": "calls wait",
        "evidence": (),
        "confidence": 0.65,
        "priority": 0.5,
        "way_back": "set 4",
        "created": created,
        "expires": created + 3600.0,
        "state": state,
    }
    return Proposal(**(given | more))


def outcome(at: float, lift: float | None = 0.2) -> Outcome:
    return Outcome(
        context=CONTEXT,
        kind="scale_up",
        knob="kernel.workers",
        direction="raise",
        before=4,
        after=8.0,
        lift=lift,
        verdict="better",
        confidence=0.65,
        at=at,
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "improvement.sqlite3"


class TestProposals:
    def test_a_proposal_comes_back_whole(self, file: Path) -> None:
        """All of its parts, in their types, after the host was started again; even figures that are no numbers."""
        whole = proposal(
            before=4.0,
            after="fifo",
            evidence=(Evidence(metric="m", since=1, until=2, points=3, statistic="r", value=math.inf, text="t"),),
            expected_effect=ExpectedEffect(lift=0.1, low=-0.1, high=0.3, outcomes=4),
            outcome=MeasuredEffect(verdict="same", lift=None, p_value=0.5),
        ).moved("applied", 200.0, "carried out")
        with Register(file) as register:
            register.save(whole)
        with Register(file) as register:
            assert register.get("p1") == whole
            assert register.load() == [whole]
            found = register.get("p1")
            assert found is not None
            assert (type(found.before), type(found.after)) == (float, str)

    def test_a_proposal_is_kept_once(self) -> None:
        """A state takes the place of the one before."""
        with Register(":memory:") as register:
            first = proposal()
            register.save(first)
            register.save(first.moved("rejected", 5.0, "no"))
            assert [each.state for each in register.load()] == ["rejected"]
            assert register.load("proposed") == []
            assert register.get("other") is None

    def test_the_open_come_before_the_latest(self) -> None:
        """A limit leaves out what was concluded long ago, and nothing that still stands."""
        with Register(":memory:") as register:
            for number in range(10):
                register.save(proposal(f"p{number}", 100.0 + number, "failed"))
            register.save(proposal("old", 1.0, "kept"))
            register.save(proposal("waiting", 2.0, "waiting_approval"))
            assert [each.id for each in register.load(limit=4)] == ["old", "waiting", "p8", "p9"]
            assert [each.id for each in register.load("failed", limit=2)] == ["p8", "p9"]

    def test_the_concluded_are_bounded(self) -> None:
        """Of the concluded the latest stay; the open and the kept all do."""
        with Register(":memory:", proposals=3) as register:
            for number in range(5):
                register.save(proposal(f"open{number}", float(number)))
                register.save(proposal(f"kept{number}", float(number), "kept"))
                register.save(proposal(f"done{number}", float(number), "expired"))
            left = [each.id for each in register.load()]
            assert [name for name in left if name.startswith("done")] == ["done2", "done3", "done4"]
            assert len(left) == 13


class TestOutcomes:
    def test_outcomes_come_back_in_order(self, file: Path) -> None:
        """Those since a time, in the order of their time, the latest where there are too many."""
        with Register(file) as register:
            for at in (3.0, 1.0, 2.0):
                register.record_outcome(outcome(at))
            register.record_outcome(outcome(4.0, None))
        with Register(file) as register:
            assert [each.at for each in register.outcomes()] == [1.0, 2.0, 3.0, 4.0]
            assert register.outcomes(since=4.0) == [outcome(4.0, None)]
            assert [each.at for each in register.outcomes(limit=2)] == [3.0, 4.0]

    def test_outcomes_are_bounded(self) -> None:
        """Those that were recorded last stay."""
        with Register(":memory:", outcomes=5) as register:
            for at in range(20):
                register.record_outcome(outcome(float(at)))
            assert [each.at for each in register.outcomes()] == [15.0, 16.0, 17.0, 18.0, 19.0]

    def test_a_state_and_what_came_of_it_are_kept_together(self) -> None:
        """A proposal saved with an outcome that cannot be kept stays as it was."""
        with Register(":memory:") as register:
            register.save(proposal())
            with pytest.raises(TypeError):
                register.save(proposal(state="failed"), outcome(1.0, object()))  # type: ignore[arg-type]
            assert [each.state for each in register.load()] == ["proposed"]
            register.save(proposal(state="undone"), outcome(1.0))
            assert [each.state for each in register.load()] == ["undone"]
            assert register.outcomes() == [outcome(1.0)]


class TestCycles:
    def test_cycles_come_back_as_what_they_are_asked_as(self, file: Path) -> None:
        """The log holds any Struct and gives back the last ones."""
        with Register(file) as register:
            for at in range(5):
                register.log_cycle(float(at), Cycle(float(at), ("queue grows",)))
            assert register.cycles(Cycle, limit=2) == [Cycle(3.0, ("queue grows",)), Cycle(4.0, ("queue grows",))]

    def test_cycles_are_bounded_by_count_and_age(self) -> None:
        """Neither many analyses nor a host that runs for long make the log grow without end."""
        with Register(":memory:", cycles=3, cycle_age=100.0) as register:
            for at in range(6):
                register.log_cycle(float(at), Cycle(float(at)))
            assert [cycle.started for cycle in register.cycles(Cycle)] == [3.0, 4.0, 5.0]
            register.log_cycle(104.5, Cycle(104.5))
            assert [cycle.started for cycle in register.cycles(Cycle)] == [5.0, 104.5]


class TestFile:
    def test_a_row_that_cannot_be_read_is_left_out_and_counted(self, file: Path) -> None:
        """One damaged, or of a later version, harms no other, and stays where it is."""
        with Register(file) as register:
            register.save(proposal("sound"))
            register.save(proposal("strange"))
            register.record_outcome(outcome(1.0))
        db = sqlite3.connect(file)
        db.execute("UPDATE proposals SET body = ? WHERE id = 'strange'", (msgspec.msgpack.encode({"id": 3}),))
        db.execute("UPDATE outcomes SET body = ?", (b"\xc1",))
        db.commit()
        db.close()
        with Register(file) as register:
            assert [each.id for each in register.load()] == ["sound"]
            assert register.get("strange") is None
            assert register.outcomes() == []
            statistics = register.statistics()
            assert (statistics.proposals, statistics.outcomes, statistics.unreadable) == (2, 1, 3)
            assert statistics.unreadable_reason.startswith("outcome 1: ")
            register.save(proposal("strange"))
            assert register.get("strange") is not None

    def test_a_damaged_file_is_set_aside(self, file: Path) -> None:
        """A new register is begun, and the old file is kept."""
        file.parent.mkdir()
        file.write_bytes(b"no database" * 100)
        with Register(file) as register:
            assert register.set_aside == file.with_name("improvement.sqlite3.corrupt-1")
            assert register.set_aside_reason
            register.save(proposal())
        assert file.with_name("improvement.sqlite3.corrupt-1").read_bytes() == b"no database" * 100

    def test_a_killed_host_loses_nothing_that_was_saved(self, file: Path) -> None:
        """After kill -9 every proposal that was acknowledged is there, and what it came to: both, or neither."""
        given = [msgspec.json.encode(each).decode() for each in (proposal(state="undone"), outcome(0.0))]
        with subprocess.Popen(
            [sys.executable, "-c", SAVING, str(file), *given], stdout=subprocess.PIPE, text=True
        ) as host:
            assert host.stdout is not None
            said = [int(host.stdout.readline()) for _ in range(30)]
            host.send_signal(signal.SIGKILL)
            said += [int(line) for line in host.stdout if line.endswith("\n")]
        with Register(file) as register:
            assert register.set_aside is None
            saved = {each.id for each in register.load(limit=10**6)}
            assert len(saved) >= len(said)
            assert saved == {each.proposal for each in register.outcomes(limit=10**6)}
            assert saved == {str(number) for number in range(len(saved))}


SAVING = """
import itertools, sys, msgspec
from msgspec.structs import replace
from aetherra.plugins.self_improvement.proposals import Outcome, Proposal
from aetherra.plugins.self_improvement.proposals.register import Register
proposal = msgspec.json.decode(sys.argv[2], type=Proposal)
outcome = msgspec.json.decode(sys.argv[3], type=Outcome)
with Register(sys.argv[1], proposals=10**6, outcomes=10**6) as register:
    for number in itertools.count():
        register.save(replace(proposal, id=str(number)), replace(outcome, proposal=str(number)))
        print(number, flush=True)
"""
