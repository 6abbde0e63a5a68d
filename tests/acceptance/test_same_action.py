"""The same action submitted twice at once: one that is not finished is one action, whatever it waits for."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from aetherra.kernel import (
    ActionEnvelope,
    ActionHandle,
    Config,
    DataFileError,
    Kernel,
    KernelConfig,
    LaneConfig,
    LanesConfig,
    Plugin,
    Reject,
)
from aetherra.kernel.actions import segments
from aetherra.kernel.actions.journal import Journal
from aetherra.kernel.plugin import handler
from aetherra.kernel.testing import FakeClock
from aetherra.registry import Message, Request


class Baked(Message, tag="same.baked"):
    loaf: str


class Bake(Request[Baked], tag="same.bake"):
    loaf: str


class Bakery:
    """A host with one oven, which is shut until it is opened; what a submission brings is kept."""

    def __init__(self, kernel: Kernel, clock: FakeClock) -> None:
        self.kernel, self.clock = kernel, clock
        self.handles: list[ActionHandle[Any]] = []
        self.errors: list[Exception] = []

    async def submit(self, envelope: ActionEnvelope, wait_for_room: float = 0.0) -> None:
        try:
            self.handles.append(await self.kernel.submit_action(envelope, wait_for_room=wait_for_room))
        except Exception as exc:
            self.errors.append(exc)


oven = anyio.Event()
baked: list[str] = []


class Baker(Plugin):
    name = "baker"

    @handler
    async def bake(self, request: Bake) -> Baked:
        baked.append(request.loaf)
        if request.loaf == "burnt":
            raise Reject("burnt")
        await oven.wait()
        return Baked(request.loaf)


@asynccontextmanager
async def bakery(folder: Path, durability: str, capacity: int = 10) -> AsyncGenerator[Bakery]:
    global oven
    oven = anyio.Event()
    baked.clear()
    clock = FakeClock()
    lane = LaneConfig(capacity=capacity)
    lanes = LanesConfig(high=lane, normal=lane, background=lane)
    settings = KernelConfig(discover=False, workers=1, lanes=lanes, durability=durability, control_socket=False)
    async with Kernel(Config(kernel=settings, root=folder), clock=clock) as kernel:
        await kernel.add_plugin(Baker)
        yield Bakery(kernel, clock)
        oven.set()
        await clock.advance(0)


class SlowDisk:
    """A disk whose ``fsync`` of the journal returns when it is let go, or fails then."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Event()
        self.fails = False
        self._real = os.fsync
        monkeypatch.setattr(segments.os, "fsync", self._fsync)

    def _fsync(self, descriptor: int) -> None:
        if "kernel_journal-" in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            self.begun.release()
            assert self.go_on.wait(10)
            if self.fails:
                self.fails = False
                raise OSError(errno.EIO, "Input/output error")
        self._real(descriptor)

    async def is_busy(self) -> None:
        assert await anyio.to_thread.run_sync(lambda: self.begun.acquire(timeout=10))
        for _ in range(30):
            await anyio.lowlevel.checkpoint()


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> SlowDisk:
    return SlowDisk(monkeypatch)


def envelopes(named_by: str) -> tuple[ActionEnvelope, ActionEnvelope]:
    """The same work twice: by one trace id, or by one idempotency key."""
    if named_by == "trace id":
        envelope = ActionEnvelope(Bake("rye"))
        return envelope, envelope
    return ActionEnvelope(Bake("rye"), idempotency_key="k"), ActionEnvelope(Bake("rye"), idempotency_key="k")


