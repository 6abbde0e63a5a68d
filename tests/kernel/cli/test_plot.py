"""Metrics drawn: real files, read back."""

from __future__ import annotations

import math
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import strategies as st

from aetherra.kernel.cli import plot
from aetherra.kernel.cli.plot import write_plot

START = 1_800_000_000.0
SVG = "{http://www.w3.org/2000/svg}"
TIMES = st.floats(0, 1e6).map(lambda at: START + at)
POINTS = st.lists(st.tuples(TIMES, st.floats(allow_nan=False, allow_infinity=False)), max_size=400).map(sorted)


def series(values: list[float], step: float = 60.0) -> list[tuple[float, float]]:
    return [(START + step * i, value) for i, value in enumerate(values)]


def trend(movement: str = "unknown", slope: float | None = None) -> dict[str, Any]:
    return {
        "direction": "degrading" if movement == "rising" else "stable",
        "movement": movement,
        "slope_per_hour": slope,
        "reason": "rising by 30% (p < 0.001), and less is better",
    }


def report(points: list[tuple[float, float]], *, unit: str = "items", **found: Any) -> dict[str, Any]:
    """Return a reply to ``selfimprovement.metric`` about these points; ``found`` says what the analysis did."""
    analysis = {
        "trend": trend(),
        "change_points": [],
        "outliers": [],
        "forecast": {"at": START, "value": None, "low": None, "high": None, "coverage": 0.9},
        "course": [],
        "crossing": None,
        **found,
    }
    return {
        "name": analysis.pop("name", "queue.depth"),
        "unit": unit,
        "window": 3600.0,
        "points": points,
        "anomalies": analysis.pop("anomalies", []),
        "analysis": analysis,
    }


def full() -> dict[str, Any]:
    """Return a reply in which everything was found."""
    points = series([10 + (i % 5) + (20 if i >= 60 else 0) for i in range(120)])
    points[30] = (points[30][0], 25.0)
    end = points[-1][0]
    return report(
        points,
        trend=trend("rising", 12.0),
        change_points=[{"timestamp": points[60][0], "before": 12.0, "after": 32.0}],
        outliers=[{"timestamp": points[30][0], "value": 25.0, "deviation": 8.0}],
        anomalies=[{"metric": "queue.depth", "timestamp": points[60][0], "value": 30.0, "score": 0.9}],
        forecast={"at": end + 3000, "value": 37.0, "low": 30.0, "high": 44.0, "coverage": 0.9},
        crossing={"setpoint": 34.0, "earliest": end + 300, "expected": end + 1200, "latest": None},
    )


def drawn(folder: Path, what: dict[str, Any], name: str = "plot.svg") -> Path:
    file = folder / name
    write_plot(what, file, until=START)
    return file


def elements(file: Path) -> dict[str, ET.Element]:
    """Return what an SVG file has under a name."""
    return {found: each for each in ET.parse(file).iter() if (found := each.get("id"))}


def texts(file: Path) -> list[str]:
    return [each.text or "" for each in ET.parse(file).iter(f"{SVG}text")]


def size_of_png(file: Path) -> tuple[int, int]:
    """Return width and height of a PNG file, each of whose parts must be whole."""
    data = file.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    at, kinds = 8, list[bytes]()
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kinds.append(data[at + 4 : at + 8])
        assert zlib.crc32(data[at + 4 : at + 8 + length]) == struct.unpack_from(">I", data, at + 8 + length)[0]
        at += 12 + length
    assert (kinds[0], kinds[-1]) == (b"IHDR", b"IEND")
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


DRAWN = {"points", "trend", "levels", "changes", "outliers", "anomalies", "forecast", "forecast-band", "setpoint"}


