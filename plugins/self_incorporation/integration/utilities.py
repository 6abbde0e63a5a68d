"""Utilities: that a module can be imported is shown in a process of its own, which the host does not share."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import anyio

from aetherra.plugins.self_incorporation.integration.errors import IntegrationError

__all__ = ["prove_import"]

PATIENCE = 30.0
"""Seconds that an import may take."""
MOST_SAID = 4000
_PROGRAM = """
import importlib, sys
sys.path.insert(0, sys.argv[1])
module = importlib.import_module(sys.argv[2])
found = getattr(module, "__file__", None)
if found is None or not found.startswith(sys.argv[1]):
    sys.exit(f"module {sys.argv[2]!r} was found at {found!r}, expected it below {sys.argv[1]!r}")
missing = [name for name in sys.argv[3:] if not hasattr(module, name)]
if missing:
    sys.exit(f"module {sys.argv[2]!r} has no {', '.join(missing)}")
"""


async def prove_import(folder: Path, module: str, names: tuple[str, ...] = (), *, patience: float = PATIENCE) -> None:
    """Import a module of a folder, given absolute, in a process of its own, isolated and without the environment.

    It runs in an empty folder. It is killed, and what it started with it, if it takes too long or this is cancelled.

    Raises:
        IntegrationError: It cannot be imported, says what Python said; or has not got the names, or took too long.
    """
    with tempfile.TemporaryDirectory(prefix="aetherra-import-") as empty:
        command = [sys.executable, "-I", "-B", "-c", _PROGRAM, str(folder), module, *names]
        environment = {"PATH": os.defpath, "LANG": "C.UTF-8"}
        async with await anyio.open_process(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=empty,
            env=environment,
            start_new_session=True,
        ) as process:
            said = b""
            try:
                with anyio.fail_after(patience):
                    assert process.stderr is not None
                    async for chunk in process.stderr:
                        said = (said + chunk)[-MOST_SAID:]
                    status = await process.wait()
            except TimeoutError as exc:
                problem = f"module {module!r} was not imported within {patience:g} s"
                raise IntegrationError(module, problem) from exc
            finally:
                _kill(process.pid)
    if status:
        lines = said.decode(errors="replace").strip().splitlines()
        problem = lines[-1] if lines else f"the process ended with {status}"
        raise IntegrationError(module, f"module {module!r} cannot be imported: {problem}")


def _kill(pid: int) -> None:
    """Kill a process and all of its session that stayed in its group."""
    try:
        os.killpg(pid, 9)
    except (ProcessLookupError, PermissionError):  # macOS names what has ended so
        return
