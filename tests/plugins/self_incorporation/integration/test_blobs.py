"""Contents by their hash: whole, or not there."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from aetherra.plugins import DataFileError
from aetherra.plugins.self_incorporation.integration.blobs import Blob, Blobs, look


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


class TestBlobs:
    def test_a_file_is_kept_with_its_permissions(self, blobs: Blobs, tmp_path: Path) -> None:
        """What was taken can be written again, byte for byte and with any permissions."""
        source, target = tmp_path / "source", tmp_path / "target"
        source.write_bytes(b"\0any\r\nbytes")
        source.chmod(0o751)

        blob = blobs.take(source)
        assert blob == Blob(hashlib.sha256(b"\0any\r\nbytes").hexdigest(), 11, 0o751) == look(source)
        source.unlink()
        blobs.write(blob.sha256, target, blob.mode)
        assert (target.read_bytes(), target.stat().st_mode & 0o7777) == (b"\0any\r\nbytes", 0o751)
        assert blobs.read(blob.sha256) == b"\0any\r\nbytes"

    def test_the_same_content_is_kept_once(self, blobs: Blobs) -> None:
        """A content is a file; what was being taken is none afterwards."""
        assert blobs.put(b"same") == blobs.put(b"same")
        assert len([path for path in blobs.folder.rglob("*") if path.is_file()]) == 1

    def test_damage_is_told(self, blobs: Blobs, tmp_path: Path) -> None:
        """A content that is not what its name says is never handed out as if it were."""
        sha256 = blobs.put(b"right")
        blobs.path(sha256).chmod(0o600)
        blobs.path(sha256).write_bytes(b"wrong")

        with pytest.raises(DataFileError, match="damaged"):
            blobs.read(sha256)
        with pytest.raises(DataFileError, match="damaged"):
            blobs.write(sha256, tmp_path / "target", 0o600)

    def test_links_and_pipes_are_not_taken(self, blobs: Blobs, tmp_path: Path) -> None:
        """Only regular files are; a pipe is not waited for."""
        (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
        os.mkfifo(tmp_path / "pipe")

        for name in ("link", "pipe", "missing"):
            with pytest.raises(DataFileError):
                blobs.take(tmp_path / name)

    def test_what_nobody_wants_is_forgotten(self, blobs: Blobs) -> None:
        """And so is what a killed process was taking."""
        wanted, other = blobs.put(b"wanted"), blobs.put(b"other")
        (blobs.folder / "taking-1").write_bytes(b"half")

        assert blobs.keep_only({wanted}) == 1
        assert blobs.read(wanted) == b"wanted"
        assert not blobs.path(other).exists()
        assert not (blobs.folder / "taking-1").exists()
