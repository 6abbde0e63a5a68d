"""Files that somebody still writes to."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading

import pytest

from aetherra.hmr.lease import is_being_written


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "greeter.py"
    path.write_text("half of it")
    try:
        with path.open("a"):
            if not is_being_written(path):
                pytest.skip("this file system gives no leases")
    finally:
        pass
    return path


class TestIsBeingWritten:
    def test_a_file_that_is_open_for_writing_seems_whole(self, file):
        """Until it is closed, also in this process."""
        with file.open("a") as writer:
            assert is_being_written(file)
            writer.write("more")
            writer.flush()
            assert is_being_written(file)
        assert not is_being_written(file)

    def test_a_file_that_another_process_writes_seems_whole(self, file):
        """Whoever it is."""
        code = "import sys\nfile = open(sys.argv[1], 'a')\nprint('open', flush=True)\nsys.stdin.read()"
        writer = subprocess.Popen(
            [sys.executable, "-S", "-c", code, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert writer.stdout.readline() == b"open\n"
        assert is_being_written(file)
        writer.communicate()
        assert not is_being_written(file)

    def test_a_reader_counts_as_a_writer(self, file):
        """One who reads changes nothing."""
        with file.open():
            assert not is_being_written(file)

    def test_the_look_gets_in_a_writers_way(self, file):
        """It can open the file right after, and this process is not signalled."""
        for _ in range(1000):
            assert not is_being_written(file)
            os.close(os.open(file, os.O_WRONLY | os.O_NONBLOCK))

    def test_what_is_no_file_to_read_is_waited_for(self, tmp_path):
        """Nothing, a folder, a pipe: none is being written."""
        os.mkfifo(tmp_path / "pipe")
        assert not any(is_being_written(path) for path in (tmp_path / "none", tmp_path, tmp_path / "pipe"))

    def test_a_pipe_is_opened(self, tmp_path):
        """Its writer would take that for a reader."""
        os.mkfifo(tmp_path / "pipe")
        is_being_written(tmp_path / "pipe")
        over = threading.Event()
        opened = []

        def look():
            while not over.is_set():
                is_being_written(tmp_path / "pipe")

        looker = threading.Thread(target=look)
        looker.start()
        try:
            for _ in range(500):
                with contextlib.suppress(OSError):  # ENXIO: nobody reads
                    opened.append(os.open(tmp_path / "pipe", os.O_WRONLY | os.O_NONBLOCK))
        finally:
            over.set()
            looker.join()
            for descriptor in opened:
                os.close(descriptor)
        assert not opened
