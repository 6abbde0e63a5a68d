"""Self-incorporation on a real host: it scans a tree, keeps an index, and answers from it."""

from __future__ import annotations

import logging
import threading

import anyio
import pytest

from aetherra.kernel import Maintain, PluginLoadError
from aetherra.plugins import HandlerError, Plugin, ServiceStatus, SourceFacts, Vote, hookimpl
from aetherra.plugins.homeostasis import Homeostasis
from aetherra.plugins.self_improvement import SelfImprovementEngine
from aetherra.plugins.self_incorporation import SelfIncorporationService
from aetherra.plugins.self_incorporation.index import scan as scan_module
from aetherra.plugins.self_incorporation.index.backup import Backup
from aetherra.plugins.self_incorporation.messages import (
    CheckHealth,
    Classify,
    GetFile,
    GetSelfIncorporationStatus,
    Scan,
    Scanned,
    ScanProgress,
    SecurityEval,
)

QUIET = {"roots": ["project"], "scan_at_start": False}


@pytest.fixture
def tree(tmp_path):
    """A small project with one file of each fate."""
    root = tmp_path / "project"
    (root / "package").mkdir(parents=True)
    (root / "package" / "__init__.py").write_text("")
    (root / "package" / "work.py").write_text("import subprocess\n\n\ndef run(line):\n    return eval(line)\n")
    (root / "notes.md").write_text("# Notes\n")
    (root / "broken.py").write_text("def (:\n")
    (root / "link.py").symlink_to(root / "notes.md")
    (root / ".git").mkdir()
    (root / ".git" / "config").write_text("")
    return root


@pytest.fixture
def slow_reading(monkeypatch):
    """Hold the scan at each file until it is let on; returns what has been reached, and the gate."""
    reached, gate = threading.Event(), threading.Semaphore(0)
    real = scan_module.read

    def read(found, **kwargs):
        reached.set()
        assert gate.acquire(timeout=30)
        return real(found, **kwargs)

    monkeypatch.setattr(scan_module, "read", read)
    return reached, gate


async def wait_for(event):
    with anyio.fail_after(30):
        while not event.is_set():  # noqa: ASYNC110  # polls what has no event
            await anyio.sleep(0.001)  # gives worker threads the interpreter


async def status_of(kernel):
    return await kernel.call(GetSelfIncorporationStatus())


