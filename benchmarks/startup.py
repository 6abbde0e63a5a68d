"""What a host costs before it does anything: start-up time, import time, and CPU while idle.

Each figure stands beside a floor that is measured in the same run, turn by turn, so that a noisy machine disturbs
both. Run it from an environment with ``aetherra[cli]``::

    python benchmarks/startup.py [--rounds 9] [--idle 20]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import anyio

from aetherra.registry import connect

FOUR = ("anyio", "msgspec", "pluggy", "watchfiles")
PLUGINS = "aetherra.plugins"
BUILT_IN = ("governance", "homeostasis", "self_improvement", "self_incorporation")
IMPORTS = {
    "bare interpreter": "pass",
    "floor: the four core dependencies": f"import {', '.join(FOUR)}",
    "aetherra.registry": "import aetherra.registry",
    "aetherra.kernel": "import aetherra.kernel",
    "the kernel and all built-in plugins": "import aetherra.kernel, aetherra.hmr, "
    + ", ".join(f"{PLUGINS}.{name}.plugin" for name in BUILT_IN),
}
START_DEADLINE = 30.0


def seconds_of(code: str) -> float:
    """Time a fresh interpreter that runs ``code``."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - begun


def start_host(project: Path) -> subprocess.Popen[bytes]:
    """Start ``aetherra run`` over a project."""
    command = [str(Path(sys.executable).with_name("aetherra")), "run", str(project)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def answers(path: Path) -> bool:
    """Whether somebody listens on a socket; a host opens its own last."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


async def serving(path: Path) -> int:
    """Return how many plugins serve."""
    async with connect(path) as host:
        plugins = (await host.call_tag("kernel.plugins"))["plugins"]
    return sum(plugin["state"] == "serving" for plugin in plugins)


def seconds_to_start(project: Path) -> float:
    """Time a host from its process's start until its control socket answers; all plugins serve by then."""
    path = project / ".aetherra" / "control.sock"
    begun = time.perf_counter()
    process = start_host(project)
    try:
        while not answers(path):
            if process.poll() is not None or time.perf_counter() - begun > START_DEADLINE:
                raise SystemExit("the host did not start; run 'aetherra run' by hand to see why")
            time.sleep(0.001)
        taken = time.perf_counter() - begun
        count = anyio.run(serving, path)
        if count < 5:
            raise SystemExit(f"only {count} plugins serve: the figure would not be a host's with its plugins")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(START_DEADLINE)
    return taken


def idle_share(project: Path, seconds: float) -> float:
    """Return the share of one core that a host uses while nobody asks anything of it, its first scan being over."""
    process = start_host(project)
    try:
        time.sleep(3.0)
        before = cpu_seconds(process.pid)
        begun = time.perf_counter()
        time.sleep(seconds)
        return (cpu_seconds(process.pid) - before) / (time.perf_counter() - begun)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(START_DEADLINE)


def cpu_seconds(pid: int) -> float:
    """Return what a process and its threads have used, in seconds of one core; Linux only."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="rounds per figure; the median is printed")
    parser.add_argument("--idle", type=float, default=20.0, help="seconds to watch an idle host")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    taken: dict[str, list[float]] = {name: [] for name in IMPORTS}
    starts: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        for _ in range(options.rounds + 1):  # the first fills the caches and is not counted
            for name, code in IMPORTS.items():
                taken[name].append(seconds_of(code))
            starts.append(seconds_to_start(project))
        idle = idle_share(project, options.idle)
    medians = {name: statistics.median(values[1:]) for name, values in taken.items()}
    start = statistics.median(starts[1:])
    floor = medians["floor: the four core dependencies"]
    report = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, CPython {platform.python_version()}",
        "versions": {name: version(name) for name in FOUR},
        "rounds": options.rounds,
        "import_ms": {name: round(value * 1000, 1) for name, value in medians.items()},
        "start_ms": round(start * 1000, 1),
        "start_ratio": round(start / floor, 2),
        "idle_percent_of_a_core": round(idle * 100, 2),
    }
    if options.json:
        print(json.dumps(report))
        return
    print(report["machine"])
    print(", ".join(f"{name} {number}" for name, number in report["versions"].items()))
    for name, value in medians.items():
        print(f"{value * 1000:8.1f} ms  {value / floor:5.2f} x floor  import: {name}")
    print(f"{start * 1000:8.1f} ms  {start / floor:5.2f} x floor  a host with its plugins, from exec to its socket")
    print(f"{idle * 100:8.2f} %   of one core   an idle host, over {options.idle:g} s")


if __name__ == "__main__":
    main()
