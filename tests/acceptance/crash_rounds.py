"""Rounds of sudden death: a host is killed again and again over one folder, lives once more in peace, and is judged.

    python tests/acceptance/crash_rounds.py random --rounds 200 --folder /tmp/rounds --seed 7

Prints what it saw as JSON and exits with 3 if a promise was broken; then the folder of each broken round is left as it
is, and its seed alone, with ``--rounds 1``, draws the same lives and the same moments of death again. A process forks
each life, as it has imported everything: a life begins in a few milliseconds, and dies where it works, not where it
imports.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import select
import shutil
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import crash_host
import msgspec
from crash_host import Life
from crash_points import How

MOMENTS = ("starting", "submitting", "working", "stopping", "anytime")
IN_FLIGHT = 50
HOWS: tuple[How, ...] = ("before", "half", "after")
POINTS = 100
"""Things that a short life does to its data directory, about."""
SHORT = ("quick", "retry", "fail", "reject")
PATIENCE = 30.0
"""Seconds after which a life that was to come to something has failed to."""
DATA = ".aetherra"


class BrokenError(Exception):
    """A promise was broken; the text says which."""


class Evidence:
    """What the oracle and the dead letter queue say."""

    def __init__(self, folder: Path) -> None:
        self.accepted: dict[str, dict[str, Any]] = {}
        self.keys: dict[str, str] = {}
        self.begun: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.done: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.told_done: dict[str, dict[str, Any]] = {}
        self.phases: dict[int, list[str]] = defaultdict(list)
        self.lines: list[dict[str, Any]] = []
        self._folder = folder
        self._read = 0
        self._torn = 0

    def look(self) -> Evidence:
        """Read what is new."""
        file = self._folder / "oracle.jsonl"
        if not file.exists():
            return self
        with file.open("rb") as oracle:
            oracle.seek(self._read)
            new = oracle.read()
        new = new[: new.rfind(b"\n") + 1]
        self._read += len(new)
        for text in new.splitlines():
            try:
                line = json.loads(text)
            except ValueError:  # a life died in the middle of saying it
                self._torn += 1
                if self._torn > len(self.phases):
                    raise BrokenError(f"{self._torn} lines of {len(self.phases)} lives are torn: {text!r}") from None
                continue
            self._take(line)
        return self

    def _take(self, line: dict[str, Any]) -> None:
        self.lines.append(line)
        match line["what"]:
            case "phase":
                self.phases[line["life"]].append(line["phase"])
            case "accepted":
                self.accepted.setdefault(line["trace"], line)
                if line["key"]:
                    self.keys[line["trace"]] = line["key"]
            case "begun":
                self.begun[line["trace"]].append(line)
            case "ended" if line["how"] == "done":
                self.done[line["trace"]].append(line)
            case "done":
                self.told_done[line["trace"]] = line

    def letters(self) -> dict[str, list[dict[str, Any]]]:
        """The dead letters, by trace id."""
        found: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for file in sorted((self._folder / DATA).glob("kernel_dlq*.jsonl*")):
            try:
                lines = file.read_bytes().splitlines()
            except FileNotFoundError:  # a host that lives has put another in its place
                continue
            for line in lines:
                try:
                    letter = json.loads(line)
                except ValueError:  # torn by a death
                    continue
                found[letter["trace_id"]].append(letter)
        return found

    def open(self) -> set[str]:
        """What was accepted and of which no end is known."""
        return self.accepted.keys() - self.done.keys() - self.letters().keys()


class Lives:
    """The lives over one folder, one after the other."""

    def __init__(self, folder: Path, seed: int, backend: str, durability: str) -> None:
        self.folder = folder
        self.evidence = Evidence(folder)
        self.killed: dict[int, str] = {}
        self.count = 0
        self.in_flight = 0
        self.random = random.Random(seed)
        self._backend = backend
        self._durability = durability

    def begin(self, **what: Any) -> Living:
        """Fork a life."""
        self.count += 1
        control, end = os.pipe()
        life = Life(
            folder=str(self.folder),
            number=self.count,
            seed=self.random.getrandbits(32),
            backend=self._backend,
            durability=self._durability,
            late=self.random.random() < 0.3,
            control=control,
            **what,
        )
        log = os.open(self.folder / f"life-{self.count}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        process = os.fork()
        if not process:
            status = 70
            try:
                os.close(end)
                crash_host.live(life, log)
                status = 0
            except BaseException:
                sys.excepthook(*sys.exc_info())
                raise
            finally:
                os._exit(status)
        os.close(log)
        os.close(control)
        return Living(self, process, end)

    def note_death(self) -> None:
        """Keep where the life that was just killed was, and what it left."""
        evidence = self.evidence.look()
        phases = evidence.phases.get(self.count, ["forking"])
        self.killed[self.count] = phases[-1]
        self.in_flight = max(self.in_flight, len(evidence.open()))

    def log(self) -> str:
        """What the last life logged, the end of it."""
        return (self.folder / f"life-{self.count}.log").read_text(encoding="utf-8", errors="replace")[-4000:]


class Living:
    """A life that goes on."""

    def __init__(self, lives: Lives, process: int, control: int) -> None:
        self._lives = lives
        self._process = process
        self._control = control
        self._descriptor = os.pidfd_open(process)

    def wait(self, seconds: float) -> bool:
        """Wait for its end; whether it came."""
        return bool(select.select([self._descriptor], [], [], max(0.0, seconds))[0])

    def wait_until(self, condition: Callable[[Evidence], Any], what: str) -> None:
        """Wait until what is written down fulfils a condition."""
        end = time.monotonic() + PATIENCE
        while not condition(self._lives.evidence.look()):
            if self.wait(0.002):
                condition(self._lives.evidence.look()) or self._fail(f"it ended before this: {what}")
                return
            if time.monotonic() > end:
                self.kill()
                self._fail(f"not within {PATIENCE:g} s: {what}; open: {sorted(self._lives.evidence.open())[:5]}")

    def reach(self, phase: str) -> None:
        """Wait until it says that it has reached a phase."""
        number = self._lives.count
        self.wait_until(lambda evidence: phase in evidence.phases[number], phase)

    def tell_to_stop(self) -> None:
        """Have it stop in order."""
        os.write(self._control, b".")

    def kill(self) -> None:
        """End it as nothing else does, unless it has come to its own end."""
        os.kill(self._process, signal.SIGKILL)  # not waited for yet: the number is still its own
        if self.end() == -signal.SIGKILL:
            self._lives.note_death()

    def stop(self) -> None:
        """Have it stop in order and wait until it has."""
        self.tell_to_stop()
        if not self.wait(PATIENCE):
            self.kill()
            self._fail("it did not stop")
        self.expect_peace()

    def expect_peace(self) -> None:
        """Take its end, which must be a good one."""
        status = self.end()
        if status:
            self._fail(f"it ended by itself with {status}")

    def end(self) -> int:
        """Return its exit status, or the signal that ended it as a negative number."""
        _, status = os.waitpid(self._process, 0)
        os.close(self._descriptor)
        os.close(self._control)
        return os.waitstatus_to_exitcode(status)

    def wait_for_death(self) -> bool:
        """Wait until it dies by itself, or has seen all to its end and stopped; whether it died."""
        number, end, told = self._lives.count, time.monotonic() + PATIENCE, False
        while not self.wait(0.002):
            evidence = self._lives.evidence.look()
            if not told and "submitted" in evidence.phases[number] and not evidence.open():
                self.tell_to_stop()
                told = True
            if time.monotonic() > end:
                self.kill()
                self._fail(f"not within {PATIENCE:g} s: dead or done; open: {sorted(evidence.open())[:5]}")
        status = self.end()
        if status == -signal.SIGKILL:
            self._lives.note_death()
        elif status:
            self._fail(f"it ended by itself with {status}")
        return status != 0

    def _fail(self, problem: str) -> None:
        raise BrokenError(f"life {self._lives.count}: {problem}\n{self._lives.log()}")


def kill_at(lives: Lives, moment: str, **what: Any) -> None:
    """Have a life, and end it at a moment near one, drawn."""
    draw = lives.random
    living = lives.begin(**what)
    match moment:
        case "starting":
            living.reach("starting")
            living.wait(draw.uniform(0.0, 0.03))
        case "submitting":
            living.reach("submitting")
            living.wait(draw.uniform(0.0, 0.04))
        case "working":
            living.reach("working")
            living.wait(draw.uniform(0.0, 0.3))
        case "stopping":
            living.reach("submitting")
            living.wait(draw.uniform(0.0, 0.2))
            living.tell_to_stop()
            living.reach("stopping")
            living.wait(draw.uniform(0.0, 0.02))
        case _:
            living.wait(draw.uniform(0.0, 0.5))
    living.kill()


def journal(folder: Path) -> bytes:
    """All that stands in the journal."""
    return b"".join(file.read_bytes() for file in sorted((folder / DATA).glob("kernel_journal*")) if file.is_file())


def live_in_peace(lives: Lives) -> None:
    """Have a life that sees all to its end, and one that finds nothing left to do."""
    (lives.folder / "open").touch()
    living = lives.begin(keys=True)
    living.reach("idle")
    if gone := lives.evidence.look().open():
        raise BrokenError(f"neither done nor dead-lettered, though the host has nothing left to do: {gone}")
    living.stop()
    before = {trace: len(begun) for trace, begun in lives.evidence.look().begun.items()}
    idle = lives.begin()
    idle.reach("idle")
    idle.stop()
    again = [trace for trace, begun in lives.evidence.look().begun.items() if len(begun) != before.get(trace)]
    if again:
        raise BrokenError(f"begun again by the next host, though all had ended: {again}")


def stop_with_work_in_hand(lives: Lives) -> None:
    """Have a life that stops in order, and look whether the journal has what it did not finish."""
    living = lives.begin(submit=20)
    living.reach("working")
    living.wait(lives.random.uniform(0.0, 0.1))
    living.stop()
    kept = journal(lives.folder)
    lost = [trace for trace in lives.evidence.look().open() if trace.encode() not in kept]
    if lost:
        raise BrokenError(f"neither done nor dead-lettered, and not in the journal of a stopped host: {lost}")


def judge(lives: Lives) -> list[str]:
    """Return the promises that were broken, at the end of all lives."""
    evidence = lives.evidence.look()
    letters = evidence.letters()
    broken: list[str] = []
    for trace, accepted in evidence.accepted.items():
        if trace not in evidence.done and trace not in letters:
            broken.append(f"{trace} ({accepted['kind']}) was accepted in life {accepted['life']} and is gone")
    for trace, begun in evidence.begun.items():
        tries = evidence.accepted.get(trace, {"tries": crash_host.AGAIN_AND_AGAIN.max_attempts})["tries"]
        if len(begun) > tries + len(lives.killed):
            broken.append(f"{trace} was tried {len(begun)} times, with {tries} attempts and {len(lives.killed)} deaths")
    broken += _twice(lives, evidence, letters)
    broken += _side_by_side(evidence)
    under = defaultdict(set)
    for trace, key in evidence.keys.items():
        if trace in evidence.done:
            under[key].add(trace)
    broken += [
        f"under key {key!r} these were all done: {sorted(traces)}" for key, traces in under.items() if len(traces) > 1
    ]
    return broken


def _twice(lives: Lives, evidence: Evidence, letters: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Ends that exclude one another, and work after an end."""
    broken = []
    for trace, copies in letters.items():
        if copies[1:]:
            broken.append(f"{trace} has {len(copies)} dead letters: {[copy['reason'] for copy in copies]}")
        late = [begun for begun in evidence.begun[trace] if begun["at"] > copies[0]["ts"]]
        if late:
            broken.append(f"{trace} was begun in life {late[0]['life']}, after it had been dead-lettered")
        if trace in evidence.told_done:
            broken.append(f"{trace} is dead-lettered ({copies[0]['reason']}), though its submitter was told it is done")
    for trace, told in evidence.told_done.items():
        late = [begun for begun in evidence.begun[trace] if begun["at"] > told["at"]]
        if late:
            broken.append(f"{trace} was begun again in life {late[0]['life']}, after its submitter was told it is done")
    for trace, done in evidence.done.items():
        first = done[0]
        ended_well = first["life"] not in lives.killed
        late = [begun for begun in evidence.begun[trace] if begun["at"] > first["at"]]
        if late and (ended_well or late[0]["life"] == first["life"]):
            broken.append(f"{trace} was done in life {first['life']} and begun again in life {late[0]['life']}")
        if ended_well and trace in letters:
            broken.append(f"{trace} was done in life {first['life']}, which ended well, and is dead-lettered")
    return broken