class TestScan:
    async def test_a_file_is_skipped_in_silence(self, hosting, tree):
        """What was found is what was indexed and what was refused, each refusal with its reason."""
        async with hosting(SelfIncorporationService, self_incorporation=QUIET) as kernel:
            scanned = await kernel.call(Scan())

            assert scanned.files_found == 5 == scanned.files_indexed + len(scanned.files_refused)
            assert {refusal.path: refusal.reason for refusal in scanned.files_refused}["link.py"] == "symlink"
            assert all(refusal.reason for refusal in scanned.files_refused)
            assert scanned.folders_excluded == (".git",)

    async def test_an_unchanged_file_is_read_again(self, hosting, tree, monkeypatch):
        """A second scan opens only what has changed since."""
        monkeypatch.setattr(scan_module, "_TICK", -3600.0)  # files of this moment count as settled
        async with hosting(SelfIncorporationService, self_incorporation=QUIET) as kernel:
            first = await kernel.call(Scan())
            second = await kernel.call(Scan())
            (tree / "notes.md").write_text("# More notes\n")
            third = await kernel.call(Scan())

            assert first.files_read > 0
            assert (second.files_read, second.files_unchanged) == (0, first.files_indexed)
            assert (third.files_read, third.files_changed) == (1, 1)

    async def test_a_scan_is_not_told(self, hosting, tree):
        """A scan is an event, with the reply's content, after progress that never goes back."""
        async with hosting(SelfIncorporationService, self_incorporation=QUIET) as kernel:
            with kernel.subscribe("selfinc.*") as events:
                reply = await kernel.call(Scan())
                heard = [events.mailbox.get_nowait().event for _ in range(len(events.mailbox))]

            assert isinstance(heard[0], ScanProgress)
            assert heard[0].total == reply.files_found
            assert heard[-1] == reply

    async def test_a_root_that_is_not_there_is_an_empty_project(self, hosting, tree):
        """Nothing to scan is an error that names the place, counted, and kept for the status."""
        async with hosting(SelfIncorporationService, self_incorporation=QUIET) as kernel:
            with pytest.raises(HandlerError, match="nowhere") as caught:
                await kernel.call(Scan("nowhere"))
            status = await status_of(kernel)

            assert isinstance(caught.value.__cause__, FileNotFoundError)
            assert (status.scans, status.failed_scans, status.scanning) == (0, 1, "")
            assert "nowhere" in status.last_problem

    async def test_a_cancelled_scan_goes_on_or_forgets(self, hosting, tree, slow_reading):
        """A caller that gives up ends the scan at its next file; what was read stays in the index."""
        reached, gate = slow_reading
        async with hosting(SelfIncorporationService, self_incorporation=QUIET) as kernel:
            async with anyio.create_task_group() as group:
                group.start_soon(kernel.call, Scan())
                await wait_for(reached)
                group.cancel_scope.cancel()
                gate.release()
            status = await status_of(kernel)

            assert (status.scans, status.failed_scans, status.scanning) == (0, 0, "")
            assert status.files + status.refusals == 1  # the file that was in hand
            gate.release(100)
            assert (await kernel.call(Scan())).files_found == 5

    async def test_a_timeout_of_a_scan_is_some_other_error(self, hosting, tree, slow_reading):
        """A caller whose time is over hears that, and not of the scan that ended for its sake."""
        reached, gate = slow_reading
        async with hosting(SelfIncorporationService, self_incorporation=QUIET) as kernel:
            with anyio.move_on_after(30) as scope:
                async with anyio.create_task_group() as group:

                    async def give_up():
                        await wait_for(reached)
                        scope.cancel()
                        gate.release()

                    group.start_soon(give_up)
                    await kernel.call(Scan())

            assert scope.cancelled_caught

    async def test_the_status_waits_for_the_scan(self, hosting, tree, slow_reading):
        """In the middle of a scan the status says what is being scanned, and answers at once."""
        reached, gate = slow_reading
        async with hosting(SelfIncorporationService, self_incorporation=QUIET) as kernel:
            async with anyio.create_task_group() as group:
                group.start_soon(kernel.call, Scan())
                await wait_for(reached)
                with anyio.fail_after(30):
                    status = await status_of(kernel)
                gate.release(100)

            assert status.scanning == str(tree)
            assert status.files == 0

    async def test_a_stop_waits_for_the_scan_of_the_project(self, hosting, tree, slow_reading):
        """A host that stops while the plugin scans by itself ends the scan at its next file."""
        reached, gate = slow_reading
        settings = {"roots": ["project"]}
        async with hosting(SelfIncorporationService, self_incorporation=settings) as kernel:
            await wait_for(reached)
            with kernel.subscribe(Scanned) as scans, anyio.fail_after(30):
                async with anyio.create_task_group() as group:
                    group.start_soon(kernel.remove_plugin, "self_incorporation")
                    await anyio.wait_all_tasks_blocked()
                    gate.release()
            assert not len(scans.mailbox)
        gate.release(100)

    async def test_a_project_that_cannot_be_scanned_looks_well(self, hosting, tree):
        """A root that is missing makes the service degraded, with the reason; the plugin serves on."""
        settings = {"roots": ["project", "nowhere"]}
        async with hosting(SelfIncorporationService, self_incorporation=settings) as kernel:
            with anyio.fail_after(30):
                info = await kernel.registry.wait_for("self_incorporation", status=ServiceStatus.DEGRADED)

            assert "nowhere" in info.reason
            assert (await status_of(kernel)).scans == 1

    @pytest.mark.parametrize("settings", [{"roots": []}, {"scan_interval": 0.0}, {"max_file_bytes": -1}])
    async def test_settings_that_cannot_be_are_taken(self, hosting, settings):
        """No root, no pause between scans, or less than no bytes is an error that names the key."""
        async with hosting() as kernel:
            with pytest.raises(PluginLoadError, match=next(iter(settings))):
                await kernel.add_plugin(SelfIncorporationService, settings=settings)


