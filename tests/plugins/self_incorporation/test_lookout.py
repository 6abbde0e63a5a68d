"""Looks at all roots: one that is gone, one that comes later, a save, and a question in the middle of a scan."""

from __future__ import annotations

import logging
import os
from typing import Any

import anyio
import pytest

from aetherra.plugins.self_incorporation import SelfIncorporationService
from aetherra.plugins.self_incorporation.index import scan as scan_module
from aetherra.plugins.self_incorporation.messages import (
    Classify,
    GetFile,
    GetSelfIncorporationStatus,
    ListQuarantined,
    LookAround,
    QuarantineItem,
    Scan,
)
from tests.plugins.self_incorporation.conftest import closed_to, plugin_text
from tests.plugins.self_incorporation.test_plugin import slow_reading, wait_for  # noqa: F401 - a fixture

QUIET = {"roots": ["project"], "scan_at_start": False, "watch": False, "integrate": "off"}


@pytest.fixture
def project(tmp_path: Any) -> Any:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "one.py").write_text(plugin_text("one"))
    return folder


class TestLookout:
    async def test_a_root_that_is_gone_keeps_the_others_from_being_looked_at(self, hosting: Any, project: Any) -> None:
        """It is a problem that is told, until it is there; what lies in the others is judged."""
        settings = {**QUIET, "roots": ["gone", "project"]}
        async with hosting(SelfIncorporationService, self_incorporation=settings) as kernel:
            looked = await kernel.call(LookAround())
            status = await kernel.call(GetSelfIncorporationStatus())
            assert looked.verdicts == {"approved": 1}
            assert any("gone" in problem for problem in status.problems)
            assert looked.problems == status.problems

            (project.parent / "gone").mkdir()
            (project.parent / "gone" / "two.py").write_text(plugin_text("two"))
            assert (await kernel.call(LookAround())).verdicts == {"approved": 2}
            assert (await kernel.call(GetSelfIncorporationStatus())).problems == ()

    async def test_nobody_is_told_of_an_incoming_folder_that_is_misspelt(
        self, hosting: Any, project: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Each look tells it, and the log does once; the plugin is well, as the folder may be made later."""
        settings = {**QUIET, "incoming": ["project/imcoming"]}
        with caplog.at_level(logging.WARNING):
            async with hosting(SelfIncorporationService, self_incorporation=settings) as kernel:
                problems = [(await kernel.call(LookAround())).problems for _ in range(2)]
                assert (await kernel.call(GetSelfIncorporationStatus())).problems == ()
                (project / "imcoming").mkdir()
                assert (await kernel.call(LookAround())).problems == ()
        assert problems[0] == problems[1]
        assert ["project/imcoming" in problem for problem in problems[0]] == [True]
        assert caplog.text.count("imcoming") == 1

    async def test_a_root_behind_a_folder_that_is_shut_ends_the_watch(
        self, hosting: Any, project: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It counts as one that is gone, and what is saved in the others is looked at."""
        for name in ("stat", "lstat"):
            monkeypatch.setattr(os, name, closed_to("/shut/", getattr(os, name)))
        settings = {**QUIET, "roots": ["shut/root", "project"], "watch": True}
        async with hosting(SelfIncorporationService, self_incorporation=settings) as kernel:
            await kernel.call(LookAround())
            with anyio.fail_after(30):
                number = 0
                while (await kernel.call(Classify())).kinds.get("plugin", 0) < 2:
                    number += 1
                    (project / "two.py").write_text(plugin_text("two") + "\n" * number)
                    await anyio.sleep(0.8)  # longer than a file is left alone before it is looked at

    async def test_a_root_that_comes_later_is_never_watched(self, hosting: Any, project: Any) -> None:
        """After the next whole look, what is saved in it is looked at as it is saved."""
        settings = {**QUIET, "roots": ["project", "later"], "watch": True}
        async with hosting(SelfIncorporationService, self_incorporation=settings) as kernel:
            await kernel.call(LookAround())
            (project.parent / "later").mkdir()
            await kernel.call(LookAround())
            with anyio.fail_after(30):
                number = 0
                while (await kernel.call(Classify())).kinds.get("plugin", 0) < 2:
                    number += 1
                    (project.parent / "later" / "two.py").write_text(plugin_text("two") + "\n" * number)
                    await anyio.sleep(0.8)  # longer than a file is left alone before it is looked at

    async def test_a_question_waits_for_a_scan(
        self,
        hosting: Any,
        project: Any,
        slow_reading: Any,  # noqa: F811 - the fixture
    ) -> None:
        """In the middle of a scan items are set aside, and files and lists are told of."""
        async with hosting(SelfIncorporationService, data=True, self_incorporation=QUIET) as kernel:
            reached, gate = slow_reading
            gate.release(100)
            await kernel.call(Scan())
            while gate.acquire(blocking=False):
                pass
            reached.clear()
            (project / "two.py").write_text("x = 1\n")
            async with anyio.create_task_group() as group:
                group.start_soon(kernel.call, Scan())
                await wait_for(reached)
                with anyio.fail_after(20):
                    await kernel.call(QuarantineItem("one", "it is harmful"))
                    assert len((await kernel.call(ListQuarantined())).items) == 1
                    assert (await kernel.call(GetFile("one.py"))).kind == "plugin"
                assert not (project / "one.py").exists()
                gate.release(100)

    async def test_a_tree_of_links_makes_each_save_a_message_of_megabytes(
        self, hosting: Any, project: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Lists hold the first of what there is, and the counts are of all."""
        for number in range(1_005):
            (project / f"link{number}").symlink_to("nowhere")
        monkeypatch.setattr(scan_module, "_TICK", -3600.0)
        async with hosting(SelfIncorporationService, self_incorporation=QUIET) as kernel:
            scanned = await kernel.call(Scan())

        assert (len(scanned.files_refused), scanned.refusals) == (1_000, 1_005)
        assert scanned.files_found == scanned.files_indexed + scanned.refusals
