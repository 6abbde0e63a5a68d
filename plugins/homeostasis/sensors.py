"""What this process and its machine are doing: owns the reading of their figures from the operating system."""

import gc
import math
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import msgspec

__all__ = ["ProcessSensors", "Reading", "resident_bytes"]

_PAGE = os.sysconf("SC_PAGE_SIZE")
_CORES = os.cpu_count() or 1
_READ_AT_MOST = 65_536


class Reading(msgspec.Struct, frozen=True, gc=False):
    """One figure, or why there is none.

    Attributes:
        name: The metric, ``process.rss``.
        value: What was read, never negative; None when it is unknown, which is not 0.
        unit: What the value counts.
        reason: Why the value is unknown; empty when it is known.
    """

    name: str
    value: float | None
    unit: str
    reason: str = ""


class ProcessSensors:
    """The sensors of this process and its machine.

    One caller at a time, from any thread; a read takes about 0.1 ms, and 0.4 us more for each open file. On a system
    without ``/proc`` what needs it is unknown, the rest is read. ``close()``, or leaving the ``with`` block, takes the
    hook out of the garbage collector.

    Args:
        disk: A path on the disk whose room is measured.
        proc: The proc file system (man 5 proc).
        cpu_time: Seconds of processor time this process has used, in user and system mode.

    What is read:

    - ``process.cpu``: processor time since the last read, as a ratio of one core.
    - ``process.rss``: bytes of memory in use (resident set).
    - ``process.open_files``, ``process.open_files_used``: a count, and its ratio of the soft limit (``RLIMIT_NOFILE``).
    - ``process.threads``: a count, of the operating system, not of Python alone.
    - ``process.gc_pause``: time spent in garbage collection since the last read, as a ratio.
    - ``process.context_switches_involuntary``, ``process.page_faults_major``: per second since the last read
      (man 2 getrusage; all threads, where ``/proc/self/status`` would know one).
    - ``host.load``: tasks running or waiting for a disk in the last minute, per core. In a container, the machine's.
    - ``host.memory_available``: the kernel's estimate of what programs can still take, as a ratio. In a container, the
      machine's.
    - ``host.disk_free``, ``host.disk_free_bytes``: room for unprivileged users, as a ratio and in bytes.
    - ``host.pressure_cpu``, ``host.pressure_memory``, ``host.pressure_io``: share of the last 10 s in which some task
      waited for it, as a ratio (kernel documentation, accounting/psi).
    """

    def __init__(
        self, disk: Path | str = ".", *, proc: Path | str = "/proc", cpu_time: Callable[[], float] = time.process_time
    ) -> None:
        self._disk = os.fspath(disk)
        self._proc = os.fspath(proc)
        self._cpu_time = cpu_time
        self._before: dict[str, tuple[float, float]] = {}
        self._gc_seconds = 0.0
        self._gc_started: float | None = None
        gc.callbacks.append(self._collecting)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop watching the garbage collector. Closing twice is fine."""
        if self._collecting in gc.callbacks:
            gc.callbacks.remove(self._collecting)

    def read(self, now: float) -> list[Reading]:
        """Read all sensors, in a fixed order. What cannot be read is unknown with a reason; nothing is raised.

        Args:
            now: Seconds of a clock that never goes back; the rates are per second of it.
        """
        usage = resource.getrusage(resource.RUSAGE_SELF)
        files, files_used = self._open_files()
        disk, disk_bytes = self._room()
        return [
            self._rate("process.cpu", "ratio", now, self._cpu_time()),
            self._from_file("process.rss", "bytes", "self/statm", _resident_bytes),
            files,
            files_used,
            self._from_file("process.threads", "threads", "self/stat", _threads),
            self._rate("process.gc_pause", "ratio", now, self._gc_seconds),
            self._rate("process.context_switches_involuntary", "switches/s", now, usage.ru_nivcsw),
            self._rate("process.page_faults_major", "faults/s", now, usage.ru_majflt),
            self._from_file("host.load", "tasks/core", "loadavg", _load_per_core),
            self._from_file("host.memory_available", "ratio", "meminfo", _memory_available),
            disk,
            disk_bytes,
            self._from_file("host.pressure_cpu", "ratio", "pressure/cpu", _pressure),
            self._from_file("host.pressure_memory", "ratio", "pressure/memory", _pressure),
            self._from_file("host.pressure_io", "ratio", "pressure/io", _pressure),
        ]

    def _collecting(self, phase: Literal["start", "stop"], _: dict[str, int]) -> None:
        if phase == "start":
            self._gc_started = time.perf_counter()
        elif self._gc_started is not None:
            self._gc_seconds += time.perf_counter() - self._gc_started
            self._gc_started = None

    def _rate(self, name: str, unit: str, now: float, total: float) -> Reading:
        before = self._before.get(name)
        self._before[name] = (now, total)
        if before is None:
            return Reading(name, None, unit, "a rate needs two reads, this is the first")
        elapsed = now - before[0]
        if elapsed <= 0:
            return Reading(name, None, unit, f"no time has passed since the last read ({elapsed:g} s)")
        return Reading(name, (total - before[1]) / elapsed, unit)

    def _from_file(self, name: str, unit: str, file: str, parse: Callable[[bytes], float]) -> Reading:
        path = f"{self._proc}/{file}"
        try:
            content = _content(path)
        except OSError as error:
            return _unreadable(name, unit, path, error)
        try:
            value = parse(content)
        except (ValueError, ArithmeticError, IndexError):
            value = math.nan
        if not 0 <= value < math.inf:
            return Reading(name, None, unit, f"{path} is not understood: {content[:60]!r}")
        return Reading(name, float(value), unit)

    def _open_files(self) -> tuple[Reading, Reading]:
        names, path = ("process.open_files", "process.open_files_used"), f"{self._proc}/self/fd"
        try:
            descriptors = os.listdir(path)  # noqa: PTH208  # a Path for each would be slow
        except OSError as error:
            return _unreadable(names[0], "files", path, error), _unreadable(names[1], "ratio", path, error)
        count = max(len(descriptors) - 1, 0)  # one of them was the folder being listed
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        used = count / limit if limit not in (0, resource.RLIM_INFINITY) else 0.0
        return Reading(names[0], float(count), "files"), Reading(names[1], used, "ratio")

    def _room(self) -> tuple[Reading, Reading]:
        names = ("host.disk_free", "host.disk_free_bytes")
        try:
            disk = os.statvfs(self._disk)
        except OSError as error:
            return _unreadable(names[0], "ratio", self._disk, error), _unreadable(names[1], "bytes", self._disk, error)
        if disk.f_blocks == 0:
            reason = f"{self._disk} is on a file system without blocks"
            return Reading(names[0], None, "ratio", reason), Reading(names[1], None, "bytes", reason)
        free = Reading(names[1], float(disk.f_bavail * disk.f_frsize), "bytes")
        return Reading(names[0], disk.f_bavail / disk.f_blocks, "ratio"), free


def resident_bytes(proc: str = "/proc") -> float | None:
    """Return how many bytes of memory this process uses now; ``None`` if nobody knows."""
    try:
        return _resident_bytes(_content(f"{proc}/self/statm"))
    except (OSError, ValueError, IndexError):
        return None


def _unreadable(name: str, unit: str, path: str, error: OSError) -> Reading:
    return Reading(name, None, unit, f"{path}: {error.strerror}")


def _content(path: str) -> bytes:
    """Read a small file in one system call: these files are made up anew at each call."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _READ_AT_MOST)
    finally:
        os.close(descriptor)


def _resident_bytes(statm: bytes) -> float:
    return int(statm.split()[1]) * _PAGE


def _threads(stat: bytes) -> float:
    # Field 20; the second is the program's name in brackets, which may hold blanks and brackets itself.
    return int(stat[stat.rindex(b")") + 1 :].split()[17])


def _load_per_core(loadavg: bytes) -> float:
    return float(loadavg.split()[0]) / _CORES


def _memory_available(meminfo: bytes) -> float:
    return _kilobytes(meminfo, b"MemAvailable:") / _kilobytes(meminfo, b"MemTotal:")


def _kilobytes(meminfo: bytes, field: bytes) -> float:
    start = meminfo.index(field) + len(field)
    return int(meminfo[start : start + 40].split()[0])


def _pressure(psi: bytes) -> float:
    # "some avg10=1.02 avg60=0.36 avg300=0.12 total=2583199", in percent
    start = psi.index(b"some avg10=") + len(b"some avg10=")
    return float(psi[start : start + 20].split()[0]) / 100