def _side_by_side(evidence: Evidence) -> list[str]:
    """Attempts of one action at the same time in one process."""
    broken, running = [], set[tuple[int, str]]()
    for line in evidence.lines:
        if line["what"] == "begun":
            if (line["life"], line["trace"]) in running:
                broken.append(f"{line['trace']} was begun twice at the same time in life {line['life']}")
            running.add((line["life"], line["trace"]))
        elif line["what"] == "ended":
            running.discard((line["life"], line["trace"]))
    return broken


def play(folder: Path, seed: int, number: int, backend: str, durability: str) -> Lives:
    """Play one round to its end; what was broken is raised."""
    lives = Lives(folder, seed, backend, durability)
    deaths = lives.random.randint(2, 4)
    for death in range(deaths):
        kill_at(lives, MOMENTS[(number + death) % len(MOMENTS)], submit=lives.random.randint(30, 60))
    if lives.random.random() < 0.3:
        stop_with_work_in_hand(lives)
    while lives.in_flight < IN_FLIGHT and len(lives.killed) < 10:  # deaths at the start left little behind
        kill_at(lives, "working", submit=60)
    live_in_peace(lives)
    if broken := judge(lives):
        raise BrokenError("\n".join([f"{len(broken)} promises", *broken[:20]]))
    return lives


