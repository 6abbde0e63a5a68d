"""Times and spans on the command line: as a program writes them, as a person does, or as an age."""

from __future__ import annotations

import datetime as dt
import math
import re
import time

import click

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
"""Seconds of what an age is counted in."""


def read_moment(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Return the Unix time that an option names, ``None`` if it is not given; to be an option's callback.

    Unix seconds, an ISO 8601 time, which is local if it names no zone, or an age such as ``90s``, ``2h`` or ``7d``.

    Raises:
        click.BadParameter: It is none of these.
    """
    if value is None:
        return None
    age = _span(value)
    if age is not None:
        return time.time() - age
    for read in (float, _from_iso):
        try:
            moment = read(value)
        except (ValueError, OverflowError, OSError):
            continue
        if math.isfinite(moment):
            return moment
    wanted = "Unix seconds, a time as 2026-08-01T12:00, or an age as 90s, 30m, 2h, 7d or 4w"
    raise click.BadParameter(f"expected {wanted}, got {value!r}", ctx, param)


def read_span(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Return the seconds that an option names, ``None`` if it is not given; to be an option's callback.

    Seconds, or a span such as ``90s``, ``2h`` or ``7d``.

    Raises:
        click.BadParameter: It is none of these, or no time at all.
    """
    if value is None:
        return None
    span = _span(value)
    if span is None:
        try:
            span = float(value)
        except ValueError:
            span = math.nan
    if math.isfinite(span) and span > 0:
        return span
    raise click.BadParameter(f"expected seconds, or a span as 90s, 30m, 24h, 7d or 4w, got {value!r}", ctx, param)


def write_moment(unix: float) -> str:
    """Write a Unix time for people: local, to the second, with its distance from UTC."""
    return dt.datetime.fromtimestamp(unix).astimezone().isoformat(sep=" ", timespec="seconds")


def _span(text: str) -> float | None:
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)([smhdw])\s*", text, re.ASCII)
    return None if found is None else float(found[1]) * UNITS[found[2]]


def _from_iso(text: str) -> float:
    return dt.datetime.fromisoformat(text).timestamp()
