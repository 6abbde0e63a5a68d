"""Processes that work on the files of one dead letter queue, as their first argument says; run by the fault tests."""

from __future__ import annotations

import json
import logging
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aetherra.kernel import ActionPriority, DeadLetter, DlqConfig, RetryPolicy
from aetherra.kernel.actions.dlq import DeadLetterQueue

LIMITS = DlqConfig(max_bytes=8192, files=1000)


def letter(name: str, size: int = 0) -> DeadLetter:
    return DeadLetter(1.0, "failed", name, "faults.water", {"x": "y" * size}, ActionPriority.LOW, 1, 1.0, RetryPolicy())


def tell(what: str, *names: str) -> None:
    """Say it in one step, so that a death cannot tear it."""
    os.write(1, b"".join(f"{what} {name}\n".encode() for name in names))


def names(queue: DeadLetterQueue) -> list[str]:
    return [found.trace_id for found in queue.items(limit=100_000)]


def add(path: Path, prefix: str, count: int) -> None:
    """Add letters, and tell which are safe."""
    queue = DeadLetterQueue(path, LIMITS)
    for i in range(count):
        tell("safe", *queue.add(letter(f"{prefix}{i}", size=i % 7 * 100)))
    while queue.statistics().unwritten:
        tell("safe", *queue.flush())
    queue.close()


def remove(path: Path, seed: int, rounds: int) -> None:
    """Remove letters at random, and tell which are gone by this."""
    chance = random.Random(seed)
    queue = DeadLetterQueue(path, LIMITS)
    for _ in range(rounds):
        there = names(queue)
        while not there:  # those who add may not have had their turn yet
            time.sleep(0.001)
            there = names(queue)
        chosen = chance.sample(there, min(len(there), 3))
        for name in chosen:
            tell("gone", *[name] * queue.remove({name}))
    queue.close()


def purge(path: Path, rounds: int) -> None:
    """Remove what is in the way of nobody else, again and again, and tell how many those were."""
    queue = DeadLetterQueue(path, LIMITS)
    for i in range(rounds):
        queue.add(letter(f"purged{i}"))
        tell("purged", *["x"] * queue.remove([f"purged{j}" for j in range(i + 1)]))
    while queue.statistics().unwritten:
        queue.flush()
    tell("purged", *["x"] * queue.remove([f"purged{i}" for i in range(rounds)]))
    queue.close()


def read(path: Path) -> None:
    """Read all the time, until told to stop, and tell what no reader may ever see."""
    queue = DeadLetterQueue(path, LIMITS, tidy=False)
    rounds = 0
    os.set_blocking(0, False)
    while sys.stdin.read(1) != "s":
        found = names(queue)
        rounds += 1
        if len(found) != len(set(found)):
            tell("doubled", json.dumps(found))
        for prefix in ("a", "b"):
            numbers = [int(name[1:]) for name in found if name[0] == prefix]
            if numbers != sorted(numbers, reverse=True):
                tell("disorder", json.dumps(numbers))
        if queue.statistics().unreadable:
            tell("unreadable", str(queue.statistics().unreadable))
    tell("rounds", str(rounds))
    queue.close()


def live(path: Path, seed: int, first: int) -> None:
    """Add and remove for ever, and tell each step before and after it; somebody will put an end to it."""
    chance = random.Random(seed)
    queue = DeadLetterQueue(path, DlqConfig(max_bytes=4096, files=1000))
    tell("begun", "x")
    there = names(queue)
    number = first
    while True:
        if len(there) < 20 or chance.random() < 0.5:
            number += 1
            tell("adding", f"t{number}")
            safe = queue.add(letter(f"t{number}", size=chance.randrange(800)))
            tell("safe", *safe)
            there += safe
        else:
            chosen = set(chance.sample(there, chance.randrange(1, 6)))
            tell("removing", *chosen)
            queue.remove(chosen)
            tell("gone", *chosen)
            there = [name for name in there if name not in chosen]