def play_point(folder: Path, seed: int, point: int, how: How, backend: str, durability: str) -> Lives:
    """Play one round in which a host dies at a given thing that it does to its data directory.

    The next one, which finds what it left, dies a little later, at a thing that is drawn; the third lives in peace.
    """
    lives = Lives(folder, seed, backend, durability)
    (folder / "open").touch()
    what = {"submit": 6, "keys": True, "workers": 2, "kinds": SHORT, "die_how": how}
    if lives.begin(die_at=point, **what).wait_for_death():
        lives.begin(die_at=lives.random.randint(1, 40), **what).wait_for_death()
    live_in_peace(lives)
    if broken := judge(lives):
        raise BrokenError("\n".join([f"{len(broken)} promises", *broken[:20]]))
    return lives


class Findings:
    """What was seen in many rounds."""

    def __init__(self, folder: Path, seed: int, durability: str) -> None:
        self.seed = seed
        self.folder = folder
        self.durability = durability
        self.rounds = self.deaths = self.accepted = 0
        self.moments = Counter[str]()
        self.in_flight: list[int] = []
        self.broken: list[str] = []

    def play(self, name: str, backend: str, play: Callable[[Path], Lives]) -> Lives | None:
        """Play a round and take in what was seen; its folder is left as it is if something was broken."""
        folder = self.folder / name
        folder.mkdir(parents=True)
        self.rounds += 1
        try:
            lives = play(folder)
        except BrokenError as exc:
            self.broken.append(f"{folder} ({backend}, {self.durability}): {exc}")
            return None
        shutil.rmtree(folder)
        self.moments.update(phase.split()[0] for phase in lives.killed.values())
        self.in_flight.append(lives.in_flight)
        self.deaths += len(lives.killed)
        self.accepted += len(lives.evidence.accepted)
        return lives

    def report(self) -> bytes:
        """As JSON, to be read by people, too."""
        seen = {
            "seed": self.seed,
            "rounds": self.rounds,
            "deaths": self.deaths,
            "moments": dict(self.moments.most_common()),
            "accepted": self.accepted,
            "least_in_flight": min(self.in_flight, default=0),
            "broken": self.broken,
        }
        return msgspec.json.format(msgspec.json.encode(seen)) + b"\n"


