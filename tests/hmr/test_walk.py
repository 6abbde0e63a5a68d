"""Walks: what is left out of them."""

from __future__ import annotations

import os
import sys

import pytest

from aetherra.hmr.walk import LEFT_OUT, entries, files_below, is_file, is_folder


def fill(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")


def names(folder, **how):
    return {file.relative_to(folder).as_posix() for file in files_below(folder, **how)}


class TestEntries:
    def test_what_is_large_and_no_code_is_walked_through(self, tmp_path):
        """Caches, environments and repositories."""
        for name in LEFT_OUT:
            fill(tmp_path, f"{name}/a.py")
        fill(tmp_path, "a.py")
        assert [entry.name for entry in entries(tmp_path)] == ["a.py"]

    def test_a_folder_that_is_none_raises(self, tmp_path):
        """A file, nothing, a link to itself: there is nothing in them."""
        fill(tmp_path, "file")
        (tmp_path / "round").symlink_to("round")
        assert not any(entries(tmp_path / name) for name in ("file", "none", "round"))

    def test_a_link_to_itself_raises(self, tmp_path):
        """It is neither a file nor a folder."""
        (tmp_path / "round").symlink_to("round")
        (entry,) = entries(tmp_path)
        assert not is_folder(entry)
        assert not is_file(entry)


class TestFilesBelow:
    def test_links_in_a_circle_are_followed_for_ever(self, tmp_path):
        """Each folder is entered once, also through links."""
        fill(tmp_path, "real/a.txt", "top/b.txt")
        (tmp_path / "top" / "link").symlink_to(tmp_path / "real")
        (tmp_path / "real" / "up").symlink_to(tmp_path / "top")
        assert names(tmp_path / "top") == {"b.txt", "link/a.txt"}

    @pytest.mark.skipif(sys.platform == "win32", reason="has no pipes in folders")
    def test_a_pipe_is_a_file(self, tmp_path):
        """Whoever reads it would wait."""
        os.mkfifo(tmp_path / "a.py")
        assert names(tmp_path) == set()

    def test_what_no_import_reaches_is_code(self, tmp_path):
        """Folders whose names cannot be written, and environments by any name; data may be in them all the same."""
        fill(tmp_path, "pack/a.py", "env/pyvenv.cfg", "env/lib/b.py", "site-files/c.py", "conf.d/d.py")
        assert names(tmp_path / "pack", of_code=True) == {"a.py"}
        (tmp_path / "__init__.py").write_text("")
        assert names(tmp_path, of_code=True) == {"__init__.py", "pack/a.py"}
        assert names(tmp_path) > {"env/lib/b.py", "site-files/c.py", "conf.d/d.py"}
