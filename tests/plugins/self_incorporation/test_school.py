"""What nights are told, and what is put to use of what they have learnt."""

from __future__ import annotations

import logging

import pytest

from aetherra.plugins import DataFileError
from aetherra.plugins.self_incorporation.code.classifier import FileKind
from tests.plugins.self_incorporation.conftest import House, plugin_text


class TestSchool:
    async def test_how_a_plan_ended_is_told_wrong(self, house: House) -> None:
        """Steps before the one that failed were done, those after it were not tried."""
        house.put({f"incoming/{name}.py": plugin_text(name) for name in ("a", "b", "c")})
        plan, judged = await house.incorporator.plan(())
        by_path = {one.item.path: one.item for one in judged}
        items = [by_path[step.path] for step in plan.steps]
        await house.school.note_plan(plan, items, failed=plan.steps[1].name)
        await house.school.note_plan(plan, items, failed="")

        ends = [[step.end for step in noted.steps] for noted in house.nights.evidence.plans.all()]
        assert ends == [["done", "failed", "untried"], ["done", "done", "done"]]

    async def test_a_package_is_told_by_a_file_that_says_nothing(self, house: House) -> None:
        """What came in is told by its main file; what the index does not hold any more is not told."""
        house.put({"incoming/pack/__init__.py": plugin_text("pack"), "incoming/pack/more.py": "x = 1\n"})
        item = await house.assessor.find("pack")
        await house.school.note_kinds([item])
        (label,) = house.nights.evidence.labels.all()
        assert (label.path, label.kind, label.by) == ("incoming/pack/__init__.py", FileKind.PLUGIN, "integration")

        for place in (house.incoming / "pack").iterdir():
            place.unlink()
        house.scan()
        await house.school.note_kinds([item])
        assert len(house.nights.evidence.labels) == 1

    async def test_a_full_disk_fails_what_is_told_of(
        self, house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """What cannot be noted is logged, and no failure."""

        def full(*_: object) -> None:
            raise DataFileError("changes.jsonl", "the disk is full")

        monkeypatch.setattr(house.nights.evidence, "add_changes", full)
        with caplog.at_level(logging.WARNING):
            await house.school.note_changes(str(house.root), ["a.py"])
        assert "the disk is full" in caplog.text
        await house.school.note_changes(str(house.root), [])
        assert len(caplog.records) == 1

    async def test_orders_are_followed_that_nobody_has_learnt(self, house: House) -> None:
        """Where nothing was learnt, the least risky come first, and no file before another."""
        house.put({"one.py": plugin_text("one")})
        item = await house.assessor.find("one")

        assert house.school.weigh(item) == item.risk
        assert house.school.first(["a.py", "b.py"]) == []
