"""Whether somebody is still writing to a file."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
from pathlib import Path


def is_being_written(file: Path) -> bool:
    """Whether somebody has a file open for writing, as far as the system can tell.

    A read lease is granted only while nobody has (Linux, ``fcntl(2)``, ``F_SETLEASE``), and only to the file's owner.
    It is given back at once; should a writer come in between, the system tells us by a signal, and one is chosen for
    that which does nothing. What is no file is left alone: to open a pipe or a device is to take part in it.
    """
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            return False
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as exc:
        return exc.errno == errno.EAGAIN
    except AttributeError:  # another system
        return False
    finally:
        os.close(descriptor)
    return False
