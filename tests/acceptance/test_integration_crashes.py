"""``kill -9`` while something is brought in, or taken out again: what is there is all old or all new, to the byte.

Bounded here; in full:

    AETHERRA_FAULT_ROUNDS=100 pytest -m slow tests/acceptance/test_integration_crashes.py

``AETHERRA_FAULT_SEED`` draws the same rounds again; a failure names it, and the folder that was left.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROUNDS = int(os.environ.get("AETHERRA_FAULT_ROUNDS", "0"))
SEED = int(os.environ.get("AETHERRA_FAULT_SEED", "0")) or random.SystemRandom().getrandbits(30)
PROGRAM = Path(__file__).with_name("integration_rounds.py")
SIDE_BY_SIDE = 2


@pytest.mark.slow
@pytest.mark.timeout(240 + 15 * ROUNDS)
def test_what_a_killed_host_leaves_is_all_old_or_all_new() -> None:
    """Files, registrations and what serves, wherever integrating or rolling back was cut off."""
    rounds = ROUNDS or 8
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                PROGRAM,
                "--rounds",
                str(-(-rounds // SIDE_BY_SIDE)),
                "--seed",
                str(SEED),
                "--part",
                str(part),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for part in range(SIDE_BY_SIDE)
    ]
    found: Counter[str] = Counter()
    deaths, broken, calls = 0, [], []
    for process in processes:
        out, err = process.communicate()
        assert process.returncode in (0, 3), err.decode()
        report = json.loads(out)
        broken += [f"{one}\n{err.decode()[-4000:]}" for one in report["broken"]]
        deaths += report["deaths"]
        calls += report["calls"]
        found.update(report["found"])
    print(f"seed {SEED}: {deaths} deaths, {dict(found)}, at any of {calls} calls")  # shown with a failure, and by -s
    assert not broken, "\n\n".join(broken)
    assert deaths >= rounds / 2
    assert min(calls) > 20, "it writes in another way: stand before that, too"
    if ROUNDS >= 50:
        assert set(found) == {"in: old", "in: new", "back: old", "back: new"}