@pytest.mark.parametrize("named_by", ["trace id", "key"])
class TestTheSameActionTwice:
    async def test_while_both_wait_for_room(self, tmp_path: Path, named_by: str) -> None:
        """Whoever is let in second gets the handle of the first, and gives the room back."""
        async with bakery(tmp_path, "none", capacity=1) as b, anyio.create_task_group() as group:
            await b.kernel.submit(Bake("first"))
            await b.clock.advance(0)
            await b.kernel.submit(Bake("second"))
            for envelope in envelopes(named_by):
                group.start_soon(b.submit, envelope, 100.0)
            await b.clock.advance(0)
            b.kernel.set_lane("normal", capacity=3)
            await b.clock.advance(0)

            assert b.handles[0] is b.handles[1]
            lane = b.kernel.statistics().actions.lanes["normal"]
            assert (lane.depth, lane.refused) == (2, 0)
            await b.kernel.submit(Bake("third"))  # there is room for one more, as only one of the two is in
            oven.set()
            await b.clock.advance(0)
            assert baked == ["first", "second", "rye", "third"]

    async def test_while_the_first_waits_for_the_disk(self, tmp_path: Path, slow_disk: SlowDisk, named_by: str) -> None:
        """The second waits for it, too: what ``submit`` has returned survives a power cut."""
        async with bakery(tmp_path, "power") as b:
            async with anyio.create_task_group() as group:
                first, second = envelopes(named_by)
                group.start_soon(b.submit, first)
                await slow_disk.is_busy()
                group.start_soon(b.submit, second)
                for _ in range(30):
                    await anyio.lowlevel.checkpoint()
                assert b.handles == []
                slow_disk.go_on.set()
            oven.set()

            assert b.handles[0] is b.handles[1]
            assert await b.handles[0].wait() == Baked("rye")
            assert (baked, b.kernel.statistics().actions.accepted) == (["rye"], 1)

    async def test_on_a_disk_that_fails(self, tmp_path: Path, slow_disk: SlowDisk, named_by: str) -> None:
        """Neither was accepted, both are told, and it may be tried again."""
        async with bakery(tmp_path, "power") as b:
            async with anyio.create_task_group() as group:
                first, second = envelopes(named_by)
                group.start_soon(b.submit, first)
                await slow_disk.is_busy()
                group.start_soon(b.submit, second)
                for _ in range(30):
                    await anyio.lowlevel.checkpoint()
                slow_disk.fails = True
                slow_disk.go_on.set()
            oven.set()
            await b.clock.advance(0)
            refused = [exc for exc in b.errors if isinstance(exc, DataFileError)]
            assert len(refused) + len(b.handles) == 2  # the second may have come in time for a disk that works again
            assert refused
            await b.submit(second)

            assert await b.handles[-1].wait() == Baked("rye")
            assert baked == ["rye"]

    async def test_and_the_submitter_of_the_first_leaves(
        self, tmp_path: Path, slow_disk: SlowDisk, named_by: str
    ) -> None:
        """The second is not left with an action that nobody has accepted."""
        async with bakery(tmp_path, "power") as b:
            async with anyio.create_task_group() as group:
                first, second = envelopes(named_by)
                group.start_soon(b.submit, ActionEnvelope(Bake("other")))
                await slow_disk.is_busy()
                with anyio.CancelScope() as scope:
                    async with anyio.create_task_group() as leaving:
                        leaving.start_soon(b.submit, first)
                        for _ in range(30):
                            await anyio.lowlevel.checkpoint()
                        group.start_soon(b.submit, second)
                        for _ in range(30):
                            await anyio.lowlevel.checkpoint()
                        scope.cancel()
                slow_disk.go_on.set()
            oven.set()

            assert [await handle.wait() for handle in b.handles if handle.envelope.request == Bake("rye")] == [
                Baked("rye")
            ]
            with anyio.fail_after(20):
                while sorted(baked) != ["other", "rye"]:
                    await anyio.to_thread.run_sync(lambda: None)


class TestADeadActionAgain:
    async def test_while_its_letter_waits_for_the_disk(self, tmp_path: Path) -> None:
        """The letter that is written at last ends the dead action in the journal, not the one that has its name now."""
        data = tmp_path / ".aetherra"
        async with bakery(tmp_path, "process") as b:
            b.kernel.set_workers(2)
            (data / "kernel_dlq.jsonl").mkdir()
            envelope = ActionEnvelope(Bake("burnt"))
            await b.submit(envelope)
            await b.clock.advance(0)
            assert b.kernel.statistics().actions.dlq.unwritten == 1
            await b.submit(ActionEnvelope(Bake("rye"), trace_id=envelope.trace_id))
            await b.clock.advance(0)
            assert b.handles[1].status == "running"
            (data / "kernel_dlq.jsonl").rmdir()
            await b.clock.advance(2.0)

            assert b.kernel.statistics().actions.dlq.unwritten == 0
            ((record, attempts),) = Journal(data, FakeClock(), sync=False).open().actions
            assert (record.trace_id, record.params, attempts) == (envelope.trace_id, {"loaf": "rye"}, 1)
