"""What this process and its machine have used so far: owns the reading of totals from the operating system."""

import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

__all__ = ["FIGURES", "Rates", "Usage", "UsageReader", "rates_between", "thread_io"]

T = TypeVar("T")
FIGURES = ("process_cpu", "host_cpu", "process_io", "host_io")
_READ_AT_MOST = 262_144
_SECTOR = 512  # what /proc/diskstats counts in, whatever the disk does (kernel documentation, admin-guide/iostats)
_NO_DISK = re.compile(r"(loop|ram|zram|dm-|md|sr|fd|nbd)\d")  # in memory, or made of others that are counted
_PARTITION = re.compile(r"p?\d+\Z")


class Usage(Struct, frozen=True, kw_only=True):
    """Totals at one time; the difference of two is what was used between them.

    Attributes:
        at: Seconds of a clock that never goes back.
        process_cpu: Seconds of processor time of this process, of all its threads.
        process_io: Bytes that it had disks read and write; None if nobody knows.
        host_busy: Processor time of the machine that was not idle, in a unit of its own; None if nobody knows.
        host_time: All of its processor time, in the same unit.
        host_io: Bytes that the machine's disks read and wrote; None if nobody knows.
        unknown: Why there is no figure, by the name of the figure in `Rates`.
    """

    at: float
    process_cpu: float
    process_io: float | None = None
    host_busy: float | None = None
    host_time: float | None = None
    host_io: float | None = None
    unknown: Mapping[str, str] = {}


class Rates(Struct, frozen=True, kw_only=True):
    """What was used a second, between two totals.

    Attributes:
        seconds: Between them.
        process_cpu: As a share of one core; None if nobody knows, likewise below.
        host_cpu: As a share of all cores.
        process_io: Bytes a second.
        host_io: Bytes a second.
    """

    seconds: float
    process_cpu: float | None
    host_cpu: float | None
    process_io: float | None
    host_io: float | None


class UsageReader:
    """Reads the totals: processor time from the C library, all else from ``/proc``, and where there is none, nothing.

    In a container the host's figures are the machine's. Any thread may call it.

    Args:
        monotonic: The clock of ``Usage.at``.
        proc: The proc file system (man 5 proc).
        cpu_time: Seconds of processor time of this process.
        cores: How many the machine has.
    """

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        proc: Path | str = "/proc",
        cpu_time: Callable[[], float] = time.process_time,
        cores: int | None = None,
    ) -> None:
        self._monotonic, self._cpu_time = monotonic, cpu_time
        self._proc = os.fspath(proc)
        self.cores = cores or os.cpu_count() or 1

    def __call__(self) -> Usage:
        """Read the totals now; takes about 0.1 ms. What cannot be read is None, with the reason in ``unknown``."""
        unknown: dict[str, str] = {}
        process_io = self._from_file("process_io", "self/io", _storage_bytes, unknown)
        host = self._from_file("host_cpu", "stat", _busy_and_all, unknown)
        host_io = self._from_file("host_io", "diskstats", _disk_bytes, unknown)
        return Usage(
            at=self._monotonic(),
            process_cpu=self._cpu_time(),
            process_io=process_io,
            host_busy=None if host is None else host[0],
            host_time=None if host is None else host[1],
            host_io=host_io,
            unknown=unknown,
        )

    def _from_file(self, figure: str, file: str, parse: Callable[[bytes], T], unknown: dict[str, str]) -> T | None:
        path = f"{self._proc}/{file}"
        try:
            content = _content(path)
        except OSError as exc:
            unknown[figure] = f"{path}: {exc.strerror or exc}"
            return None
        try:
            return parse(content)
        except (ValueError, IndexError):
            unknown[figure] = f"{path} is not understood: {content[:60]!r}"
            return None


def rates_between(before: Usage, after: Usage, *, own_cpu: float = 0.0, own_io: float = 0.0, cores: int = 1) -> Rates:
    """Return what was used a second between two totals, without what is ours.

    Args:
        before: The earlier one.
        after: The later one.
        own_cpu: Seconds of processor time between them that count as nobody's.
        own_io: Bytes, likewise.
        cores: Of the machine.

    Raises:
        ValueError: No time has passed between them.
    """
    seconds = after.at - before.at
    if seconds <= 0:
        raise ValueError(f"expected the later totals second, got times {before.at!r} and {after.at!r}")
    busy, whole = _difference(before.host_busy, after.host_busy), _difference(before.host_time, after.host_time)
    host_cpu = None
    if busy is not None and whole:
        host_cpu = max(0.0, busy / whole - own_cpu / (seconds * cores))
    return Rates(
        seconds=seconds,
        process_cpu=max(0.0, after.process_cpu - before.process_cpu - own_cpu) / seconds,
        host_cpu=host_cpu,
        process_io=_rate(before.process_io, after.process_io, own_io, seconds),
        host_io=_rate(before.host_io, after.host_io, own_io, seconds),
    )


def thread_io(proc: str = "/proc") -> float:
    """Return how many bytes the calling thread had disks read and write; 0 where nobody knows."""
    try:
        return _storage_bytes(_content(f"{proc}/thread-self/io"))
    except (OSError, ValueError, IndexError):
        return 0.0


def _difference(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else max(0.0, after - before)


def _rate(before: float | None, after: float | None, own: float, seconds: float) -> float | None:
    used = _difference(before, after)
    return None if used is None else max(0.0, used - own) / seconds


def _content(path: str) -> bytes:
    """Read a small file in one system call: these files are made up anew at each call."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _READ_AT_MOST)
    finally:
        os.close(descriptor)


def _storage_bytes(io: bytes) -> float:
    values = dict(line.split(b": ") for line in io.splitlines())
    try:
        return float(int(values[b"read_bytes"]) + int(values[b"write_bytes"]))
    except KeyError as exc:
        raise ValueError(str(exc)) from exc


def _busy_and_all(stat: bytes) -> tuple[float, float]:
    # "cpu user nice system idle iowait irq softirq steal guest guest_nice"; guests are in user and nice already
    fields = stat.split(b"\n", 1)[0].split()
    if fields[0] != b"cpu":
        raise ValueError(fields[0])
    ticks = [int(field) for field in fields[1:9]]
    idle = ticks[3] + ticks[4]
    return float(sum(ticks) - idle), float(sum(ticks))


def _disk_bytes(diskstats: bytes) -> float:
    sectors: dict[str, int] = {}
    for line in diskstats.decode("ascii", "replace").splitlines():
        fields = line.split()
        sectors[fields[2]] = int(fields[5]) + int(fields[9])
    return float(_SECTOR * sum(count for name, count in sectors.items() if _is_disk(name, sectors)))


def _is_disk(name: str, names: Iterable[str]) -> bool:
    """Say whether a device is a disk, and not a part of one or made of some, which would count twice."""
    if _NO_DISK.match(name):
        return False
    return not any(other != name and name.startswith(other) and _PARTITION.match(name[len(other) :]) for other in names)
