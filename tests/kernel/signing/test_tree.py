"""Files below a folder: all of them, none twice, and none that is elsewhere."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from aetherra.kernel.signing import tree
from aetherra.kernel.signing.tree import DEEPEST, Fault, ManifestFile, folders_of, read, walk


def seen(top: Path, only: set[str] | None = None) -> dict[str, str]:
    """Return what is found, by path: its content's digest, or what is wrong."""
    return {found.path: found.sha256 if isinstance(found, ManifestFile) else found.problem for found in walk(top, only)}


class TestWalk:
    def test_a_file_is_left_out(self, tmp_path: Path) -> None:
        """Each is found once, also hidden ones and those with odd names, with what is in it."""
        names = ["a.py", ".hidden", "sub/a.py", "sub/new\nline.py", "sub/deep/é\u202e.py", "sub/b c"]
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(name)
        (tmp_path / "empty").mkdir()
        assert seen(tmp_path) == {name: hashlib.sha256(name.encode()).hexdigest() for name in names}

    def test_a_link_is_followed(self, tmp_path: Path) -> None:
        """Links to files, to folders, in circles and into nothing are faults, and so are pipes and devices."""
        inside, outside = tmp_path / "in", tmp_path / "out"
        inside.mkdir()
        outside.mkdir()
        (outside / "secret").write_text("x")
        for name, target in {"file": "../out/secret", "folder": "../out", "loop": ".", "dead": "none"}.items():
            (inside / name).symlink_to(target)
        os.mkfifo(inside / "pipe")
        assert seen(inside) == dict.fromkeys(["file", "folder", "loop", "dead"], "it is a symbolic link") | {
            "pipe": "it is no regular file"
        }

    def test_a_folder_becomes_a_link_meanwhile(self, tmp_path: Path) -> None:
        """A link in the place of what was listed as a folder leads nowhere."""
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "was_folder").symlink_to(tmp_path)
        descriptor = os.open(tmp_path / "in", tree.FOLDER)
        try:
            (fault,) = tree._inside(descriptor, "was_folder", "was_folder", 1, None)
        finally:
            os.close(descriptor)
        assert isinstance(fault, Fault)
        assert fault.problem.startswith("cannot look into it")

    def test_a_file_changes_while_it_is_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is a fault, and not a mixture of the old and the new."""
        file = tmp_path / "log"
        file.write_text("old")
        real = os.read

        def write_meanwhile(descriptor: int, size: int) -> bytes:
            part = real(descriptor, size)
            if not part:
                with file.open("a") as more:
                    more.write("new")
            return part

        monkeypatch.setattr(tree.os, "read", write_meanwhile)
        assert seen(tmp_path) == {"log": "it changed while it was read; try again"}

    def test_a_tree_without_bottom_is_walked(self, tmp_path: Path) -> None:
        """Folders are looked into to a depth, and what is below is a fault; no descriptor is left open."""
        open_before = len(list(Path("/dev/fd").iterdir()))
        folder = tmp_path
        for _ in range(DEEPEST + 3):
            folder = folder / "d"
            folder.mkdir()
        assert list(seen(tmp_path).values()) == [f"is nested deeper than {DEEPEST} folders"]
        assert len(list(Path("/dev/fd").iterdir())) == open_before

    def test_more_is_read_than_asked_for(self, tmp_path: Path) -> None:
        """Given the paths, only these are read, and other folders are not looked into."""
        for name in ("a", "b", "sub/a", "sub/b", "other/a"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(name)
        (tmp_path / "other" / "link").symlink_to("/")
        assert set(seen(tmp_path, {"a", "sub/b", "none/x"})) == {"a", "sub/b"}

    def test_nothing_is_an_empty_folder(self, tmp_path: Path) -> None:
        """A folder that is not there, or is a link, is a fault."""
        (tmp_path / "link").symlink_to(".")
        for name in ("none", "link"):
            (fault,) = walk(tmp_path / name)
            assert isinstance(fault, Fault)
            assert fault.path == ""

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_an_unreadable_folder_is_empty(self, tmp_path: Path) -> None:
        """It is a fault, and so is an unreadable file."""
        (tmp_path / "sub").mkdir(mode=0)
        (tmp_path / "file").touch(mode=0)
        try:
            assert set(seen(tmp_path)) == {"sub", "file"}
        finally:
            (tmp_path / "sub").chmod(0o700)


class TestRead:
    def test_a_file_has_another_name(self, tmp_path: Path) -> None:
        """It has its own, without folders; a link is none."""
        (tmp_path / "a").write_text("x")
        (tmp_path / "link").symlink_to("a")
        found, fault = read(tmp_path / "a"), read(tmp_path / "link")
        assert isinstance(found, ManifestFile)
        assert (found.path, found.size) == ("a", 1)
        assert fault == Fault("link", "it is a symbolic link")


def test_a_folder_is_forgotten() -> None:
    """All folders on the way are there, each once."""
    assert folders_of(["a/b/c", "a/b/d", "e", "f/g"]) == {"a", "a/b", "f"}
