"""Decisions that are heard, that were missed, and that come to nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from aetherra.plugins import DataFileError, Intent, Permission
from aetherra.plugins.governance import Governance
from aetherra.plugins.governance.messages import ApprovalDecided
from aetherra.plugins.self_incorporation import SelfIncorporationService
from aetherra.plugins.self_incorporation.messages import Integrate, LookAround
from tests.plugins.self_incorporation.conftest import YES, House, approval, plugin_text, refusing


async def waits(house: House) -> str:
    """Have one plan wait for approval ``a1``, and return its digest."""
    house.put({"incoming/one.py": plugin_text("one")})
    house.host.says = refusing("needs_approval", approval="a1")
    await house.incorporator.integrate(["one"], sender="ada", ask_why="it is new")
    (digest,) = house.waiting.all()
    house.host.says = lambda _intent, _peek: YES
    return digest


class TestFollowUp:
    async def test_what_was_agreed_to_is_not_done(self, house: House) -> None:
        """An approval that is heard has the plan carried out, asked for as it was before."""
        digest = await waits(house)
        house.host.approvals = (approval(digest, "approved", sender="ada"),)
        await house.follow_up.hear(ApprovalDecided(house.host.approvals[0]))

        assert "one" in house.integrator.registered
        assert (house.host.asked[-1].sender, house.host.asked[-1].needs_approval) == ("ada", "it is new")
        assert house.waiting.all() == {}

    async def test_a_kill_before_the_approval_was_noted_loses_it(self, house: House) -> None:
        """What waits is found by the plan's digest, so that nobody need have noted which approval it waits for."""
        digest = await waits(house)
        known = house.waiting.all()[digest]
        house.waiting.put(digest, type(known)(known.items, known.sender, known.ask_why))
        await house.restart()
        house.host.approvals = (approval(digest, "pending"),)
        await house.follow_up.catch_up()
        assert house.incorporator.waiting == {"a1": ("one",)}

        house.host.approvals = (approval(digest, "approved"),)
        await house.follow_up.catch_up()
        assert "one" in house.integrator.registered

    @pytest.mark.parametrize("code", ["stopped", "paused", "guard", "unrecorded", "refused"])
    async def test_a_passing_refusal_has_it_forgotten(self, house: House, code: str) -> None:
        """While it may not be done it goes on waiting, is judged for nothing, and is done once it may."""
        digest = await waits(house)
        house.host.approvals = (approval(digest, "approved"),)
        house.host.says = refusing(code)
        asked = len(house.host.asked)
        await house.follow_up.catch_up()
        assert (set(house.waiting.all()), len(house.host.asked)) == ({digest}, asked)

        house.host.says = lambda _intent, _peek: YES
        await house.follow_up.catch_up()
        assert "one" in house.integrator.registered

    async def test_what_the_disk_has_no_room_for_is_forgotten(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where it could not be begun and the approval was used up, a person is asked again."""
        digest = await waits(house)
        house.host.approvals = (approval(digest, "approved"),)
        house.host.says = lambda _intent, _peek: Permission(
            allowed=True, code="allowed", reason="", entry=1, approval="a1"
        )

        async def full(*_: object) -> None:
            raise DataFileError("journal", "the disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(house.integrator, "integrate", full)
            await house.follow_up.catch_up()
        assert set(house.waiting.all()) == {digest}

        house.host.approvals = (approval(digest, "used"),)
        house.host.says = lambda _intent, peek: (
            YES if peek else Permission(allowed=False, code="needs_approval", reason="once more", approval="a2")
        )
        await house.follow_up.catch_up()
        assert house.incorporator.waiting == {"a2": ("one",)}

    @pytest.mark.parametrize("state", ["denied", "void", "expired"])
    async def test_what_nobody_agrees_to_waits_for_ever(self, house: House, state: str) -> None:
        """It is waited for no more."""
        digest = await waits(house)
        house.host.approvals = (approval(digest, state),)
        await house.follow_up.catch_up()

        assert house.waiting.all() == {}
        assert house.integrator.registered == {}

    async def test_something_else_is_done_than_was_agreed_to(self, house: House) -> None:
        """What has changed since is not done, and waits no more."""
        digest = await waits(house)
        house.put({"incoming/one.py": plugin_text("one") + "\n\nNEW = 1\n"})
        house.host.approvals = (approval(digest, "approved"),)
        await house.follow_up.catch_up()

        assert house.waiting.all() == {}
        assert house.integrator.registered == {}

    async def test_what_is_being_asked_about_is_forgotten(self, house: House) -> None:
        """A look between the question and its answer finds no approval yet, and forgets nothing."""
        house.put({"incoming/one.py": plugin_text("one")})

        async def look(_: Intent) -> None:
            await house.follow_up.catch_up()

        house.host.before = look
        house.host.says = refusing("needs_approval", approval="a1")
        await house.incorporator.integrate(["one"])
        assert house.incorporator.waiting == {"a1": ("one",)}

    async def test_what_waits_is_forgotten_where_nobody_governs_for_now(self, house: House) -> None:
        """While nobody answers for approvals, as during a swap of governance, it waits on."""
        digest = await waits(house)
        house.host.approvals = None
        await house.follow_up.catch_up()
        assert set(house.waiting.all()) == {digest}


class TestOvertaken:
    """What a person need not be asked about any more."""

    async def test_what_came_in_by_name_waits_for_a_person(self, house: House) -> None:
        """The question is withdrawn, and says which integration it was."""
        digest = await waits(house)
        house.host.approvals = (approval(digest, "pending"),)
        came = await house.incorporator.integrate(["one"], sender="bob")
        await house.follow_up.catch_up()

        assert house.host.withdrawn == {"a1": f"it came in meanwhile, by {came.token}"}
        assert house.waiting.all() == {}

    @pytest.mark.parametrize("state", ["pending", "approved"])
    async def test_a_part_of_it_came_in_by_name(self, house: House, state: str) -> None:
        """It is another plan then, agreed to or not."""
        house.put({f"incoming/{name}.py": plugin_text(name) for name in ("one", "two")})
        house.host.says = refusing("needs_approval", approval="a1")
        await house.incorporator.integrate(["one", "two"])
        (digest,) = house.waiting.all()
        house.host.says = lambda _intent, _peek: YES
        came = await house.incorporator.integrate(["two"], sender="bob")
        house.host.approvals = (approval(digest, state),)
        await house.follow_up.catch_up()

        assert house.host.withdrawn == {"a1": f"two came in meanwhile, by {came.token}"}
        assert (house.waiting.all(), set(house.integrator.registered)) == ({}, {"two"})

    @pytest.mark.parametrize("how", ["changed", "gone", "broken", "packed"])
    async def test_what_is_not_what_it_was_waits_for_a_person(self, house: House, how: str) -> None:
        """Once a look has found it changed, gone, refused or part of something else, the question is withdrawn."""
        digest = await waits(house)
        house.host.approvals = (approval(digest, "pending"),)
        await house.follow_up.catch_up()
        assert (house.host.withdrawn, set(house.waiting.all())) == ({}, {digest})

        place = house.incoming / "one.py"
        match how:
            case "changed":
                place.write_text(plugin_text("one") + "\n\nNEW = 1\n")
            case "gone":
                place.unlink()
            case "broken":
                place.write_text("def (:\n")
            case _:
                (house.incoming / "__init__.py").write_text("")
        house.scan()
        await house.follow_up.catch_up()

        why = house.host.withdrawn["a1"]
        expected = {
            "changed": "has changed",
            "gone": "is gone",
            "broken": "is no item any more: ",
            "packed": "is part of",
        }
        assert why.startswith(f"incoming/one.py {expected[how]}")
        assert house.waiting.all() == {}

    @pytest.mark.parametrize("how", ["the root is away", "nobody has looked"])
    async def test_what_nobody_can_look_at_is_taken_for_gone(self, house: House, how: str) -> None:
        """While a root is not there, or the index does not know it yet, all waits on."""
        digest = await waits(house)
        house.host.approvals = (approval(digest, "pending"),)
        house.places.note()
        if how == "the root is away":
            house.root.rename(house.root.with_name("away"))
        else:
            while not house.index.forget(str(house.root)):
                pass
        await house.follow_up.catch_up()

        assert (house.host.withdrawn, set(house.waiting.all())) == ({}, {digest})

    async def test_what_nobody_waits_for_waits_for_a_person(self, house: House) -> None:
        """What is not on the list would not be done; a person's no stands, and others' questions are theirs."""
        others = approval("e" * 64, "pending", id="a4")
        house.host.approvals = (
            approval("b" * 64, "pending", id="a1"),
            approval("c" * 64, "approved", id="a2"),
            approval("d" * 64, "denied", id="a3"),
            replace(others, kind="quarantine"),
            replace(others, id="a5", asker="somebody"),
        )
        await house.follow_up.catch_up()

        assert house.host.withdrawn == dict.fromkeys(("a1", "a2"), "nobody waits for it any more")

    async def test_what_is_asked_about_during_a_look_is_forgotten_by_it(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A look knows the questions that were there when it began, and leaves those alone that came later."""
        digest = await waits(house)
        house.host.approvals = (approval(digest, "pending"),)
        house.put({"incoming/two.py": plugin_text("two")})
        house.host.says = refusing("needs_approval", approval="a2")
        overtaken = house.assessor.overtaken

        async def meanwhile(*place: str) -> str:
            await house.incorporator.integrate(["two"], sender="ada")
            return await overtaken(*place)

        monkeypatch.setattr(house.assessor, "overtaken", meanwhile)
        await house.follow_up.catch_up()

        assert {waiting.approval for waiting in house.waiting.all().values()} == {"a1", "a2"}

    async def test_an_approval_that_came_to_nothing_stays(self, house: House) -> None:
        """Where the plan is another when it would be carried out, the approval of the first is void with the reason."""
        digest = await waits(house)
        (house.incoming / "one.py").write_text(plugin_text("one") + "\n\nNEW = 1\n")  # and nobody has looked
        house.host.approvals = (approval(digest, "approved"),)
        await house.follow_up.catch_up()

        assert "a1" in house.host.withdrawn
        assert house.waiting.all() == {}

    async def test_a_question_outlives_its_item_on_a_host(self, hosting: Any, tmp_path: Path) -> None:
        """What came in by name, and what was removed, is void as soon as that is known, with the reason."""
        incoming = tmp_path / "incoming"
        incoming.mkdir()
        for name in ("one", "two"):
            (incoming / f"{name}.py").write_text(plugin_text(name))
        settings = {"incoming": ["incoming"], "watch": False, "scan_at_start": False, "trial": {"first_time": 0.001}}
        async with hosting(Governance, SelfIncorporationService, data=True, self_incorporation=settings) as kernel:
            looked = await kernel.call(LookAround())
            asked = {one.names: one.approval for one in looked.brought_in}
            with kernel.subscribe(ApprovalDecided) as decided, anyio.fail_after(30):
                assert (await kernel.call(Integrate(("one",)))).token
                first = (await anext(decided)).approval
                (incoming / "two.py").unlink()
                await kernel.call(LookAround())
                second = (await anext(decided)).approval

        assert [(one.id, one.state) for one in (first, second)] == [(asked["one",], "void"), (asked["two",], "void")]
        assert first.reason.startswith("it came in meanwhile, by ")
        assert second.reason == "incoming/two.py is gone"
