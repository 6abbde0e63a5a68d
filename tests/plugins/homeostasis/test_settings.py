"""The settings of homeostasis, as they stand in a configuration."""

from __future__ import annotations

from typing import Any

import pytest

from aetherra.kernel import Config, ConfigError
from aetherra.plugins.homeostasis.decision.defaults import DEFAULT_POLICY
from aetherra.plugins.homeostasis.settings import HomeostasisSettings

HOT = {"metric": "thermostat.temperature", "bad_above": 90.0}
RATE = {"metric": "plugin.*.call_rate", "bad_above": 1, "ladder": [{"action": "restart_plugin"}]}


def read(**section: Any) -> HomeostasisSettings:
    return Config.parse({"plugins": {"homeostasis": section}}).plugin_settings("homeostasis", HomeostasisSettings)


def test_the_built_in_policy_is_changed() -> None:
    """Without settings it is what ships."""
    assert read().policy() == DEFAULT_POLICY


def test_a_setting_gets_lost() -> None:
    """Each has its place in the policy."""
    policy = read(
        rules={"hot": HOT, "blocking": None},
        slos={"answers": {"metric": "calls.error_ratio", "target": 0.99, "burn": 10.0}},
        knobs={"workers": None},
        limits={"restart_plugin": 0.25},
        quarantine={"rest": 60.0},
        flap_budget=3,
        actuators={"corrector": "act", "set_workers": "observe"},
    ).policy()

    assert policy.rules.keys() == {*DEFAULT_POLICY.rules, "hot"} - {"blocking"}
    assert (policy.slos.keys(), policy.knobs) == ({"answers"}, {})
    assert policy.limits == {**DEFAULT_POLICY.limits, "restart_plugin": 0.25}
    assert (policy.quarantine.rest, policy.flap_budget) == (60.0, 3)


@pytest.mark.parametrize(
    ("section", "says"),
    [
        (
            {"rules": {"well": HOT, "hot": {**HOT, "enter": [2.5, 3]}}},
            ".rules.hot.enter[0]`: expected `int`, got `float`",
        ),
        ({"rules": {"hot": {**HOT, "enter": [3, 2]}}}, ".rules.hot`: expected enter as n of m"),
        ({"rules": {"hot": {**HOT, "entre": [1, 2]}}}, ".rules.hot`: unknown key 'entre'; did you mean 'enter'?"),
        ({"rules": {"hot": {**HOT, "xyz": 1}}}, ".rules.hot`: unknown key 'xyz'; expected one of metric, bad_above, "),
        ({"rules": {"hot": {**HOT, "plausible": [0, 5]}}}, ".rules.hot`: expected a plausible range of"),
        (
            {"rules": {"hot": {**HOT, "given": [{"metric": "a..b", "above": 1}]}}},
            ".rules.hot.given[0]`: expected names",
        ),
        ({"rules": {"hot": RATE}}, "`: rules.hot: 'restart_plugin' is disruptive and only"),
        ({"rules": {"blokcing": None}}, "`: rules.blokcing: null leaves a built-in one out"),
        ({"rules": {"wedged": None, "hot": {**HOT, "masks": ["wedged"]}}}, "`: rules.hot.masks: "),
        ({"knobs": {"k": {"action": "set_workers"}}}, ".knobs.k`: object missing required field `metric`"),
        ({"slos": {"kept": {"metric": "m", "target": 2}}}, ".slos.kept`: expected a target between 0 and 1"),
        ({"actuators": {"restart_plugn": "act"}}, "`: actuators.restart_plugn: there is no actuator"),
        (
            {"actuators": {"set_workers": "atc"}},
            ".actuators.set_workers`: invalid enum value 'atc'; expected one of 'act'",
        ),
        ({"limits": {"nope": 1}}, "`: limits.nope: there is no actuator 'nope'; there are"),
        ({"limits": {"corrector": 1}}, "`: limits.corrector: there is no actuator"),
        ({"limits": {"set_workers": -1}}, ".limits.set_workers`: expected `float` >= 0"),
        (
            {"setpoints": {"calls": {"good": 1, "bad": 0, "wieght": 1}}},
            ".setpoints.calls`: unknown key 'wieght'; did you",
        ),
        ({"runlevels": {"sty": 1}}, ".runlevels`: unknown key 'sty'; did you mean 'stay'?"),
        ({"quarantine": {"failures": 9}}, ".quarantine`: expected 1 <= failures <= minimum"),
        (
            {"corrector": {"allow_modules": {"yaml": "PyYAML; rm -rf"}}},
            ".corrector`: allow_modules.yaml: expected a requ",
        ),
        *(
            ({name: 1e-9}, f".{name}`: expected `float` >= 0.05")
            for name in ("interval", "cycle_limit", "history_interval", "forward_interval", "dlq_interval")
        ),
    ],
)
def test_a_mistake_is_told_without_its_place(section: dict[str, Any], says: str) -> None:
    """What cannot work is refused at the start, by the rule, knob or SLO that is wrong and what was expected."""
    with pytest.raises(ConfigError) as found:
        read(**section)
    assert f"`$.plugins.homeostasis{says}" in str(found.value)
