"""One life of a host that is to be killed: what it hosts, what it submits, and what it writes down of it.

It writes down what it sees by one ``os.write`` a line, in a file that the project knows nothing of, so that what it
says of an action outlives it: whoever killed it reads there what had been accepted, begun and done.
"""

from __future__ import annotations

import json
import logging
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
from crash_points import Fate, How

from aetherra.kernel import (
    ActionCancelledError,
    ActionEnvelope,
    ActionHandle,
    ActionPriority,
    Config,
    Kernel,
    Plugin,
    Reject,
    RetryLater,
    RetryPolicy,
    Settings,
    handler,
)
from aetherra.registry import AetherraError, Message, Request, call, current_call

SOON = RetryPolicy(max_attempts=3, backoff_sec=0.01, max_backoff_sec=0.02)
OFTEN = RetryPolicy(max_attempts=30, backoff_sec=0.01, max_backoff_sec=0.02)
AGAIN_AND_AGAIN = RetryPolicy(max_attempts=1000, backoff_sec=0.01, max_backoff_sec=0.02)
POLICIES = {
    "quick": SOON,
    "wait": SOON,
    "retry": SOON,
    "fail": SOON,
    "flaky": SOON,
    "reject": SOON,
    "hang": RetryPolicy(max_attempts=2, backoff_sec=0.01, max_backoff_sec=0.02),
    "grind": SOON,
    "spawn": SOON,
    "later": AGAIN_AND_AGAIN,
}
"""What an action may be like, and how often it is tried: ``later`` is done once the folder is open."""
MIXTURE = ("quick", "wait", "retry", "fail", "flaky", "reject", "hang", "grind", "spawn", "later", "later", "later")
KEYED = ("quick", "wait", "retry", "grind", "later")
KEYS = 12
SOURCE = Path(__file__).absolute()


class Did(Message, tag="crash.did"):
    uid: int


class Do(Request[Did], tag="crash.do"):
    uid: int
    kind: str
    seconds: float = 0.0


class Grind(Request[Did], tag="crash.grind"):
    uid: int
    seconds: float = 0.0


