"""Times on the command line."""

from __future__ import annotations

import datetime as dt
import time

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.kernel.cli.moment import UNITS, read_moment, read_span, write_moment

OPTION = click.Option(["--since"])
CONTEXT = click.Context(click.Command("list"))


def read(text: str) -> float:
    moment = read_moment(CONTEXT, OPTION, text)
    assert moment is not None
    return moment


class TestMoment:
    @given(unix=st.floats(0, 4e9))
    def test_unix_seconds_are_what_they_are(self, unix: float) -> None:
        """As the letters' own ``ts`` is printed."""
        assert read(repr(unix)) == unix

    @pytest.mark.parametrize(
        ("text", "seconds"), [("90s", 90), ("1.5m", 90), ("2h", 7200), ("7d", 604_800), ("1w", 604_800), (" 0s ", 0)]
    )
    def test_an_age_counts_back_from_now(self, monkeypatch: pytest.MonkeyPatch, text: str, seconds: float) -> None:
        """In seconds, minutes, hours, days or weeks."""
        monkeypatch.setattr(time, "time", lambda: 1_800_000_000.0)
        assert read(text) == 1_800_000_000.0 - seconds
        assert text.strip()[-1] in UNITS

    def test_a_time_with_a_zone_is_that_moment_and_one_without_is_local(self) -> None:
        """ISO 8601, whole or a date alone."""
        noon = dt.datetime(2026, 8, 1, 12, tzinfo=dt.UTC).timestamp()
        assert read("2026-08-01T12:00:00Z") == read("2026-08-01 14:00+02:00") == noon
        assert read("2026-08-01T12:00") == dt.datetime(2026, 8, 1, 12).astimezone().timestamp()
        assert read("2026-08-01") == dt.datetime(2026, 8, 1).astimezone().timestamp()

    @pytest.mark.parametrize(
        "text", ["", "soon", "2", "-", "2 h", "h", "-2h", "2y", "nan", "inf", "1e999", "2026-13-01"]
    )
    def test_anything_else_is_told_what_was_expected(self, text: str) -> None:
        """With what was given; a number alone is Unix seconds."""
        if text == "2":
            assert read(text) == 2.0
            return
        with pytest.raises(click.BadParameter, match=r"expected Unix seconds.* or an age as 90s"):
            read(text)

    def test_an_option_that_is_not_given_names_no_time(self) -> None:
        """Nothing is asked for."""
        assert read_moment(CONTEXT, OPTION, None) is None

    def test_a_year_that_no_clock_has_is_told_as_well(self) -> None:
        """No error of the system's instead."""
        with pytest.raises(click.BadParameter):
            read("0001-01-01T00:00+14:00x")
        assert isinstance(read("0001-01-01T00:00Z"), float)


class TestSpan:
    @pytest.mark.parametrize(
        ("text", "seconds"), [("90", 90), ("0.5", 0.5), ("90s", 90), ("1.5m", 90), ("24h", 86_400), ("7d", 604_800)]
    )
    def test_seconds_need_no_unit(self, text: str, seconds: float) -> None:
        """A bare number is seconds; minutes, hours, days and weeks are said."""
        assert read_span(CONTEXT, OPTION, text) == seconds

    @pytest.mark.parametrize("text", ["", "0", "0h", "-5", "nan", "inf", "1e999", "week", "7 d", "2026-08-01"])
    def test_no_time_at_all_is_refused(self, text: str) -> None:
        """With what was expected and what was given."""
        with pytest.raises(click.BadParameter, match="expected seconds, or a span as 90s"):
            read_span(CONTEXT, OPTION, text)

    def test_an_option_that_is_not_given_names_no_span(self) -> None:
        """The command's own default counts."""
        assert read_span(CONTEXT, OPTION, None) is None


class TestWriting:
    @given(unix=st.integers(0, 4_000_000_000))
    def test_what_is_written_is_read_as_the_same_moment(self, unix: int) -> None:
        """It names its zone, so that it can be given back to an option."""
        assert read(write_moment(unix)) == unix
