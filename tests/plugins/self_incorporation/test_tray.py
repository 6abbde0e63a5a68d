"""What lies in the incoming folder: it comes in, or stays out for a reason, and breaches no guard."""

from __future__ import annotations

import logging

import pytest

from aetherra.plugins import DataFileError
from aetherra.plugins.self_incorporation.gate.item import digest_of
from aetherra.plugins.self_incorporation.tray import RETRY_SEC
from tests.plugins.self_incorporation.conftest import YES, House, plugin_text, refusing


class TestTray:
    async def test_one_that_fails_keeps_the_others_out(self, house: House) -> None:
        """Each comes in by itself; one that fails stays out with the reason, and is learnt as a failure."""
        house.put({f"incoming/{name}.py": plugin_text(name) for name in ("one", "two")})
        house.hands.fails["load one"] = OSError("no room")
        emptied = await house.tray.empty("")

        assert [done.names for done in emptied.came] == [("two",)]
        assert "no room" in emptied.kept_out["incoming/one.py"]

    async def test_what_failed_is_tried_again_because_something_else_was_dropped(self, house: House) -> None:
        """It is tried again once it has changed itself, whatever its turn is among others by then."""
        house.put({"incoming/two.py": plugin_text("two")})
        house.hands.fails["load two"] = OSError("no room")
        await house.tray.empty("")
        asked = len(house.host.asked)
        house.put({"incoming/a.csv": "a,b\n1,2\n"})
        emptied = await house.tray.empty("")
        assert "tried again once something has changed" in emptied.kept_out["incoming/two.py"]
        assert [intent.component for intent in house.host.asked[asked:]] == ["a.csv"]

        house.hands.fails.clear()
        house.put({"incoming/two.py": plugin_text("two") + "\n"})
        assert [done.names for done in (await house.tray.empty("")).came] == [("two",)]

    @pytest.mark.parametrize("code", ["refused", "guard", "stopped", "paused", "unrecorded"])
    async def test_a_governance_that_is_late_has_it_wait_for_a_change(self, house: House, code: str) -> None:
        """What may not come in for now, as governance does not serve yet, comes in as it is once it may."""
        house.put({"incoming/one.py": plugin_text("one"), "incoming/two.py": plugin_text("two")})
        house.host.says = refusing(code)
        emptied = await house.tray.empty("")
        assert emptied.came == ()
        assert emptied.kept_out == dict.fromkeys(
            ("incoming/one.py", "incoming/two.py"), "nothing comes in now: not now"
        )
        assert house.host.asked == []

        house.host.says = lambda _intent, _peek: YES
        assert len((await house.tray.empty("")).came) == 2

    async def test_a_no_is_asked_about_again_and_again(self, house: House, caplog: pytest.LogCaptureFixture) -> None:
        """What a person has denied is not asked about again as it is, and is said once; what is gone is forgotten."""
        house.put({"incoming/one.py": plugin_text("one")})
        house.host.says = refusing("denied")
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                await house.tray.empty("")
        assert len(house.host.asked) == 1
        assert len(caplog.records) == 1

        (house.incoming / "one.py").unlink()
        house.scan()
        await house.tray.empty("")
        assert (len(house.tray._refused), len(house.tray._once)) == (0, 0)

    async def test_a_folder_of_a_project_is_never_done_with(self, house: House) -> None:
        """What nobody meant to come in stays out without a word: its documents, its metadata, its tests."""
        project = {"pyproject.toml": '[project]\nname = "p"\n', "README.md": "# P\n", "p/__init__.py": "x = 1\n"}
        house.put({f"incoming/p/{path}": text for path, text in {**project, "tests/test_p.py": "import p\n"}.items()})
        emptied = await house.tray.empty("")

        assert [one.names for one in emptied.came] == [("p",)]
        assert emptied.kept_out == {}

    async def test_a_failure_of_the_host_lasts_for_ever(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        """What did not fail by itself is tried again after a while, as it is."""
        house.put({"incoming/one.py": plugin_text("one")})

        async def full(*_: object) -> None:
            raise DataFileError("journal", "the disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(house.integrator, "integrate", full)
            assert "the disk is full" in (await house.tray.empty("")).kept_out["incoming/one.py"]
        assert (await house.tray.empty("")).came == ()
        await house.host.clock.advance(RETRY_SEC)
        assert len((await house.tray.empty("")).came) == 1

    async def test_all_that_was_taken_out_comes_in_again_where_the_list_is_damaged(self, house: House) -> None:
        """While it is not known what was taken out, nothing is brought in unasked; by name it is."""
        (house.state / "taken_out.json").write_text("{")
        await house.restart()
        house.put({"incoming/one.py": plugin_text("one")})
        emptied = await house.tray.empty("")
        assert emptied.came == ()
        assert "not known any more" in emptied.kept_out["incoming/one.py"]
        assert (await house.incorporator.integrate(["one"])).names == ("one",)

    async def test_what_an_earlier_version_took_out_comes_back_with_its_project(self, house: House) -> None:
        """Its list is by digests of an item's own files, whatever lies above them; that word holds on."""
        house.put({"incoming/p/pyproject.toml": "[project]\nname = 'p'\n", "incoming/p/src/p/__init__.py": "x = 1\n"})
        item = await house.assessor.find("incoming/p/src/p")
        assert item.digest != digest_of(item.files)
        house.kept_out.add([digest_of(item.files)], "it was taken out")
        emptied = await house.tray.empty("")

        assert (emptied.came, emptied.kept_out["incoming/p/src/p"]) == ((), "it was taken out")
        await house.restart()
        assert (house.kept_out.why(item.digest), house.kept_out.why(digest_of(item.files))) == ("it was taken out", "")
        house.put({"incoming/p/pyproject.toml": "[project]\nname = 'p2'\n"})
        assert [done.names for done in (await house.tray.empty("")).came] == [("p",)]

    @pytest.mark.parametrize("package", [False, True])
    async def test_what_was_taken_out_comes_back_under_another_name(self, house: House, package: bool) -> None:
        """The same bytes stay out wherever they lie, until somebody asks for them; other bytes are something else."""
        name = "one/__init__.py" if package else "one.py"
        house.put({f"incoming/{name}": "x = 1\n"})
        (done,) = (await house.tray.empty("")).came
        await house.incorporator.take_out(done.token, reason="enough")
        copies = [name.replace("one", other) for other in ("two", "deep/four")]
        house.put({f"incoming/{copy}": "x = 1\n" for copy in copies} | {"incoming/three.py": "x = 3\n"})
        emptied = await house.tray.empty("")

        assert [done.names for done in emptied.came] == [("three",)]
        assert len(emptied.kept_out) == 3
        assert all(why.startswith("it was taken out: enough") for why in emptied.kept_out.values())
        await house.incorporator.integrate(["two"])
        assert set(house.integrator.registered) == {"two", "three"}
        assert [done.names for done in (await house.tray.empty("")).came] == []
