"""The plant: a service in discrete time with queue, workers, clients that retry, and targets that can go wrong.

It knows nothing of any host or controller. Requests come in batches, wait in one bounded queue in the order they came,
and take seconds of a worker; workers get in each other's way (the universal scalability law), so that capacity
saturates and then falls. Clients give up and try again, and what they gave up on is worked on all the same: overload
that feeds itself is not written down anywhere, it comes of that. A wedged target keeps the workers that it is given.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Callable, Iterable
from typing import Literal

from healing.chance import binomial, poisson
from healing.tally import Tally
from healing.target import Batch, Target, Version

Outcome = Literal["done", "failed"]

CONTENTION, COHERENCE = 0.005, 0.0003  # of Gunther's universal scalability law
CROWDED = 0.75  # share of the memory from which on it is slow
SLOWEST = 6.0  # how much slower it is when the memory is all but full
CRASH_SECONDS = 40.0  # that all are down for when it is full
REFUSED_WORK = 0.02  # share of a request's work that it takes to say no in a target that is down
ALL = ""  # the target of actions that are for the plant as a whole


class Plant:
    """A service over time.

    Args:
        targets: What the requests are for.
        seed: Of chance; arrivals do not depend on what is done about them.
        step: Seconds between two looks.
        rate: Requests a second, before retries.
        slo: Seconds from a client's first try within which a good answer must come.
        patience: Seconds after which a client gives up on a try.
        attempts: Tries of a client.
        memory: Bytes there are.
    """

    def __init__(
        self,
        targets: Iterable[Target],
        *,
        seed: int,
        step: float = 0.5,
        rate: float = 50.0,
        slo: float = 2.0,
        patience: float = 4.0,
        attempts: int = 4,
        memory: float = 1e9,
    ) -> None:
        self.targets = {target.name: target for target in targets}
        self.step_seconds, self.rate, self.slo, self.patience, self.attempts = step, rate, slo, patience, attempts
        self.memory_limit = memory
        self.now = 0.0
        self.curve: Callable[[float], float] = lambda _: 1.0
        self.workers, self.queue_limit, self.shed = 32, 1000, False
        self.call_limit = 30.0
        self.chore_rate = 10.0  # background chores a second
        self.chore_work = 0.25
        self.chores = 0.0
        self.surge, self.surge_until = 1.0, -math.inf
        self.slowness, self.slow_until = 1.0, -math.inf
        self.paused_until = -math.inf
        self.broken: dict[str, Literal["fails", "lies"]] = {}
        self.crashes = 0
        self.queue: deque[Batch] = deque()
        self.waiting = 0
        self.offered = self.refused = self.served = self.failed = self.gave_up = self.repeated = 0
        self.busy = 0.0
        self.tally = Tally()
        self._patient: deque[Batch] = deque()
        self._retries: list[tuple[float, int, Batch]] = []
        self._plans: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0
        self._debt = 0.0
        self._coming, self._fate = random.Random(f"{seed} arrivals"), random.Random(f"{seed} fate")

    # What goes wrong: a scenario's doing.

    def at(self, when: float, happens: Callable[[], None]) -> None:
        """Have something happen."""
        self._sequence += 1
        heapq.heappush(self._plans, (when, self._sequence, happens))

    def surge_by(self, factor: float, seconds: float) -> None:
        """Multiply what comes."""
        self.surge, self.surge_until = factor, self.now + seconds

    def slow_down(self, factor: float, seconds: float) -> None:
        """Make all work take longer, as a slow disk would."""
        self.slowness, self.slow_until = factor, self.now + seconds

    def pause(self, seconds: float) -> None:
        """Do nothing at all, as a garbage collector would have it."""
        self.paused_until = self.now + seconds

    def wedge(self, name: str, seconds: float = math.inf) -> None:
        """Have a target answer no more."""
        self.targets[name].stuck_until = self.now + seconds

    def deploy(self, name: str, version: Version) -> None:
        """Put new code in a target's place, without a second down; what it held is lost."""
        target = self.targets[name]
        target.versions.append(version)
        target.changed_at = self.now
        self._fail_held(target)
        target.begin_anew(self.now, 0.0)

    def hiccup(self, name: str, error_rate: float, seconds: float) -> None:
        """Have a target fail for a moment."""
        target = self.targets[name]
        target.hiccup, target.hiccup_until = error_rate, self.now + seconds

    def leak(self, name: str, per_second: float) -> None:
        """Have a target's memory grow with the time, whatever its version."""
        self.targets[name].drip = per_second

    # What can be done: the actuators.

    def act(self, action: str, target: str = ALL, value: float = 0.0) -> Outcome:
        """Do something; what cannot be done fails."""
        broken = self.broken.get(action)
        if broken == "fails":
            return "failed"
        if broken == "lies":
            return "done"
        it = self.targets.get(target)
        match action:
            case "restart" | "rollback" if it is not None:
                return self._begin_anew(it, action)
            case "disable" if it is not None and not it.disabled:
                it.disabled = True
                self._fail_held(it)
            case "enable" if it is not None and it.disabled:
                it.disabled = False
                it.begin_anew(self.now, it.restart_seconds)
            case "release":
                for one in self.targets.values() if it is None else (it,):
                    one.cache = 0.0
                    one.leaked *= 0.1
            case "shed" | "unshed":
                self.shed = action == "shed"
            case "workers" if value >= 1:
                self.workers = round(value)
            case "queue_limit" if value >= 1:
                self.queue_limit = round(value)
            case "call_limit" if value > 0:
                self.call_limit = value
            case _:
                return "failed"
        return "done"

    def _begin_anew(self, it: Target, action: str) -> Outcome:
        if action == "rollback":
            if len(it.versions) < 2:
                return "failed"
            it.versions.pop()
            it.changed_at = self.now
        self._fail_held(it)
        it.begin_anew(self.now, it.restart_seconds)
        it.disabled = False
        return "done"

    def _fail_held(self, it: Target) -> None:
        while it.held:
            batch = it.let_go()
            self._failed(it, batch.count)
            self._lost(batch, batch.count)

    # What is true: nobody but the oracle and the judge may ask.

    @property
    def memory(self) -> float:
        """Share of the memory that is in use."""
        return sum([target.memory for target in self.targets.values()]) / self.memory_limit

    def capacity(self, workers: int | None = None) -> float:
        """Return requests a second that could be served with so many free workers, chores left out."""
        free = max(0.0, (self.workers if workers is None else workers) - self._held())
        mean = sum(target.share * target.work for target in self.targets.values())
        return free / (mean * self._slow(free)) if free else 0.0

    def wait(self) -> float:
        """Return for how long the oldest request has waited."""
        return self.now - self.queue[0].born if self.queue else 0.0

    def demand(self) -> float:
        """Return the requests a second that are to be expected now, before retries."""
        return self.rate * self.curve(self.now) * (self.surge if self.now < self.surge_until else 1.0)

    # Time.

    def step(self) -> None:
        """Let one step of time pass."""
        self.now += self.step_seconds
        while self._plans and self._plans[0][0] <= self.now:
            heapq.heappop(self._plans)[2]()
        self._arrive()
        self._lose_patience()
        self._serve()
        self._remember()

    def _arrive(self) -> None:
        now, mean = self.now, self.demand() * self.step_seconds
        for target in self.targets.values():
            count = poisson(self._coming, mean * target.share)
            if count:
                self.tally.came(now, count)
                self._admit(Batch(target, count, now, now, 1))
        while self._retries and self._retries[0][0] <= now:
            self._admit(heapq.heappop(self._retries)[2])
        self.chores += self.chore_rate * self.step_seconds

    def _admit(self, batch: Batch) -> None:
        batch.born = self.now
        self.offered += batch.count
        self.repeated += batch.count * (batch.attempt > 1)
        room = max(0, self.queue_limit - self.waiting)
        if batch.count > room:
            self.refused += batch.count - room
            self._try_again(batch, batch.count - room)
            batch.count = room
        if batch.count:
            self.waiting += batch.count
            self.queue.append(batch)
            self._patient.append(batch)

    def _try_again(self, batch: Batch, count: int) -> None:
        if batch.attempt >= self.attempts:
            self.tally.bad(batch.first, count)
            return
        pause = 0.5 * 2 ** (batch.attempt - 1) * (0.75 + 0.5 * self._fate.random())
        self._sequence += 1
        again = Batch(batch.target, count, self.now, batch.first, batch.attempt + 1)
        heapq.heappush(self._retries, (self.now + pause, self._sequence, again))

    def _lose_patience(self) -> None:
        limit = self.now - self.patience
        while self._patient and self._patient[0].born <= limit:
            batch = self._patient.popleft()
            if batch.count:
                batch.left = True
                self.gave_up += batch.count
                self._try_again(batch, batch.count)
        for target in self.targets.values():
            for batch in target.held:
                if batch.born <= limit and not batch.left:
                    batch.left = True
                    self.gave_up += batch.count
                    self._try_again(batch, batch.count)

    def _failed(self, target: Target, count: int) -> None:
        target.errors += count
        self.failed += count

    def _lost(self, batch: Batch, count: int) -> None:
        """Count requests that ended without an answer; a client that has left has tried again already."""
        if not batch.left:
            self.tally.bad(batch.first, count)

    def _held(self) -> int:
        return sum([target.holding for target in self.targets.values()])

    def _slow(self, busy: float) -> float:
        others = max(0.0, busy - 1)
        slow = 1 + CONTENTION * others + COHERENCE * busy * others
        used = (self.memory - CROWDED) / (1 - CROWDED)
        if used > 0:
            slow *= 1 + (SLOWEST - 1) * min(1.0, used)
        return slow * (self.slowness if self.now < self.slow_until else 1.0)

    def _serve(self) -> None:
        now = self.now
        for target in self.targets.values():
            if target.held:
                self._let_go(target)
        free = max(0, self.workers - self._held())
        if now < self.paused_until or not free:
            self.busy = 1.0
            return
        slow = self._slow(min(free, max(4.0, self.busy * free)))
        whole = free * self.step_seconds / slow
        budget = whole - self._debt
        if not self.shed and self.chores:
            part = min(self.chores * self.chore_work, 0.2 * max(0.0, budget))
            self.chores -= part / self.chore_work
            budget -= part
        queue = self.queue
        while queue and budget > 0:
            batch = queue[0]
            target = batch.target
            if target.wedged(now) and not target.down(now):
                count = min(batch.count, free)
                if not count:
                    break
                free -= count
                budget -= count * self.step_seconds / slow
                taken = Batch(target, count, batch.born, batch.first, batch.attempt)
                taken.left = batch.left
                target.hold(taken)
                target.calls += count
            else:
                work = target.work * (REFUSED_WORK if target.down(now) else 1.0)
                count = min(batch.count, math.ceil(budget / work))
                budget -= count * work
                self._finish(batch, count, target.work * slow)
            batch.count -= count
            self.waiting -= count
            if not batch.count:
                queue.popleft()
        self._debt = max(0.0, -budget)
        self.busy = 1.0 if queue else 1 - max(0.0, budget) / whole

    def _let_go(self, target: Target) -> None:
        """End what a wedged target has held for as long as a call may take, or all, once it is wedged no more."""
        limit = self.now - self.call_limit
        while target.held and (target.held[0].born <= limit or not target.wedged(self.now)):
            batch = target.let_go()
            if target.wedged(self.now):
                target.timeouts += batch.count
                self._failed(target, batch.count)
                self._lost(batch, batch.count)
            else:
                target.calls -= batch.count
                self._finish(batch, batch.count, 0.0)

    def _finish(self, batch: Batch, count: int, seconds: float) -> None:
        target, now = batch.target, self.now
        self.served += count
        target.calls += count
        if target.down(now):
            self._failed(target, count)
            self._lost(batch, count)
            return
        target.leaked += target.versions[-1].leak * count
        failed = binomial(self._fate, count, target.error_rate(now))
        if failed:
            self._failed(target, failed)
            target.faults += failed
            self._lost(batch, failed)
        if count > failed:
            target.answered_at = now
            target.latency += 0.1 * (seconds - target.latency)
            if batch.left:
                return
            if now + seconds - batch.first <= self.slo:
                self.tally.good(batch.first, count - failed)
            else:
                self.tally.bad(batch.first, count - failed)

    def _remember(self) -> None:
        for target in self.targets.values():
            target.age(self.step_seconds)
            if target.drip and not target.down(self.now):
                target.leaked += target.drip * self.step_seconds
        if self.memory >= 1.0:
            self._crash()

    def _crash(self) -> None:
        """All memory is gone: everything begins anew, and what waited is lost."""
        self.crashes += 1
        for batch in self.queue:
            self._lost(batch, batch.count)
            batch.count = 0
        self.queue.clear()
        self.waiting = 0
        for target in self.targets.values():
            self._fail_held(target)
            target.begin_anew(self.now, CRASH_SECONDS)
