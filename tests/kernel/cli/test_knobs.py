"""``aetherra knobs`` against a real host on its socket."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from aetherra.kernel import Config, Kernel, Knob, KnobTurned, Plugin, hookimpl
from aetherra.kernel.cli.app import run_cli

Command = Callable[..., Any]


class Room(Plugin):
    """Has a knob of each kind, and one that cannot be read."""

    def __init__(self, settings: Any = None) -> None:
        super().__init__(settings)
        self.values: dict[str, Any] = {"warmth": 20.5, "mode": "2", "broken": None}

    @hookimpl
    def knobs(self) -> Iterable[Knob]:
        yield self.knob("warmth", low=-5.0, high=30.0, step=0.5, unit="C", cost="heat", moves={"room.cold": "down"})
        yield self.knob("mode", choices=("eco", "2"))
        yield self.knob("broken", low=1, high=8, step=2, scale="log")

    def knob(self, name: str, **shape: Any) -> Knob:
        def write(value: object) -> None:
            self.values[name] = value

        return Knob(name=f"room.{name}", read=lambda: self.values[name], write=write, **shape)


async def run(kernel: Kernel, *words: str) -> int:
    """Run a command in a thread, as it has an event loop of its own."""
    arguments = ["knobs", *words, "--path", str(kernel.config.root)]
    return await anyio.to_thread.run_sync(run_cli, arguments)


class TestKnobs:
    async def test_a_knob_is_not_listed(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """There is a row of each for people, and all that is known of it for programs."""
        async with Kernel(Config.parse({"kernel": {"discover": False}}, root=tmp_path)) as kernel:
            await kernel.add_plugin(Room)
            assert await run(kernel) == 0
            lines = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
            rows = {cells[0]: [cell.strip() for cell in cells if cell.strip()] for cells in lines}
            assert rows["room.warmth"] == ["room.warmth", "20.5", "-5 .. 30", "+ 0.5", "C", "tuning", "medium", "heat"]
            assert rows["room.mode"][:3] == ["room.mode", "2", "eco | 2"]
            assert rows["room.broken"][1].startswith("unknown: TypeError: read() returned None")
            assert rows["room.broken"][2:4] == ["1 .. 8", "x 2"]
            assert rows["kernel.workers"][:3] == ["kernel.workers", "8", "1 .. 64"]
            assert await run(kernel, "--json") == 0
            found = {knob["name"]: knob for knob in json.loads(capsys.readouterr().out)}
            assert found["room.warmth"]["moves"] == {"room.cold": "down"}
            assert (found["kernel.workers"]["value"], found["kernel.workers"]["undo"]) != (None, "")

    @pytest.mark.parametrize(
        ("name", "word", "value"),
        [
            ("room.warmth", "22", 22.0),
            ("room.warmth", "-2.5", -2.5),
            ("room.warmth", "1e1", 10.0),
            ("room.mode", "eco", "eco"),
            ("kernel.workers", "16", 16),
        ],
    )
    async def test_a_word_is_no_value(
        self, name: str, word: str, value: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A number is a number, also below zero, and a word a choice; others hear who did it and why."""
        async with Kernel(Config.parse({"kernel": {"discover": False}}, root=tmp_path)) as kernel:
            await kernel.add_plugin(Room)
            with kernel.subscribe(KnobTurned) as events:
                assert await run(kernel, "set", name, word, "--reason", "to see") == 0
                event = await anext(events)
            assert (event.knob, event.after, event.reason) == (name, value, "to see")
            assert event.who == "remote client 'aetherra command line'"
            assert capsys.readouterr().out == f"{name}: {event.before} -> {value}\n"
            assert await run(kernel, "set", name, word) == 0
            assert capsys.readouterr().out == f"{name} is {value} already\n"
            assert await run(kernel, "set", name, word, "--json") == 0
            assert json.loads(capsys.readouterr().out) == {"name": name, "before": value, "after": value}

    async def test_a_choice_that_looks_like_a_number_is_out_of_reach(self, tmp_path: Path) -> None:
        """In double quotes it is a text."""
        async with Kernel(Config.parse({"kernel": {"discover": False}}, root=tmp_path)) as kernel:
            await kernel.add_plugin(Room)
            assert await run(kernel, "set", "room.mode", "eco") == 0
            assert await run(kernel, "set", "room.mode", "2") == 1
            assert await run(kernel, "set", "room.mode", '"2"') == 0

    @pytest.mark.parametrize(
        ("words", "problem"),
        [
            (("room.warmth", "31"), "aetherra: knob 'room.warmth': expected a number from -5 to 30 (C), got 31\n"),
            (
                ("room.warmth", "true"),
                "aetherra: knob 'room.warmth': expected a number from -5 to 30 (C), got 'true'\n",
            ),
            (("room.warmt", "20"), "aetherra: there is no knob 'room.warmt'; nearest: 'room.warmth', 'room.mode'\n"),
        ],
    )
    async def test_an_error_does_not_say_what_was_expected(
        self, words: tuple[str, ...], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """It is one line, in the kernel's words, and status 1."""
        async with Kernel(Config.parse({"kernel": {"discover": False}}, root=tmp_path)) as kernel:
            await kernel.add_plugin(Room)
            assert await run(kernel, "set", *words) == 1
            assert capsys.readouterr().err == problem

    def test_no_host_is_a_traceback(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """It says that none runs."""
        assert run_cli(["knobs", "--path", str(tmp_path)]) == 1
        assert "no host is running here" in capsys.readouterr().err
