"""What a walk finds, and what it says of the rest."""

import os
import socket
from pathlib import Path

import pytest

from aetherra.plugins.self_incorporation.code.findings import Refusal
from aetherra.plugins.self_incorporation.index.walk import ExcludedFolder, Folder, FoundFile, RefusedFolder, Tree


def items(root: Path) -> list[FoundFile | Refusal]:
    return [item for folder in Tree(str(root)).walk() if isinstance(folder, Folder) for item in folder.items]


def found(root: Path) -> list[str]:
    return [item.path for item in items(root) if isinstance(item, FoundFile)]


def refused(root: Path) -> dict[str, Refusal]:
    return {item.path: item for item in items(root) if isinstance(item, Refusal)}


def excluded(root: Path) -> list[str]:
    return [item.path for item in Tree(str(root)).walk() if isinstance(item, ExcludedFolder)]


class TestWalk:
    def test_the_order_is_that_of_the_names(self, tmp_path: Path) -> None:
        """Two walks of one tree never differ, whatever order the file system lists it in."""
        for name in ("b.py", "a/z.py", "a/b/c.py", "c/a.py", "a.py"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()

        assert found(tmp_path) == ["a.py", "b.py", "a/z.py", "a/b/c.py", "c/a.py"]

    def test_a_root_may_be_a_file(self, tmp_path: Path) -> None:
        """A file alone is found by its name."""
        (tmp_path / "one.py").touch()

        assert found(tmp_path / "one.py") == ["one.py"]

    def test_a_link_is_refused_with_its_target_and_no_loop_is_entered(self, tmp_path: Path) -> None:
        """Links are reported and never followed, so a walk ends."""
        (tmp_path / "inner").mkdir()
        (tmp_path / "inner" / "loop").symlink_to(tmp_path)
        (tmp_path / "broken").symlink_to("nowhere")

        refusals = refused(tmp_path)

        assert {path: refusal.reason for path, refusal in refusals.items()} == {
            "inner/loop": "symlink",
            "broken": "symlink",
        }
        assert "nowhere" in refusals["broken"].detail

    def test_special_files_are_refused_unopened(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A pipe without a writer would block whoever opens it."""
        os.mkfifo(tmp_path / "pipe")
        monkeypatch.chdir(tmp_path)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("socket")

            refusals = refused(tmp_path)

        assert {path: refusal.reason for path, refusal in refusals.items()} == {
            "pipe": "not_a_regular_file",
            "socket": "not_a_regular_file",
        }

    def test_a_folder_that_cannot_be_listed_is_a_refusal(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The rest of the tree is walked all the same."""
        (tmp_path / "shut").mkdir()
        (tmp_path / "z.py").touch()
        scandir = os.scandir

        def guarded(path: str) -> object:
            if path.endswith("shut"):
                raise PermissionError(13, "Permission denied")
            return scandir(path)

        monkeypatch.setattr(os, "scandir", guarded)  # root reads everything, so permissions alone would not do

        folders = [item.refusal for item in Tree(str(tmp_path)).walk() if isinstance(item, RefusedFolder)]

        assert folders == [Refusal("shut", "unreadable", "Permission denied")]
        assert found(tmp_path) == ["z.py"]

    def test_folders_left_out_are_named(self, tmp_path: Path) -> None:
        """What is not walked is reported; a virtualenv is known by its configuration, and build output is walked."""
        for name in (
            ".git/config",
            "src/__pycache__/a.pyc",
            "env/pyvenv.cfg",
            "env/lib/a.py",
            "build/b.py",
            "venv/c.py",
        ):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()

        assert excluded(tmp_path) == [".git", "env", "src/__pycache__"]
        assert found(tmp_path) == ["build/b.py", "venv/c.py"]

    def test_odd_names_are_written_printably(self, tmp_path: Path) -> None:
        """A newline or a byte that is no UTF-8 in a name is no way to forge a report."""
        (tmp_path / "a\nb.py").touch()
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.py")).touch()

        assert found(tmp_path) == [r"a\x0ab.py", r"caf\xe9.py"]
