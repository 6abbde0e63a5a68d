"""Reading one file, whatever it becomes meanwhile."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from aetherra.plugins.self_incorporation.code.findings import Refusal
from aetherra.plugins.self_incorporation.index.reading import HEAD_BYTES, Content, NotRegularError, read, regular_file
from aetherra.plugins.self_incorporation.index.walk import FoundFile, Tree


def find(path: Path) -> FoundFile:
    item = Tree(str(path.parent)).find(path.name)
    assert isinstance(item, FoundFile)
    return item


def writing_while_read(monkeypatch: pytest.MonkeyPatch, path: Path, times: int) -> Callable[[], int]:
    """Append to the file at each of the first so many reads; return how often that was."""
    os_read, done = os.read, 0

    def reading(descriptor: int, length: int) -> bytes:
        nonlocal done
        data = os_read(descriptor, length)
        if done < times:
            done += 1
            with path.open("ab") as file:
                file.write(b"more")
        return data

    monkeypatch.setattr(os, "read", reading)
    return lambda: done


class TestRead:
    def test_all_bytes_are_hashed_and_kept_when_wanted(self, tmp_path: Path) -> None:
        """The digest covers the whole file, whether its bytes are kept or not."""
        data = bytes(range(256)) * 20_000
        (tmp_path / "data").write_bytes(data)

        kept = read(find(tmp_path / "data"), max_bytes=10**7, keep=True)
        hashed = read(find(tmp_path / "data"), max_bytes=10**7, keep=False)

        assert isinstance(kept, Content)
        assert isinstance(hashed, Content)
        assert kept.sha256 == hashed.sha256 == hashlib.sha256(data).hexdigest()
        assert (kept.data, hashed.data) == (data, data[:HEAD_BYTES])

    def test_a_file_that_changes_once_is_read_again(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """One write in between costs a second reading, which is of one moment."""
        path = tmp_path / "busy.py"
        path.write_bytes(b"x = 1\n")
        found = find(path)
        writing_while_read(monkeypatch, path, times=1)

        content = read(found, max_bytes=1000, keep=True)

        assert isinstance(content, Content)
        assert content.data == b"x = 1\nmore"

    def test_a_file_that_keeps_changing_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is half one version and half another is never judged."""
        path = tmp_path / "busy.py"
        path.write_bytes(b"x = 1\n")
        found = find(path)
        times = writing_while_read(monkeypatch, path, times=100)

        content = read(found, max_bytes=1000, keep=True)

        assert isinstance(content, Refusal)
        assert content.reason == "changed_while_read"
        assert times() < 100

    def test_a_large_file_is_refused_unread(self, tmp_path: Path) -> None:
        """The bound is on the size, before any of it is read."""
        (tmp_path / "big").write_bytes(b"x" * 11)

        content = read(find(tmp_path / "big"), max_bytes=10, keep=True)

        assert content == Refusal("big", "too_large", "expected at most 10 bytes, got 11")

    @pytest.mark.parametrize(("become", "reason"), [("link", "symlink"), ("pipe", "not_a_regular_file")])
    def test_a_file_that_became_something_else_is_refused(self, tmp_path: Path, become: str, reason: str) -> None:
        """Neither a link is followed nor a pipe waited for, even if it took the file's place just now."""
        path = tmp_path / "file"
        path.touch()
        found = find(path)
        path.unlink()
        if become == "link":
            path.symlink_to("/etc/passwd")
        else:
            os.mkfifo(path)

        content = read(found, max_bytes=1000, keep=True)

        assert isinstance(content, Refusal)
        assert content.reason == reason

    def test_a_file_that_is_gone_is_refused(self, tmp_path: Path) -> None:
        """Reading never raises."""
        (tmp_path / "file").touch()
        found = find(tmp_path / "file")
        (tmp_path / "file").unlink()

        assert read(found, max_bytes=1000, keep=True) == Refusal("file", "unreadable", "No such file or directory")


class TestRegularFile:
    def test_what_is_none_is_not_opened(self, tmp_path: Path) -> None:
        """A link is not followed, a pipe not waited for, a folder not read; no descriptor is left open."""
        (tmp_path / "file").write_bytes(b"x")
        (tmp_path / "link").symlink_to("file")
        os.mkfifo(tmp_path / "pipe")
        with regular_file(tmp_path / "file") as (descriptor, status):
            assert (os.read(descriptor, 9), status.st_size) == (b"x", 1)
        for name, error in (("link", OSError), ("none", FileNotFoundError), ("pipe", NotRegularError), ("", OSError)):
            with pytest.raises(error), regular_file(tmp_path / name):
                pass
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)