class TestDrawing:
    def test_something_that_was_found_is_not_drawn(self, tmp_path: Path) -> None:
        """Each finding is an element of its own, and the legend has a word for it, in units that read well."""
        file = drawn(tmp_path, full())
        assert elements(file).keys() >= DRAWN | {"crossing"}
        said = texts(file)
        assert "queue.depth" in said
        assert "degrading: rising by 30% (p < 0.001), and less is better" in said
        assert "items" in said
        assert {"120 points", "levels, 1 change", "1 outlier", "1 anomaly", "setpoint 34 items"} <= set(said)
        assert "trend: rising, +12 items an hour" in said
        assert "2027-01-15 08:00 to 2027-01-15 09:59 UTC" in said
        assert "forecast to cross it 15 Jan 10:19" in said

    def test_something_is_drawn_that_was_not_found(self, tmp_path: Path) -> None:
        """What there is nothing of has no element and no entry of the legend."""
        file = drawn(tmp_path, report(series([1.0, 2.0, 1.5] * 10)))
        assert not elements(file).keys() & (DRAWN - {"points"})
        assert "points" in elements(file)
        assert not any(word in " ".join(texts(file)) for word in ("anomal", "outlier", "setpoint", "forecast"))

    def test_a_flat_trend_looks_like_a_movement(self, tmp_path: Path) -> None:
        """Its line is level, whatever slope was measured, and is named flat."""
        file = drawn(tmp_path, report(series([1.0, 2.0, 3.0, 4.0] * 5), trend=trend("flat", 40.0)))
        assert "trend: flat" in texts(file)
        path = elements(file)["trend"].find(f"{SVG}path")
        assert path is not None
        heights = path.attrib["d"].split()[2::3]
        assert len(set(heights)) == 1

    def test_a_png_is_not_whole(self, tmp_path: Path) -> None:
        """It is a PNG of the size of a slide, every part with its checksum."""
        width, height = size_of_png(drawn(tmp_path, full(), "plot.PNG"))
        assert (width, height) == (1760, 896)

    @pytest.mark.parametrize("ending", plot.ENDINGS)
    def test_the_same_reply_makes_other_bytes(self, tmp_path: Path, ending: str) -> None:
        """No date, no random name: two files of one reply can be compared."""
        first, second = (drawn(tmp_path, full(), f"{n}{ending}") for n in (1, 2))
        assert first.read_bytes() == second.read_bytes()

    def test_the_way_to_a_forecast_has_no_band(self, tmp_path: Path) -> None:
        """Several forecasts are a band; one that says nothing is left out."""
        steps = [
            {"at": START + 7200 + 60 * k, "value": 2.0, "low": 1.0, "high": 3.0, "coverage": 0.5} for k in range(9)
        ]
        steps.append({**steps[0], "at": START + 9000, "value": None, "low": None, "high": None})
        file = drawn(tmp_path, report(series([1.0, 2.0] * 60), course=steps))
        assert "forecast, 50% interval" in texts(file)
        (band,) = (path.attrib["d"] for path in elements(file)["forecast-band"].iter(f"{SVG}path"))
        assert band.count("L") == 2 * 9 + 1

    def test_a_band_ends_before_the_edge(self, tmp_path: Path) -> None:
        """Of a forecast that goes on beyond it, the band does, too."""
        steps = [
            {"at": START + 3600 + 900 * k, "value": 2.0, "low": 1.0, "high": 3.0, "coverage": 0.5} for k in range(50)
        ]
        file = drawn(tmp_path, report(series([1.0, 2.0] * 30), course=steps))
        (band,) = (path.attrib["d"] for path in elements(file)["forecast-band"].iter(f"{SVG}path"))
        frame = elements(file)["patch_2"].find(f"{SVG}path")
        assert frame is not None
        assert max(map(float, band.split()[1::3])) >= max(map(float, frame.attrib["d"].split()[1::3]))

    def test_a_far_forecast_presses_the_points_to_the_side(self, tmp_path: Path) -> None:
        """It is drawn as far ahead as the points reach back; the legend says the rest."""
        far = {"at": START + 86_400, "value": 50.0, "low": 40.0, "high": 60.0, "coverage": 0.9}
        file = drawn(tmp_path, report(series([1.0, 2.0] * 30), forecast=far))
        assert "forecast for 16 Jan 08:00: 50, 40 to 60" in texts(file)
        assert "forecast-band" not in elements(file)
        assert {"09:00", "09:30"} <= set(texts(file))
        assert "12:00" not in texts(file)

    def test_a_far_setpoint_presses_the_points_flat(self, tmp_path: Path) -> None:
        """The axis stays with the points; the legend says where the setpoint is."""
        crossing = {"setpoint": 1e6, "earliest": None, "expected": None, "latest": None}
        file = drawn(tmp_path, report(series([1.0, 2.0] * 10), crossing=crossing))
        assert "setpoint 1e+06 items, above what is shown" in texts(file)

    def test_a_line_is_drawn_over_a_gap(self, tmp_path: Path) -> None:
        """Where nothing was measured there is no line."""
        points = series([1.0, 2.0] * 100)
        for name, kept, strokes in (("whole", points, 1), ("gap", points[:80] + points[120:], 2)):
            path = elements(drawn(tmp_path, report(kept), f"{name}.svg"))["points"].find(f"{SVG}path")
            assert path is not None
            assert path.attrib["d"].count("M") == strokes


