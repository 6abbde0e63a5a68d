"""Trees that were taken out of the settings, over real indexes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from aetherra.plugins.self_incorporation import SelfIncorporationService
from aetherra.plugins.self_incorporation.clearing import Clearing
from aetherra.plugins.self_incorporation.messages import (
    GetSelfIncorporationStatus,
    Integrate,
    ListIntegrations,
    LookAround,
)
from aetherra.plugins.self_incorporation.places import Places
from aetherra.plugins.self_incorporation.surveyor import Surveyor
from aetherra.plugins.storage import DatabaseUnusableError
from tests.plugins.self_incorporation.conftest import House, plugin_text


def clearing(house: House, *roots: str) -> Clearing:
    """Return a clearing of all that lies in none of these roots; digest ``kept`` came in."""
    ctx: Any = house.host
    surveyor = Surveyor(ctx, house.index, house.scanner, house.school, house.index.statistics())
    return Clearing(ctx, Places(house.root, roots, []), surveyor, house.index, house.safety, lambda: house.kept)


class TestClearing:
    async def test_what_was_taken_out_of_the_settings_stays(self, house: House) -> None:
        """Files leave the index and decisions the safety index, but those on what came in; other roots' stay."""
        house.put({f"old/{name}.py": plugin_text(name) for name in ("one", "two")})
        (house.root / "new").mkdir()
        (house.root / "new" / "three.py").write_text(plugin_text("three"))
        for root in ("old", "new"):
            house.scanner.scan(house.root / root, now=1.0)
        old, new = (str(house.root / root) for root in ("old", "new"))
        for root in (old, new):
            for item in house.stock.items(root):
                house.safety.record(await house.assessor.judge(item))
        house.kept = [item.digest for item in house.stock.items(old) if item.name == "one"]

        assert set(await clearing(house, "new").clear()) == {str(house.root), old}
        assert house.index.roots() == [new]
        assert [decision.path for decision in house.safety.all()] == ["three.py", "one.py"]
        assert await clearing(house, "new").clear() == ()

    async def test_an_index_that_cannot_be_written_ends_the_plugin(
        self, house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is logged, and all stays until the next start."""
        house.put({"one.py": plugin_text("one")})
        house.kept = []

        def full(*_: object) -> bool:
            raise DatabaseUnusableError("code index", "/i", "written", "the disk is full")

        monkeypatch.setattr(house.index, "forget", full)
        assert await clearing(house, "incoming").clear() == ()
        assert "stays for now" in caplog.text and "the disk is full" in caplog.text


class TestRestart:
    async def test_a_root_that_is_none_any_more_is_counted_for_ever(self, hosting: Any, tmp_path: Path) -> None:
        """The next run forgets its files by itself, looks through no disk for it, and knows what came in from there."""
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            (tmp_path / name / f"{name}.py").write_text(plugin_text(name))
        quiet = {"scan_at_start": False, "watch": False, "trial": {"first_time": 0.001}}
        settings = {**quiet, "roots": ["one", "two"]}
        async with hosting(SelfIncorporationService, data=True, self_incorporation=settings) as kernel:
            await kernel.call(LookAround())
            assert (await kernel.call(GetSelfIncorporationStatus())).files == 2
            assert (await kernel.call(Integrate(("two",)))).token
        async with hosting(
            SelfIncorporationService, data=True, self_incorporation={**quiet, "roots": ["one"]}
        ) as kernel:
            with anyio.fail_after(30):
                while (await kernel.call(GetSelfIncorporationStatus())).files != 1:  # noqa: ASYNC110  # has no event
                    await anyio.sleep(0.01)
            assert set((await kernel.call(ListIntegrations())).registered) == {"two"}
            assert (await kernel.call(GetSelfIncorporationStatus())).scans == 0
