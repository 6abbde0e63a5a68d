"""Bringing in and taking out, with a governance that says what it is told to, and disks that fail at the worst time."""

from __future__ import annotations

import logging

import anyio
import pytest

from aetherra.plugins import DataFileError, NotPermittedError
from aetherra.plugins.self_incorporation.incorporator import PlanChangedError
from aetherra.plugins.self_incorporation.integration.errors import (
    IntegrationError,
    RollbackRefusedError,
    StepFailedError,
    UnknownTokenError,
)
from aetherra.plugins.self_incorporation.integration.given import StraySettingsError
from aetherra.plugins.self_incorporation.messages import Incorporated, TakenOut
from aetherra.plugins.self_incorporation.waiting import Waiting
from tests.plugins.self_incorporation.conftest import YES, House, approval, plugin_text, refusing
from tests.plugins.self_incorporation.integration.conftest import snapshot

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
        for digest in ("0" * 64, ""):
            with pytest.raises(PlanChangedError):
                await house.incorporator.integrate(["one"], digest=digest)
        assert house.host.asked == []

    async def test_what_is_on_the_list_before_it_is_asked_about_is_let_go(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whoever looks at the list in between sees that it is in hand."""
        house.put({"incoming/one.py": plugin_text("one")})
        real, seen = house.waiting.put, list[bool]()

        def put(digest: str, waiting: Waiting) -> None:
            seen.append(house.incorporator.asking == digest)
            real(digest, waiting)

        monkeypatch.setattr(house.waiting, "put", put)
        await house.incorporator.integrate(["one"])
        assert (seen, house.incorporator.asking) == ([True], "")

    async def test_a_person_is_asked_about_what_cannot_be_done(self, house: House) -> None:
        """While the journal of what came in is lost nothing comes in, and nobody is asked, nor a guard used up."""
        house.put({"incoming/one.py": plugin_text("one"), "incoming/two.py": plugin_text("two")})
        await house.incorporator.integrate(["one"])
        house.host.asked.clear()
        (house.state / "integrations" / "integrations.jsonl").unlink()
        await house.restart()
        with pytest.raises(IntegrationError, match="put it back"):
            await house.incorporator.integrate(["two"])
        assert (house.host.asked, house.waiting.all()) == ([], {})

    async def test_what_has_a_damaged_registration_comes_in_anew_without_its_settings(self, house: House) -> None:
        """Its name is left alone until somebody has mended the file, or removed it; the others come in."""
        house.put({"incoming/lamp.py": LAMP, "incoming/two.py": plugin_text("two")})
        await house.incorporator.integrate(["lamp"], settings={"lamp": {"key": KEY}})
        house.host.asked.clear()
        registration = house.state / "integrations" / "registrations" / "lamp.json"
        whole = registration.read_bytes()
        registration.write_bytes(b"{x")
        house.hands.serving.clear()
        await house.restart()
        with pytest.raises(IntegrationError, match=r"lamp\.json cannot be read: .*put it back, or remove it"):
            await house.incorporator.integrate(["lamp"])
        assert "lamp.json cannot be read" in (await house.incorporator.rehearse(["lamp"])).problem
        assert house.host.asked == []
        emptied = await house.tray.empty("")
        assert [done.names for done in emptied.came] == [("two",)]
        assert "lamp.json cannot be read" in emptied.kept_out["incoming/lamp.py"]

        registration.write_bytes(whole)
        await house.restart()
        assert house.integrator.registered["lamp"].settings == {"key": KEY}

    async def test_a_guard_is_breached_unasked(self, house: House) -> None:
        """Who is careful looks before they ask."""
        house.put({"incoming/one.py": plugin_text("one")})
        house.host.says = refusing("guard")
        with pytest.raises(NotPermittedError):
            await house.incorporator.integrate(["one"], careful=True)
        assert house.host.asked == []


LAMP = """\
from aetherra.plugins import Plugin, Settings


class LampSettings(Settings):
    key: str = ""
    share: float = 1.0


class Lamp(Plugin[LampSettings]):
    name = "lamp"
    version = "1"
"""
KEY = "hunter2-of-the-hall"


class TestSettings:
    async def test_settings_are_lost_on_the_way(self, house: House) -> None:
        """A plugin comes in with those that it is given, in this run, the next, and by its next version."""
        house.put({"incoming/lamp.py": LAMP})
        await house.incorporator.integrate(["lamp"], settings={"lamp": {"share": 0.5}})
        assert house.hands.serving["lamp"][1] == {"share": 0.5}

        house.hands.serving.clear()
        await house.restart()
        await house.integrator.bring_up()
        assert house.hands.serving["lamp"][1] == {"share": 0.5}
        house.put({"incoming/lamp.py": LAMP.replace('version = "1"', 'version = "2"')})
        await house.incorporator.integrate(["lamp"])
        assert house.integrator.registered["lamp"].settings == {"share": 0.5}

    async def test_settings_of_what_is_in_cannot_be_changed(self, house: House) -> None:
        """Others are another integration, and its way back puts those before back, byte for byte."""
        house.put({"incoming/lamp.py": LAMP})
        await house.incorporator.integrate(["lamp"], settings={"lamp": {"share": 0.5}})
        before = snapshot(house.state / "integrations" / "registrations", house.integrator.destination)
        again = await house.incorporator.integrate(["lamp"], settings={"lamp": {"share": 0.5}})
        assert "registered as it is" in again.why_not

        done = await house.incorporator.integrate(["lamp"], settings={"lamp": {}})
        assert house.hands.serving["lamp"][1] == {}
        await house.incorporator.take_out(done.token, reason="too bright")
        assert house.hands.serving["lamp"][1] == {"share": 0.5}
        assert snapshot(house.state / "integrations" / "registrations", house.integrator.destination) == before

    async def test_a_wrong_setting_is_found_by_loading(self, house: House) -> None:
        """It is told with its path before governance is asked, nothing is begun, and the dry run says it too."""
        house.put({"incoming/lamp.py": LAMP})
        settings = {"lamp": {"share": "half"}}
        done = await house.incorporator.integrate(["lamp"], settings=settings)

        assert done.why_not == "lamp: its settings do not fit: Expected `float`, got `str` - at `$.share`"
        assert (house.host.asked, house.hands.said, house.integrator.integrations()) == ([], [], ())
        planned = await house.incorporator.rehearse(["lamp"], settings)
        assert [(out.code, out.text) for out in planned.plan.left_out] == [("settings", done.why_not[6:])]

    async def test_settings_for_nobody_are_passed_over(self, house: House) -> None:
        """A misspelt name is an error that tells which there are."""
        house.put({"incoming/lamp.py": LAMP})
        with pytest.raises(StraySettingsError, match="'lmap'; expected plugins of the plan: 'lamp'"):
            await house.incorporator.integrate(["lamp"], settings={"lmap": {}})

    async def test_a_plan_with_other_settings_is_the_one_agreed_to(self, house: House) -> None:
        """The digest is over them, the dry run tells them, and what waits for a person keeps them over a restart."""
        house.put({"incoming/lamp.py": LAMP})
        settings = {"lamp": {"key": KEY}}
        planned = await house.incorporator.rehearse(["lamp"], settings)
        assert planned.would is not None
        assert planned.would.effects[0].settings == {"key": KEY}
        with pytest.raises(PlanChangedError):
            await house.incorporator.integrate(["lamp"], settings={"lamp": {}}, digest=planned.plan.digest)

        house.host.says = refusing("needs_approval", approval="a1")
        await house.incorporator.integrate(["lamp"], settings=settings, sender="ada")
        await house.restart()
        house.host.says = lambda _intent, _peek: YES
        house.host.approvals = (approval(planned.plan.digest, "approved", sender="ada"),)
        await house.follow_up.catch_up()
        assert house.hands.serving["lamp"][1] == {"key": KEY}

    async def test_whoever_asks_is_told_settings_that_somebody_else_gave(self, house: House) -> None:
        """A dry run shows the values that it is asked with; of those a plugin came in with, names alone are told."""
        house.put({"incoming/lamp.py": LAMP})
        await house.incorporator.integrate(["lamp"], settings={"lamp": {"key": KEY}})
        assert house.incorporator.registered["lamp"].settings == {"key": "[a setting]"}
        house.put({"incoming/lamp.py": LAMP.replace('version = "1"', 'version = "2"')})

        planned = await house.incorporator.rehearse([])
        assert planned.would is not None
        assert [step.settings for step in planned.plan.steps] == [{"key": "[a setting]"}]
        assert [effect.settings for effect in planned.would.effects] == [{"key": "[a setting]"}]
        assert KEY not in repr((planned, house.incorporator.registered))
        await house.incorporator.integrate([], digest=planned.plan.digest)
        assert house.hands.serving["lamp"][1] == {"key": KEY}

    async def test_the_ledger_holds_a_secret(self, house: House) -> None:
        """Neither what is asked, nor what is told of an end, a good one or one by the plugin's own error, has one."""
        house.put({"incoming/lamp.py": LAMP})
        house.hands.fails["load lamp"] = OSError(f"{KEY!r} was refused")
        with pytest.raises(StepFailedError, match=r"'\[a setting\]' was refused"):
            await house.incorporator.integrate(["lamp"], settings={"lamp": {"key": KEY}})
        house.hands.fails.clear()
        done = await house.incorporator.integrate(["lamp"], settings={"lamp": {"key": KEY}})
        other = await house.incorporator.integrate(["lamp"], settings={"lamp": {"share": 0.5}})
        refused = IntegrationError("lamp", f"{KEY} is no key")
        house.hands.fails = {"put_back lamp": refused, "load lamp": refused}
        back = await house.incorporator.take_out(other.token, reason="too bright")
        assert back.left == ("lamp does not serve as before: [a setting] is no key",)
        (brought,) = await house.integrator.bring_up()
        assert brought.problem == "lamp: [a setting] is no key; all is as it was"
        house.hands.fails.clear()
        await house.incorporator.take_out(done.token, reason=f"it fails: no such key {KEY}", automatic=True)

        assert len(house.host.told) == 5
        assert KEY not in repr((house.host.asked, house.host.told, house.host.published))
        assert house.host.asked[0].summary == "1 step: load plugin lamp with its own key"

    async def test_the_ledger_holds_a_secret_of_what_cannot_be_undone(self, house: House) -> None:
        """Where a host fails on the way back, that is told without it too."""
        house.put({"incoming/lamp.py": LAMP})
        done = await house.incorporator.integrate(["lamp"], settings={"lamp": {"key": KEY}})
        house.hands.fails["unload lamp"] = OSError(f"{KEY} is held")
        with pytest.raises(IntegrationError, match=r"\[a setting\] is held"):
            await house.incorporator.take_out(done.token, reason="too bright")
        assert KEY not in repr((house.host.told, house.integrator.problems))

        house.put({"incoming/other.py": LAMP.replace('"lamp"', '"other"').replace("Lamp", "Other")})
        house.hands.fails = {"prove other": OSError("no"), "unload other": OSError(f"{KEY} is held")}
        with pytest.raises(StepFailedError, match=r"\[a setting\] is held"):
            await house.incorporator.integrate(["other"], settings={"other": {"key": KEY}})
        assert KEY not in repr((house.host.told, house.integrator.problems))


PROJECT = (
    '[project]\nname = "projx"\nversion = "3"\nrequires-python = ">=3.9"\ndependencies = ["msgspec", "click>=7"]\n'
)


class TestProjects:
    async def test_a_project_comes_in_without_what_it_needs(self, house: House) -> None:
        """Its file says what that is; a change of it is another plan, and it comes in with its package."""
        house.put({"incoming/projx/pyproject.toml": PROJECT, "incoming/projx/src/projx/__init__.py": "x = 1\n"})
        before, _ = await house.incorporator.plan(["projx"])
        house.put({"incoming/projx/pyproject.toml": PROJECT.replace('"click>=7"', '"click<7", "no-such-thing"')})
        refused = await house.incorporator.integrate(["projx"])
        assert "'click<7', and click 8" in refused.why_not and "'no-such-thing', which is not" in refused.why_not
        assert refused.why_not.count("'incoming/projx/pyproject.toml': it needs") == 2

        house.put({"incoming/projx/pyproject.toml": PROJECT + "# mended\n"})
        with pytest.raises(PlanChangedError):
            await house.incorporator.integrate(["projx"], digest=before.digest)
        done = await house.incorporator.integrate(["projx"])
        assert done.names == ("projx",)
        copy = house.integrator.destination / "projx" / "pyproject.toml"
        assert copy.read_text() == PROJECT + "# mended\n"
        assert house.integrator.registered["projx"].version == "3"
        assert "registered as it is" in (await house.incorporator.integrate(["projx"])).why_not

        house.put({"incoming/more.py": "import projx\n\n\ndef more() -> int:\n    return projx.x\n"})
        assert (await house.incorporator.integrate(["more"])).names == ("more",)
        house.put({"incoming/projx/pyproject.toml": PROJECT})
        assert (await house.incorporator.integrate(["projx"])).names == ("projx",)
        assert copy.read_text() == PROJECT

    async def test_a_project_that_nobody_can_read_comes_in(self, house: House) -> None:
        """It is said, with its file and what is wrong."""
        house.put(
            {"incoming/projx/pyproject.toml": "[project]\ndependencies = 3\n", "incoming/projx/mod.py": "x = 1\n"}
        )
        refused = await house.incorporator.integrate(["incoming/projx/mod.py"])
        assert "'incoming/projx/pyproject.toml' does not tell what it needs" in refused.why_not
        assert "at `$.project.dependencies`" in refused.why_not
        house.put({"incoming/projx/pyproject.toml": PROJECT})
        assert (await house.incorporator.integrate(["incoming/projx/mod.py"])).names == ("mod",)


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

    async def test_nobody_says_that_a_way_back_is_asked_for_again(self, house: House) -> None:
        """An approval has nothing happen by itself, so the refusal says what to do once there is one."""
        house.put({"incoming/one.py": plugin_text("one")})
        done = await house.incorporator.integrate(["one"])
        house.host.says = refusing("needs_approval", "a person must agree", "a1")
        with pytest.raises(
            NotPermittedError, match="a person must agree; once they have, roll it back again"
        ) as caught:
            await house.incorporator.take_out(done.token, reason="enough")
        assert (caught.value.code, caught.value.approval) == ("needs_approval", "a1")
        assert "one" in house.integrator.registered

    async def test_typing_errors_use_up_the_guard_of_rollbacks(self, house: House) -> None:
        """Governance is asked about what can be rolled back alone: no unknown token, none for the second time."""
        house.put({"incoming/one.py": plugin_text("one")})
        done = await house.incorporator.integrate(["one"])
        house.host.asked.clear()
        for token in ("nope", "", "../../x"):
            with pytest.raises(UnknownTokenError):
                await house.incorporator.take_out(token, reason="enough")
        placed = house.integrator.destination / "one.py"
        placed.write_text("other = 1\n")
        with pytest.raises(RollbackRefusedError, match="changed by somebody"):
            await house.incorporator.take_out(done.token, reason="enough")
        assert house.host.asked == []

        placed.write_text(plugin_text("one"))
        await house.incorporator.take_out(done.token, reason="enough")
        with pytest.raises(RollbackRefusedError, match="already: enough"):
            await house.incorporator.take_out(done.token, reason="enough")
        assert [intent.kind for intent in house.host.asked] == ["rollback"]
