"""Decisions that are heard, that were missed, and that come to nothing."""

from __future__ import annotations

import pytest

from aetherra.plugins import DataFileError, Intent, Permission
from aetherra.plugins.governance.messages import ApprovalDecided
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
