"""Integrations: all or nothing, back to the byte, and nobody else's files touched."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aetherra.plugins import DataFileError, NotPermittedError
from aetherra.plugins.self_incorporation.code.classifier import FileKind
from aetherra.plugins.self_incorporation.gate.item import Item
from aetherra.plugins.self_incorporation.integration.catalogue import AgentEntry, DatasetEntry, UtilityEntry
from aetherra.plugins.self_incorporation.integration.errors import (
    ActionRefusedError,
    IntegrationError,
    ItemChangedError,
    PlaceChangedError,
    RollbackRefusedError,
    StepFailedError,
    UnknownTokenError,
)
from aetherra.plugins.self_incorporation.integration.integrator import CoreIntegrator
from aetherra.plugins.self_incorporation.integration.intents import Begun
from aetherra.plugins.self_incorporation.integration.plan import Plan
from aetherra.plugins.self_incorporation.integration.planner import IntegrationPlanner
from tests.plugins.self_incorporation.integration.conftest import (
    FakeHands,
    Leave,
    empty_world,
    item_at,
    judged,
    plan_of,
    snapshot,
)

LOG = logging.getLogger("tests.integration")


class World:
    """A tree to find items in, a host, and where it keeps what was integrated."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "project"
        self.root.mkdir(exist_ok=True)
        self.folder = folder / "state"
        self.hands = FakeHands()
        self.integrator = self.begin()

    def begin(self) -> CoreIntegrator:
        """Return an integrator as the next host has it."""
        return CoreIntegrator(self.hands, self.folder, now=lambda: 5.0, log=LOG)

    async def restart(self) -> None:
        """Lose all that is in memory, and start again."""
        self.hands.serving.clear()
        self.integrator = self.begin()
        await self.integrator.recover()
        await self.integrator.bring_up()

    def write(self, path: str, text: str, kind: FileKind = FileKind.PLUGIN, **fields: Any) -> Item:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        return item_at(self.root, path.partition("/")[0], kind, **fields)

    def plan(self, *items: Item, **options: Any) -> Plan:
        plan = plan_of(*items, world=empty_world(registered=self.integrator.registered), **options)
        assert plan.conflicts == (), plan.conflicts
        return plan

    async def integrate(self, *items: Item, leave: Leave | None = None, **options: Any) -> str:
        plan = self.plan(*items, **options)
        return (await self.integrator.integrate(plan, leave or Leave())).token

    def held(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return all files and registrations, byte for byte, and all that serves."""
        integrator = self.integrator
        return snapshot(integrator.destination, integrator.folder / "registrations"), dict(self.hands.serving)


@pytest.fixture
async def world(tmp_path: Path) -> World:
    found = World(tmp_path)
    await found.integrator.recover()
    return found


async def problem_of(world: World, plan: Plan) -> str:
    """Carry a plan out, and return what was wrong, empty if nothing was."""
    try:
        await world.integrator.integrate(plan, Leave())
    except (DataFileError, IntegrationError) as exc:
        return str(exc)
    return ""


class TestIntegrating:
    async def test_each_kind_comes_in(self, world: World) -> None:
        """Plugins serve, agents and utilities can be imported, data is in the catalogue, actions are done."""
        token = await world.integrate(
            world.write("greeter.py", "import tool", imports=("tool",), handles=("g.g",)),
            world.write("tool.py", "def f(): ...\ndef _g(): ...\n", FileKind.UTILITY),
            world.write("scout.py", "class Scout:\n  def run(self): ...\nclass ScoutAgent: ...\n", FileKind.AGENT),
            world.write("a.csv", "x\n1\n", FileKind.DATASET),
            world.write("flow.json", '[{"tag": "a.do", "body": {"x": 1}}]', FileKind.WORKFLOW),
        )
        found = world.integrator.registered
        assert {name: one.token for name, one in found.items()} == dict.fromkeys(
            ["a.csv", "flow.json", "greeter", "scout", "tool"], token
        )
        assert world.hands.serving == {"greeter": (b"import tool", {})}
        assert found["greeter"].uses == ("tool",)
        assert found["tool"].entry == UtilityEntry("tool", ("f",))
        assert found["scout"].entry == AgentEntry("scout", {"ScoutAgent": ()})
        assert isinstance(found["a.csv"].entry, DatasetEntry)
        assert [body for _, body, _ in world.hands.done] == [{"x": 1}]

    async def test_a_package_comes_in_whole_and_a_new_version_takes_its_place(self, world: World) -> None:
        """Files that are no more go; the way back brings them again."""
        world.write("pkg/__init__.py", "one")
        first = world.write("pkg/old.py", "old")
        await world.integrate(first)
        before = world.held()
        (world.root / "pkg" / "old.py").unlink()
        second = world.write("pkg/__init__.py", "two")

        token = await world.integrate(second)
        assert world.hands.serving["pkg"][0] == b"two"
        assert sorted(path.name for path in (world.integrator.destination / "pkg").iterdir()) == ["__init__.py"]
        rolled_back = await world.integrator.trigger_rollback(token, Leave(), reason="worse")
        assert rolled_back.left == ()
        assert world.held() == before

    async def test_a_plugin_that_moves_or_gets_other_settings_is_started_anew(self, world: World) -> None:
        """And is back where it was, with what it had, afterwards."""
        await world.integrate(world.write("thing.py", "one", name="thing", version="1"), settings={"thing": {"x": 1}})
        before = world.held()
        item = world.write("thing2/__init__.py", "two", name="thing", version="2")
        token = await world.integrate(item, settings={"thing": {"x": 2}})
        assert world.hands.serving == {"thing": (b"two", {"x": 2})}
        assert not (world.integrator.destination / "thing.py").exists()
        await world.integrator.trigger_rollback(token, Leave())
        assert world.held() == before

    async def test_a_file_that_changed_since_it_was_judged_is_refused(self, world: World) -> None:
        """Before anything is changed; so is one that is gone."""
        item = world.write("greeter.py", "one")
        plan = world.plan(item)
        (world.root / "greeter.py").write_text("two", encoding="utf-8")
        with pytest.raises(ItemChangedError, match="judge"):
            await world.integrator.integrate(plan, Leave())
        (world.root / "greeter.py").unlink()
        with pytest.raises(ItemChangedError, match="gone"):
            await world.integrator.integrate(plan, Leave())
        assert world.held() == ({}, {})
        assert world.integrator.integrations() == ()

    async def test_a_plan_that_was_changed_is_refused(self, world: World) -> None:
        """Its digest is what was approved; nothing, and what has been overtaken, is not done either."""
        import msgspec

        plan = world.plan(world.write("greeter.py", "one"))
        other = msgspec.structs.replace(plan, steps=(msgspec.structs.replace(plan.steps[0], settings={"evil": True}),))
        with pytest.raises(IntegrationError, match="digest"):
            await world.integrator.integrate(other, Leave())
        with pytest.raises(IntegrationError, match="no step"):
            await world.integrator.integrate(plan_of(), Leave())
        await world.integrator.integrate(plan, Leave())
        with pytest.raises(IntegrationError, match="plan again"):
            await world.integrator.integrate(plan, Leave())

    @pytest.mark.parametrize("fails", ["load b", "prove b", "perform a.do", "replace a"])
    async def test_a_step_that_fails_takes_all_before_it_back(self, world: World, fails: str) -> None:
        """Files, registrations, plugins, and actions that have a way back."""
        await world.integrate(world.write("a.py", "one"))
        before = world.held()
        flow = '[{"tag": "a.go", "body": {"x": 1}, "undo": {"tag": "a.back", "body": {"x": 1}}}, {"tag": "a.do"}]'
        items = (
            world.write("a.py", "two", risk=0.5),
            world.write("b.py", "new", risk=0.6),
            world.write("flow.json", flow, FileKind.WORKFLOW, risk=0.1),
        )
        world.hands.fails[fails] = IntegrationError("hands", "failed")
        with pytest.raises(IntegrationError, match="failed"):
            await world.integrate(*items)
        assert world.held() == before
        undone = [tag for tag, *_ in world.hands.done]
        assert undone == (["a.go", "a.back"] if fails == "perform a.do" else ["a.go", "a.do", "a.back"])
        assert [history.stage for history in world.integrator.integrations()] == ["committed", "undone"]

    async def test_an_action_that_was_tried_is_undone_though_it_failed(self, world: World) -> None:
        """A dead-lettered one may have had its effect; one that was refused has had none."""
        flow = """[{"tag": "a.go", "undo": {"tag": "a.back", "body": {}}},
                   {"tag": "a.more", "undo": {"tag": "a.less", "body": {}}}]"""
        item = world.write("flow.json", flow, FileKind.WORKFLOW)
        world.hands.fails["perform a.more"] = DataFileError("somewhere", "timed out")
        with pytest.raises(StepFailedError, match="timed out"):
            await world.integrate(item)
        assert [tag for tag, *_ in world.hands.done] == ["a.go", "a.less", "a.back"]
        world.hands.done.clear()
        world.hands.fails["perform a.more"] = ActionRefusedError("a.more", "the lane is full")
        with pytest.raises(StepFailedError, match="lane is full"):
            await world.integrate(item)
        assert [tag for tag, *_ in world.hands.done] == ["a.go", "a.back"]

    async def test_only_a_step_that_was_begun_has_failed(self, world: World) -> None:
        """What could not be begun, or not be recorded at its end, is no step's failure."""
        plan = world.plan(world.write("a.py", "one"))
        await world.integrator.integrate(plan, Leave())
        with pytest.raises(IntegrationError) as caught:
            await world.integrator.integrate(plan, Leave())
        assert not isinstance(caught.value, StepFailedError)
        with pytest.raises(IntegrationError, match="stopped") as caught:
            await world.integrate(world.write("b.py", "b"), leave=Leave(1))
        assert not isinstance(caught.value, StepFailedError)
        world.hands.fails["prove b"] = DataFileError("b", "cannot be read")
        with pytest.raises(StepFailedError) as failed:
            await world.integrate(world.write("b.py", "b"))
        assert failed.value.where == "b"

    async def test_a_cancellation_while_its_beginning_is_recorded_takes_it_back(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It does not stay under way for the rest of the run."""
        plan = world.plan(world.write("a.py", "one"))
        real = world.integrator._archive.write

        def cancelled(record: Any) -> None:
            real(record)
            if isinstance(record, Begun):
                anyio.from_thread.run_sync(scope.cancel)

        monkeypatch.setattr(world.integrator._archive, "write", cancelled)
        with anyio.CancelScope() as scope:
            await world.integrator.integrate(plan, Leave())
        assert [history.stage for history in world.integrator.integrations()] == ["undone"]
        assert world.held() == ({}, {})

    async def test_plans_are_made_and_described_in_the_middle_of_one(self, world: World) -> None:
        """As of before it; whether something strays, nobody can tell then."""
        await world.integrate(world.write("a.py", "one"))
        plan = world.plan(world.write("c.py", "c"))

        async def look(name: str, check: Any) -> None:
            assert set((await world.integrator.world()).registered) == {"a"}
            assert (await world.integrator.describe(plan)).digest == plan.digest
            assert await world.integrator.strayed() == {}

        world.hands.prove = look  # type: ignore[method-assign]
        with anyio.fail_after(60):
            await world.integrate(world.write("b.py", "b"))
        assert set((await world.integrator.world()).registered) == {"a", "b"}

    async def test_an_action_without_a_way_back_is_named(self, world: World) -> None:
        """It was done, and that is said."""
        flow = world.write("flow.json", '[{"tag": "a.do"}]', FileKind.WORKFLOW)
        world.hands.fails["load b"] = IntegrationError("hands", "failed")
        with pytest.raises(IntegrationError, match=r"could not be undone: action 'a\.do' has no way back"):
            await world.integrate(flow, world.write("b.py", "", risk=0.9))

    @pytest.mark.parametrize("after", range(5))
    async def test_a_stop_at_any_step_takes_all_back(self, world: World, after: int) -> None:
        """Whoever says stop is obeyed between two steps, and told as it is."""
        await world.integrate(world.write("a.py", "one"))
        before = world.held()
        stop = NotPermittedError("integration", "a", "stopped", "somebody said stop")
        items = world.write("a.py", "two"), world.write("b.py", "new")
        with pytest.raises(NotPermittedError):
            await world.integrate(*items, leave=Leave(after, stop))
        assert world.held() == before

    async def test_a_cancellation_takes_all_back(self, world: World) -> None:
        """While a step waits."""
        await world.integrate(world.write("a.py", "one"))
        before = world.held()

        async def hang(name: str, check: Any) -> None:
            group.cancel_scope.cancel()
            await anyio.sleep_forever()

        world.hands.prove = hang  # type: ignore[method-assign]
        async with anyio.create_task_group() as group:
            await world.integrate(world.write("b.py", "new"))
        assert world.held() == before
        assert world.integrator.integrations()[-1].stage == "undone"

    async def test_a_file_in_the_way_stops_it_and_stays(self, world: World) -> None:
        """What somebody put into the destination meanwhile is theirs."""
        plan = world.plan(world.write("a.py", "one"), world.write("b.py", "two", risk=0.9))
        mine = world.integrator.destination / "b.py"

        class Interfering(Leave):
            async def check(self) -> None:
                await super().check()
                if self.asked == 3:
                    mine.write_text("mine", encoding="utf-8")

        with pytest.raises(IntegrationError, match=r"b\.py.* was changed by somebody"):
            await world.integrator.integrate(plan, Interfering())
        assert mine.read_text(encoding="utf-8") == "mine"
        assert not (world.integrator.destination / "a.py").exists()
        assert world.hands.serving == {}

    async def test_a_link_in_the_way_is_not_followed(self, world: World, tmp_path: Path) -> None:
        """Nothing outside of the destination is ever written."""
        (tmp_path / "outside").mkdir()
        world.write("pkg/__init__.py", "")
        plan = world.plan(item_at(world.root, "pkg"))
        (world.integrator.destination / "pkg").symlink_to(tmp_path / "outside")
        with pytest.raises(PlaceChangedError, match="pkg"):
            await world.integrator.integrate(plan, Leave())
        assert list((tmp_path / "outside").iterdir()) == []

    async def test_a_utility_that_cannot_be_imported_stays_out(self, world: World) -> None:
        """As Python says in a process of its own."""
        with pytest.raises(IntegrationError, match="nothing_there"):
            await world.integrate(world.write("tool.py", "import nothing_there", FileKind.UTILITY))
        assert world.held() == ({}, {})

    async def test_plugins_take_a_new_version_of_what_they_import(self, world: World) -> None:
        """And go back with it."""
        await world.integrate(
            world.write("tool.py", "V = 1", FileKind.UTILITY), world.write("user.py", "u", imports=("tool",))
        )
        world.hands.said.clear()
        token = await world.integrate(world.write("tool.py", "V = 2", FileKind.UTILITY))
        assert world.hands.said == ["replace user"]
        world.hands.said.clear()
        await world.integrator.trigger_rollback(token, Leave())
        assert world.hands.said == ["put_back user"]
        assert (world.integrator.destination / "tool.py").read_text(encoding="utf-8") == "V = 1"

    async def test_nothing_is_done_where_it_cannot_be_recorded(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A full disk refuses before anything is changed."""
        plan = world.plan(world.write("a.py", "one"))

        def full(*_: object) -> None:
            raise DataFileError("integrations.jsonl", "no space left on device")

        monkeypatch.setattr(world.integrator._archive.journal, "append", full)
        with pytest.raises(DataFileError, match="no space"):
            await world.integrator.integrate(plan, Leave())
        assert world.held() == ({}, {})

    @pytest.mark.parametrize("call", range(1, 30))
    async def test_a_full_disk_takes_all_back(self, world: World, monkeypatch: pytest.MonkeyPatch, call: int) -> None:
        """At whichever write; what was there needs no new room where it was not touched yet."""
        await world.integrate(world.write("a.py", "one"))
        before = world.held()
        plan = world.plan(world.write("a.py", "two"), world.write("b.py", "b", risk=0.9))
        count, real = 0, os.write

        def full(descriptor: int, data: Any) -> int:
            nonlocal count
            count += 1
            if count == call:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(descriptor, data)

        monkeypatch.setattr(os, "write", full)
        problem = await problem_of(world, plan)
        monkeypatch.undo()
        if problem:
            assert "No space left" in problem
            assert world.held() == before
            await world.integrator.integrate(plan, Leave())
        assert {name: code for name, (code, _) in world.hands.serving.items()} == {"a": b"two", "b": b"b"}


class TestADryRun:
    async def test_says_what_would_be_done_and_does_nothing(self, world: World) -> None:
        """Files with sizes and permissions, the host, what has no way back; then exactly that is done."""
        items = (
            world.write("greeter.py", "code", handles=("g.g",)),
            world.write("flow.json", '[{"tag": "a.do"}]', FileKind.WORKFLOW),
        )
        plan = world.plan(*items, settings={"greeter": {"x": 1}})
        before = snapshot(world.folder)
        told = await world.integrator.describe(plan)
        assert snapshot(world.folder) == before
        assert world.hands.said == []

        effects = {effect.name: effect for effect in told.effects}
        assert effects["greeter"].settings == {"x": 1}
        assert "brought up, which answers g.g" in effects["greeter"].host[0] or "g.g" in effects["greeter"].host[0]
        assert effects["flow.json"].undo == ("action 'a.do' has no way back",)
        await world.integrator.integrate(plan, Leave())
        there = snapshot(world.integrator.destination, world.folder / "registrations")
        foreseen = {file.path: (file.mode, file.size) for effect in told.effects for file in effect.files}
        assert foreseen == {path: (f"{mode:o}", len(data)) for path, (_, mode, data) in there.items()}
        assert told.bytes_written == sum(len(data) for _, _, data in there.values())

    async def test_refuses_what_integrating_would(self, world: World) -> None:
        """A file that is not what was judged."""
        plan = world.plan(world.write("greeter.py", "code"))
        (world.root / "greeter.py").write_text("other", encoding="utf-8")
        with pytest.raises(ItemChangedError):
            await world.integrator.describe(plan)


class TestRollingBack:
    async def test_works_in_the_next_run(self, world: World) -> None:
        """A token is good after a restart, with all bytes."""
        await world.integrate(world.write("a.py", "one"), settings={"a": {"x": 1}})
        before = world.held()
        token = await world.integrate(world.write("a.py", "two"), world.write("b.py", "b"), settings={"a": {"x": 1}})
        await world.restart()
        assert set(world.hands.serving) == {"a", "b"}
        await world.integrator.trigger_rollback(token, Leave())
        assert world.held() == before
        await world.restart()
        assert world.held() == before

    async def test_of_an_earlier_one_leaves_later_ones_alone(self, world: World) -> None:
        """Each has its own files and registrations."""
        first = await world.integrate(world.write("a.py", "a"))
        await world.integrate(world.write("b.py", "b"))
        await world.integrator.trigger_rollback(first, Leave())
        assert set(world.integrator.registered) == set(world.hands.serving) == {"b"}

    async def test_is_refused_where_it_would_undo_something_else(self, world: World) -> None:
        """What came later over the same, what needs it, what somebody has changed: each is named, nothing is done."""
        first = await world.integrate(world.write("a.py", "one"))
        second = await world.integrate(world.write("a.py", "two"))
        with pytest.raises(RollbackRefusedError, match=second):
            await world.integrator.trigger_rollback(first, Leave())
        third = await world.integrate(world.write("b.py", "b", requires=()), world.write("c.py", "c", imports=("b",)))
        fourth = await world.integrate(world.write("d.py", "d", imports=("b",)))
        with pytest.raises(RollbackRefusedError, match=f"'d', of integration '{fourth}', needs 'b'"):
            await world.integrator.trigger_rollback(third, Leave())
        (world.integrator.destination / "d.py").write_text("mine", encoding="utf-8")
        with pytest.raises(RollbackRefusedError, match=r"d\.py' was changed by somebody"):
            await world.integrator.trigger_rollback(fourth, Leave())
        assert set(world.hands.serving) == {"a", "b", "c", "d"}
        world.hands.requires["c"] = ("a",)

    async def test_is_refused_where_another_has_taken_what_earlier_code_answers(self, world: World) -> None:
        """It could not serve again; who has it now is named, and nothing is changed until that is out."""
        await world.integrate(world.write("bank.py", "one", version="1", handles=("bank.pay",)))
        second = await world.integrate(world.write("bank.py", "two", version="2"))
        thief = await world.integrate(world.write("thief.py", "t", handles=("bank.pay",)))
        world.hands.tags["thief"] = ("bank.pay",)
        before = world.held()
        with pytest.raises(RollbackRefusedError, match=f"'thief' has 'bank.pay' now; roll {thief} back first"):
            await world.integrator.trigger_rollback(second, Leave())
        assert world.held() == before
        await world.integrator.trigger_rollback(thief, Leave())
        await world.integrator.trigger_rollback(second, Leave())
        assert world.hands.serving == {"bank": (b"one", {})}

    async def test_brings_up_what_could_not_serve_before(self, world: World) -> None:
        """As the place that it needs is free again."""
        await world.integrate(world.write("a.py", "one"))
        token = await world.integrate(world.write("b.py", "b"))
        await world.hands.unload("a")
        await world.integrator.trigger_rollback(token, Leave())
        assert set(world.hands.serving) == {"a"}

    async def test_is_refused_while_a_plugin_of_the_host_needs_it(self, world: World) -> None:
        """Though that was not integrated."""
        token = await world.integrate(world.write("a.py", "one"), world.write("z.py", "z"))
        world.hands.serving["theirs"] = (b"", {})
        world.hands._paths["theirs"] = Path("theirs.py")
        world.hands.requires["theirs"] = ("a",)
        with pytest.raises(RollbackRefusedError, match="'theirs' needs 'a'"):
            await world.integrator.trigger_rollback(token, Leave())

    async def test_is_refused_where_what_was_there_is_damaged(self, world: World) -> None:
        """Before anything is changed: half a way back could never be gone to its end."""
        await world.integrate(world.write("a.py", "one"))
        token = await world.integrate(world.write("a.py", "two"))
        before = world.held()
        kept = world.integrator._archive.tree.blobs.path(hashlib.sha256(b"one").hexdigest())
        kept.chmod(0o600)
        kept.write_bytes(b"odd")
        with pytest.raises(RollbackRefusedError, match="is damaged"):
            await world.integrator.trigger_rollback(token, Leave())
        assert world.held() == before
        kept.write_bytes(b"one")
        await world.integrator.trigger_rollback(token, Leave())

    async def test_happens_once(self, world: World) -> None:
        """A second time it is refused, and so is a token that never was."""
        token = await world.integrate(world.write("a.py", "one"))
        await world.integrator.trigger_rollback(token, Leave(), reason="worse")
        with pytest.raises(RollbackRefusedError, match="already: worse"):
            await world.integrator.trigger_rollback(token, Leave())
        with pytest.raises(UnknownTokenError):
            await world.integrator.trigger_rollback("none", Leave())
        assert world.held() == ({}, {})

    @pytest.mark.parametrize("how", ["gone", "garbage"])
    async def test_a_journal_that_is_away_at_one_start_takes_all_ways_back_with_it(
        self, world: World, caplog: pytest.LogCaptureFixture, how: str
    ) -> None:
        """Nothing is forgotten, nothing comes in, and that is told, until it is back; then all can be taken out."""
        token = await world.integrate(world.write("a.py", "one"))
        again = await world.integrate(world.write("a.py", "two"))
        journal, away = world.folder / "integrations.jsonl", world.folder / "away"
        journal.rename(away)
        if how == "garbage":
            journal.write_bytes(b"\0" * 4096 + b"\n")
        plan = world.plan(world.write("b.py", "b"))
        await world.restart()

        (problem,) = world.integrator.problems
        assert problem in caplog.text
        assert f"{journal} is {'gone' if how == 'gone' else 'not what was written'}" in problem
        assert set(world.hands.serving) == {"a"}
        with pytest.raises(RollbackRefusedError, match="put it back"):
            await world.integrator.trigger_rollback(again, Leave())
        with pytest.raises(IntegrationError, match="put it back"):
            await world.integrator.integrate(plan, Leave())
        away.rename(journal)
        await world.integrator.trigger_rollback(again, Leave())
        assert world.hands.serving == {"a": (b"one", {})}
        assert world.integrator.problems == ()
        await world.integrator.trigger_rollback(token, Leave())

    @pytest.mark.parametrize("line", [0, 1])
    async def test_one_damaged_line_takes_what_is_well_out(self, world: World, line: int) -> None:
        """A crash tears the last line alone: of any other nothing is made until a person has looked."""
        token = await world.integrate(world.write("a.py", "one"))
        await world.integrate(world.write("b.py", "b"))
        journal = world.folder / "integrations.jsonl"
        whole = journal.read_bytes()
        lines = whole.splitlines(keepends=True)
        journal.write_bytes(b"".join([*lines[:line], b"Z" + lines[line][1:], *lines[line + 1 :]]))
        damaged, before = journal.read_bytes(), world.held()
        await world.restart()

        assert world.held() == before
        assert journal.read_bytes() == damaged
        (problem,) = world.integrator.problems
        assert f"{journal} is damaged in line {line + 1}" in problem
        with pytest.raises(IntegrationError, match="put it back"):
            await world.integrate(world.write("c.py", "c"))
        journal.write_bytes(whole)
        await world.restart()
        assert world.integrator.problems == ()
        await world.integrator.trigger_rollback(token, Leave())

    async def test_a_torn_line_counts_as_damage_once_more_was_written(self, world: World) -> None:
        """It is dropped at the start, before anything else is written."""
        await world.integrate(world.write("a.py", "one"))
        journal = world.folder / "integrations.jsonl"
        whole = journal.read_bytes()
        journal.write_bytes(whole + b"0badc0de {")
        await world.restart()
        assert (journal.read_bytes(), world.integrator.problems) == (whole, ())

    async def test_a_journal_that_is_lost_keeps_everything_out_for_ever(self, world: World) -> None:
        """An empty one in its place says that its ways back are not missed."""
        token = await world.integrate(world.write("a.py", "one"))
        (world.folder / "integrations.jsonl").write_bytes(b"")
        await world.restart()
        assert world.integrator.problems == ()
        with pytest.raises(UnknownTokenError):
            await world.integrator.trigger_rollback(token, Leave())
        await world.integrate(world.write("b.py", "b"))
        assert set(world.hands.serving) == {"a", "b"}

    async def test_asks_before_and_not_after_it_has_begun(self, world: World) -> None:
        """Half a way back is no way back."""
        token = await world.integrate(world.write("a.py", "one"))
        before = world.held()
        with pytest.raises(IntegrationError, match="stopped"):
            await world.integrator.trigger_rollback(token, Leave(0))
        assert world.held() == before
        leave = Leave(1)
        await world.integrator.trigger_rollback(token, leave)
        assert leave.asked == 1

    async def test_puts_files_back_though_the_code_does_not_start(self, world: World) -> None:
        """And says so."""
        await world.integrate(world.write("a.py", "one"))
        files = world.held()[0]
        token = await world.integrate(world.write("a.py", "two"))
        world.hands.fails["put_back a"] = IntegrationError("a", "does not start")
        rolled_back = await world.integrator.trigger_rollback(token, Leave())
        assert rolled_back.left == ("a does not serve as before: does not start",)
        assert world.held()[0] == files

    async def test_undoes_actions_at_last_in_the_next_run(self, world: World) -> None:
        """Where whoever undoes them did not answer."""
        flow = world.write("f.json", '[{"tag": "a.go", "undo": {"tag": "a.back", "body": {}}}]', FileKind.WORKFLOW)
        token = await world.integrate(flow)
        world.hands.fails["perform a.back"] = IntegrationError("a.back", "nobody answers")
        rolled_back = await world.integrator.trigger_rollback(token, Leave())
        assert "nobody answers" in rolled_back.left[0]
        await world.restart()
        del world.hands.fails["perform a.back"]
        await world.restart()
        await world.restart()
        assert [(tag, key) for tag, _, key in world.hands.done] == [
            ("a.go", f"{token}.1.1"),
            ("a.back", f"{token}.1.1.undo"),
        ]


class TestAtTheStart:
    async def test_what_was_changed_by_somebody_is_not_loaded(self, world: World) -> None:
        """And is told of; the others are loaded."""
        await world.integrate(world.write("a.py", "one"), world.write("b.py", "two"))
        (world.integrator.destination / "a.py").write_text("mine", encoding="utf-8")
        world.hands.serving.clear()
        world.integrator = world.begin()
        await world.integrator.recover()
        found = {one.name: one.problem for one in await world.integrator.bring_up()}
        assert set(world.hands.serving) == {"b"}
        assert "was changed" in found["a"]
        assert found["b"] == ""

    @pytest.mark.parametrize("data", [b"mine", None])
    async def test_a_changed_copy_is_put_right_by_integrating_again(self, world: World, data: bytes | None) -> None:
        """When asked for by name; the way back gives what was there, and does not load it."""
        item = world.write("a.py", "one")
        await world.integrate(item)
        mine = world.integrator.destination / "a.py"
        mine.unlink() if data is None else mine.write_bytes(data)
        await world.restart()
        assert world.hands.serving == {}
        plans = IntegrationPlanner()
        there = await world.integrator.world()
        (out,) = plans.plan([judged(item)], there, at=1.0).left_out
        assert out.code == "altered"
        assert "'aetherra incorporate integrate a' writes it anew" in out.text

        plan = plans.plan([judged(item)], there, at=1.0, named=True)
        token = (await world.integrator.integrate(plan, Leave())).token
        assert world.hands.serving == {"a": (b"one", {})}
        assert (await world.integrator.world()).altered == {}
        back = await world.integrator.trigger_rollback(token, Leave())
        assert "somebody had changed it before" in back.left[0]
        assert world.hands.serving == {}
        assert (mine.read_bytes() if mine.exists() else None) == data

    async def test_a_plan_is_carried_out_beside_what_it_was_made_beside(self, world: World) -> None:
        """Or not at all: what stands beside it was judged with it."""
        plan = world.plan(world.write("a.py", "one"))
        await world.integrate(world.write("b.py", "b"))
        with pytest.raises(IntegrationError, match="plan again"):
            await world.integrator.integrate(plan, Leave())

    @pytest.mark.parametrize("change", [{"path": "../evil.py"}, {"settings": {"x": 1}}, {"files": {}}])
    async def test_a_registration_that_somebody_changed_loads_nothing(self, world: World, change: Any) -> None:
        """Wherever it points to, also when the integration itself is forgotten."""
        await world.integrate(world.write("a.py", "one"))
        path = world.folder / "registrations" / "a.json"
        path.write_text(json.dumps(json.loads(path.read_bytes()) | change), encoding="utf-8")
        for forgotten in (False, True):
            if forgotten:
                (world.folder / "integrations.jsonl").unlink()
            world.hands.serving.clear()
            world.integrator = world.begin()
            await world.integrator.recover()
            (found,) = await world.integrator.bring_up()
            if not forgotten or "settings" not in change:
                assert found.problem
                assert world.hands.serving == {}

    async def test_what_cannot_be_undone_stops_what_it_touches_until_it_can(self, world: World) -> None:
        """Somebody has changed a file of what a crash cut off: their file is kept; what needs it is not brought up."""
        await world.integrate(world.write("a.py", "one"))
        first = await world.integrate(world.write("user.py", "u", imports=("a",)))
        other = await world.integrate(world.write("c.py", "one"))
        before = world.held()
        plan = world.plan(world.write("a.py", "two"), world.write("b.py", "b", risk=0.9))
        end = Death(8)
        with end.ahead_of(world.integrator), pytest.raises(Died):
            await world.integrator.integrate(plan, Leave())
        mine = world.integrator.destination / "a.py"
        half = mine.read_bytes()
        assert half == b"two"
        mine.write_text("mine", encoding="utf-8")

        await world.restart()
        assert mine.read_text(encoding="utf-8") == "mine"
        assert set(world.hands.serving) == {"c"}
        assert len(world.integrator.problems) == 1
        assert "a.py' was changed by somebody" in world.integrator.problems[0]
        for item in (world.write("a.py", "three"), world.write("d.py", "d", imports=("a",)), world.write("b.py", "")):
            with pytest.raises(IntegrationError, match="seen to"):
                await world.integrate(item)
        for token in (world.integrator.integrations()[-1].token, world.integrator.token_of("a")):
            with pytest.raises(RollbackRefusedError, match="seen to"):
                await world.integrator.trigger_rollback(token, Leave())
        second = await world.integrate(world.write("c.py", "two"))
        assert world.hands.serving["c"][0] == b"two"
        await world.integrator.trigger_rollback(second, Leave())
        assert [one.stage for one in world.integrator.integrations() if one.token in (first, other)] == [
            "committed"
        ] * 2
        mine.write_bytes(half)
        await world.restart()
        assert world.integrator.problems == ()
        assert world.held() == before

    async def test_a_damaged_content_is_a_problem_of_its_integration_alone(self, world: World) -> None:
        """What a crash cut off cannot be undone without it; the host starts, and all else is brought up."""
        await world.integrate(world.write("a.py", "one"), world.write("b.py", "b"))
        plan = world.plan(world.write("a.py", "two"))
        end = Death(6)
        with end.ahead_of(world.integrator), pytest.raises(Died):
            await world.integrator.integrate(plan, Leave())
        assert (world.integrator.destination / "a.py").read_bytes() == b"two"
        kept = world.integrator._archive.tree.blobs.path(hashlib.sha256(b"one").hexdigest())
        kept.chmod(0o600)
        kept.write_bytes(b"odd")

        await world.restart()
        assert set(world.hands.serving) == {"b"}
        assert "is damaged" in world.integrator.problems[0]
        kept.write_bytes(b"one")
        await world.restart()
        assert world.hands.serving["a"][0] == b"one"
        assert world.integrator.problems == ()

    async def test_lines_of_the_journal_that_cannot_be_read_are_told_of(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        """In the log, as they are gone after that."""
        await world.integrate(world.write("a.py", "one"))
        with (world.folder / "integrations.jsonl").open("ab") as file:
            file.write(b"torn")
        await world.restart()
        assert "1 lines of the journal" in caplog.text
        caplog.clear()
        await world.restart()
        assert "of the journal" not in caplog.text

    async def test_a_registration_that_cannot_be_read_harms_no_other(self, world: World) -> None:
        """It is told of, and left as it is."""
        await world.integrate(world.write("a.py", "one"), world.write("b.py", "two"))
        path = world.folder / "registrations" / "a.json"
        path.write_text(json.dumps({"name": "a"}), encoding="utf-8")
        await world.restart()
        assert set(world.hands.serving) == {"b"}
        assert [one.path for one in world.integrator.unreadable] == [str(path)]

    async def test_plugins_are_loaded_after_what_they_need(self, world: World) -> None:
        """Also in a circle, which somebody may have made."""
        await world.integrate(world.write("z.py", "z"), world.write("a.py", "a", requires=("z",)))
        world.hands.said.clear()
        await world.restart()
        assert world.hands.said == ["load z", "load a"]

    async def test_only_the_latest_are_remembered(self, tmp_path: Path) -> None:
        """With the contents that they need, and no others."""
        world = World(tmp_path)
        world.begin = lambda: CoreIntegrator(world.hands, world.folder, now=lambda: 5.0, log=LOG, kept=2)  # type: ignore[method-assign]
        await world.restart()
        tokens = [await world.integrate(world.write("a.py", f"{number}")) for number in range(4)]
        await world.restart()
        assert [history.token for history in world.integrator.integrations()] == tokens[2:]
        with pytest.raises(UnknownTokenError):
            await world.integrator.trigger_rollback(tokens[0], Leave())
        for token in reversed(tokens[2:]):
            await world.integrator.trigger_rollback(token, Leave())
        assert world.hands.serving["a"][0] == b"1"

    async def test_the_oldest_are_forgotten_in_a_long_run_too(self, tmp_path: Path) -> None:
        """Not at the next start alone: there are never more than twice as many."""
        world = World(tmp_path)
        world.begin = lambda: CoreIntegrator(world.hands, world.folder, now=lambda: 5.0, log=LOG, kept=2)  # type: ignore[method-assign]
        await world.restart()
        tokens = [await world.integrate(world.write("a.py", f"{number}")) for number in range(7)]
        assert [history.token for history in world.integrator.integrations()] == tokens[-3:]
        await world.integrator.trigger_rollback(tokens[-1], Leave())
        assert world.hands.serving["a"][0] == b"5"


class TestBesideAnotherGeneration:
    async def test_nothing_is_recovered_while_it_is_in_the_middle(self, world: World) -> None:
        """A candidate of the plugin starts while the old one may be integrating; what is under way is not undone."""
        go_on = anyio.Event()

        async def hang(name: str, check: Any) -> None:
            await go_on.wait()

        world.hands.prove = hang  # type: ignore[method-assign]
        other = world.begin()
        async with anyio.create_task_group() as group:
            group.start_soon(world.integrate, world.write("a.py", "one"))
            while "load a" not in world.hands.said:
                await anyio.lowlevel.checkpoint()
            with pytest.raises(IntegrationError, match="another generation"):
                await other.recover()
            go_on.set()
        assert (await other.recover()).rolled_back == ()
        assert set(other.registered) == set(world.integrator.registered) == {"a"}

    async def test_what_it_did_is_known_and_what_it_brought_up_is_left(self, world: World) -> None:
        """The next generation finds plugins serving; the one before learns what the next has done."""
        await world.integrate(world.write("a.py", "one"))
        other = world.begin()
        await other.recover()
        world.hands.said.clear()
        assert [(one.name, one.problem) for one in await other.bring_up()] == [("a", "")]
        assert world.hands.said == []
        token = await world.integrate(world.write("a.py", "two"))
        await other.trigger_rollback(token, Leave())
        assert (await world.integrator.world()).registered == other.registered
        with pytest.raises(RollbackRefusedError, match="already"):
            await world.integrator.trigger_rollback(token, Leave())


class Died(BaseException):
    """The process is gone: nothing of it runs any more."""


class Death:
    """The end of an integrator's process at its n-th record or change of files; 0 for never."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._count = 0

    @property
    def came(self) -> bool:
        return 0 < self._number <= self._count

    @contextmanager
    def ahead_of(self, integrator: CoreIntegrator) -> Iterator[None]:
        with ExitStack() as stack:
            for owner, name in (
                (integrator._archive.journal, "append"),
                (integrator._archive.tree, "_put"),
                (integrator._archive.tree, "_clear"),
                (integrator._archive.tree, "_make"),
                (integrator._archive.tree, "_permit"),
            ):
                stack.enter_context(stand_in(owner, name, self._instead(getattr(owner, name))))
            yield

    def _instead(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            self._count += 1
            if self.came:
                raise Died
            return real(*args)

        return call


@contextmanager
def stand_in(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Have an object do something else for a while."""
    setattr(owner, name, value)
    yield
    delattr(owner, name)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["integrate", "roll_back", "restart", "fail"]),
        st.sets(st.sampled_from(["a", "b", "pkg"]), min_size=1),
        st.integers(0, 9),
        st.integers(0, 14),
    ),
    max_size=8,
)


