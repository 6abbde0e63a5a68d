"""Metrics in Prometheus' text form, version 0.0.4: owns the names, the escaping and the order of lines.

The form: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from aetherra.plugins.homeostasis.messages import Metric

__all__ = ["Counts", "exposition"]

LABELS: Mapping[str, str] = {"plugin": "plugin", "queue": "lane", "service": "service"}
"""Of ``plugin.<name>.in_hand`` the middle is a label, as it varies, and so with the others: by the first word."""
_STRANGE = re.compile(r"[^a-zA-Z0-9_]")
_UNIT_WORDS = {"s": "seconds", "1/s": "per second", "ratio": "ratio", "": ""}


class Counts(NamedTuple):
    """What homeostasis counted since it started; each is a counter of its own.

    Attributes:
        errors_detected: Errors that were found in logs.
        fixes_successful: Corrections that were seen to have changed what they should.
        metrics_forwarded: Readings that self-improvement has taken.
    """

    errors_detected: int
    fixes_successful: int
    metrics_forwarded: int


class _Family(NamedTuple):
    """One metric of Prometheus with its samples, by labels as they are written."""

    kind: Literal["gauge", "counter"]
    explained: str
    samples: dict[str, float]


def exposition(metrics: Mapping[str, Metric], *, health: float | None, counts: Counts) -> str:
    """Return the text that a scrape gets.

    A metric is a gauge ``aetherra_<its name>``, with its dots and whatever else a name may not hold as underscores, and
    the part that varies as a label. What is UNKNOWN is left out, not 0, and counted in ``aetherra_metrics_unknown``.
    Metrics that would have the same name and labels are told apart by a label ``metric`` with the whole name.

    Args:
        metrics: All readings, by name.
        health: The host's, 0 to 1; ``None`` if nobody knows.
        counts: What was counted.
    """
    known = {
        name: metric for name, metric in metrics.items() if metric.value is not None and metric.value == metric.value
    }
    own = _own_families(health, counts, unknown=len(metrics) - len(known))
    families: dict[str, _Family] = {}
    for name in sorted(known):
        metric = known[name]
        assert metric.value is not None
        family_name, labels = _named(name)
        if family_name in own:
            family_name += "_metric"
        unit = _UNIT_WORDS.get(metric.unit, metric.unit)
        explained = f"Reading {_pattern(name)!r}" + (f" in {unit}." if unit else ".")
        family = families.setdefault(family_name, _Family("gauge", explained, {}))
        written = _written(labels)
        if written in family.samples:
            written = _written({**labels, "metric": name})
        family.samples[written] = metric.value
    lines = [line for name, family in (*own.items(), *sorted(families.items())) for line in _lines(name, family)]
    return "\n".join([*lines, ""])


def _own_families(health: float | None, counts: Counts, unknown: int) -> dict[str, _Family]:
    gauges: list[tuple[str, str, float | None]] = [
        ("aetherra_system_health", "Health of the host, from 0 (useless) to 1 (well).", health),
        ("aetherra_metrics_unknown", "Readings of the last cycle that have no value, and are left out here.", unknown),
    ]
    counters: list[tuple[str, str, int]] = [
        ("aetherra_errors_detected", "Errors found in logs since the start.", counts.errors_detected),
        ("aetherra_fixes_successful", "Corrections that were seen to work since the start.", counts.fixes_successful),
        (
            "aetherra_metrics_forwarded",
            "Readings that self-improvement took since the start.",
            counts.metrics_forwarded,
        ),
    ]
    families = {name: _Family("counter", text, {"": value}) for name, text, value in counters}
    families |= {name: _Family("gauge", text, {"": value}) for name, text, value in gauges if value is not None}
    return dict(sorted(families.items()))


def _named(name: str) -> tuple[str, dict[str, str]]:
    """Return the family and the labels of a metric."""
    first, *rest = name.split(".")
    label = LABELS.get(first)
    if label is None or len(rest) < 2:
        return f"aetherra_{_STRANGE.sub('_', name)}", {}
    return f"aetherra_{first}_{_STRANGE.sub('_', rest[-1])}", {label: ".".join(rest[:-1])}


def _pattern(name: str) -> str:
    """Return a metric's name with ``*`` for what varies, so that one text explains all of a family."""
    first, *rest = name.split(".")
    return f"{first}.*.{rest[-1]}" if first in LABELS and len(rest) > 1 else name


def _written(labels: Mapping[str, str]) -> str:
    pairs = ",".join(f'{name}="{_escaped(value, quotes=True)}"' for name, value in labels.items())
    return f"{{{pairs}}}" if pairs else ""


def _lines(name: str, family: _Family) -> Iterable[str]:
    yield f"# HELP {name} {_escaped(family.explained, quotes=False)}"
    yield f"# TYPE {name} {family.kind}"
    for labels, value in family.samples.items():
        yield f"{name}{labels} {_figure(value)}"


def _escaped(text: str, *, quotes: bool) -> str:
    """Escape as the form asks; half a character, which UTF-8 cannot hold, is written out."""
    text = text.encode("utf-8", "backslashreplace").decode()
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quotes else text


def _figure(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(float(value))
