"""Scans of real trees."""

import os
import shutil
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aetherra.plugins import Vote
from aetherra.plugins.self_incorporation.code.panel import Panel
from aetherra.plugins.self_incorporation.index.code_index import CodeIndex
from aetherra.plugins.self_incorporation.index.paths import original
from aetherra.plugins.self_incorporation.index.report import Progress, ScanReport
from aetherra.plugins.self_incorporation.index.rows import Entry, Known
from aetherra.plugins.self_incorporation.index.scanner import (
    Limits,
    RootNotFoundError,
    Scanner,
    ScanStopped,
    name_of_root,
)
from aetherra.plugins.storage import DatabaseUnusableError


class Opens:
    """Counts the files that are really opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self._open = os.open
        monkeypatch.setattr(os, "open", self)

    def __call__(self, path: str, flags: int, *rest: int, **more: int) -> int:
        self.count += 1
        return self._open(path, flags, *rest, **more)


@pytest.fixture
def index() -> Iterator[CodeIndex]:
    with CodeIndex(":memory:") as index:
        yield index


def scan(index: CodeIndex, root: Path, limits: Limits | None = None, now: float | None = None) -> ScanReport:
    """Scan as of a moment when all files are old enough to be trusted."""
    scanner = Scanner(index, clock=time.perf_counter, limits=limits)
    return scanner.scan(root, now=time.time() + 60 if now is None else now)


def fill(root: Path) -> None:
    """Make a tree of good, bad and odd files: 9 found, 4 of them refused."""
    (root / "pkg").mkdir()
    (root / "pkg" / "a.py").write_text("import os\n")
    (root / "pkg" / "b.py").write_text("import base64\nexec(base64.b64decode('eA=='))\n")
    (root / "pkg" / "broken.py").write_text("def f(:\n")
    (root / "pkg" / "latin.py").write_bytes(b"x = '\xe9'\n")
    (root / "README.md").write_text("# Hello\n")
    (root / "rows.csv").write_text("a,b\n")
    (root / "new\nline.py").write_text("x = 1\n")
    (root / "link").symlink_to("pkg")
    os.mkfifo(root / "pipe")
    (root / ".git").mkdir()
    (root / ".git" / "config").touch()


class TestScan:
    def test_every_file_is_indexed_or_refused(self, index: CodeIndex, tmp_path: Path) -> None:
        """No file is skipped in silence."""
        fill(tmp_path)

        report = scan(index, tmp_path)

        assert (report.files_found, report.files_indexed) == (9, 5)
        assert [(refusal.path, refusal.reason) for refusal in report.files_refused] == [
            ("link", "symlink"),
            ("pipe", "not_a_regular_file"),
            ("pkg/broken.py", "syntax_error"),
            ("pkg/latin.py", "not_utf8"),
        ]
        assert report.folders_excluded == (".git",)
        assert report.kinds == {"dataset": 1, "docs": 1, "utility": 3}
        assert [(item.path, item.code) for item in report.findings] == [("pkg/b.py", "exec-of-decoded")]
        assert [risk.path for risk in report.risks] == ["pkg/b.py"]
        assert report.severities == {"info": 1, "threat": 1}
        assert report.root == name_of_root(tmp_path)

    def test_a_second_scan_opens_nothing(
        self, index: CodeIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What did not change is known, its refusal too, and the report says the same."""
        fill(tmp_path)
        first = scan(index, tmp_path)
        opens = Opens(monkeypatch)

        second = scan(index, tmp_path)

        assert opens.count == second.files_read == 0
        assert (second.files_new, second.files_changed, second.files_unchanged) == (0, 0, 5)
        assert second.files_refused == first.files_refused
        assert (second.findings, second.risks, second.kinds) == (first.findings, first.risks, first.kinds)

    def test_only_what_changed_is_read(self, index: CodeIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """New, changed, mended and removed files are told apart."""
        fill(tmp_path)
        scan(index, tmp_path)
        (tmp_path / "new.py").touch()
        (tmp_path / "pkg" / "a.py").write_text("import sys\n")
        (tmp_path / "pkg" / "broken.py").write_text("x = 1\n")
        (tmp_path / "pkg" / "b.py").unlink()
        (tmp_path / "rows.csv").touch()
        opens = Opens(monkeypatch)

        report = scan(index, tmp_path)

        assert opens.count == 4
        assert (report.files_new, report.files_changed, report.files_removed, report.files_unchanged) == (2, 1, 1, 3)
        assert report.findings == ()
        assert index.file(report.root, "pkg/b.py") is None

    def test_an_edit_that_keeps_size_and_time_is_seen(self, index: CodeIndex, tmp_path: Path) -> None:
        """A program may set the modification time back; the change time it may not."""
        path = tmp_path / "a.py"
        path.write_text("x = 1\n")
        status = path.stat()
        scan(index, tmp_path)

        path.write_text("x = 2\n")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

        assert scan(index, tmp_path).files_changed == 1

    def test_a_file_changed_just_before_is_read_once_more(self, index: CodeIndex, tmp_path: Path) -> None:
        """Two writes within one tick of the file system's clock look like one; they are not taken for it."""
        path = tmp_path / "a.py"
        path.touch()
        at = path.stat().st_ctime_ns / 1e9

        reads = [scan(index, tmp_path, now=now).files_read for now in (at + 0.001, at + 1, at + 2)]

        assert reads == [1, 1, 0]

    def test_other_limits_judge_anew(self, index: CodeIndex, tmp_path: Path) -> None:
        """A refusal for size does not outlive the limit it was made under."""
        (tmp_path / "a.py").write_text("x = 1\n")

        small = scan(index, tmp_path, Limits(source_bytes=3))
        large = scan(index, tmp_path)

        assert [refusal.reason for refusal in small.files_refused] == ["too_large"]
        assert (large.files_refused, large.files_new) == ((), 1)

    def test_a_file_that_changes_while_it_is_read_is_tried_again(
        self, index: CodeIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """That refusal is of the moment, and is not carried over."""
        path = tmp_path / "busy.py"
        path.touch()
        os_fstat = os.fstat

        def moving(descriptor: int) -> os.stat_result:
            with path.open("a") as file:
                file.write("#")
            return os_fstat(descriptor)

        with monkeypatch.context() as patch:
            patch.setattr(os, "fstat", moving)
            busy = scan(index, tmp_path)
        calm = scan(index, tmp_path)

        assert [refusal.reason for refusal in busy.files_refused] == ["changed_while_read"]
        assert (calm.files_refused, calm.files_new) == ((), 1)

    def test_a_folder_that_cannot_be_listed_breaks_no_count(
        self, index: CodeIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is no file, so it stands in a list of its own."""
        fill(tmp_path)
        scandir = os.scandir

        def guarded(path: str) -> object:
            if path.endswith("pkg"):
                raise PermissionError(13, "Permission denied")
            return scandir(path)

        monkeypatch.setattr(os, "scandir", guarded)

        report = scan(index, tmp_path)

        assert [refusal.path for refusal in report.folders_refused] == ["pkg"]
        assert report.files_found == report.files_indexed + len(report.files_refused) == 5

    def test_a_root_that_is_not_there_is_a_clear_error(self, index: CodeIndex, tmp_path: Path) -> None:
        """It is said which, and it is a `FileNotFoundError`."""
        (tmp_path / "file").touch()

        with pytest.raises(RootNotFoundError, match=r"there is no file or folder '.*missing'"):
            scan(index, tmp_path / "missing")
        with pytest.raises(FileNotFoundError):
            scan(index, tmp_path / "file" / "inner")

    def test_a_root_may_be_a_file_and_may_have_any_name(self, index: CodeIndex, tmp_path: Path) -> None:
        """A name that is no text is written so that the index can hold it."""
        root = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.py"))
        root.write_text("x = 1\n")

        report = scan(index, root)

        assert (report.files_found, report.files_indexed) == (1, 1)
        assert report.root.endswith(r"\xff.py")

    def test_a_scan_runs_in_another_thread(self, index: CodeIndex, tmp_path: Path) -> None:
        """The thread that made the index need not be the one that uses it."""
        fill(tmp_path)
        reports: list[ScanReport] = []
        thread = threading.Thread(target=lambda: reports.append(scan(index, tmp_path)))
        thread.start()
        thread.join()

        assert reports[0].files_found == 9


class TestStopping:
    def test_what_was_done_before_a_stop_is_kept(self, index: CodeIndex, tmp_path: Path) -> None:
        """The next scan goes on where the last one stopped, and drops nothing it did not reach."""
        for number in range(10):
            (tmp_path / f"{number}.py").touch()
        seen: list[Progress] = []
        scanner = Scanner(index, clock=time.perf_counter)

        with pytest.raises(ScanStopped, match="after 4 files"):
            scanner.scan(
                tmp_path, now=time.time() + 60, progress=seen.append, should_stop=lambda: bool(seen) and len(seen) >= 4
            )

        assert [progress.files_done for progress in seen] == [0, 1, 2, 3]
        assert seen[-1] == Progress(files_found=10, files_done=3, files_read=3, path="3.py")
        report = scan(index, tmp_path)
        assert (report.files_read, report.files_unchanged, report.files_removed) == (6, 4, 0)

    def test_a_scan_can_be_stopped_while_it_looks_around(self, index: CodeIndex, tmp_path: Path) -> None:
        """Finding the files is part of it."""
        (tmp_path / "a.py").touch()

        with pytest.raises(ScanStopped, match="after 0 files"):
            Scanner(index, clock=time.perf_counter).scan(tmp_path, now=0.0, should_stop=lambda: True)

    def test_an_index_that_cannot_be_written_is_a_clear_error(self, index: CodeIndex, tmp_path: Path) -> None:
        """Never a report of what is not kept."""
        (tmp_path / "a.py").touch()
        index._database._writer.execute("PRAGMA query_only = ON")

        with pytest.raises(DatabaseUnusableError, match="could not be written"):
            scan(index, tmp_path)

    def test_batches_are_of_the_size_that_was_asked_for(
        self, index: CodeIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One transaction never grows with the tree."""
        for number in range(7):
            (tmp_path / f"{number}.py").touch()
        write, sizes = index.write, list[int]()

        def counting(root: str, entries: list[Entry], **gone: list[str]) -> None:
            sizes.append(len(entries))
            write(root, entries, **gone)

        monkeypatch.setattr(index, "write", counting)

        scan(index, tmp_path, Limits(batch=3))

        assert [size for size in sizes if size] == [3, 3, 1]


class TestWeights:
    def test_other_weights_classify_all_anew_and_read_nothing(
        self, index: CodeIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What was learnt counts for files that did not change, too, from the next scan on."""
        fill(tmp_path)
        scanner = Scanner(index, clock=time.perf_counter)
        before = scanner.scan(tmp_path, now=time.time() + 60).kinds
        opens = Opens(monkeypatch)
        scanner.learn({"suffix .csv": -5.0})

        learnt = scanner.scan(tmp_path, now=time.time() + 60)
        (tmp_path / "more.csv").write_text("")
        more = scanner.rescan(tmp_path, ["more.csv"], now=time.time() + 60)
        scanner.learn({})
        forgotten = scanner.scan(tmp_path, now=time.time() + 60)

        assert (before["dataset"], "dataset" in learnt.kinds, "dataset" in more.kinds) == (1, False, False)
        assert forgotten.kinds["dataset"] == 2
        assert opens.count == 1


class TestOrder:
    def test_what_is_asked_for_first_is_dealt_with_first(self, index: CodeIndex, tmp_path: Path) -> None:
        """Once, and what cannot be found there is no error."""
        for name in ("a.py", "b.py", "pkg/c.py"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        seen: list[str] = []

        report = Scanner(index, clock=time.perf_counter).scan(
            tmp_path,
            now=time.time() + 60,
            progress=lambda progress: seen.append(progress.path),
            first=["pkg/c.py", "pkg/c.py", "none.py", "pkg", "b.py"],
        )

        assert seen == ["pkg/c.py", "b.py", "a.py"]
        assert (report.files_found, report.files_indexed, report.files_new) == (3, 3, 3)
        assert report.changed == ("pkg/c.py", "b.py", "a.py")

    def test_a_folder_is_asked_for_whole_for_each_file_that_comes_first(
        self, index: CodeIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Only what is known of that file is, or a large folder would cost its square."""
        for number in range(20):
            (tmp_path / f"{number}.py").touch()
        scan(index, tmp_path)
        rows = list[int]()
        really = index.known

        def known(*place: str, **more: str) -> dict[str, Known]:
            found = really(*place, **more)
            rows.append(len(found))
            return found

        monkeypatch.setattr(index, "known", known)
        first = [f"{number}.py" for number in range(10)]
        report = Scanner(index, clock=time.perf_counter).scan(tmp_path, now=time.time() + 60, first=first)

        assert rows == [1] * 10 + [20]
        assert report.files_read == 0

    def test_a_classifier_that_does_not_bear_some_files_is_never_asked_about_those_after(
        self, index: CodeIndex, tmp_path: Path
    ) -> None:
        """The next scan reads them again, and those alone; what it did not bear is not read again."""

        class Picky:
            plugin, version, asked = "picky", "1", list[str]()

            def call(self, path: str, **_: object) -> Vote:
                self.asked.append(path)
                if path.startswith("bad"):
                    raise KeyError(path)
                return Vote("workflow", 9.0, "is one")

        for name in ("a.md", "bad1.md", "bad2.md", "bad3.md", "later.md"):
            (tmp_path / name).touch()
        panel = Panel(lambda: [Picky()], clock=lambda: 0.0, say=lambda _: None)
        scanner = Scanner(index, clock=time.perf_counter, panel=panel)
        now = time.time() + 60
        first = scanner.scan(tmp_path, now=now)
        assert first.kinds == {"docs": 4, "workflow": 1}
        Picky.asked.clear()

        second = scanner.scan(tmp_path, now=now)

        assert Picky.asked == ["bad3.md", "later.md"] and second.kinds == {"docs": 3, "workflow": 2}
        assert scanner.scan(tmp_path, now=now).files_read == 0

    @pytest.mark.parametrize("how", ["whole", "part"])
    def test_a_report_of_many_refusals_is_as_long(self, index: CodeIndex, tmp_path: Path, how: str) -> None:
        """It counts all, and lists the first of them."""
        for number in range(30):
            (tmp_path / f"{number:02}.py").symlink_to("nowhere")
        scanner = Scanner(index, clock=time.perf_counter, limits=Limits(refusals=4))
        report = scanner.scan(tmp_path, now=1.0)
        if how == "part":
            report = scanner.rescan(tmp_path, ["29.py"], now=1.0)

        assert [refusal.path for refusal in report.files_refused] == [f"{number:02}.py" for number in range(4)]
        assert report.files_found == report.files_indexed + report.refusals == 30


class TestRescan:
    def rescan(self, index: CodeIndex, root: Path, *changed: str) -> ScanReport:
        return Scanner(index, clock=time.perf_counter).rescan(root, changed, now=time.time() + 60)

    def test_only_what_changed_is_looked_at_and_all_is_told(
        self, index: CodeIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The report is of the whole root, as if all of it had been scanned."""
        fill(tmp_path)
        scan(index, tmp_path)
        (tmp_path / "pkg" / "a.py").write_text("import sys\n")
        (tmp_path / "pkg" / "b.py").unlink()
        (tmp_path / "new.py").touch()
        opens, looked = Opens(monkeypatch), list[str]()
        scandir = os.scandir
        monkeypatch.setattr(os, "scandir", lambda path: looked.append(path) or scandir(path))

        report = self.rescan(index, tmp_path, "pkg/a.py", "pkg/b.py")

        assert looked == [str(tmp_path / "pkg")]
        assert (opens.count, report.files_read, report.changed) == (1, 1, ("pkg/a.py",))
        assert (report.files_new, report.files_changed, report.files_removed) == (0, 1, 1)
        whole = scan(index, tmp_path)
        assert (whole.files_new, whole.changed) == (1, ("new.py",))
        assert (report.files_found, report.files_indexed) == (whole.files_found - 1, whole.files_indexed - 1)
        assert (report.files_refused, report.folders_excluded) == (whole.files_refused, whole.folders_excluded)

    @pytest.mark.parametrize("how", ["told of the folder", "told of all"])
    def test_a_folder_that_comes_or_goes_takes_all_along(self, index: CodeIndex, tmp_path: Path, how: str) -> None:
        """A watcher may tell of the folder alone, or of everything in it."""
        (tmp_path / "pkg" / "deep").mkdir(parents=True)
        for name in ("a.py", "pkg/b.py", "pkg/deep/c.py", "pkg/deep/d.py"):
            (tmp_path / name).touch()
        scan(index, tmp_path)
        told = ["pkg"] if how == "told of the folder" else ["pkg/deep/c.py", "pkg/deep", "pkg/b.py", "pkg"]

        (tmp_path / "pkg").rename(tmp_path / "moved")
        gone = self.rescan(index, tmp_path, *told, *(path.replace("pkg", "moved") for path in told))

        assert (gone.files_removed, gone.files_new, gone.files_indexed) == (3, 3, 4)
        assert list(index.paths(gone.root)) == ["a.py", "moved/b.py", "moved/deep/c.py", "moved/deep/d.py"]
        assert scan(index, tmp_path).files_read == 0

    def test_what_lies_in_a_folder_that_is_left_out_is_not_looked_at(self, index: CodeIndex, tmp_path: Path) -> None:
        """Nor what lies behind a link, or outside."""
        fill(tmp_path)
        before = scan(index, tmp_path)
        (tmp_path / ".git" / "new.py").touch()

        after = self.rescan(index, tmp_path, ".git/new.py", ".git", "link/a.py", "nowhere/at/all.py")

        assert (after.files_read, after.files_found) == (0, before.files_found)
        assert after.folders_excluded == before.folders_excluded == (".git",)

    @pytest.mark.parametrize("whole", [True, False])
    def test_a_root_that_cannot_be_listed_loses_nothing(
        self, index: CodeIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bool
    ) -> None:
        """What was known of it stays, as nobody can say that it is gone; that it could not be listed is told."""
        for name in ("a.py", "deep/b.py"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text("x = 1\n")
        before = scan(index, tmp_path)

        def guarded(path: str) -> object:
            raise PermissionError(13, "Permission denied", path)

        with monkeypatch.context() as patch:
            patch.setattr(os, "scandir", guarded)
            shut = scan(index, tmp_path) if whole else self.rescan(index, tmp_path, "a.py")

        assert [(it.path, it.detail) for it in shut.folders_refused] == [(".", "Permission denied")]
        assert (shut.files_found, shut.files_indexed, shut.files_removed) == (2, before.files_indexed, 0)
        assert scan(index, tmp_path).files_read == 0

    @pytest.mark.parametrize("told", ["shut", "shut/b.py"])
    def test_folders_that_are_left_out_or_shut_since_are_told(
        self, index: CodeIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str
    ) -> None:
        """And told no more once they are not, as the whole scan tells."""
        for name in ("env/a.py", "shut/b.py", "c.py"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        scan(index, tmp_path)
        (tmp_path / "env" / "pyvenv.cfg").touch()
        scandir, status = os.scandir, os.stat

        def guarded(path: str) -> object:
            if path.endswith("shut"):
                raise PermissionError(13, "Permission denied")
            return scandir(path)

        def closed_to(path: Any, **given: Any) -> os.stat_result:
            if "/shut/" in str(path):
                raise PermissionError(13, "Permission denied", path)
            return status(path, **given)

        with monkeypatch.context() as patch:
            patch.setattr(os, "scandir", guarded)
            patch.setattr(os, "stat", closed_to)
            closed = self.rescan(index, tmp_path, "env/pyvenv.cfg", told)
            whole = scan(index, tmp_path)
        (tmp_path / "env" / "pyvenv.cfg").unlink()
        opened = self.rescan(index, tmp_path, "env/pyvenv.cfg", "shut")

        assert closed.folders_excluded == whole.folders_excluded == ("env",)
        assert [it.path for it in closed.folders_refused] == [it.path for it in whole.folders_refused] == ["shut"]
        assert closed.files_indexed == whole.files_indexed == 1
        assert (opened.folders_excluded, opened.folders_refused, opened.files_indexed) == ((), (), 3)

    def test_a_stop_keeps_what_was_done(self, index: CodeIndex, tmp_path: Path) -> None:
        """As with a whole scan."""
        (tmp_path / "a.py").touch()

        with pytest.raises(ScanStopped):
            Scanner(index, clock=time.perf_counter).rescan(tmp_path, ["a.py"], now=0.0, should_stop=lambda: True)

    @settings(max_examples=60, deadline=None)
    @given(st.data())
    def test_a_rescan_and_a_scan_tell_the_same(self, data: st.DataObject) -> None:
        """Whatever was changed, the index is the same after either."""
        paths = ["a.py", "p/a.py", "p/q/a.py", "p/q/b.md", "r/a.py", "p", "p/q", "r", ".git/a.py"]
        acts = st.tuples(st.sampled_from(paths), st.sampled_from(["write", "remove", "link", "env"]))
        with TemporaryDirectory() as folder, CodeIndex(":memory:") as index, CodeIndex(":memory:") as fresh:
            root = Path(folder) / "root"
            root.mkdir()
            for rounds in data.draw(st.lists(st.lists(acts, max_size=4), min_size=1, max_size=4)):
                for path, act in rounds:
                    change(root / path, act)
                self.rescan(index, root, *(path for path, _ in rounds))
                name = name_of_root(root)
                scan(fresh, root)
                assert list(index.paths(name)) == list(fresh.paths(name))
                assert index.refusals(name) == fresh.refusals(name)
                assert index.left_out(name) == fresh.left_out(name)


def change(path: Path, act: str) -> None:
    """Change a file or folder, making room for it first."""
    for above in reversed(path.parents):
        if above.is_symlink() or above.is_file():
            return
    if act == "remove":
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        return
    if os.path.lexists(path) and (act != "env" or path.is_symlink() or not path.is_dir()):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if act == "write":
        path.write_text("x = 1\n")
    elif act == "link":
        path.symlink_to("..")
    else:
        path.mkdir(exist_ok=True)
        (path / "pyvenv.cfg").touch()


SOURCES: dict[str, tuple[bytes, str]] = {
    "mark.py": (b"\xef\xbb\xbfx = 1\n", ""),
    "marked_wrong.py": (b"\xef\xbb\xbf# coding: latin-1\nx = 1\n", "bad_encoding_declaration"),
    "latin.py": (b"# coding: latin-1\nx = '\xe9'\n", ""),
    "undeclared.py": (b"x = '\xe9'\n", "not_utf8"),
    "unknown.py": (b"# coding: klingon\n", "bad_encoding_declaration"),
    "wide.py": ("x = 1\n".encode("utf-16"), "null_bytes"),
    "null.py": (b"x = 1\0\n", "null_bytes"),
    "null.bin": (b"\0" * 10, ""),
    "old_mac.py": (b"x = 1\ry = 2\r", ""),
    "half.py": (b"import os\n@getattr(os, '\\ud800').x\ndef f(): ...\n", ""),
    "half_base.py": (b"import os\nclass A(getattr(os, '\\ud800').x, tag='\\ud800'): ...\n", ""),
    "deep.py": (b"x = " + b"(" * 5000 + b")" * 5000, "syntax_error"),
    "chain.py": (b"x = " + b"+".join([b"a"] * 5000), "too_complex"),
    "ladder.py": (b"if a: ...\n" + b"elif b: ...\n" * 5000, "too_complex"),
    "nested.py": (b"".join(b" " * level + b"def f():\n" for level in range(95)) + b" " * 95 + b"...\n", ""),
    "stairs.py": (b"".join(b" " * level + b"def f():\n" for level in range(101)) + b" " * 101 + b"...", "syntax_error"),
    "long.py": (b"x = " + b"9" * 5000, "syntax_error"),
    "many.py": (b"[" + b"[]," * 400_000 + b"]", "too_complex"),
    "newer.py": (b"x = 1\ny = 2\nlazy import json\n", "syntax_error"),
    "older.py": (b"print 'x'\n", "syntax_error"),
}

DEEP = frozenset(["chain.py", "ladder.py"])
"""Too deep for the parsers of some Pythons; where they are parsed, they are no trouble to what comes after."""


class TestFaults:
    """What trees may hold that no tree should: the scan ends, and says of each what it did."""

    @pytest.mark.parametrize("name", SOURCES)
    def test_a_file_that_is_no_ordinary_source_is_taken_in_or_refused(
        self, index: CodeIndex, tmp_path: Path, name: str
    ) -> None:
        """By itself, with its reason; what can be kept of it can be read again."""
        data, reason = SOURCES[name]
        (tmp_path / name).write_bytes(data)

        report = scan(index, tmp_path)

        reasons = [refusal.reason for refusal in report.files_refused]
        assert reasons == ([reason] if reason else []) or (name in DEEP and not reasons)
        assert report.files_found == report.files_indexed + len(report.files_refused) == 1
        assert [record.path for record in index.records(report.root)] == ([] if reasons else [name])

    def test_syntax_of_a_newer_python_is_refused_with_where_and_what_read_it(
        self, index: CodeIndex, tmp_path: Path
    ) -> None:
        """So that who reads of it knows that it may be no fault of the file."""
        (tmp_path / "a.py").write_bytes(SOURCES["newer.py"][0])

        (refusal,) = scan(index, tmp_path).files_refused

        assert refusal.detail.startswith("line 3: ")
        assert refusal.detail.endswith(f"(read as Python {sys.version_info.major}.{sys.version_info.minor})")

    def test_links_in_a_circle_are_each_refused_and_none_is_entered(self, index: CodeIndex, tmp_path: Path) -> None:
        """To themselves, to each other, to the folder they lie in, and out of the tree."""
        root = tmp_path / "root"
        (root / "pkg").mkdir(parents=True)
        (root / "pkg" / "a.py").touch()
        (tmp_path / "secret.py").touch()
        links = {"self": "self", "one": "two", "two": "one", "pkg/up": "..", "pkg/root": str(root), "out": ".."}
        for link, target in links.items():
            (root / link).symlink_to(target)

        report = scan(index, root)

        assert {refusal.path for refusal in report.files_refused} == links.keys()
        assert {refusal.reason for refusal in report.files_refused} == {"symlink"}
        assert list(index.paths(report.root)) == ["pkg/a.py"]

    def test_a_file_of_100_megabytes_is_not_read_unless_it_may_be(
        self, index: CodeIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its size is known before; refused, it is not looked at again until it changes."""
        with (tmp_path / "large.bin").open("wb") as file:
            file.truncate(100_000_000)
        with (tmp_path / "large.py").open("wb") as file:
            file.truncate(100_000_000)
        monkeypatch.setattr(os, "read", None)

        first, second = scan(index, tmp_path), scan(index, tmp_path)

        assert {(it.path, it.reason) for it in first.files_refused} == {
            ("large.bin", "too_large"),
            ("large.py", "too_large"),
        }
        assert (first.files_read, second.files_read) == (2, 0)

    def test_a_file_of_100_megabytes_that_may_be_read_is_never_in_memory(
        self, index: CodeIndex, tmp_path: Path
    ) -> None:
        """Its digest is taken piece by piece."""
        with (tmp_path / "large.bin").open("wb") as file:
            file.truncate(100_000_000)
        tracemalloc.start()
        try:
            report = scan(index, tmp_path, Limits(file_bytes=100_000_000))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        record = index.file(report.root, "large.bin")
        assert record is not None
        assert record.sha256 == "a993f8c574e0fea8c1cdcbcd9408d9e2e107ee6e4d120edcfa11decd53fa0cae"
        assert peak < 8_000_000

    def test_a_folder_of_10_000_files_is_taken_in_as_any_other(
        self, index: CodeIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each file once, in batches, and nothing is read again."""
        for number in range(10_000):
            os.mknod(tmp_path / f"{number}.py")
        first = scan(index, tmp_path)
        opens = Opens(monkeypatch)

        second = scan(index, tmp_path)

        assert (first.files_found, first.files_indexed, first.files_read) == (10_000, 10_000, 10_000)
        assert (second.files_unchanged, opens.count) == (10_000, 0)

    def test_what_is_held_does_not_grow_with_the_tree(self, index: CodeIndex, tmp_path: Path) -> None:
        """A folder at a time: ten times the folders take no more memory, cold or warm."""
        peaks: dict[str, list[int]] = {"cold": [], "warm": []}
        for folders in (20, 200):
            for number in range(folders):
                folder = tmp_path / f"p{folders}" / f"q{number}"
                folder.mkdir(parents=True)
                for name in range(10):
                    (folder / f"m{name}.md").touch()
            for when in ("cold", "warm"):
                tracemalloc.start()
                try:
                    assert scan(index, tmp_path / f"p{folders}").files_found == folders * 10
                    peaks[when].append(tracemalloc.get_traced_memory()[1])
                finally:
                    tracemalloc.stop()

        assert peaks["warm"][1] < peaks["warm"][0] + 100_000
        assert peaks["cold"][1] < peaks["cold"][0] + 400_000

    def test_names_that_no_report_could_print_are_written_so_that_it_can(
        self, index: CodeIndex, tmp_path: Path
    ) -> None:
        """And are found again under what is written."""
        names = [b"new\nline.py", b"\x1b[2Jclear.py", b"caf\xe9.py", "right\u202eleft.py".encode(), b"back\\slash.py"]
        for name in names:
            Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).touch()

        report = scan(index, tmp_path)

        paths = list(index.paths(report.root))
        assert report.files_indexed == len(names)
        assert all(path.isprintable() for path in paths)
        assert {os.fsencode(original(path)) for path in paths} == set(names)
        assert all(index.file(report.root, path) is not None for path in paths)

    def test_a_file_that_may_not_be_read_is_refused_and_tried_again(
        self, index: CodeIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Rights come and go without a trace in size or times."""
        (tmp_path / "a.py").touch()
        real = os.open

        def guarded(path: str, *more: int) -> int:
            if str(path).endswith("a.py"):
                raise PermissionError(13, "Permission denied")
            return real(path, *more)

        with monkeypatch.context() as patch:
            patch.setattr(os, "open", guarded)
            refused = scan(index, tmp_path)

        assert [(it.path, it.reason, it.detail) for it in refused.files_refused] == [
            ("a.py", "unreadable", "Permission denied")
        ]
        assert (scan(index, tmp_path).files_refused, refused.files_found) == ((), 1)


NAMES = st.text(st.sampled_from("ab._\n\\é\udcff"), min_size=1, max_size=3).filter(lambda name: name not in (".", ".."))
FILES = st.one_of(
    st.binary(max_size=20),
    st.sampled_from([b"x = 1\n", b"def f(:\n", b"\xef\xbb\xbfx = 1", b"# coding: x\n", b"a\0b", b"exec(x)\n"]),
    st.sampled_from(["link", "pipe"]),
)
TREES = st.recursive(FILES, lambda inner: st.dictionaries(NAMES, inner, max_size=4), max_leaves=12)


def plant(path: Path, tree: object) -> None:
    if isinstance(tree, dict):
        path.mkdir()
        for name, inner in tree.items():
            plant(path / (name if isinstance(inner, dict) else name + ".py"), inner)
    elif isinstance(tree, bytes):
        path.write_bytes(tree)
    elif tree == "link":
        path.symlink_to("..")
    else:
        os.mkfifo(path)


class TestAnyTree:
    @settings(max_examples=60, deadline=None)
    @given(st.dictionaries(NAMES, TREES, max_size=4))
    def test_found_is_indexed_and_refused_and_a_second_scan_reads_nothing(self, tree: dict[str, object]) -> None:
        """For every tree the counts add up, and what did not change is not opened."""
        with TemporaryDirectory() as folder, CodeIndex(":memory:") as index, pytest.MonkeyPatch.context() as patch:
            root = Path(folder) / "root"
            plant(root, tree)

            first = scan(index, root)
            opens = Opens(patch)
            second = scan(index, root)

            on_disk = sum(
                1
                for base, folders, names in os.walk(root)
                for name in folders + names
                if Path(base, name).is_symlink() or not Path(base, name).is_dir()
            )
            assert first.files_found == on_disk
            for report in (first, second):
                assert report.files_found == report.files_indexed + len(report.files_refused)
                assert report.files_indexed == index.statistics().files
                assert len(report.files_refused) == index.statistics().refusals
            assert first.files_refused == second.files_refused
            assert opens.count == 0

            shutil.rmtree(root)
            root.mkdir()
            assert scan(index, root).files_removed == first.files_indexed
            assert index.statistics().refusals == 0
