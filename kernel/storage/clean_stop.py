"""The mark of a clean stop: owns the small file beside a database that says how that was left.

Who closes a database marks it, who opens it takes the mark away before anything is written. So there is none after a
kill or a power failure, and none that fits once somebody else has written, replaced, cut or copied the file: its
number, size and times of change are in the mark. Times have a grain of some milliseconds, in which a second change does
not show; so the mark is later than the file by at least one.
"""

import os
import time
from contextlib import suppress
from pathlib import Path

__all__ = ["mark_clean_stop", "take_clean_stop"]

_WAIT, _TRIES = 0.002, 10  # seconds until the clock of the file system has moved on: 1 to 10 ms, some need 2 s


def mark_clean_stop(file: Path) -> bool:
    """Note how a database was left that nobody has open any more.

    Returns:
        Whether it is marked. It is not where a log stands beside it, where the mark cannot be written, or where the
        clock of the file system is so coarse that a later change might not show.
    """
    mark = _mark_of(file)
    with suppress(OSError):
        for _ in range(_TRIES):
            found = file.stat()
            if _has_log(file):
                break
            mark.write_bytes(_said(found))
            if mark.stat().st_mtime_ns > max(found.st_mtime_ns, found.st_ctime_ns):
                return True
            time.sleep(_WAIT)
    with suppress(OSError):
        mark.unlink(missing_ok=True)
    return False


def take_clean_stop(file: Path) -> bool:
    """Remove the mark of a database that is about to be opened, and return whether it was left as that says.

    Raises:
        OSError: There is one that cannot be removed, so that the database may not be written.
    """
    mark = _mark_of(file)
    try:
        said = mark.read_bytes()
    except FileNotFoundError:
        return False
    try:
        fits = said == _said(file.stat()) and not _has_log(file)
    except FileNotFoundError:
        fits = False
    mark.unlink(missing_ok=True)
    return fits


def _mark_of(file: Path) -> Path:
    return file.with_name(f"{file.name}-clean")


def _has_log(file: Path) -> bool:
    return file.with_name(f"{file.name}-wal").exists()


def _said(found: os.stat_result) -> bytes:
    return f"{found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}\n".encode()