class Oracle:
    """What happened, in the order in which it did, as far as this process lived to see it."""

    def __init__(self, folder: str, life: int) -> None:
        self.folder = Path(folder)
        self._life = life
        self._write = os.write  # the real one, whatever is put in its place
        self._file = os.open(self.folder / "oracle.jsonl", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":  # the life before died in the middle of a line
            self._write(self._file, b"\n")

    def note(self, what: str, **fields: Any) -> None:
        line = json.dumps({"what": what, "life": self._life, "at": time.time(), **fields}) + "\n"
        self._write(self._file, line.encode())

    def accepted(self, uid: int, handle: ActionHandle[Any], kind: str, key: str = "") -> None:
        tries = handle.envelope.retry.max_attempts
        self.note("accepted", uid=uid, trace=handle.trace_id, kind=kind, key=key, tries=tries)

    @contextmanager
    def attempt(self, uid: int) -> Generator[None]:
        """Note that a handler begins, and how it ends; in its thread, if it has one."""
        trace = current_call().causation_id  # type: ignore[union-attr]
        thread = threading.get_ident()
        self.note("begun", uid=uid, trace=trace, thread=thread)
        how = "raised"
        try:
            yield
            how = "done"
        finally:
            self.note("ended", uid=uid, trace=trace, how=how)


class CrasherSettings(Settings):
    folder: str
    life: int


class Crasher(Plugin[CrasherSettings]):
    """Does what it is asked to, badly."""

    name = "crash"

    def __init__(self, settings: CrasherSettings) -> None:
        super().__init__(settings)
        self.oracle = Oracle(settings.folder, settings.life)
        self.tried = Counter[int]()

    @property
    def is_open(self) -> bool:
        return (self.oracle.folder / "open").exists()

    @handler
    async def do(self, request: Do) -> Did:
        with self.oracle.attempt(request.uid):
            self.tried[request.uid] += 1
            await self.act(request)
        return Did(request.uid)

    async def act(self, request: Do) -> None:
        match request.kind:
            case "wait":
                await anyio.sleep(request.seconds)
            case "retry" if self.tried[request.uid] == 1:
                raise RetryLater(0.02)
            case "later" if not self.is_open:
                raise RetryLater(0.2)
            case "fail":
                raise ValueError("as it always does")
            case "flaky" if random.random() < 0.5:
                raise ValueError("as it does every other time")
            case "reject":
                raise Reject("not that")
            case "hang":
                await anyio.sleep_forever()
            case "spawn":
                uid = random.getrandbits(40)
                handle = await self.ctx.submit(Do(uid, "quick"))
                self.oracle.accepted(uid, handle, "quick")

    @handler(blocking=True)
    def grind(self, request: Grind) -> Did:
        with self.oracle.attempt(request.uid):
            time.sleep(request.seconds)
        return Did(request.uid)


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """One life of a host.

    Attributes:
        folder: Where the data directory and the oracle are.
        number: Which life over this folder.
        seed: Of all that it draws.
        backend: Event loop.
        durability: As in the configuration.
        late: Whether the plugin is added to a running host, after what the journal holds was read.
        submit: How many actions it submits at once, half of that again bit by bit.
        keys: Whether it submits under all the keys there are, once each, rather than under some now and then.
        workers: Actions that run at a time.
        kinds: What they are like.
        control: A pipe; whoever has its other end writes a byte there to have the host stop in order.
        die_at: Which of the things that it does to its data directory it dies of, from 1 on; 0 for none.
        die_how: Before it, in the middle of it, or after it.
    """

    folder: str
    number: int
    seed: int
    control: int
    backend: str = "asyncio"
    durability: str = "process"
    late: bool = False
    submit: int = 0
    keys: bool = False
    workers: int = 8
    kinds: tuple[str, ...] = MIXTURE
    die_at: int = 0
    die_how: How = "after"


class Submitter:
    """Submits by several tasks at a time, and waits for what it submitted."""

    def __init__(self, kernel: Kernel, life: Life, oracle: Oracle) -> None:
        self._kernel = kernel
        self._life = life
        self._oracle = oracle
        self._random = random.Random(life.seed)
        self._count = 0

    async def submit(self, group: anyio.abc.TaskGroup, *, key: str = "") -> None:
        draw = self._random
        self._count += 1
        uid = self._life.number * 100_000 + self._count
        # The same key, the same work.
        kind = KEYED[int(key.removeprefix("key-")) % len(KEYED)] if key else draw.choice(self._life.kinds)
        seconds = draw.uniform(0.0, 0.05)
        request = Grind(uid, seconds) if kind == "grind" else Do(uid, kind, seconds)
        envelope = ActionEnvelope(
            request,
            priority=draw.choice(list(ActionPriority)),
            timeout=0.05 if kind == "hang" else 30.0,
            retry=OFTEN if key and kind != "later" else POLICIES[kind],
            idempotency_key=key,
        )
        try:
            if key or draw.random() < 0.5:
                handle = await self._kernel.submit_action(envelope)
            else:
                handle = await self._kernel.submit(
                    request, priority=envelope.priority, timeout=envelope.timeout, retry=envelope.retry
                )
        except ActionCancelledError:
            return  # the host stops, and did not accept it
        self._oracle.accepted(uid, handle, kind, key)
        group.start_soon(self._watch, handle)

    async def _watch(self, handle: ActionHandle[Any]) -> None:
        try:
            await handle.wait()
        except ActionCancelledError:
            self._oracle.note("left", trace=handle.trace_id)
        except AetherraError as exc:
            self._oracle.note("dead", trace=handle.trace_id, error=type(exc).__name__)
        else:
            self._oracle.note("done", trace=handle.trace_id)

    async def burst(self, group: anyio.abc.TaskGroup) -> None:
        """Submit by eight tasks side by side, then bit by bit."""
        async with anyio.create_task_group() as side_by_side:
            for part in range(8):
                side_by_side.start_soon(self._part, group, part)
        self._oracle.note("phase", phase="working")
        for _ in range(self._life.submit // 2):
            await anyio.sleep(self._random.uniform(0.0, 0.02))
            await self.submit(group, key=self._some_key())
        self._oracle.note("phase", phase="submitted")
        while self._kernel.statistics().actions.oldest_age is not None:  # noqa: ASYNC110  # nothing tells of it
            await anyio.sleep(0.01)
        self._oracle.note("phase", phase="idle")

    async def _part(self, group: anyio.abc.TaskGroup, part: int) -> None:
        if self._life.keys:
            for number in range(part, KEYS, 8):
                await self.submit(group, key=f"key-{number}")
        for _ in range(part, self._life.submit, 8):
            await self.submit(group, key=self._some_key())

    def _some_key(self) -> str:
        return f"key-{self._random.randrange(KEYS)}" if self._random.random() < 0.25 else ""


async def host(life: Life) -> None:
    """Host, submit and work until told to stop."""
    oracle = Oracle(life.folder, life.number)
    random.seed(life.seed)
    settings = {"folder": life.folder, "life": life.number}
    plugins = {} if life.late else {"crash": {"source": f"{SOURCE}:Crasher", **settings}}
    limits = {"durability": life.durability, "discover": False, "control_socket": False, "workers": life.workers}
    config = Config.parse({"kernel": limits, "plugins": plugins}, root=life.folder)
    oracle.note("phase", phase="starting")
    if life.die_at:
        data = str(config.data_dir)
        Fate(data, life.die_at, life.die_how, lambda name: oracle.note("phase", phase=f"{name} in {data}")).arm()
    async with Kernel(config) as kernel:
        oracle.note("phase", phase="submitting")
        async with anyio.create_task_group() as group:
            submitter = Submitter(kernel, life, oracle)
            if life.late:
                group.start_soon(submitter.burst, group)
                await kernel.add_plugin(Crasher, settings=settings)
            else:
                group.start_soon(submitter.burst, group)
            await anyio.wait_readable(life.control)
            group.cancel_scope.cancel()
        oracle.note("phase", phase="stopping")
    oracle.note("phase", phase="stopped")


def live(life: Life, log: int) -> None:
    """Be that host, in this forked process, to its end."""
    call._PROCESS = f"{os.getpid():x}-{os.urandom(4).hex()}-"  # as in a process that has imported it itself
    os.dup2(log, 2)
    os.dup2(log, 1)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True)
    anyio.run(host, life, backend=life.backend)
