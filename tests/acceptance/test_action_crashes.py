"""``kill -9`` at any moment, over and over: an accepted action is done, dead-lettered, or in the journal for the next.

Bounded here; in full (200 rounds at random, and death at each thing that a host does to its data directory):

    AETHERRA_FAULT_ROUNDS=200 pytest -m slow tests/acceptance/test_action_crashes.py

``AETHERRA_FAULT_SEED`` draws the same rounds again; a failure names it. ``AETHERRA_FAULT_FOLDER`` says where folders
of broken rounds are to stay.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

ROUNDS = int(os.environ.get("AETHERRA_FAULT_ROUNDS", "0"))
SEED = int(os.environ.get("AETHERRA_FAULT_SEED", "0")) or random.SystemRandom().getrandbits(30)
FOLDER = os.environ.get("AETHERRA_FAULT_FOLDER")
PROGRAM = Path(__file__).with_name("crash_rounds.py")
SIDE_BY_SIDE = 4
PHASES = {"starting", "submitting", "working", "stopping"}


def play(folder: Path, what: str, rounds: int, **options: str) -> dict[str, Any]:
    """Play rounds in several processes, and return what they saw; a broken promise fails the test."""
    if FOLDER is not None:
        folder = Path(FOLDER) / f"{what}-{SEED}-{'-'.join(options.values())}"
    processes = []
    share = -(-rounds // SIDE_BY_SIDE)
    for part in range(SIDE_BY_SIDE):
        named = {"rounds": share, "seed": SEED, "folder": folder, "part": part, "parts": SIDE_BY_SIDE, **options}
        arguments = [argument for name, value in named.items() for argument in (f"--{name}", str(value))]
        processes.append(
            subprocess.Popen(
                [sys.executable, PROGRAM, what, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        )
    seen: dict[str, Any] = {"rounds": 0, "deaths": 0, "accepted": 0, "moments": Counter[str](), "in_flight": 10**9}
    broken = []
    for process in processes:
        out, err = process.communicate()
        assert process.returncode in (0, 3), err.decode()
        report = json.loads(out)
        for name in ("rounds", "deaths", "accepted"):
            seen[name] += report[name]
        seen["moments"].update(report["moments"])
        seen["in_flight"] = min(seen["in_flight"], report["least_in_flight"])
        broken += report["broken"]
    print(f"seed {SEED}: {seen}")  # shown with a failure, and by -s
    assert not broken, "\n\n".join(broken)
    return seen


@pytest.mark.slow
@pytest.mark.timeout(60 + 3 * ROUNDS)
class TestAHostThatIsKilledAgainAndAgain:
    def test_loses_nothing_and_does_nothing_twice(self, tmp_path: Path) -> None:
        """Every action ends once, under one key only one is done, and no attempt runs beside another of its action."""
        rounds = ROUNDS or 12
        seen = play(tmp_path, "random", rounds)
        assert seen["rounds"] >= rounds
        assert seen["in_flight"] >= 50
        assert set(seen["moments"]) >= PHASES, seen
        assert all(seen["moments"][phase] >= seen["deaths"] / 50 for phase in PHASES), seen

    def test_nor_when_each_record_waits_for_the_disk(self, tmp_path: Path) -> None:
        """``durability: power`` promises at least what ``process`` does."""
        seen = play(tmp_path, "random", ROUNDS // 4 or 4, durability="power")
        assert seen["in_flight"] >= 50

    def test_nor_at_any_write_that_it_dies_of(self, tmp_path: Path) -> None:
        """Before, in the middle of, and after each call that writes, syncs or renames a file of the data directory."""
        seen = play(tmp_path, "points", 2 * ROUNDS or 24)
        expected = {"open", "write"} if ROUNDS else {"write"}
        assert expected <= set(seen["moments"]), "it writes in another way: stand before that, too"


FORKS = """
import os
from aetherra.kernel import ActionEnvelope
from aetherra.registry import Request

class Do(Request[None], tag="fork.do"):
    pass

for _ in range(3):
    if not os.fork():
        os.write(1, ActionEnvelope(Do()).trace_id.encode() + b"\\n")
        os._exit(0)
    os.wait()
print(ActionEnvelope(Do()).trace_id, flush=True)
"""


class TestAForkedHost:
    def test_names_its_actions_unlike_its_siblings(self) -> None:
        """A process that forks hosts has them draw ids of their own: a journal outlives one and is read by the next."""
        done = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, check=True)
        assert len(set(done.stdout.split())) == 4, done.stdout
