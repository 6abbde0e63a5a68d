"""What is decided about items as they come, change and go, and what is set aside."""

from __future__ import annotations

import os

import pytest

from aetherra.plugins.self_incorporation.assessor import UnknownItemError
from tests.plugins.self_incorporation.conftest import YES, House, closed_to, plugin_text, refusing

THREAT = "\nimport base64\nexec(base64.b64decode('cGFzcw=='))\n"
NETWORK = "import socket\n\n\ndef reach():\n    return socket.create_connection(('example.org', 80))\n\n\n"


def by_path(house: House, *paths: str) -> dict[str, set[str]]:
    return {str(house.root): set(paths)}


class TestAssessing:
    async def test_what_was_judged_is_judged_again(self, house: House) -> None:
        """An item that is as it was judged is not judged again; others are."""
        house.put({"one.py": plugin_text("one"), "two.py": plugin_text("two")})
        assert (await house.assessor.assess()).judged == 2
        assert (await house.assessor.assess()).judged == 0
        house.put({"two.py": plugin_text("two") + THREAT})
        found = await house.assessor.assess()

        assert (found.judged, found.verdicts) == (1, {"approved": 1, "blocked": 1})
        assert [decision.path for decision in found.blocked] == ["two.py"]

    async def test_one_save_has_all_items_put_together(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        """Only what may have changed is looked at, and the counts are of all items as they are now."""
        house.put({f"p{number}.py": plugin_text(f"p{number}") for number in range(5)})
        await house.assessor.assess()
        monkeypatch.setattr(house.stock, "items", None)
        house.put({"p1.py": plugin_text("p1") + THREAT})
        (house.root / "p2.py").unlink()
        house.scan()
        found = await house.assessor.assess(by_path(house, "p1.py", "p2.py", "gone.py"))

        assert (found.judged, found.verdicts) == (1, {"approved": 3, "blocked": 1})
        assert house.assessor.verdicts == found.verdicts

    async def test_a_grant_that_was_given_is_not_seen(self, house: House) -> None:
        """What is blocked for want of a grant is judged again once that is given, and once it is taken away."""
        house.put({"net.py": NETWORK + plugin_text("net")})
        assert (await house.assessor.assess()).verdicts == {"blocked": 1}
        house.host.grants["net"] = ("network:outbound",)
        assert (await house.assessor.assess()).verdicts == {"approved": 1}
        house.host.grants.clear()
        assert (await house.assessor.assess()).verdicts == {"blocked": 1}

    async def test_decisions_on_what_is_gone_stay_for_ever(self, house: House) -> None:
        """Once an item is gone, a look at all forgets what was decided about it; a person's word stays."""
        house.put({"one.py": plugin_text("one"), "pack/__init__.py": plugin_text("pack")})
        await house.assessor.assess()
        item = await house.assessor.find("one")
        await house.assessor.review(item, "reject", person="ada", reason="no")
        (house.root / "one.py").unlink()
        house.scan()
        await house.assessor.assess()

        assert [decision.path for decision in house.safety.all()] == ["pack"]
        assert house.safety.reviewed(item.digest) is not None

    async def test_a_module_of_the_project_is_judged_before_somebody_asks(self, house: House) -> None:
        """What does not act by itself is judged where it lies in an incoming folder, and elsewhere by name alone."""
        house.put({"tool.py": "def run():\n    return 1\n", "incoming/part.py": "def run():\n    return 1\n"})
        assert (await house.assessor.assess()).judged == 1
        assert [one.item.path for one in await house.assessor.wanted(())] == ["incoming/part.py"]
        assert [one.item.path for one in await house.assessor.wanted(["tool"])] == ["tool.py"]


class TestFinding:
    async def test_a_name_finds_one_of_several(self, house: House) -> None:
        """A name that several have is refused with their paths; a path is not."""
        house.put({"a/same.py": "x = 1\n", "b/same.py": "y = 1\n"})
        with pytest.raises(UnknownItemError, match=r"a/same\.py, b/same\.py"):
            await house.assessor.find("same.py")
        assert (await house.assessor.find("b/same.py")).path == "b/same.py"

    async def test_a_folder_is_nothing(self, house: House) -> None:
        """It is refused with the code that lies in it, as that of a project is what is meant."""
        house.put({"a/src/one.py": "x = 1\n", "a/two/__init__.py": "", "a/README.md": "# A\n"})
        with pytest.raises(UnknownItemError, match=r"'a/' is a folder: name what is meant, of a/two, a/src/one\.py$"):
            await house.assessor.find("a/")

    async def test_a_file_that_was_refused_is_not_there(self, house: House) -> None:
        """What no scan could take in is told of with the reason, also where it lies in an incoming folder."""
        house.put({"incoming/broken.py": "def f(:\n"})
        with pytest.raises(UnknownItemError, match="was refused"):
            await house.assessor.find("incoming/broken.py")
        assert set(await house.assessor.refused()) == {"incoming/broken.py"}


class TestOvertaken:
    async def test_what_lies_in_a_folder_that_is_shut_is_gone(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nobody can look, so nobody says so; what was removed is gone."""
        house.put({"shut/one.py": plugin_text("one"), "two.py": plugin_text("two")})
        house.put({"pack/shut/__init__.py": plugin_text("three")})
        root = str(house.root)
        one, two, three = [await house.assessor.find(name) for name in ("one", "two", "three")]
        (house.root / "two.py").unlink()
        with monkeypatch.context() as patch:
            for name, part in (("scandir", "/shut"), ("stat", "/shut/"), ("lstat", "/shut/")):
                patch.setattr(os, name, closed_to(part, getattr(os, name)))
            house.scan()
            assert house.stock.item(root, one.path) is None
            assert await house.assessor.overtaken(root, one.path, one.digest) == ""
            assert await house.assessor.overtaken(root, three.path, three.digest) == ""
            assert await house.assessor.overtaken(root, two.path, two.digest) == "two.py is gone"
            assert await house.assessor.overtaken(f"{root}/nowhere", two.path, two.digest) != "two.py is gone"


class TestSettingAside:
    async def test_what_may_not_be_set_aside_is_taken_away(self, house: House) -> None:
        """Without permission it stays where it is; with it, it is in the vault."""
        house.put({"one.py": plugin_text("one")})
        item = await house.assessor.find("one")
        decision = await house.assessor.judge(item)
        house.host.says = refusing("paused")
        with pytest.raises(PermissionError):
            await house.assessor.quarantine(item, decision, reason="no")
        assert (house.root / "one.py").exists()
        house.host.says = lambda _intent, _peek: YES
        done = await house.assessor.quarantine(item, decision, reason="no", sender="ada")

        assert not (house.root / "one.py").exists()
        assert (done.by, done.reason) == ("ada", "no")
