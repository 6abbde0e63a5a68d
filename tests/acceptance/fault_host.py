"""A host that is told by lines of JSON what to submit, and a plugin that says what it did; for faults of the disk.

    python tests/acceptance/fault_host.py '{"root": "/tmp/somewhere", "durability": "process"}'

Reads a command a line from standard input and answers each with a line: ``submit``, ``call``, ``wait``, ``runs``,
``statistics``, ``letters``, ``fill``, ``clear``. The end of the input stops it.
"""

from __future__ import annotations

import json
import logging
import sys
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import msgspec

from aetherra.kernel import (
    ActionEnvelope,
    ActionHandle,
    Config,
    Kernel,
    Plugin,
    RetryPolicy,
    Settings,
    handler,
)
from aetherra.registry import Message, Request


class Did(Message, tag="fault.did"):
    uid: int


class Do(Request[Did], tag="fault.do"):
    uid: int
    kind: str = "quick"
    ballast: str = ""


class Ran(Message, tag="fault.ran"):
    uids: list[int]


class Runs(Request[Ran], tag="fault.runs"):
    """Which it has begun to do, in that order."""


class LetGo(Request[None], tag="fault.let_go"):
    """Do what is held."""


class WorkerSettings(Settings):
    hold: bool = False


class Worker(Plugin[WorkerSettings]):
    name = "fault"

    def __init__(self, settings: WorkerSettings) -> None:
        super().__init__(settings)
        self.uids: list[int] = []
        self.gate = anyio.Event()
        if not settings.hold:
            self.gate.set()

    @handler
    async def do(self, request: Do) -> Did:
        self.uids.append(request.uid)
        if request.kind == "held":
            await self.gate.wait()
        if request.kind == "fail":
            await self.gate.wait()
            raise ValueError("as it always does")
        return Did(request.uid)

    @handler
    async def runs(self, request: Runs) -> Ran:
        return Ran(self.uids)

    @handler
    async def let_go(self, request: LetGo) -> None:
        self.gate.set()


def configuration(root: str, *, hold: bool = False, durability: str = "process", workers: int = 2) -> Config:
    """Of a host with this file's plugin."""
    limits = {"durability": durability, "discover": False, "control_socket": False, "workers": workers}
    source = f"{Path(__file__).absolute()}:Worker"
    return Config.parse({"kernel": limits, "plugins": {"fault": {"source": source, "hold": hold}}}, root=root)


class Told:
    """Does what the lines say."""

    def __init__(self, kernel: Kernel, root: Path) -> None:
        self._kernel = kernel
        self._filler = root / "filler"
        self._handles: dict[int, ActionHandle[Any]] = {}

    async def obey(self, command: dict[str, Any]) -> Any:
        name = command.pop("do")
        return await getattr(self, name)(**command)

    async def submit(self, uids: list[int], kind: str = "quick", key: str = "", ballast: int = 0) -> list[Any]:
        """Submit each, and say of each its trace id or the error."""
        return [await self._outcome(partial(self._submit, uid, kind, key, "x" * ballast)) for uid in uids]

    async def _submit(self, uid: int, kind: str, key: str, ballast: str) -> str:
        policy = RetryPolicy(max_attempts=2 if kind == "fail" else 9, backoff_sec=0.001, max_backoff_sec=0.001)
        envelope = ActionEnvelope(Do(uid, kind, ballast), retry=policy, idempotency_key=key)
        handle = await self._kernel.submit_action(envelope)
        self._handles[uid] = handle
        return handle.trace_id

    async def call(self, uid: int) -> Any:
        """Call the handler, not through the queue."""
        return await self._outcome(partial(self._kernel.call_tag, "fault.do", {"uid": uid}))

    async def let_go(self) -> Any:
        return await self._outcome(partial(self._kernel.call_tag, "fault.let_go"))

    async def wait(self, uids: list[int]) -> list[Any]:
        """Wait for the end of each, and say what it was."""
        return [await self._outcome(self._handles[uid].wait) for uid in uids]

    async def runs(self) -> Any:
        return (await self._kernel.call_tag("fault.runs"))["uids"]

    async def statistics(self) -> Any:
        return msgspec.to_builtins(self._kernel.statistics().actions, enc_hook=repr)

    async def letters(self) -> Any:
        return [letter.trace_id for letter in await self._kernel.get_dlq_items(limit=1000)]

    async def fill(self) -> int:
        """Fill the disk to the last byte."""
        size = 0
        with self._filler.open("ab", buffering=0) as file:
            for block in (4096, 1):
                try:
                    while True:
                        size += file.write(b"\0" * block)
                except OSError:
                    pass
        return size

    async def clear(self) -> None:
        self._filler.unlink()

    async def _outcome(self, begin: Any) -> Any:
        try:
            reply = await begin()
        except Exception as exc:
            return {"error": type(exc).__name__, "text": str(exc), "os": isinstance(exc, OSError)}
        return msgspec.to_builtins(reply)


async def host(root: str, **options: Any) -> None:
    """Host, and obey until the input ends."""
    async with Kernel(configuration(root, **options)) as kernel:
        told = Told(kernel, Path(root))
        _say("hosting")
        while line := await anyio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
            _say(await told.obey(json.loads(line)))


def _say(what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    options = json.loads(sys.argv[1])
    backend = options.pop("backend", "asyncio")
    try:
        anyio.run(partial(host, **options), backend=backend)
    except Exception as exc:
        logging.getLogger("fault_host").exception("it did not run")
        _say({"error": type(exc).__name__, "text": str(exc), "os": isinstance(exc, OSError)})
        sys.exit(1)
