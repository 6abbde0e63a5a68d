"""``aetherra metrics``: the history of the host's metrics, kept by the self-improvement plugin, and what it says."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from aetherra.kernel.cli.moment import read_span, write_moment
from aetherra.kernel.cli.output import number, print_json, print_table, seconds
from aetherra.kernel.cli.project import ask, host_options, json_option
from aetherra.registry import HandlerError, NoHandlerError

MOST_POINTS = 100_000
"""Points that are looked at; of more, the latest."""
SHOWN = 20
"""Rows of a list that people are shown."""
Row = tuple[str, object]


@click.group()
def metrics() -> None:
    """The history of the host's metrics. It is kept by the plugin 'self_improvement'; without it there is none."""


@metrics.command("list")
@host_options
@json_option
def list_metrics(path: Path, config_file: Path | None, as_json: bool) -> None:
    """List the metrics that have a history."""
    found = _ask(path, config_file, "selfimprovement.metrics")["metrics"]
    if as_json:
        print_json(found)
        return
    rows = [(each["name"], each["unit"], write_moment(each["first"]), write_moment(each["last"])) for each in found]
    print_table("Metrics", ("name", "unit", "since", "last"), rows)


def read_plot_file(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    """Return the file to draw; to be an option's callback.

    Raises:
        click.BadParameter: Its ending is none that can be drawn, or it is a folder.
    """
    from aetherra.kernel.cli.plot import ENDINGS  # noqa: PLC0415  # for this option only

    if value is None:
        return None
    if value.suffix.lower() not in ENDINGS:
        raise click.BadParameter(f"expected a file that ends with {' or '.join(ENDINGS)}, got '{value}'", ctx, param)
    return value


@metrics.command()
@click.argument("name")
@click.option(
    "--window",
    metavar="SPAN",
    callback=read_span,
    default="24h",
    show_default=True,
    help="How far to look back: seconds, or a span as 30m, 24h or 7d.",
)
@click.option(
    "--plot",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    callback=read_plot_file,
    help="Draw it into FILE, which ends with .png or .svg; needs the extra 'plot'.",
)
@host_options
@json_option
def show(name: str, window: float, file: Path | None, path: Path, config_file: Path | None, as_json: bool) -> None:
    """Tell what is known of the metric NAME: figures, trend, changes, anomalies, forecast; or draw it."""
    report = _ask_for_one(path, config_file, name, {"name": name, "window": window, "limit": MOST_POINTS})
    if len(report["points"]) == MOST_POINTS:
        click.echo(f"aetherra: these are the latest {MOST_POINTS:,} points; there may be more", err=True)
    if file is not None:
        _plot(report, file)
    if as_json:
        print_json(report)
    elif file is None:
        show_report(report)
    else:
        count = len(report["points"])
        click.echo(f"{file}: {name}, {count:,} {'point' if count == 1 else 'points'}")


def _plot(report: Mapping[str, Any], file: Path) -> None:
    from aetherra.kernel.cli.plot import write_plot  # noqa: PLC0415  # for this option only

    try:
        write_plot(report, file)
    except ImportError as exc:
        raise click.ClickException(f"plots need {exc.name!r}: pip install 'aetherra[plot]'") from exc
    except OSError as exc:
        raise click.ClickException(f"cannot write {file}: {exc.strerror or exc}") from exc


def show_report(report: Mapping[str, Any]) -> None:
    """Print the reply to ``selfimprovement.metric`` for people."""
    analysis, write = report["analysis"], _Writer(report["unit"])
    print_table(report["name"], ("what", "is"), [*_summary(report, write), *_outlook(analysis, write)])
    changes = [
        (write_moment(each["timestamp"]), write(each["before"]), write(each["after"]), each["reason"])
        for each in analysis["change_points"]
    ]
    anomalies = sorted(report["anomalies"], key=lambda each: each["timestamp"], reverse=True)
    surprises = [(write_moment(each["timestamp"]), write(each["value"]), f"{each['score']:.2f}") for each in anomalies]
    outliers = [
        (write_moment(each["timestamp"]), write(each["value"]), write(each["expected"]), f"{each['deviation']:+.1f}")
        for each in reversed(analysis["outliers"])
    ]
    _list("Changes of level", ("changed", "before", "after", "why"), changes)
    _list("Anomalies", ("anomaly", "value", "score"), surprises)
    _list("Outliers", ("outlier", "value", "expected", "deviations"), outliers)


class _Writer:
    """Writes figures in a metric's unit."""

    def __init__(self, unit: str) -> None:
        self._unit = unit

    def __call__(self, value: float | None) -> str:
        return "unknown" if value is None else f"{number(value)} {self._unit}".rstrip()


def _summary(report: Mapping[str, Any], write: _Writer) -> Iterator[Row]:
    """Yield what the points are like, and where they are heading."""
    analysis, score = report["analysis"], report["score"]
    summary, trend = analysis["summary"], analysis["trend"]
    if not summary["count"]:
        yield "points", f"none in the last {seconds(report['window'])}"
        return
    since, until = write_moment(trend["first_timestamp"]), write_moment(trend["last_timestamp"])
    yield "points", f"{summary['count']:,}, from {since} to {until}"
    yield "last", write(trend["last"]) + ("" if score is None else f", anomaly score {score:.2f} (0.5 counts)")
    yield "mean", f"{write(summary['mean'])}, standard deviation {write(summary['deviation'])}"
    yield "range", f"{write(summary['minimum'])} to {write(summary['maximum'])}"
    yield "p50, p95, p99", ", ".join(write(summary[key]) for key in ("p50", "p95", "p99"))
    moves = trend["movement"] in ("rising", "falling")
    slope = f"; {write(trend['slope_per_hour'])} an hour" if moves else ""
    yield "trend", f"{trend['direction']}: {trend['reason']}{slope}"


def _outlook(analysis: Mapping[str, Any], write: _Writer) -> Iterator[Row]:
    """Yield how the metric goes over the day, and what is to come."""
    season, forecast, crossing = analysis["season"], analysis["forecast"], analysis["crossing"]
    if season["verdict"] != "unknown":
        yield "season", season["reason"]
    if forecast["value"] is not None:
        interval = f"{write(forecast['low'])} to {write(forecast['high'])} with a chance of {forecast['coverage']:.0%}"
        yield "forecast", f"{write(forecast['value'])} at {write_moment(forecast['at'])}, {interval}"
    else:
        yield "forecast", f"unknown: {forecast['reason']}"
    if crossing is not None:
        yield "setpoint", f"{write(crossing['setpoint'])}: {crossing['reason']}"


def _list(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print the first rows of a list, if it has any, and how many more there are."""
    if rows:
        print_table(title, columns, rows[:SHOWN])
    if len(rows) > SHOWN:
        click.echo(f"  and {len(rows) - SHOWN} more; --json lists them all")


def _ask_for_one(path: Path, config_file: Path | None, name: str, body: Mapping[str, Any]) -> Any:
    """Ask about one metric; one that is unknown is answered with the names that are near it."""
    try:
        return _ask(path, config_file, "selfimprovement.metric", body)
    except click.ClickException as exc:
        if not isinstance(exc.__cause__, HandlerError):
            raise
        known = [each["name"] for each in _ask(path, config_file, "selfimprovement.metrics")["metrics"]]
        if name in known:
            raise
        near = difflib.get_close_matches(name, known, n=3)
        hint = f"nearest: {', '.join(map(repr, near))}" if near else "'aetherra metrics list' has all"
        raise click.ClickException(f"no metric {name!r} has a history; {hint}") from exc


def _ask(path: Path, config_file: Path | None, tag: str, body: Mapping[str, Any] | None = None) -> Any:
    try:
        return ask(path, config_file, tag, dict(body or {}))
    except NoHandlerError as exc:
        raise click.ClickException(f"this host keeps no history of its metrics: nothing answers {tag!r}") from exc
