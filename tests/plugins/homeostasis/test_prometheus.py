"""Tests of the text for Prometheus, read by the parser of its own client and by the letter of its grammar."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from aetherra.plugins.homeostasis.messages import Metric
from aetherra.plugins.homeostasis.prometheus import Counts, exposition

COUNTS = Counts(errors_detected=3, fixes_successful=2, metrics_forwarded=70)
NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
LINE = re.compile(
    rf"# HELP {NAME} (?:[^\\\n]|\\[\\n])*"
    rf"|# TYPE {NAME} (?:gauge|counter)"
    rf"|{NAME}(?:\{{{LABEL}(?:,{LABEL})*\}})? (?:[+-]Inf|-?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)"
)
"""A line of ours; a timestamp is none."""

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scraped(text: str) -> Samples:
    """Return the samples of a text by name and labels, and see that it keeps to the grammar."""
    assert text.endswith("\n")
    lines = text.split("\n")[:-1]
    assert [line for line in lines if not LINE.fullmatch(line)] == []
    typed = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(typed) == len(set(typed))
    heads = [line.split("{")[0].split()[0] for line in lines if not line.startswith("#")]
    assert [name for index, name in enumerate(heads) if index == 0 or heads[index - 1] != name] == typed
    samples: Samples = {}
    for family in text_string_to_metric_families(text):
        assert family.type in ("gauge", "counter")
        assert family.documentation
        for sample in family.samples:
            assert sample.timestamp is None
            name = sample.name.removesuffix("_total") if family.type == "counter" else sample.name  # which it adds
            key = (name, tuple(sample.labels.items()))
            assert key not in samples
            assert name in typed
            samples[key] = sample.value
    return samples


def names(samples: Samples) -> set[str]:
    """Return the names of samples."""
    return {name for name, _ in samples}


class TestOwnMetrics:
    def test_a_name_of_the_promise_is_missing(self) -> None:
        """The names that were promised are there, as counters and gauges, with what was counted."""
        text = exposition({}, health=0.75, counts=COUNTS)
        assert scraped(text) == {
            ("aetherra_system_health", ()): 0.75,
            ("aetherra_errors_detected", ()): 3,
            ("aetherra_fixes_successful", ()): 2,
            ("aetherra_metrics_forwarded", ()): 70,
            ("aetherra_metrics_unknown", ()): 0,
        }
        assert "# TYPE aetherra_errors_detected counter" in text
        assert "# TYPE aetherra_system_health gauge" in text

    def test_an_unknown_health_is_a_figure(self) -> None:
        """Nobody knows is not 0: it is left out."""
        assert "aetherra_system_health" not in names(scraped(exposition({}, health=None, counts=COUNTS)))


class TestMetrics:
    @pytest.mark.parametrize(
        ("metric", "name", "labels"),
        [
            ("process.rss", "aetherra_process_rss", ()),
            ("queue.depth_ratio", "aetherra_queue_depth_ratio", ()),
            ("queue.background.wait_p95", "aetherra_queue_wait_p95", (("lane", "background"),)),
            ("plugin.greeter.error_ratio", "aetherra_plugin_error_ratio", (("plugin", "greeter"),)),
            ("service.self.made.rtt_p95", "aetherra_service_rtt_p95", (("service", "self.made"),)),
            ("greeter.greetings.per-day", "aetherra_greeter_greetings_per_day", ()),
            ("plugin.count", "aetherra_plugin_count", ()),
        ],
    )
    def test_a_metric_has_another_name(self, metric: str, name: str, labels: tuple[tuple[str, str], ...]) -> None:
        """Dots become underscores, what varies becomes a label."""
        samples = scraped(exposition({metric: Metric(1.5, "s")}, health=1.0, counts=COUNTS))
        assert samples[name, labels] == 1.5

    def test_a_family_is_torn(self) -> None:
        """All of one name stand together, under one HELP and TYPE."""
        metrics = {f"plugin.{name}.{what}": Metric(1.0, "s") for name in "abc" for what in ("in_hand", "oldest")}
        text = exposition(metrics, health=1.0, counts=COUNTS)
        assert len(scraped(text)) == 11
        assert text.count("# TYPE aetherra_plugin_in_hand gauge") == 1
        assert "# HELP aetherra_plugin_in_hand Reading 'plugin.*.in_hand' in seconds." in text

    def test_an_unknown_metric_is_a_figure(self) -> None:
        """It is left out, and counted."""
        metrics = {"a.b": Metric(None, "s", "why"), "a.c": Metric(math.nan, "s"), "a.d": Metric(0.0, "s")}
        samples = scraped(exposition(metrics, health=1.0, counts=COUNTS))
        assert samples["aetherra_metrics_unknown", ()] == 2
        assert samples["aetherra_a_d", ()] == 0
        assert {"aetherra_a_b", "aetherra_a_c"} & names(samples) == set()

    def test_two_of_one_name_hide_each_other(self) -> None:
        """They are told apart by their whole names."""
        samples = scraped(
            exposition(
                {"a.b": Metric(1.0, ""), "a-b": Metric(2.0, ""), "a_b": Metric(3.0, "")}, health=1, counts=COUNTS
            )
        )
        found = [(labels, value) for (name, labels), value in samples.items() if name == "aetherra_a_b"]
        assert found == [((), 2.0), ((("metric", "a.b"),), 1.0), ((("metric", "a_b"),), 3.0)]

    def test_a_plugin_speaks_for_the_host(self) -> None:
        """A metric that happens to be called like one of ours has a name of its own."""
        samples = scraped(exposition({"system.health": Metric(0.1, "")}, health=0.9, counts=COUNTS))
        assert samples["aetherra_system_health", ()] == 0.9
        assert samples["aetherra_system_health_metric", ()] == 0.1

    @pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb", "a}b", "a b", "ä", "a{b,c='d'", ""])
    def test_a_label_breaks_its_line(self, name: str) -> None:
        """Whatever stands in a name comes back as it was."""
        samples = scraped(exposition({f"plugin.{name}.x": Metric(1.0, "")}, health=1.0, counts=COUNTS))
        assert samples["aetherra_plugin_x", (("plugin", name),)] == 1.0

    @pytest.mark.parametrize("value", [0.0, -0.5, 1e300, 2.0**60, 5e-324, math.inf, -math.inf, 0.1, 1e16, 3])
    def test_a_value_comes_back_as_another(self, value: float) -> None:
        """Each float is written so that it is read as itself."""
        assert scraped(exposition({"a": Metric(value, "")}, health=1.0, counts=COUNTS))["aetherra_a", ()] == value


TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
METRICS = st.dictionaries(
    st.one_of(TEXTS, st.builds("{}.{}.{}".format, st.sampled_from(["plugin", "queue", "x"]), TEXTS, TEXTS)),
    st.builds(Metric, st.one_of(st.none(), st.floats()), TEXTS),
    max_size=12,
)


@given(METRICS)
def test_some_names_break_the_form(metrics: dict[str, Metric]) -> None:
    """Any metrics give a text that keeps to the form and loses none that is known."""
    samples = scraped(exposition(metrics, health=1.0, counts=COUNTS))
    known = [metric.value for metric in metrics.values() if metric.value is not None and not math.isnan(metric.value)]
    assert samples["aetherra_metrics_unknown", ()] == len(metrics) - len(known)
    assert len(samples) == len(known) + 5


def test_half_a_character_stops_the_scrape() -> None:
    """The text can always be sent, whatever half characters a name or a unit holds."""
    text = exposition({"plugin.a\udcff.x": Metric(1.0, "\udcff")}, health=1.0, counts=COUNTS)
    assert ("aetherra_plugin_x", (("plugin", "a\\udcff"),)) in scraped(text.encode().decode())