def kill(path: Path, rounds: int, seed: int) -> None:
    """Have a child live, kill it at a random moment, and look what is there; again and again."""
    chance = random.Random(seed)
    logging.disable(logging.CRITICAL)
    expected: set[str] = set()
    number, steps, in_doubt = 0, 0, 0
    for _ in range(rounds):
        ours, theirs = os.pipe()
        child = os.fork()
        if child == 0:
            os.dup2(theirs, 1)
            os.close(ours)
            live(path, chance.randrange(2**32), number)
        os.close(theirs)
        with os.fdopen(ours, "rb") as pipe:
            said = pipe.readline()
            time.sleep(chance.uniform(0, 0.03))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            said += pipe.read()
        maybe: set[str] = set()
        for line in said.decode().split("\n")[:-1]:
            what, name = line.split()
            steps += 1
            match what:
                case "adding":
                    maybe.add(name)
                    number = int(name[1:])
                case "safe":
                    maybe.discard(name)
                    expected.add(name)
                case "removing":
                    expected.discard(name)
                    maybe.add(name)
                case "gone":
                    maybe.discard(name)
        queue = DeadLetterQueue(path, LIMITS, tidy=False)
        found = names(queue)
        queue.close()
        assert len(found) == len(set(found)), f"doubled: {found}"
        assert expected <= set(found), f"lost: {expected - set(found)}"
        assert set(found) <= expected | maybe, f"risen again: {set(found) - expected - maybe}"
        in_doubt += len(maybe)
        expected = set(found)
    print(json.dumps({"steps": steps, "in doubt": in_doubt, "left": len(expected)}))


def limited(path: Path) -> None:
    """Reach a limit of file size, as of a full disk, and go on once it is lifted."""
    queue = DeadLetterQueue(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    assert queue.add(letter("t0", 300)) == ["t0"]
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 200, hard))
    assert queue.add(letter("t1", 300)) == []
    assert queue.add(letter("t2", 300)) == []
    assert names(queue) == ["t2", "t1", "t0"]
    assert path.read_bytes().count(b"\n") == 1
    assert path.read_bytes().endswith(b"\n"), "the part that was written is taken back"
    assert queue.statistics().unwritten == 2
    assert queue.remove({"t0"}) == 1, "there is always room for less"
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert queue.add(letter("t3")) == ["t1", "t2", "t3"]
    assert names(queue) == ["t3", "t2", "t1"]
    assert queue.statistics().unwritten == 0
    queue.close()


def mounted(folder: Path) -> None:
    """On a small disk of its own: full, read-only, and well again."""

    def mount(*arguments: str) -> None:
        subprocess.run(["mount", *arguments, str(folder)], check=True)

    mount("-t", "tmpfs", "-o", "size=64k", "none")
    path = folder / "kernel_dlq.jsonl"
    queue = DeadLetterQueue(path)
    added = 0
    while not queue.statistics().unwritten:
        queue.add(letter(f"t{added}", 3000))
        added += 1
    queue.add(letter("small"))
    whole = [f"t{i}" for i in reversed(range(added))]
    assert set(names(queue)) == {"small", *whole}
    purged = queue.remove([f"t{i}" for i in range(added)])
    assert purged == added, "a full disk keeps nobody from making room"
    queue.flush()
    assert names(queue) == ["small"]
    assert queue.statistics().unwritten == 0

    queue.close()  # a disk is not made read-only while a file on it is open for writing
    mount("-o", "remount,ro")
    assert queue.add(letter("readonly")) == []
    assert names(queue) == ["readonly", "small"]
    with pytest.raises(OSError, match="Read-only file system"):
        queue.remove()
    again = DeadLetterQueue(path)
    assert names(again) == ["small"]
    again.close()
    mount("-o", "remount,rw")
    assert queue.flush() == ["readonly"]
    assert names(queue) == ["readonly", "small"]
    queue.close()


if __name__ == "__main__":
    if sys.argv[1] != "kill":
        logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    globals()[sys.argv[1]](Path(sys.argv[2]), *(int(word) if word.isdigit() else word for word in sys.argv[3:]))