def play_rounds(findings: Findings, rounds: int, backends: list[str], part: int) -> None:
    """Let hosts die at random."""
    first = findings.seed + part * rounds
    for seed in range(first, first + rounds):
        backend = backends[seed % len(backends)]
        findings.play(f"round-{seed}", backend, lambda at: play(at, seed, seed, backend, findings.durability))  # noqa: B023


def play_points(findings: Findings, rounds: int, backends: list[str], part: int, parts: int) -> None:
    """Let hosts die at each thing that they do to their data directory, or at as many as there are rounds for."""
    draw = random.Random(findings.seed)
    points = [(point, how) for point in range(1, POINTS + 1) for how in HOWS]
    draw.shuffle(points)
    for number, (point, how) in enumerate(points[part::parts][:rounds]):
        backend = backends[number % len(backends)]
        seed = draw.getrandbits(32)
        findings.play(
            f"point-{point}-{how}-{backend}",
            backend,
            lambda at: play_point(at, seed, point, how, backend, findings.durability),  # noqa: B023
        )


def main() -> int:
    """Play rounds and print what was seen; returns 3 if a promise was broken."""
    parser = argparse.ArgumentParser(description="Rounds of sudden death.")
    parser.add_argument("what", choices=["random", "points"], help="when to die")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--folder", type=Path, required=True, help="where the rounds leave what they wrote")
    parser.add_argument("--seed", type=int, default=None, help="of the first round; each next one has the next number")
    parser.add_argument("--backend", default="both", choices=["asyncio", "trio", "both"])
    parser.add_argument("--durability", default="process", choices=["process", "power"])
    parser.add_argument("--part", type=int, default=0, help="which share of the rounds is played, of --parts")
    parser.add_argument("--parts", type=int, default=1, help="of as many rounds each")
    options = parser.parse_args()
    seed = random.SystemRandom().getrandbits(30) if options.seed is None else options.seed
    backends = ["asyncio", "trio"] if options.backend == "both" else [options.backend]
    findings = Findings(options.folder, seed, options.durability)
    gc.freeze()  # what is here is shared by all lives
    if options.what == "random":
        play_rounds(findings, options.rounds, backends, options.part)
    else:
        play_points(findings, options.rounds, backends, options.part, options.parts)
    sys.stdout.buffer.write(findings.report())
    return 3 if findings.broken else 0


if __name__ == "__main__":
    sys.exit(main())
