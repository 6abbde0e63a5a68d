"""A metric drawn: its points, what the analysis says of them, and what is forecast, as a PNG or SVG file.

Needs the extra ``plot``; matplotlib is imported when something is drawn. No display is needed, its global state is left
as it was, and the same reply makes the same bytes.
"""

from __future__ import annotations

import importlib
import io
import logging
import math
import os
import tempfile
import textwrap
import time
import warnings
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from aetherra.kernel.cli.curve import COLUMNS, Point, stretches, thinned
from aetherra.kernel.cli.scale import PLAIN, scale_for

__all__ = ["ENDINGS", "write_plot"]

ENDINGS = (".png", ".svg")
"""Files that can be drawn."""

INCHES = (11.0, 5.6)
RESOLUTION = 160
ROW = 120
"""Letters in a row of the legend."""
MOST_MARKS = 500
"""Marks of a kind that are drawn at most: the ones that stand out most."""
FEW = 60
"""Points up to which each has a dot."""
LATEST = 12
"""Points whose median a forecast begins at."""
WITHIN = 1.5
"""Heights of the data within which a setpoint or a forecast still is drawn; beyond, the legend names it."""

INK, FAINT = "#1b1f24", "#6b7280"
POINTS, TREND, LEVEL = "#3c6e9f", "#c77f00", "#007a5a"
ANOMALY, OUTLIER, FORECAST, SETPOINT = "#d55e00", "#aa3377", "#2f95d6", "#1b1f24"
"""After Okabe and Ito (Color Universal Design, 2008), dark enough for a contrast of 3 with white; each has a shape or a
stroke of its own as well."""

STYLE: dict[str, Any] = {
    "axes.edgecolor": "#c5cad1",
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": ["DejaVu Sans"],
    "figure.constrained_layout.h_pad": 0.14,
    "figure.constrained_layout.w_pad": 0.18,
    "font.size": 10,
    "grid.color": "#e6e9ed",
    "legend.borderaxespad": 0.0,
    "legend.borderpad": 0.0,
    "legend.columnspacing": 2.2,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "aetherra",
    "xtick.color": FAINT,
    "ytick.color": FAINT,
}

DATES: dict[str, Any] = {
    "formats": ["%Y", "%b %Y", "%d %b", "%H:%M", "%H:%M", "%H:%M:%S"],
    "zero_formats": ["", "%b %Y", "%d %b", "%d %b", "%H:%M", "%H:%M"],
    "show_offset": False,
}
"""How times are written, from years to seconds, and at the first of each; the label below has the whole date."""


def write_plot(report: Mapping[str, Any], file: Path, *, until: float | None = None) -> None:
    """Draw the reply to ``selfimprovement.metric`` into a file, whole or not at all.

    Args:
        report: The reply, in builtins.
        file: Where; its ending is one of ``ENDINGS``.
        until: Where the window ends, Unix seconds, for a metric without points; now, if not given.

    Raises:
        ImportError: matplotlib is not installed.
        OSError: The file cannot be written; what was there still is.
    """
    drawn = _render(report, file.suffix.lower().removeprefix("."), time.time() if until is None else until)
    handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    beside = Path(name)
    try:
        with os.fdopen(handle, "wb") as written:
            written.write(drawn)
        beside.chmod(0o666 & ~_umask())
        beside.replace(file)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _matplotlib(module: str = "") -> Any:
    """Import it, or a module of it: half a second, for plots only; its own types know half of each call."""
    return importlib.import_module(f"matplotlib{module}")


def _render(report: Mapping[str, Any], kind: str, until: float) -> bytes:
    mpl = _matplotlib()
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it tells of its caches
    metadata = {"Title": _plain(report["name"])} | ({"Date": None} if kind == "svg" else {"Software": None})
    out = io.BytesIO()
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # such a letter is drawn as a box
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        figure = _Drawing(report, until).figure
        figure.savefig(out, format=kind, dpi=RESOLUTION, metadata=metadata)
    return out.getvalue()


