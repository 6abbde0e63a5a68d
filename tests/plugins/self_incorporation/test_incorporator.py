"""Bringing in and taking out, with a governance that says what it is told to, and disks that fail at the worst time."""

from __future__ import annotations

import logging

import anyio
import pytest

from aetherra.plugins import DataFileError, NotPermittedError
from aetherra.plugins.self_incorporation.incorporator import PlanChangedError
from aetherra.plugins.self_incorporation.integration.errors import StepFailedError
from aetherra.plugins.self_incorporation.messages import Incorporated, TakenOut
from tests.plugins.self_incorporation.conftest import House, plugin_text, refusing

FULL = DataFileError("it", "the disk is full")


def fails(*_: object) -> None:
    raise FULL


class TestBringingIn:
    async def test_what_is_done_is_told_as_failed(
        self, house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """What is committed is brought in, whatever cannot be written after it; that is logged."""
        house.put({"incoming/one.py": plugin_text("one")})
        monkeypatch.setattr(house.waiting, "take", fails)
        monkeypatch.setattr(house.kept_out, "let_in", fails)
        with caplog.at_level(logging.ERROR):
            done = await house.incorporator.integrate(["one"])

        assert done.names == ("one",)
        assert (house.incorporator.done, house.incorporator.failed) == (1, 0)
        assert house.host.told[-1].outcome == "done"
        assert house.host.published == [done]
        assert caplog.text.count("the disk is full") == 2

    async def test_a_caller_that_gives_up_falsifies_the_ledger(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A cancellation that comes after the commit leaves it told as done."""
        house.put({"incoming/one.py": plugin_text("one")})
        scope = anyio.CancelScope()
        real = house.school.note_plan

        async def note_plan(*args: object, **named: object) -> None:
            scope.cancel()
            await real(*args, **named)  # type: ignore[arg-type]

        monkeypatch.setattr(house.school, "note_plan", note_plan)
        with scope:
            await house.incorporator.integrate(["one"])

        assert "one" in house.integrator.registered
        assert [told.outcome for told in house.host.told] == ["done"]
        assert len(house.nights.evidence.plans) == 1

    async def test_a_plan_that_was_never_begun_is_learnt_from(self, house: House) -> None:
        """Only a step that failed, or plans that were done, are something to learn from."""
        house.put({"incoming/one.py": plugin_text("one")})
        house.host.before = lambda _: anyio.to_thread.run_sync((house.incoming / "one.py").write_text, "x = 1\n")
        with pytest.raises(Exception, match="not what was judged"):
            await house.incorporator.integrate(["one"])
        assert (house.incorporator.failed, len(house.nights.evidence.plans)) == (0, 0)

        house.host.before = None
        house.put({"incoming/one.py": plugin_text("one")})
        house.hands.fails["load one"] = OSError("no room")
        with pytest.raises(StepFailedError):
            await house.incorporator.integrate(["one"])
        assert house.incorporator.failed == 1
        (plan,) = house.nights.evidence.plans.all()
        assert [step.end for step in plan.steps] == ["failed"]

    async def test_nights_do_not_learn_what_something_came_in_as(self, house: House) -> None:
        """What is brought in is what it was brought in as, for nights to learn from."""
        house.put({"incoming/one.py": plugin_text("one")})
        await house.incorporator.integrate(["one"])

        (label,) = house.nights.evidence.labels.all()
        assert (label.path, label.kind, label.by) == ("incoming/one.py", "plugin", "integration")

    async def test_two_at_a_time_spoil_each_others_plan(self, house: House) -> None:
        """One plans once the one before is done, so neither uses an approval or a guard's count for nothing."""
        house.put({"incoming/one.py": plugin_text("one"), "incoming/two.py": plugin_text("two")})
        async with anyio.create_task_group() as group:
            group.start_soon(house.incorporator.integrate, ["one"])
            group.start_soon(house.incorporator.integrate, ["two"])

        assert set(house.integrator.registered) == {"one", "two"}
        assert [told.outcome for told in house.host.told] == ["done", "done"]

    async def test_another_plan_than_the_one_looked_at_is_done(self, house: House) -> None:
        """With a digest it is that plan or none, and governance is not asked."""
        house.put({"incoming/one.py": plugin_text("one")})
        with pytest.raises(PlanChangedError):
            await house.incorporator.integrate(["one"], digest="0" * 64)
        assert house.host.asked == []

    async def test_a_guard_is_breached_unasked(self, house: House) -> None:
        """Who is careful looks before they ask."""
        house.put({"incoming/one.py": plugin_text("one")})
        house.host.says = refusing("guard")
        with pytest.raises(NotPermittedError):
            await house.incorporator.integrate(["one"], careful=True)
        assert house.host.asked == []


class TestWaiting:
    async def test_a_kill_after_the_question_loses_it(self, house: House) -> None:
        """What is asked about is on disk before it is asked, so a kill before the answer is noted loses nothing."""
        house.put({"incoming/one.py": plugin_text("one")})
        seen: list[dict[str, object]] = []

        async def look(_: object) -> None:
            await anyio.lowlevel.checkpoint()
            house.begin()  # what another run would know
            seen.append({digest: waiting.items for digest, waiting in house.waiting.all().items()})

        house.host.before = look
        house.host.says = refusing("needs_approval", approval="a1")
        first = house.incorporator
        waits = await first.integrate(["one"], sender="ada")

        assert waits.approval == "a1"
        assert seen == [{house.host.asked[0].digest: ("one",)}]
        assert first.waiting == {"a1": ("one",)}

    @pytest.mark.parametrize("code", ["denied", "refused", "stopped"])
    async def test_what_waits_for_nobody_stays_on_the_list(self, house: House, code: str) -> None:
        """What was refused, and did not wait before, waits for nothing."""
        house.put({"incoming/one.py": plugin_text("one")})
        house.host.says = refusing(code)
        with pytest.raises(NotPermittedError):
            await house.incorporator.integrate(["one"])
        assert house.waiting.all() == {}


class TestTakingOut:
    async def test_what_was_taken_out_comes_back_unasked(
        self, house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It stays out until somebody asks for it by name, also after a restart; a full disk is no failure."""
        house.put({"incoming/one.py": plugin_text("one")})
        done = await house.incorporator.integrate(["one"])
        taken = await house.incorporator.take_out(done.token, reason="enough")

        assert taken == TakenOut(done.token, ("one",), (), "enough")
        await house.restart()
        assert (await house.tray.empty("")).kept_out["incoming/one.py"].startswith("it was taken out: enough")
        assert isinstance(await house.incorporator.integrate(["one"]), Incorporated)
        (token,) = {one.token for one in house.integrator.registered.values()}
        with monkeypatch.context() as patch:
            patch.setattr(house.kept_out, "add", fails)
            with caplog.at_level(logging.ERROR):
                await house.incorporator.take_out(token, reason="again")
        assert "the disk is full" in caplog.text
        assert house.host.told[-1].outcome == "done"
