"""Files read and written: regular ones, bounded, whole or not at all."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aetherra.kernel.signing import disk
from aetherra.kernel.signing.disk import make_folder, opened, placed, read_bounded, why, write_new, write_whole


@contextmanager
def room_for(size: int) -> Generator[None]:
    """Let no file of this process grow beyond a size, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class TestOpened:
    def test_a_pipe_makes_everybody_wait(self, tmp_path: Path) -> None:
        """What is no regular file is refused at once, and said to be none."""
        os.mkfifo(tmp_path / "pipe")
        for path in (tmp_path / "pipe", tmp_path, Path("/dev/null")):
            with pytest.raises(OSError, match="no regular file"), opened(path):
                pass

    def test_a_link_is_followed(self, tmp_path: Path) -> None:
        """It is only if the caller says so; else the error calls it by its name."""
        (tmp_path / "file").write_bytes(b"text")
        (tmp_path / "link").symlink_to("file")
        with opened(tmp_path / "link", follow=True) as (descriptor, told):
            assert (read_bounded(descriptor, 4), told.st_size) == (b"text", 4)
        with pytest.raises(OSError) as caught, opened(tmp_path / "link"):  # noqa: PT011
            pass
        assert why(caught.value) == "it is a symbolic link"

    def test_a_file_without_end_is_read_to_the_end(self, tmp_path: Path) -> None:
        """One byte more than the limit is one too many."""
        (tmp_path / "file").write_bytes(b"12345")
        with opened(tmp_path / "file") as (descriptor, _), pytest.raises(OSError, match="more than 4 bytes"):
            read_bounded(descriptor, 4)


class TestWriting:
    def test_a_full_disk_takes_what_was_there(self, tmp_path: Path) -> None:
        """The old content stays, and nothing is left beside it."""
        file = tmp_path / "file"
        write_whole(file, b"old", mode=0o600)
        with room_for(100), pytest.raises(OSError) as caught:  # noqa: PT011
            write_whole(file, b"new" * 100, mode=0o600)
        assert caught.value.errno == errno.EFBIG
        assert (file.read_bytes(), list(tmp_path.iterdir())) == (b"old", [file])
        with room_for(100), pytest.raises(OSError):  # noqa: PT011
            write_new(tmp_path / "other", b"new" * 100, mode=0o600)
        assert list(tmp_path.iterdir()) == [file]

    def test_a_folder_is_written_over(self, tmp_path: Path) -> None:
        """What cannot be replaced stays, and nothing is left beside it."""
        (tmp_path / "file").mkdir()
        with pytest.raises(IsADirectoryError):
            write_whole(tmp_path / "file", b"new", mode=0o600)
        assert list(tmp_path.iterdir()) == [tmp_path / "file"]

    def test_a_link_leads_the_writer_elsewhere(self, tmp_path: Path) -> None:
        """A link in the file's place is replaced, and what it led to stays as it was; a new file is none over it."""
        (tmp_path / "far").write_bytes(b"old")
        (tmp_path / "file").symlink_to("far")
        with pytest.raises(FileExistsError):
            write_new(tmp_path / "file", b"new", mode=0o600)
        write_whole(tmp_path / "file", b"new", mode=0o600)
        assert ((tmp_path / "far").read_bytes(), (tmp_path / "file").read_bytes()) == (b"old", b"new")
        assert (tmp_path / "file").lstat().st_mode & 0o777 == 0o600

    def test_a_folder_is_open_to_others(self, tmp_path: Path) -> None:
        """Each folder that is made is this user's alone; one that is there stays as it is."""
        tmp_path.chmod(0o755)
        make_folder(tmp_path / "a" / "b")
        make_folder(tmp_path / "a" / "b")
        modes = [folder.stat().st_mode & 0o777 for folder in (tmp_path, tmp_path / "a", tmp_path / "a" / "b")]
        assert modes == [0o755, 0o700, 0o700]

    def test_a_power_cut_takes_a_folder_away(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The disk has each that is made, in the folder above it, before anything is put in."""
        flushed: list[Path] = []
        monkeypatch.setattr(disk, "sync_folder", flushed.append)
        make_folder(tmp_path / "a" / "b")

        assert flushed == [tmp_path, tmp_path / "a"]


class TestPlaced:
    def test_a_name_is_a_dot(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """However a path is written, what is returned ends in the name that the thing has."""
        (tmp_path / "a" / "b").mkdir(parents=True)
        (tmp_path / "link").symlink_to("a/b")
        monkeypatch.chdir(tmp_path / "a")
        for written in (".", "../a", "b/..", str(tmp_path / "link" / "..")):
            assert placed(Path(written)) == tmp_path / "a"
        assert placed(Path("../link")) == tmp_path / "link"
        assert placed(Path("../link/x")) == tmp_path / "a" / "b" / "x"