class TestIndex:
    async def test_a_file_that_was_scanned_is_unknown(self, hosting, tree):
        """Each indexed file can be asked for by its path below the root."""
        async with hosting(SelfIncorporationService, self_incorporation=QUIET) as kernel:
            await kernel.call(Scan())
            file = await kernel.call(GetFile("package/work.py"))

            assert file.path == "package/work.py"
            assert file.size == (tree / "package" / "work.py").stat().st_size
            assert "subprocess" in file.imports
            assert file.risk > 0

    @pytest.mark.parametrize("path", ["package/other.py", "link.py", "../project/notes.md"])
    async def test_a_file_that_was_not_scanned_is_known(self, hosting, tree, path):
        """What is not in the index is an error that names the path and what it is relative to."""
        async with hosting(SelfIncorporationService, self_incorporation=QUIET) as kernel:
            await kernel.call(Scan())
            with pytest.raises(HandlerError) as caught:
                await kernel.call(GetFile(path))

            assert isinstance(caught.value.__cause__, LookupError)
            assert repr(path) in str(caught.value)
            assert str(tree) in str(caught.value)

    async def test_kinds_and_risks_differ_from_the_scan(self, hosting, tree):
        """What classify and judge tell is what the scan found."""
        async with hosting(SelfIncorporationService, self_incorporation=QUIET) as kernel:
            scanned = await kernel.call(Scan())

            assert (await kernel.call(Classify())).kinds == scanned.kinds
            judged = await kernel.call(SecurityEval())
            assert judged.riskiest == scanned.risks
            assert sum(scanned.kinds.values()) == scanned.files_indexed

    async def test_a_restart_reads_everything_again(self, hosting, tree, monkeypatch):
        """With a data directory the index outlives the host."""
        monkeypatch.setattr(scan_module, "_TICK", -3600.0)
        async with hosting(SelfIncorporationService, data=True, self_incorporation=QUIET) as kernel:
            await kernel.call(Scan())
        async with hosting(SelfIncorporationService, data=True, self_incorporation=QUIET) as kernel:
            assert (await status_of(kernel)).files > 0
            assert (await kernel.call(Scan())).files_read == 0

    @pytest.mark.parametrize("backup", [True, False])
    async def test_a_corrupt_index_is_deleted_or_passed_over(
        self, hosting, tree, tmp_path, caplog, monkeypatch, backup
    ):
        """It is moved aside, said so in log and status, and rebuilt from its backup, or by a scan without one."""
        monkeypatch.setattr(scan_module, "_TICK", -3600.0)
        async with hosting(SelfIncorporationService, data=True, self_incorporation=QUIET) as kernel:
            await kernel.call(Scan())
            held = (await status_of(kernel)).files
        (index,) = tmp_path.rglob("index.sqlite3")
        index.write_bytes(b"not an index" * 1000)
        if not backup:
            index.with_suffix(".jsonl").unlink()
        with caplog.at_level(logging.WARNING):
            async with hosting(SelfIncorporationService, data=True, self_incorporation=QUIET) as kernel:
                status = await status_of(kernel)
                scanned = await kernel.call(Scan())

        assert status.set_aside.startswith(str(index))
        assert status.set_aside in caplog.text
        assert status.files == (held if backup else 0)
        assert (scanned.files_read == 0) is backup
        assert ("rebuilt from its backup" in caplog.text) is backup


class Poet(Plugin):
    """Knows verse when it sees it, and nothing else."""

    @hookimpl
    def classify_file(self, path: str, head: bytes, facts: SourceFacts | None) -> Vote | None:
        return Vote("workflow", 9.0, "is verse") if b"# Notes" in head else None


class TestClassifiers:
    async def test_other_plugins_have_no_say_in_what_a_file_is(self, hosting, tree, monkeypatch):
        """What they vote counts, files are read again when they come or go, and none lives on in a scanner."""
        monkeypatch.setattr(scan_module, "_TICK", -3600.0)
        async with hosting(SelfIncorporationService, self_incorporation=QUIET) as kernel:
            before = await kernel.call(Scan())
            await kernel.add_plugin(Poet)
            with_poet = await kernel.call(Scan())
            told = await kernel.call(GetFile("notes.md"))
            await kernel.remove_plugin("poet")
            after = await kernel.call(Scan())

        assert (told.kind, told.features) == ("workflow", ("poet: is verse",))
        assert before.kinds == after.kinds != with_poet.kinds
        assert before.files_read == with_poet.files_read == after.files_read == 4

    async def test_a_broken_classifier_stops_the_scan(self, hosting, tree, caplog):
        """It is left out, and said; all files are found all the same."""

        class Broken(Plugin):
            @hookimpl
            def classify_file(self, path: str) -> Vote | None:
                raise KeyError(path)

        async with hosting(SelfIncorporationService, Broken, self_incorporation=QUIET) as kernel:
            scanned = await kernel.call(Scan())

        assert scanned.files_found == 5
        assert caplog.text.count("classifier of plugin 'broken' is left out of this scan") == 1