class _Drawing:
    """One figure in the making; values are written in ``scale``, times in days as matplotlib counts them."""

    def __init__(self, report: Mapping[str, Any], until: float) -> None:
        self.report = report
        self.analysis: Mapping[str, Any] = report["analysis"]
        self.points: list[Point] = sorted((float(at), float(value)) for at, value in report["points"])
        self.forecast = _forecast(self.analysis)
        self.setpoint = _setpoint(self.analysis)
        self.start = self.points[0][0] if self.points else until - report["window"]
        self.now = self.points[-1][0] if self.points else until
        self.end = min(self.forecast[-1]["at"], self._ahead()) if self.forecast else self.now
        low, high = self._reach()
        self.scale = scale_for(max(abs(low), abs(high)), _plain(report["unit"]))
        self.bottom, self.top = _with_room(self._y(low), self._y(high))
        self.figure = _matplotlib(".figure").Figure(figsize=INCHES, layout="constrained")
        self.axes = self.figure.add_subplot()
        self._frame()
        if self.points:
            self._draw_points()
            self._draw_trend()
            self._draw_levels()
            self._draw_forecast()
            self._draw_marks()
        else:
            self.axes.text(
                0.5,
                0.5,
                "no points in this window",
                transform=self.axes.transAxes,
                ha="center",
                color=FAINT,
                fontsize=13,
            )
        self._draw_setpoint()
        self._words()

    def _ahead(self) -> float:
        """Return until when a forecast is drawn: about as far ahead as the points reach back."""
        return self.now + max(1.1 * (self.now - self.start), 60.0)

    def _reach(self) -> Point:
        """Return the lowest and highest value that is to be seen; far setpoints and wild forecasts are not."""
        if not self.points:
            return (0.0, 1.0) if self.setpoint is None else (min(0.0, self.setpoint), max(0.0, self.setpoint) or 1.0)
        values = [value for _, value in self.points]
        low, high = min(values), max(values)
        room = WITHIN * max(high / 2 - low / 2, abs(high) / 8, abs(low) / 8) * 2
        floor, ceiling = low - room, high + room
        for step in self._seen_forecast():
            low, high = min(low, max(step["low"], floor)), max(high, min(step["high"], ceiling))
        if self.setpoint is not None and floor <= self.setpoint <= ceiling:
            low, high = min(low, self.setpoint), max(high, self.setpoint)
        return low, high

    def _y(self, value: float) -> float:
        return value / self.scale.divisor

    def _frame(self) -> None:
        dates, axes = _matplotlib(".dates"), self.axes
        locator = dates.AutoDateLocator(tz=UTC, minticks=4, maxticks=9)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator, UTC, **DATES))
        edge = max((self.end - self.start) * 0.015, 0.0) or 300.0
        axes.set_xlim(_x(self.start - edge), _x(self.end + edge))
        axes.set_ylim(self.bottom, self.top)
        axes.grid(visible=True, axis="y", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.ticklabel_format(axis="y", style="plain", useOffset=False)
        axes.tick_params(length=0, pad=6)
        axes.spines["left"].set_visible(False)

    def _draw_points(self) -> None:
        xs, ys = list[float](), list[float]()
        alone = list[Point]()
        span = self.now - self.start or 1.0
        for stretch in stretches(self.points):
            if len(stretch) == 1:
                alone.append(stretch[0])
            for at, value in thinned(stretch, 1 + int(COLUMNS * (stretch[-1][0] - stretch[0][0]) / span)):
                xs.append(_x(at))
                ys.append(self._y(value))
            xs.append(math.nan)
            ys.append(math.nan)
        dots = "o" if len(self.points) <= FEW else ""
        width = 1.6 if len(self.points) <= COLUMNS else 1.0
        count = "1 point" if len(self.points) == 1 else f"{len(self.points):,} points"
        self.axes.plot(
            xs,
            ys,
            color=POINTS,
            linewidth=width,
            marker=dots,
            markersize=4,
            gid="points",
            label=count,
        )
        if alone and not dots:
            self._mark("lone-points", alone, "", marker="o", s=10, color=POINTS, linewidths=0)

    def _draw_trend(self) -> None:
        trend = self.analysis["trend"]
        slope = trend["slope_per_hour"]
        if slope is None:
            return
        moving = trend["movement"] in ("rising", "falling")
        steepness = slope / 3600 if moving else 0.0
        few = self.points[:: 1 + len(self.points) // 5000]
        middle = (self.start + self.now) / 2
        level = median(self._y(value) - self._y(steepness) * (at - middle) for at, value in few)
        label = f"trend: {trend['movement']}"
        if moving:
            small = abs(self._y(slope)) < PLAIN[0]
            steep = scale_for(abs(slope), _plain(self.report["unit"])) if small else self.scale
            label += f", {slope / steep.divisor:+.3g} {steep.unit}".rstrip() + " an hour"
        half = (self.now - self.start) / 2
        ends = [level - self._y(steepness) * half, level + self._y(steepness) * half]
        stroke: Any = "-" if moving else (0, (1, 2))
        self.axes.plot(
            [_x(self.start), _x(self.now)], ends, color=TREND, linewidth=2.0, linestyle=stroke, gid="trend", label=label
        )

    def _draw_levels(self) -> None:
        changes = [change for change in self.analysis["change_points"] if self.start < change["timestamp"] <= self.now]
        if not changes:
            return
        edges = [self.start, *(change["timestamp"] for change in changes), self.now]
        levels = [changes[0]["before"], *(change["after"] for change in changes)]
        for i, (since, until) in enumerate(pairwise(edges)):
            inside = [value for at, value in self.points if since <= at < until]
            levels[i] = median(inside) if inside else levels[i]
        xs = [_x(edge) for edge in edges]
        count = "1 change" if len(changes) == 1 else f"{len(changes)} changes"
        label = f"levels, {count}"
        self.axes.hlines(
            [self._y(level) for level in levels],
            xs[:-1],
            xs[1:],
            colors=LEVEL,
            linewidth=2.2,
            gid="levels",
            label=label,
        )
        self.axes.vlines(
            xs[1:-1], self.bottom, self.top, colors=LEVEL, linewidth=1.0, linestyles=(0, (4, 3)), gid="changes"
        )

    def _seen_forecast(self) -> list[Mapping[str, Any]]:
        return [step for step in self.forecast if step["at"] <= self.end]

    def _draw_forecast(self) -> None:
        if not self.forecast:
            return
        seen = self._seen_forecast()
        if len(seen) > 1:
            seen += self.forecast[len(seen) : len(seen) + 1]  # to the edge and beyond
        xs = [_x(step["at"]) for step in seen]
        lows, highs = ([self._y(step[key]) for step in seen] for key in ("low", "high"))
        band: dict[str, Any] = {"color": FORECAST, "alpha": 0.25, "gid": "forecast-band"}
        if len(seen) > 1:
            self.axes.fill_between(xs, lows, highs, linewidth=0, **band)
        elif seen:
            self.axes.vlines(xs, lows, highs, linewidth=9, **band)
        start = median([self._y(value) for _, value in self.points[-LATEST:]])
        self.axes.plot(
            [_x(self.now), *(_x(step["at"]) for step in self.forecast)],
            [start, *(self._y(step["value"]) for step in self.forecast)],
            color=FORECAST,
            linewidth=2.0,
            linestyle=(0, (5, 2)),
            marker="o",
            markevery=[-1],
            markersize=5,
            gid="forecast",
            label=self._words_of_forecast(self.forecast[-1]),
        )

    def _words_of_forecast(self, last: Mapping[str, Any]) -> str:
        """Return what the legend says: how sure it is, or, of one that is too far ahead to be seen, all of it."""
        if last["at"] <= self.end:
            return f"forecast, {last['coverage']:.0%} interval"
        value, low, high = (f"{self._y(last[key]):.3g}" for key in ("value", "low", "high"))
        return f"forecast for {datetime.fromtimestamp(last['at'], UTC):%d %b %H:%M}: {value}, {low} to {high}"

    def _draw_marks(self) -> None:
        rings = _strongest(self._inside(self.report["anomalies"]), "score")
        self._mark(
            "anomalies",
            [(each["timestamp"], each["value"]) for each in rings],
            _counted(len(rings), len(self.report["anomalies"]), "anomaly", "anomalies"),
            marker="o",
            s=70,
            facecolors="none",
            edgecolors=ANOMALY,
            linewidths=1.6,
        )
        crosses = _strongest(self._inside(self.analysis["outliers"]), "deviation")
        self._mark(
            "outliers",
            [(each["timestamp"], each["value"]) for each in crosses],
            _counted(len(crosses), len(self.analysis["outliers"]), "outlier", "outliers"),
            marker="x",
            s=34,
            color=OUTLIER,
            linewidths=1.8,
        )

    def _inside(self, marks: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        return [mark for mark in marks if self.start <= mark["timestamp"] <= self.now]

    def _mark(self, gid: str, where: Sequence[Point], label: str, **look: Any) -> None:
        if where:
            xs, ys = [_x(at) for at, _ in where], [self._y(value) for _, value in where]
            self.axes.scatter(xs, ys, zorder=4, gid=gid, label=label, clip_on=False, **look)

    def _draw_setpoint(self) -> None:
        if self.setpoint is None:
            return
        value = self._y(self.setpoint)
        label = f"setpoint {value:.3g} {self.scale.unit}".rstrip()
        if not self.bottom <= value <= self.top:
            label += ", above what is shown" if value > self.top else ", below what is shown"
        self.axes.axhline(
            value, color=SETPOINT, linewidth=1.3, linestyle=(0, (6, 2, 1, 2)), gid="setpoint", label=label
        )
        crossing = self.analysis["crossing"]
        if crossing and crossing["expected"] is not None and self.start <= crossing["expected"] <= self.end:
            crossed = f"forecast to cross it {datetime.fromtimestamp(crossing['expected'], UTC):%d %b %H:%M}"
            self._mark("crossing", [(crossing["expected"], self.setpoint)], crossed, marker="D", s=42, color=SETPOINT)

    def _words(self) -> None:
        name, trend = _plain(self.report["name"]), self.analysis["trend"]
        said = textwrap.wrap(_plain(f"{trend['direction']}: {trend['reason']}"), 125)[:2]
        self.axes.set_title(
            _cut(name, 90),
            loc="left",
            fontsize=14,
            fontweight="bold",
            color=INK,
            pad=14 + 14 * len(said),
            parse_math=False,
        )
        self.axes.annotate(
            "\n".join(said),
            (0, 1),
            xytext=(0, 9),
            xycoords="axes fraction",
            textcoords="offset points",
            va="bottom",
            color=FAINT,
            parse_math=False,
        )
        first, last = (datetime.fromtimestamp(at, UTC) for at in (self.start, self.now))
        self.axes.set_xlabel(
            f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC", loc="left", color=FAINT, labelpad=8
        )
        self.axes.set_ylabel(self.scale.unit, labelpad=8, parse_math=False)
        handles, labels = self.axes.get_legend_handles_labels()
        if handles:
            rows = 1 + sum(len(label) + 7 for label in labels) // ROW
            columns = math.ceil(len(labels) / rows)
            below = (0.0, -0.16)
            legend = self.axes.legend(handles, labels, loc="upper left", bbox_to_anchor=below, ncols=columns)
            for text in legend.get_texts():
                text.set_parse_math(False)


def _x(unix: float) -> float:
    """Return a time as matplotlib counts it: in days since 1970."""
    return unix / 86_400.0


def _with_room(low: float, high: float) -> Point:
    """Return the ends of the axis: some room around, and from 0 on where that is near."""
    height = high - low
    if height <= 1e-9 * max(abs(low), abs(high)):
        room = abs(high) * 0.1 or 1.0
        return low - room, high + room
    bottom = 0.0 if 0 <= low <= 0.4 * height else low - 0.06 * height
    return bottom, high + 0.08 * height


def _forecast(analysis: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what is expected on the way to the horizon, or at least there; nothing where nothing can be said."""
    steps = analysis["course"] or [analysis["forecast"]]
    return [step for step in steps if step["value"] is not None]


def _setpoint(analysis: Mapping[str, Any]) -> float | None:
    crossing = analysis["crossing"]
    return None if crossing is None else float(crossing["setpoint"])


def _strongest(marks: list[Mapping[str, Any]], by: str) -> list[Mapping[str, Any]]:
    return sorted(marks, key=lambda mark: -abs(mark[by]))[:MOST_MARKS]


def _counted(shown: int, whole: int, one: str, many: str) -> str:
    return f"{shown} of {whole:,} {many}" if shown < whole else f"1 {one}" if whole == 1 else f"{whole:,} {many}"


def _plain(text: str) -> str:
    """Return a text without what no XML and no font has."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
