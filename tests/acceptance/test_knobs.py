"""Knobs on whole hosts: turned while hot swap replaces their plugin, and from the command line of another process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from aetherra.hmr import HmrController, Reload
from aetherra.kernel import Config, Kernel, KnobChangedError, KnobTurned, ListKnobs, SetKnob
from aetherra.registry import HandlerError

if TYPE_CHECKING:
    from tests.acceptance.conftest import Project

SWAPS = 12
SETTERS = 3
COUNTER = """
import anyio
import msgspec
from aetherra.plugins import Knob, Plugin, hookimpl

VERSION = {version}


class Kept(msgspec.Struct):
    count: int


class Counter(Plugin):
    name = "counter"
    count = 0

    async def hand_over(self) -> Kept:
        kept = Kept(self.count)
        await anyio.sleep(0.002)
        return kept

    async def take_over(self, state: Kept) -> None:
        self.count = state.count

    @hookimpl
    def knobs(self):
        return [
            Knob(name="counter.count", read=lambda: self.count, write=self.write, low=0, high=100000, step=1),
            Knob(name="counter.version", read=lambda: VERSION, write=print, low=0, high=100000, step=1),
        ]

    async def write(self, value):
        await anyio.sleep(0.001)
        self.count = value
"""


async def test_a_turn_of_a_knob_is_lost_in_a_swap(tmp_path: Path) -> None:
    """However often its plugin is swapped meanwhile, each turn that was answered counts, and was told once."""
    file = tmp_path / "counter.py"
    file.write_text(COUNTER.format(version=0), encoding="utf-8")
    document = {
        "kernel": {"discover": False, "data_dir": None},
        "plugins": {"counter": {"source": "counter.py"}},
    }
    async with Kernel(Config.parse(document, root=tmp_path)) as kernel:
        await kernel.add_plugin(HmrController)
        turned = refused = 0
        over = False

        async def count() -> None:
            nonlocal turned, refused
            while not over:
                value = await read("counter.count")
                try:
                    done = await kernel.call(SetKnob("counter.count", value + 1, expected=value))
                except HandlerError as exc:
                    if not isinstance(exc.__cause__, KnobChangedError):
                        raise
                    refused += 1
                else:
                    assert (done.before, done.after) == (value, value + 1)
                    turned += 1

        async def read(name: str) -> int:
            (knob,) = [knob for knob in (await kernel.call(ListKnobs())).knobs if knob.name == name]
            assert isinstance(knob.value, int)
            return knob.value

        with kernel.subscribe(KnobTurned, capacity=100_000) as events:
            async with anyio.create_task_group() as group:
                for _ in range(SETTERS):
                    group.start_soon(count)
                for version in range(1, SWAPS + 1):
                    file.write_text(COUNTER.format(version=version), encoding="utf-8")
                    await kernel.call(Reload("counter"))
                over = True
            told = [(events.mailbox.get_nowait().event) for _ in range(len(events.mailbox))]
        assert await read("counter.version") == SWAPS
        assert await read("counter.count") == turned >= SWAPS
        assert refused > 0
        assert [event.after for event in told] == list(range(1, turned + 1))
        assert {event.generation for event in told} <= set(range(1, SWAPS + 2))
        assert len({event.generation for event in told}) > SWAPS // 2


def test_another_process_cannot_turn_a_knob(project: Project) -> None:
    """The commands list and turn a knob of the running host; a restart of its plugin begins with its own value."""
    project.plugin(
        "room",
        """
        from aetherra.plugins import Knob, hookimpl

        class Room(Plugin):
            name = "room"
            warmth = 20

            @hookimpl
            def knobs(self):
                return [Knob(name="room.warmth", read=self.feel, write=self.heat, low=5, high=30, step=1, unit="C")]

            def feel(self):
                return self.warmth

            def heat(self, value):
                self.warmth = value
        """,
    )
    with project.host() as running:
        assert "room.warmth" in project.aetherra("knobs").out
        assert (
            project.aetherra("knobs", "set", "room.warmth", "22", "--reason", "cold").out == "room.warmth: 20 -> 22\n"
        )
        (knob,) = [knob for knob in project.aetherra("knobs", "--json").json if knob["name"] == "room.warmth"]
        assert (knob["value"], knob["generation"]) == (22, 1)
        assert project.aetherra("plugin", "restart", "room").status == 0
        (knob,) = [knob for knob in project.aetherra("knobs", "--json").json if knob["name"] == "room.warmth"]
        assert (knob["value"], knob["generation"]) == (20, 2)
        refused = project.aetherra("knobs", "set", "room.warmth", "31")
        assert (refused.status, refused.err) == (
            1,
            "aetherra: knob 'room.warmth': expected a whole number from 5 to 30 (C), got 31\n",
        )
        assert running.stop() == 0, running.log