class TestMaintenance:
    async def test_a_phase_of_the_cycle_is_not_reported(self, hosting, tree):
        """One cycle runs the parts of all three plugins in order, and reports each step and what it found."""
        plugins = (SelfIncorporationService, SelfImprovementEngine, Homeostasis)
        async with hosting(*plugins, self_incorporation=QUIET) as kernel:
            report = await kernel.call(Maintain())

            assert [(step.phase, step.plugin, step.error) for step in report.steps] == [
                ("collect", "homeostasis", ""),
                ("correct", "homeostasis", ""),
                ("analyse", "self_improvement", ""),
                ("propose", "self_improvement", ""),
                ("discover", "self_incorporation", ""),
                ("classify", "self_incorporation", ""),
                ("judge", "self_incorporation", ""),
            ]
            assert set(report.idle_phases) == {"plan"}
            assert report.findings["files_found"] == 5
            assert {"health_score", "metrics", "trends", "proposals"} <= report.findings.keys()
            assert {"files_indexed", "files_refused", "findings"} <= report.findings.keys()

    async def test_a_step_that_fails_ends_the_cycle(self, hosting, tree):
        """A step that fails is reported with its error, and the others run."""
        settings = {"roots": ["nowhere"], "scan_at_start": False}
        async with hosting(SelfIncorporationService, Homeostasis, self_incorporation=settings) as kernel:
            report = await kernel.call(Maintain())
            errors = {step.phase: step.error for step in report.steps}

            assert "nowhere" in errors["discover"]
            assert errors["collect"] == ""

    @pytest.mark.parametrize("plugin", [Homeostasis, SelfImprovementEngine, SelfIncorporationService])
    async def test_a_plugin_needs_the_other_two(self, hosting, tree, plugin):
        """Each of the three runs a whole cycle by itself."""
        settings = {"self_incorporation": QUIET} if plugin is SelfIncorporationService else {}
        async with hosting(plugin, **settings) as kernel:
            report = await kernel.call(Maintain())

            assert report.steps
            assert not [step for step in report.steps if step.error]
            assert {step.plugin for step in report.steps} == {plugin.name}


class TestHealth:
    async def test_a_backup_that_is_behind_is_healthy(self, hosting, tree, monkeypatch):
        """Health looks at the index's backup, too, and is well again once that is."""

        def full(*_):
            raise OSError("the disk is full")

        async with hosting(SelfIncorporationService, data=True, self_incorporation=QUIET) as kernel:
            assert (await kernel.call(CheckHealth())).healthy
            with monkeypatch.context() as patch:
                patch.setattr(Backup, "append", full)
                patch.setattr(Backup, "rewrite", full)
                await kernel.call(Scan())
            health = await kernel.call(CheckHealth())
            assert (health.healthy, health.reasons) == (False, ("the backup of the index is behind: the disk is full",))

            await kernel.call(Scan())
            assert (await kernel.call(CheckHealth())).healthy

    async def test_a_damaged_list_is_told_of_nowhere(self, hosting, tree, tmp_path):
        """What waited, or was taken out, and cannot be read is a problem of the status until it is seen to."""
        kept = tmp_path / ".state" / "self_incorporation"
        kept.mkdir(parents=True)
        (kept / "taken_out.json").write_text("{")
        (kept / "waiting.json").write_text("[")
        async with hosting(SelfIncorporationService, data=True, self_incorporation=QUIET) as kernel:
            problems = (await status_of(kernel)).problems
            health = await kernel.call(CheckHealth())

        assert [problem.partition(" is not known any more")[0] for problem in problems] == [
            "what waited for a person",
            "what was taken out again",
        ]
        assert health.reasons == problems