@given(STEPS)
@settings(max_examples=40)
def test_any_history_gives_back_what_was(steps: list[tuple[str, set[str], int, int]]) -> None:
    """Over a model: after any integrations, ways back and crashes, all is as after those that came to their end."""
    with tempfile.TemporaryDirectory() as folder:
        anyio.run(_play, Path(folder), steps)


async def _play(folder: Path, steps: list[tuple[str, set[str], int, int]]) -> None:
    world = World(folder)
    await world.integrator.recover()
    states = [world.held()]  # by the integrations that count, oldest first: what was before each, and now
    tokens: list[str] = []
    for what, names, version, death in steps:
        end = Death(death)
        before = world.held()
        stack = ExitStack()
        stack.enter_context(end.ahead_of(world.integrator))
        try:
            if what == "roll_back" and tokens:
                await world.integrator.trigger_rollback(tokens[-1], Leave())
                tokens.pop()
                states.pop()
            elif what in ("integrate", "fail"):
                items = []
                for name in sorted(names):
                    path = "pkg/__init__.py" if name == "pkg" else f"{name}.py"
                    items.append(world.write(path, f"{name} {version}"))
                plan = plan_of(*items, world=empty_world(registered=world.integrator.registered))
                if plan.steps:
                    leave = Leave(2) if what == "fail" else Leave()
                    tokens.append((await world.integrator.integrate(plan, leave)).token)
                    states.append(world.held())
        except IntegrationError:
            assert what == "fail" or end.came
        except Died:
            pass
        finally:
            stack.close()
        if what == "restart" or end.came:
            await world.restart()
            ended = {history.token: history.stage for history in world.integrator.integrations()}
            while tokens and ended[tokens[-1]] != "committed":
                tokens.pop()
                states.pop()
            newest = [token for token, stage in ended.items() if stage == "committed"]
            if len(newest) > len(tokens):  # it had committed, and died before it could say so
                tokens.append(newest[-1])
                states.append(world.held())
                assert world.held() != before
        assert world.held() == states[-1]
        assert world.integrator.problems == ()
