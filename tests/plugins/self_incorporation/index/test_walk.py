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

    def test_a_folder_that_is_kept_apart_is_left_out_and_named(self, tmp_path: Path) -> None:
        """The one that the index lies in would otherwise change for having been scanned."""
        for name in ("state/index.sqlite3", "other/state/a.py"):
            (tmp_path / name).parent.mkdir(parents=True)
            (tmp_path / name).touch()
        tree = Tree(str(tmp_path), apart=frozenset([str(tmp_path / "state")]))

        walked = list(tree.walk())

        assert [item.path for item in walked if isinstance(item, ExcludedFolder)] == ["state"]
        assert tree.count(lambda: False) == 1
        assert not tree.reaches("state")
        assert tree.reaches("other/state")

    def test_folders_deeper_than_a_path_may_be_long_are_refused(self, tmp_path: Path) -> None:
        """The system itself cannot name what lies there; a walk ends all the same, with a reason."""
        levels = 4096 // 201 + 2
        here = os.open(tmp_path, os.O_RDONLY)
        for _ in range(levels):
            os.mkdir("d" * 200, dir_fd=here)
            deeper = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = deeper
        os.close(os.open("deep.py", os.O_CREAT, dir_fd=here))
        os.close(here)

        (refusal,) = (item.refusal for item in Tree(str(tmp_path)).walk() if isinstance(item, RefusedFolder))

        assert refusal.reason == "unreadable"
        assert refusal.detail == "File name too long"
        assert found(tmp_path) == []


class TestParts:
    def test_a_part_of_a_tree_is_walked_as_the_whole_is(self, tmp_path: Path) -> None:
        """Paths are relative to the root, whatever folder a walk begins at; looking goes no deeper."""
        for name in ("a.py", "in ner/b.py", "in ner/deep/c.py", "in ner/.git/x", "out/d.py"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        tree = Tree(str(tmp_path))

        walked = {item.path: item for item in tree.walk("in ner")}
        looked = {item.path: item for item in tree.look("in ner")}

        whole = {item.path: item for item in tree.walk()}
        assert list(walked) == ["in ner/.git", "in ner", "in ner/deep"]
        assert list(looked) == ["in ner/.git", "in ner"]
        assert walked.items() <= whole.items()
        assert looked.items() <= whole.items()

    def test_what_a_walk_would_find_at_a_path_is_found(self, tmp_path: Path) -> None:
        """The same as in the walk; nothing where it would find nothing, or a folder."""
        (tmp_path / "a\nb").mkdir()
        (tmp_path / "a\nb" / "c.py").touch()
        (tmp_path / "link").symlink_to("a\nb")
        (tmp_path / ".git").mkdir()
        (tmp_path / ".git" / "c.py").touch()
        tree = Tree(str(tmp_path))

        assert [tree.find(path) for path in (r"link", r"a\x0ab/c.py")] == items(tmp_path)
        assert [tree.find(path) for path in ("link/c.py", ".git/c.py", "none", "none/c.py", r"a\x0ab")] == [None] * 5

    @pytest.mark.parametrize(
        ("path", "reached"),
        [
            ("", True),
            ("pkg", True),
            ("pkg/deep", True),
            ("none", False),
            ("pkg/a.py", False),
            ("link", False),
            ("link/deep", False),
            ("pkg/.git", False),
            ("pkg/.git/deep", False),
            ("env", False),
            ("env/deep", False),
        ],
    )
    def test_a_folder_is_reached_if_a_walk_would_enter_it(self, tmp_path: Path, path: str, reached: bool) -> None:
        """Neither through a link, nor below what is left out."""
        for name in ("pkg/deep/x.py", "pkg/a.py", "pkg/.git/deep/x", "env/pyvenv.cfg", "env/deep/x.py"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        (tmp_path / "link").symlink_to("pkg")

        assert Tree(str(tmp_path)).reaches(path) is reached

    def test_files_are_counted_as_a_walk_finds_them(self, tmp_path: Path) -> None:
        """Links and special files too; less if it is told to stop."""
        for name in ("a.py", "pkg/b.py", ".git/c", "env/pyvenv.cfg", "env/d.py"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        (tmp_path / "link").symlink_to(tmp_path)
        os.mkfifo(tmp_path / "pipe")

        assert Tree(str(tmp_path)).count(lambda: False) == len(items(tmp_path)) == 4
        assert Tree(str(tmp_path)).count(lambda: True) == 0
        assert Tree(str(tmp_path / "a.py")).count(lambda: False) == 1
