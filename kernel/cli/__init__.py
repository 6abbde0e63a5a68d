"""The command line, ``aetherra``: one file a group of commands, loaded when it is used."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 misused."""
    try:
        from aetherra.kernel.cli.app import run_cli  # noqa: PLC0415  # its libraries are an extra

        status = run_cli()
    except ModuleNotFoundError as exc:
        missing = (exc.name or "").partition(".")[0]
        if missing not in ("click", "rich"):
            raise
        sys.exit(f"aetherra: the command line needs {missing!r}: pip install 'aetherra[cli]'")
    except KeyboardInterrupt:
        sys.exit("aetherra: stopped")
    sys.exit(status)
