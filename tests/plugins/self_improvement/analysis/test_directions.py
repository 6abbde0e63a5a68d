"""Tests of the table of good directions."""

import pytest

from aetherra.plugins.self_improvement.analysis.directions import good_direction


class TestGoodDirection:
    @pytest.mark.parametrize(
        ("name", "direction"),
        [
            ("process.cpu", "down"),
            ("process.rss", "down"),
            ("process.open_files", "unknown"),
            ("process.open_files_used", "down"),
            ("process.threads", "unknown"),
            ("process.gc_pause", "down"),
            ("process.context_switches_involuntary", "down"),
            ("process.page_faults_major", "down"),
            ("host.load", "down"),
            ("host.memory_available", "up"),
            ("host.disk_free", "up"),
            ("host.disk_free_bytes", "up"),
            ("host.pressure_cpu", "down"),
            ("host.pressure_memory", "down"),
            ("host.pressure_io", "down"),
            ("loop.lag", "down"),
            ("queue.high.depth", "down"),
            ("queue.depth_ratio", "down"),
            ("queue.oldest_age", "down"),
            ("queue.high.wait_p95", "down"),
            ("actions.overrunning", "down"),
            ("dlq.rate", "down"),
            ("actions.failed_ratio", "down"),
            ("calls.error_ratio", "down"),
            ("calls.roundtrip", "down"),
            ("bus.dropped", "down"),
            ("services.available", "up"),
            ("plugins.failed", "down"),
            ("dlq.depth", "down"),
            ("health.score", "up"),
        ],
    )
    def test_the_host_knows_its_own_metrics(self, name: str, direction: str) -> None:
        """Every metric of the host has the direction its owner would name."""
        assert good_direction(name) == direction

    def test_a_strange_metric_is_unknown(self) -> None:
        """Nobody's metric gets no guess."""
        assert good_direction("greeter.moods", "moods") == "unknown"

    def test_the_unit_answers_where_the_name_does_not(self) -> None:
        """A count of errors is better when lower, whatever it is called."""
        assert good_direction("greeter.stumbles", "errors/s") == "down"

    def test_a_name_that_ends_in_a_known_word_is_known(self) -> None:
        """Other plugins' metrics are judged by the words they use."""
        assert good_direction("shop.checkout_latency_p99", "seconds") == "down"
        assert good_direction("shop.cache_hit_ratio", "ratio") == "up"

    def test_an_override_wins_over_the_table(self) -> None:
        """The host has the last word."""
        assert good_direction("process.cpu", "ratio", {"process.*": "near"}) == "near"

    def test_an_exact_override_wins_over_an_earlier_pattern(self) -> None:
        """The more exact of two overrides counts, wherever it stands."""
        assert good_direction("process.cpu", "ratio", {"process.*": "near", "process.cpu": "up"}) == "up"

    def test_an_override_of_another_metric_changes_nothing(self) -> None:
        """Overrides reach only what they name."""
        assert good_direction("process.cpu", "ratio", {"host.*": "up"}) == "down"
