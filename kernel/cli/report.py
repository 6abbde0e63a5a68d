"""The report of one maintenance cycle: its documented keys, and how it reads on a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from aetherra.kernel.cli.output import number, print_table, seconds
from aetherra.registry.messages import TAG_FIELD

KEYS: dict[str, Any] = {
    "health_score": None,
    "metrics": {},
    "trends": [],
    "proposals": [],
    "files_found": 0,
    "files_indexed": 0,
    "files_refused": [],
    "findings": [],
}
"""What a report always has; the value is what it says where no plugin that knows better runs."""
SHOWN = 20
"""Rows of a list that people are shown."""


def build(
    path: Path, services: list[dict[str, Any]], failed_plugins: dict[str, str], cycle: dict[str, Any]
) -> dict[str, Any]:
    """Make the report out of the cycle's findings; a key that no plugin filled is named in ``unfilled``.

    ``errors`` holds the steps that failed, and the plugins that did not come up, each with the reason.
    """
    found = cycle["findings"]
    steps = [{key: value for key, value in step.items() if key != TAG_FIELD} for step in cycle["steps"]]
    return {
        **KEYS,
        **found,
        "path": str(path),
        "services": services,
        "steps": steps,
        "idle_phases": cycle["idle_phases"],
        "errors": [
            *({"plugin": name, "error": reason} for name, reason in failed_plugins.items()),
            *(step for step in steps if step["error"]),
        ],
        "unfilled": sorted(key for key in KEYS if key not in found),
        "seconds": cycle["seconds"],
    }


def show(report: dict[str, Any]) -> None:
    """Print a report for people."""
    score = report["health_score"]
    click.echo(f"{report['path']}: one maintenance cycle in {seconds(report['seconds'])}")
    click.echo(f"health score {'unknown' if score is None else f'{score:.2f}'} (0 useless, 1 well)")
    for reason in report.get("health_reasons", [])[:3]:
        click.echo(f"  {reason}")
    for error in report["errors"]:
        click.echo(f"error: {error['plugin']}: {error['error']}")
    click.echo()
    steps = [(step["phase"], step["plugin"], seconds(step["seconds"]), step["error"]) for step in report["steps"]]
    print_table("Steps", ("phase", "plugin", "took", "error"), steps)
    if report["idle_phases"]:
        click.echo(f"no plugin has a part in: {', '.join(report['idle_phases'])}")
    click.echo()
    services = [(s["name"], s["status"], s["generation"], s["reason"]) for s in report["services"]]
    print_table("Services", ("service", "status", "generation", "reason"), services)
    click.echo()
    metrics = [(name, number(metric["value"]), metric["unit"]) for name, metric in report["metrics"].items()]
    print_table("Metrics", ("metric", "value", "unit"), metrics)
    click.echo()
    show_files(report)
    _show_trends(report["trends"])


def show_files(report: dict[str, Any]) -> None:
    """Print what a scan found, the first of each list."""
    refused = report["files_refused"]
    left_out = report.get("refusals", len(refused))
    click.echo(f"{report['files_found']} files found, {report['files_indexed']} indexed, {left_out} refused")
    for name, count in sorted(report.get("kinds", {}).items(), key=lambda item: -item[1]):
        click.echo(f"  {count:6} {name}")
    if report.get("folders_excluded"):
        click.echo(f"not entered: {', '.join(report['folders_excluded'])}")
    for folder in report.get("folders_refused", []):
        click.echo(f"not listed: {folder['path']}: {folder['detail'] or folder['reason']}")
    if refused:
        rows = [(refusal["path"], refusal["reason"], refusal["detail"]) for refusal in refused[:SHOWN]]
        print_table("Refused", ("file", "reason", "detail"), rows)
        _say_more(left_out)
    risks = [risk for risk in report.get("risks", []) if risk["risk"] > 0]
    if risks:
        rows = [(r["path"], number(r["risk"]), ", ".join(factor["code"] for factor in r["factors"])) for r in risks]
        print_table("Riskiest files", ("file", "risk", "because"), rows)
    found = threats(report)
    counts = report.get("severities", {})
    findings = sum(counts.values()) if counts else len(report["findings"])
    found_threats = counts.get("threat", len(found))
    click.echo(f"{findings} findings, {found_threats} of them threats")
    for threat in found[:SHOWN]:
        click.echo(f"  {threat['path']}:{threat['line']}: {threat['message']}")
    _say_more(found_threats)


def threats(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the findings that are threats."""
    return [finding for finding in report["findings"] if finding["severity"] == "threat"]


def _show_trends(trends: list[dict[str, Any]]) -> None:
    moving = [trend for trend in trends if trend["direction"] in ("improving", "degrading")]
    click.echo(f"{len(trends)} metrics with a history, {len(moving)} with a trend")
    for trend in moving:
        click.echo(f"  {trend['name']}: {trend['direction']}: {trend['reason']}")


def _say_more(rows: int) -> None:
    if rows > SHOWN:
        click.echo(f"  and {rows - SHOWN} more; --json lists them, the first 1,000 of each")
