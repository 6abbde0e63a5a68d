"""The settings of self-improvement, as they stand in a configuration."""

from __future__ import annotations

import pytest

from aetherra.kernel import Config, ConfigError
from aetherra.plugins.self_improvement.history import Retention
from aetherra.plugins.self_improvement.proposals import Setpoint
from aetherra.plugins.self_improvement.settings import GUARDS, SelfImprovementSettings, TrialSettings


def read(**section):
    config = Config.parse({"plugins": {"self_improvement": section}})
    return config.plugin_settings("self_improvement", SelfImprovementSettings)


def test_the_figures_of_the_issue_are_others():
    """An analysis every five minutes over a day, above a confidence of 0.6, at most ten open ones."""
    settings = read()

    assert (settings.analysis_interval, settings.window) == (300.0, 86_400.0)
    assert (settings.confidence_threshold, settings.max_proposals) == (0.6, 10)
    assert (settings.mode, settings.retention, settings.trial) == (None, Retention(), TrialSettings())
    assert settings.trial.guards == dict(GUARDS)


def test_a_setting_gets_lost():
    """Each stands where it was put."""
    settings = read(
        retention={"raw": 60.0, "max_metrics": 5},
        setpoints={"plant.latency": {"good": 0.2, "bad": 2.0}, "loop.lag": None},
        directions={"plant.*": "up"},
        trial={"after": 30.0, "guards": {"plant.errors": "down"}},
        mode="off",
    )

    assert (settings.retention.raw, settings.retention.max_metrics) == (60.0, 5)
    assert settings.setpoints == {"plant.latency": Setpoint(0.2, 2.0), "loop.lag": None}
    assert settings.directions == {"plant.*": "up"}
    assert (settings.trial.after, settings.trial.before) == (30.0, TrialSettings().before)
    assert (settings.trial.guards, settings.mode) == ({"plant.errors": "down"}, "off")


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({"retention": {"raw": -1.0}}, "retention"),
        ({"retention": {"raw": 99.0, "minutes": 9.0}}, "raw <= minutes <= hours"),
        ({"retention_days": 3.0}, "retention"),
        ({"directions": {"x": "sideways"}}, "directions"),
        ({"analysis_interval": 0.0}, "analysis_interval"),
        ({"confidence_threshold": 1.5}, "confidence_threshold"),
        ({"max_proposals": -1}, "max_proposals"),
        ({"mode": "sometimes"}, "mode"),
        ({"setpoints": {"m": {"good": 1.0, "bad": 1.0}}}, "two different"),
        ({"setpoints": {"m": {"good": 1.0, "bad": 2.0, "worse": 3.0}}}, "worse"),
        ({"trial": {"after": 0.0}}, "after"),
        ({"trial": {"every": 0.0}}, "every"),
        ({"trial": {"patience": 1.0}}, "patience"),
        ({"trial": {"guards": {"m": "near"}}}, "guards"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_a_setting_that_cannot_be_is_taken(section, says):
    """It is an error that says where."""
    with pytest.raises(ConfigError, match=says):
        read(**section)


def test_guards_of_one_host_are_those_of_another():
    """The default is a table of its own for each."""
    one, other = TrialSettings(), TrialSettings()
    one.guards["m"] = "up"

    assert "m" not in other.guards
    assert "m" not in GUARDS
