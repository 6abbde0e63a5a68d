"""Contents: what files hold, read once."""

from __future__ import annotations

import os
import sys
import time

import pytest

from aetherra.hmr import contents as contents_module
from aetherra.hmr.contents import TICK_NS, Contents, digest, signature


@pytest.fixture
def contents():
    return Contents()


def write_unseen(file, text):
    """Write so that the system describes the file as before."""
    before = file.stat()
    file.write_text(text)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


class TestContents:
    def test_a_file_is_read_again_though_it_looks_the_same(self, contents, tmp_path):
        """Until somebody doubts it."""
        file = tmp_path / "a.py"
        file.write_text("1")
        first = contents.digests([file])
        write_unseen(file, "2")
        assert contents.digests([file]) == first
        contents.distrust([file])
        assert contents.digests([file]) == {file: digest(b"2")}

    def test_a_doubt_about_where_a_link_leads_to_is_none_about_the_link(self, contents, tmp_path):
        """What is told is the file that was edited, which may be reached by several links."""
        file, links = tmp_path / "a.py", [tmp_path / "b.py", tmp_path / "c.py"]
        file.write_text("1")
        for link in links:
            link.symlink_to(file)
        contents.digests(links)
        write_unseen(file, "2")
        contents.forget_all_but(set(links))
        contents.distrust([file])
        assert contents.digests(links) == dict.fromkeys(links, digest(b"2"))

    @pytest.mark.skipif(sys.platform == "win32", reason="has no pipes in folders")
    def test_a_pipe_is_waited_for(self, contents, tmp_path, monkeypatch):
        """It counts as nothing, also if it was put in a file's place just now; so do devices and links to nothing."""
        os.mkfifo(tmp_path / "pipe.py")
        (tmp_path / "null.py").symlink_to("/dev/null")
        (tmp_path / "round.py").symlink_to("round.py")
        files = [tmp_path / name for name in ("pipe.py", "null.py", "round.py", "none.py")]
        assert contents.of(files) == {}
        monkeypatch.setattr(contents_module, "signature", lambda _: (0, 0, 0))
        assert contents.of(files) == {}

    def test_a_file_counts_as_written_before_it_was(self, contents, tmp_path):
        """The system's time for it can lie a tick before; and it was not written after it was looked at."""
        file = tmp_path / "a.py"
        file.write_text("1")
        old = time.time_ns() - 10**9
        os.utime(file, ns=(old, old))
        assert contents.of([file])[file].written_ns == old + TICK_NS
        os.utime(file, ns=(old, old + 10**15))
        assert contents.of([file])[file].written_ns <= time.time_ns()

    def test_what_is_forgotten_is_kept(self, contents, tmp_path):
        """It is read again."""
        file = tmp_path / "a.py"
        file.write_text("1")
        contents.digests([file])
        write_unseen(file, "2")
        contents.forget_all_but(())
        assert contents.digests([file]) == {file: digest(b"2")}


class TestSignature:
    def test_a_folder_has_a_signature(self, tmp_path):
        """Only files have one."""
        assert signature(tmp_path) is None
        assert signature(tmp_path / "none") is None
