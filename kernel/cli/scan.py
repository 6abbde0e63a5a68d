"""``aetherra scan``: the self-incorporation pipeline, once, in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import click

from aetherra.kernel.cli import report
from aetherra.kernel.cli.output import print_json
from aetherra.kernel.cli.project import json_option
from aetherra.kernel.config import Config
from aetherra.kernel.kernel import Kernel
from aetherra.kernel.sources import installed_plugins

PLUGIN = "self_incorporation"


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@json_option
def scan(path: Path, as_json: bool) -> int:
    """Find, classify and judge the files at PATH; nothing is written, and no running host is needed.

    Exit status 1 if a threat was found.
    """
    folder = (path if path.is_dir() else path.parent).absolute()
    found = anyio.run(_scan, folder, str(path.absolute()))
    (print_json if as_json else report.show_files)(found)
    return int(bool(report.threats(found)))


async def _scan(folder: Path, path: str) -> Any:
    source = next((found for found in installed_plugins() if found.name == PLUGIN), None)
    if source is None:
        raise click.ClickException(f"no installed package offers the plugin {PLUGIN!r}, which does the scanning")
    only = {"data_dir": None, "durability": "none", "discover": False}
    async with Kernel(Config.parse({"kernel": only}, root=folder)) as kernel:
        await kernel.add_plugin(source.load(1).plugin_type, settings={"scan_at_start": False, "watch": False})
        return await kernel.call_tag("selfinc.scan", {"path": path}, timeout=3600.0)
