"""Imports of names that have moved: edited where that is allowed, with a way back."""

from __future__ import annotations

import logging
import threading
import warnings

import anyio
import anyio.to_thread
import pytest

from aetherra.plugins import HandlerError
from aetherra.plugins.homeostasis.corrector.edits import Edits
from aetherra.plugins.homeostasis.corrector.messages import RestoreEdit, RewriteImports

MOVED = "from collections import Mapping"
NOW = "from collections.abc import Mapping"


class TestDeprecatedImport:
    async def test_a_plugin_stays_down_for_a_moved_name(self, clinic, project, plugin_text):
        """With ``allow_edits``, the import is rewritten in the plugin's file, and the plugin serves with it."""
        file = project("mill.py", plugin_text("mill", MOVED))
        before = file.read_bytes()
        async with clinic(plugins=["mill"], allow_edits=True) as host:
            assert ("deprecated_import", "fixed") in await host.work()
            assert file.read_bytes() == before.replace(MOVED.encode(), NOW.encode())
            assert (await host.kernel.call_tag("mill.ask", {}))["text"] == "well"

            await host.kernel.call(RestoreEdit(path=str(file)))
            assert file.read_bytes() == before

    async def test_an_attribute_that_moved_keeps_a_plugin_down(self, clinic, project, plugin_text):
        """``module.name`` is rewritten, too, by what the exception says of itself."""
        project("mill.py", plugin_text("mill", "import collections\nMAPPING = collections.Mapping"))
        async with clinic(plugins=["mill"], allow_edits=True) as host:
            assert ("deprecated_import", "fixed") in await host.work()
            assert host.state("mill") == "serving"

    async def test_a_file_is_edited_that_nobody_said_may_be(self, clinic, project, plugin_text):
        """By default no file is touched: a person is told what to edit."""
        file = project("mill.py", plugin_text("mill", MOVED))
        before = file.read_bytes()
        async with clinic(plugins=["mill"]) as host:
            assert ("deprecated_import", "advised") in await host.work()
            assert "collections.Mapping -> collections.abc.Mapping" in host.last
            with pytest.raises(Exception, match="does not allow edits"):
                await host.kernel.call(RewriteImports(plugin="mill", path=str(file)))
            assert file.read_bytes() == before

    async def test_a_file_is_edited_without_a_place_for_its_backup(self, clinic, project, plugin_text):
        """Without a data directory there is no way back, and no edit."""
        file = project("mill.py", plugin_text("mill", MOVED))
        before = file.read_bytes()
        async with clinic(plugins=["mill"], allow_edits=True, data=False) as host:
            assert ("deprecated_import", "advised") in await host.work()
            with pytest.raises(Exception, match="no place for the backup"):
                await host.kernel.call(RewriteImports(plugin="mill", path=str(file)))
            assert file.read_bytes() == before

    async def test_a_file_is_edited_that_nobody_can_load(self, clinic, project, plugin_text):
        """A plugin that serves, where nobody could load the edited code, has its file left as it is."""
        file = project("mill.py", plugin_text("mill", "", body=f"{MOVED}; return Answer('well')"))
        before = file.read_bytes()
        async with clinic(plugins=["mill"], allow_edits=True, hmr=False) as host:
            with pytest.raises(HandlerError) as raised:
                await host.kernel.call_tag("mill.ask", {})
            logging.getLogger("acme").error("failed", exc_info=raised.value)

            assert await host.work() == [("deprecated_import", "advised")]
            assert host.last.endswith("lacks the hmr plugin to load what is edited")
            assert file.read_bytes() == before

    async def test_an_edit_that_does_not_help_stays(self, clinic, project, plugin_text):
        """A plugin that does not come up with the edit has its file back, byte for byte, and the outcome is failed."""
        file = project("mill.py", plugin_text("mill", f"{MOVED}\nraise RuntimeError('and this')"))
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
        before = file.read_bytes()
        async with clinic(plugins=["mill"], allow_edits=True) as host:
            assert ("deprecated_import", "failed") in await host.work()
            assert file.read_bytes() == before
            assert "and this" in host.corrector.get_statistics().recent[1].text

    async def test_a_person_cannot_ask_for_what_was_withdrawn(self, clinic, project, plugin_text):
        """A correction that took its edit back does not stand in the way of who calls for that edit."""
        file = project("mill.py", plugin_text("mill", f"{MOVED}\nraise RuntimeError('and this')"))
        before = file.read_bytes()
        async with clinic(plugins=["mill"], allow_edits=True) as host:
            assert ("deprecated_import", "failed") in await host.work()
            assert file.read_bytes() == before

            await host.kernel.call(RewriteImports(plugin="mill", path=str(file)))
            assert file.read_bytes() != before

    @pytest.mark.parametrize("end", ["time", "stop"])
    async def test_an_edit_that_is_cut_off_stays(self, clinic, project, plugin_text, end):
        """When time is over, or the corrector stops, before the plugin was seen to serve, the file is put back."""
        file = project("mill.py", plugin_text("mill", MOVED))
        before = file.read_bytes()
        async with clinic(plugins=["mill"], allow_edits=True, interval=1.0, timeout=20.0) as host:
            host.corrector.stop()
            edited, act = anyio.Event(), host.doctor._act

            def asked():
                return any(isinstance(each, RewriteImports) for each in host.doctor.asked)

            async def stuck(request):
                if not asked():
                    return await act(request)
                edited.set()
                return await anyio.sleep_forever()

            host.corrector._hands._act = stuck
            host.corrector.start()
            while not edited.is_set():
                if not asked():  # from then on the clock stands still: the edit takes the time that its thread takes
                    await host.clock.advance(1.0)
                await anyio.sleep(0.001)
            assert file.read_bytes() != before
            if end == "stop":
                host.corrector.stop()
            else:
                await host.clock.advance(21.0)
            while file.read_bytes() != before:  # noqa: ASYNC110  # a worker thread writes it
                await anyio.sleep(0.001)

    async def test_an_edit_that_is_cut_off_before_it_is_made_is_made_later(
        self, clinic, project, plugin_text, monkeypatch
    ):
        """A thread that comes to the file when its correction is over leaves it as it is."""
        file = project("mill.py", plugin_text("mill", MOVED))
        before = file.read_bytes()
        come, go, gone = threading.Event(), threading.Event(), threading.Event()
        replace = Edits.replace

        def late(self, *args):
            come.set()
            go.wait(20.0)
            try:
                return replace(self, *args)
            finally:
                gone.set()

        monkeypatch.setattr(Edits, "replace", late)
        async with clinic(plugins=["mill"], allow_edits=True, interval=1.0, timeout=20.0) as host:
            over = "deprecated_import", "failed"
            while over not in {(it.category, it.outcome) for it in host.corrector.get_statistics().recent}:
                await host.clock.advance(1.0)
                await anyio.sleep(0.001)
            assert come.is_set()
            host.corrector.stop()
            go.set()
            assert await anyio.to_thread.run_sync(gone.wait, 20.0)
            assert file.read_bytes() == before

    async def test_an_edit_stays_as_everything_was_frozen_meanwhile(self, clinic, project, plugin_text):
        """Nothing holds back that a file is put back; only an edit of ours is."""
        file = project("mill.py", plugin_text("mill", MOVED))
        before = file.read_bytes()
        async with clinic(plugins=["mill"], allow_edits=True) as host:
            act, held = host.doctor._act, []

            async def freeze(request):
                done = await act(request)
                if isinstance(request, RewriteImports):
                    held.append("it is frozen")
                return done

            host.corrector._hands._act = freeze
            host.corrector._hands._held = lambda: "".join(held)

            assert ("deprecated_import", "failed") in await host.work()
            assert file.read_bytes() == before

    async def test_a_file_of_nobody_is_edited(self, clinic, project, plugin_text, tmp_path_factory):
        """Only files of plugins, inside the project, are edited, links followed."""
        project("mill.py", plugin_text("mill"))
        other = project("other.py", MOVED)
        outside = tmp_path_factory.mktemp("outside") / "mill.py"
        outside.write_text(MOVED)
        async with clinic(plugins=["mill"], allow_edits=True) as host:
            for path in (other, outside):
                with pytest.raises(Exception, match=r"no file of plugin|out of the project"):
                    await host.kernel.call(RewriteImports(plugin="mill", path=str(path)))

        assert other.read_text() == outside.read_text() == MOVED

    async def test_a_deprecation_warning_changes_nothing(self, clinic, project, plugin_text, tmp_path, monkeypatch):
        """A warning that points into a plugin's file has the import rewritten, if the move is known."""
        project(
            "site/oldlib_of_tests.py",
            "def __getattr__(name):\n    import warnings\n"
            "    warnings.warn('moved', DeprecationWarning, stacklevel=2)\n    return 1\n",
        )
        project("site/newlib_of_tests.py", "thing = 2\n")
        monkeypatch.syspath_prepend(str(tmp_path / "site"))
        file = project(
            "mill.py", plugin_text("mill", "", body="from oldlib_of_tests import thing; return Answer(str(thing))")
        )
        moved = {"oldlib_of_tests.thing": "newlib_of_tests.thing"}
        async with clinic(plugins=["mill"], allow_edits=True, moved=moved) as host:
            with warnings.catch_warnings():
                warnings.simplefilter("always")
                monkeypatch.setattr(warnings, "showwarning", lambda *_: None)
                host.corrector.stop()
                host.corrector.start()  # pytest stands before whoever came earlier
                assert (await host.kernel.call_tag("mill.ask", {}))["text"] == "1"
                host.corrector.stop()

            assert await host.work() == [("deprecated_import", "fixed")]
            assert "from newlib_of_tests import thing; return" in file.read_text()
            assert (await host.kernel.call_tag("mill.ask", {}))["text"] == "2"

    async def test_a_text_edits_a_file(self, clinic, project, plugin_text):
        """What captured warnings say as text is not read."""
        file = project("mill.py", plugin_text("mill", f"try:\n    {MOVED}\nexcept ImportError: pass"))
        before = file.read_bytes()
        async with clinic(plugins=["mill"], allow_edits=True) as host:
            logging.getLogger("py.warnings").warning("%s", f"{file}:3: DeprecationWarning: Mapping has moved")

            assert await host.work() == []
            assert file.read_bytes() == before