class TestHardSeries:
    @pytest.mark.parametrize("ending", plot.ENDINGS)
    @pytest.mark.parametrize(
        "values",
        [
            [],
            [3.0],
            [3.0, 4.0],
            [7.0] * 100,
            [0.0] * 100,
            [1.7e308 * math.sin(i) for i in range(100)],
            [sys.float_info.max, -sys.float_info.max] * 10,
            [5e-324 * i for i in range(100)],
            [1e9 + i % 7 / 1000 for i in range(100)],
            [-5.0, -6.0, -7.0],
        ],
        ids=["none", "one", "two", "constant", "zero", "huge", "largest", "tiny", "offset", "negative"],
    )
    def test_a_hard_series_is_not_drawn(self, tmp_path: Path, values: list[float], ending: str) -> None:
        """No points, few, constants and the ends of what a float can be: each makes a file, without a warning."""
        file = drawn(tmp_path, report(series(values), trend=trend("flat", 0.0)), f"plot{ending}")
        if ending == ".png":
            assert size_of_png(file) == (1760, 896)
        else:
            assert ("points" in elements(file)) == bool(values)
            assert ("no points in this window" in texts(file)) == (not values)

    def test_a_name_breaks_the_picture(self, tmp_path: Path) -> None:
        """It is no formula, no markup and no control character, and other alphabets are as good."""
        for name in ("a.$x_1$.b", "<b>&amp;", "bell\x07 \x00", "応答.時間", "a" * 200, "$"):
            file = drawn(tmp_path, report(series([1.0, 2.0, 3.0]), name=name, unit=name))
            shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in name)
            assert shown in texts(file) or shown[:89] + "…" in texts(file)
            size_of_png(drawn(tmp_path, report(series([1.0, 2.0, 3.0]), name=name, unit=name), "plot.png"))

    def test_a_long_history_makes_a_long_file(self, tmp_path: Path) -> None:
        """100,000 points take no more room than can be seen, and the highest of them still is."""
        points = series([math.sin(i / 500) + (i * 7919 % 101) / 200 for i in range(100_000)])
        points[54_321] = (points[54_321][0], 3.0)
        marks = [{"timestamp": at, "value": value, "score": 0.6} for at, value in points[::20]]
        file = drawn(tmp_path, report(points, anomalies=marks))
        assert file.stat().st_size < 400_000
        assert "500 of 5,000 anomalies" in texts(file)
        ticks = [
            float(text.replace("\N{MINUS SIGN}", "-"))
            for text in texts(file)
            if text[-1:].isdigit() and ":" not in text
        ]
        assert max(ticks) >= 3.0


class TestFiles:
    def test_a_file_is_left_half_written(self, tmp_path: Path) -> None:
        """What was there before stays as it was, and nothing lies beside it."""
        taken = tmp_path / "taken.png"
        taken.mkdir()
        with pytest.raises(OSError, match=r"taken\.png"):
            drawn(tmp_path, full(), "taken.png")
        broken = full()
        del broken["analysis"]["outliers"]
        before = drawn(tmp_path, full(), "kept.svg").read_bytes()
        with pytest.raises(KeyError):
            drawn(tmp_path, broken, "kept.svg")
        assert (tmp_path / "kept.svg").read_bytes() == before
        assert sorted(each.name for each in tmp_path.iterdir()) == ["kept.svg", "taken.png"]

    def test_a_folder_that_is_not_there_is_made(self, tmp_path: Path) -> None:
        """It is an error instead."""
        with pytest.raises(FileNotFoundError):
            drawn(tmp_path / "nowhere", full())
        assert not list(tmp_path.iterdir())

    def test_nobody_else_may_read_it(self, tmp_path: Path) -> None:
        """A plot has the rights that any new file of this user has."""
        ours = tmp_path / "ours"
        ours.touch()
        assert drawn(tmp_path, full()).stat().st_mode == ours.stat().st_mode

    def test_matplotlib_is_changed_for_others(self, tmp_path: Path) -> None:
        """Its settings are as they were, and neither pyplot nor a display is asked for."""
        program = f"""
import sys
from pathlib import Path
from aetherra.kernel.cli import metrics, plot
assert "matplotlib" not in sys.modules
import matplotlib
def settings(): return {{key: matplotlib.rcParams[key] for key in matplotlib.rcParams if key != "backend"}}
before = settings()
from tests.kernel.cli.test_plot import full
plot.write_plot(full(), Path({str(tmp_path / "plot.svg")!r}))
assert settings() == before
assert not [name for name in sys.modules if "pyplot" in name or "tkagg" in name]
"""
        root = Path(__file__).parents[3]
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", program], cwd=root, check=False, capture_output=True
        )
        assert (done.returncode, done.stderr) == (0, b"")
