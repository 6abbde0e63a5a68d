"""``aetherra scan``: the self-incorporation pipeline, once, in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import click

from aetherra.kernel.cli.output import number, print_json, print_table
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
    report = anyio.run(_scan, folder, str(path.absolute()))
    threats = [finding for finding in report["findings"] if finding["severity"] == "threat"]
    if as_json:
        print_json(report)
        return int(bool(threats))
    refused = report["files_refused"]
    click.echo(f"{report['files_found']} files found, {report['files_indexed']} indexed, {len(refused)} refused")
    print_table("Kinds", ("kind", "files"), sorted(report["kinds"].items(), key=lambda item: -item[1]))
    if refused:
        print_table("Refused", ("file", "reason", "detail"), [(r["path"], r["reason"], r["detail"]) for r in refused])
    print_table(
        "Riskiest files",
        ("file", "risk", "because"),
        [
            (risk["path"], number(risk["risk"]), ", ".join(factor["code"] for factor in risk["factors"]))
            for risk in report["risks"]
            if risk["risk"] > 0
        ],
    )
    click.echo(f"{len(report['findings'])} findings, {len(threats)} of them threats")
    for threat in threats:
        click.echo(f"  {threat['path']}:{threat['line']}: {threat['message']}")
    return int(bool(threats))


async def _scan(folder: Path, path: str) -> Any:
    source = next((found for found in installed_plugins() if found.name == PLUGIN), None)
    if source is None:
        raise click.ClickException(f"no installed package offers the plugin {PLUGIN!r}, which does the scanning")
    only = {"data_dir": None, "durability": "none", "discover": False}
    async with Kernel(Config.parse({"kernel": only}, root=folder)) as kernel:
        await kernel.add_plugin(source.load(1).plugin_type, settings={"scan_at_start": False})
        return await kernel.call_tag("selfinc.scan", {"path": path}, timeout=3600.0)
