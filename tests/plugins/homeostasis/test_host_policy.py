"""The host's policy, as the settings change it: what the actuators cannot do, and what is not there, is refused."""

from __future__ import annotations

from typing import Any

import pytest

from aetherra.plugins.homeostasis.actuators.all import ACTUATOR_TYPES
from aetherra.plugins.homeostasis.decision import Condition, Knob, Policy, Rule, Rung, Slo
from aetherra.plugins.homeostasis.decision.defaults import DEFAULT_POLICY
from aetherra.plugins.homeostasis.host_policy import check_actuators, lay_over

AGREES = (Condition("calls.errors", above=1.0),)


def laid(
    rules: dict[str, Rule | None] | None = None,
    *,
    slos: dict[str, Slo] | None = None,
    knobs: dict[str, Knob | None] | None = None,
    default: Policy = DEFAULT_POLICY,
) -> Policy:
    return lay_over(default, rules or {}, slos or {}, knobs or {})


def rule(*ladder: Rung, metric: str = "m", **given: Any) -> Rule:
    return Rule(metric, bad_above=1.0, ladder=ladder, **given)


def knob(action: str = "set_workers", metric: str = "m", **given: Any) -> Knob:
    return Knob(action, metric, **{"setpoint": 1.0, "low": 1.0, "high": 8.0, **given})


class TestActuators:
    @pytest.mark.parametrize("kind", [kind for kind in ACTUATOR_TYPES if kind.disruptive], ids=lambda kind: kind.name)
    def test_a_rung_says_that_what_disrupts_does_not(self, kind: Any) -> None:
        """By the actuator's own word it does: it needs another metric that agrees, and is decided as disruptive."""
        bare = rule(Rung(kind.name), metric="plugin.*.call_rate")
        with pytest.raises(ValueError, match=rf"^rules\.hot: '{kind.name}' is disruptive and only .* in confirm"):
            laid({"hot": bare})
        with pytest.raises(ValueError, match=rf"^slos\.kept: '{kind.name}' is disruptive"):
            laid(slos={"kept": Slo("plugin.*.share", target=0.9, burn=5.0, ladder=bare.ladder)})

        confirmed = laid({"hot": rule(*bare.ladder, metric=bare.metric, confirm=AGREES)})
        assert [rung.disruptive for rung in confirmed.rules["hot"].ladder] == [True]

    def test_a_rung_is_less_disruptive_than_it_says(self) -> None:
        """What a person calls disruptive stays so."""
        found = laid({"hot": rule(Rung("shed_background", disruptive=True), confirm=AGREES)})

        assert found.rules["hot"].ladder[0].disruptive

    @pytest.mark.parametrize(
        ("rules", "says"),
        [
            (rule(Rung("restart_plugn")), r"did you mean 'restart_plugin'\?"),
            (
                rule(Rung("shed_background"), Rung("explode")),
                r"action: there is no actuator 'explode'; there are ",
            ),
            (
                rule(Rung("set_workers", {"fctor": 0.5})),
                r"arguments: object contains unknown field fctor; ",
            ),
            (
                rule(Rung("set_workers")),
                r"arguments: expected either value or factor; .* value, factor, lowest, highest",
            ),
            (rule(Rung("set_workers", {"value": "x"})), r"arguments: expected float \| null, got str - at \$.value"),
            (rule(Rung("shed_background", {"x": 1})), "the arguments of 'shed_background' are: none"),
            (rule(Rung("restart_plugin"), metric="loop.lag", confirm=AGREES), "with a '\\*' .* got 'loop.lag'"),
            (rule(Rung("set_lane_weight", {"value": 1})), "must be told what to do it to"),
            (rule(Rung("set_workers", {"value": 1}), metric="a.*.b"), "without '\\*', got 'a.*.b'"),
        ],
    )
    def test_what_an_actuator_cannot_do_is_taken(self, rules: Rule, says: str) -> None:
        """It is refused at the start, where it stands, with what was expected."""
        with pytest.raises(ValueError, match=rf"^rules\.hot\.ladder\[\d\]\..*{says}"):
            laid({"hot": rules})

    @pytest.mark.parametrize(
        ("given", "says"),
        [
            ({"action": "explode"}, "action: there is no actuator 'explode'"),
            (
                {"action": "restart_plugin", "metric": "plugin.*.x"},
                "action: 'restart_plugin' is disruptive, and a knob",
            ),
            ({"action": "restart_plugin"}, "action: 'restart_plugin' must be told what to do it to"),
            ({"action": "release_memory"}, "arguments: object contains unknown field value"),
            ({"arguments": {"factor": 2.0}}, "arguments: expected either value or factor"),
            ({"arguments": {"value": 2.0}}, "arguments: expected no value"),
            ({"log": False, "low": 0.0}, r"arguments: expected float > 0.0 - at \$.value"),
            ({"metric": "a.*.b"}, "action: 'set_workers' is done to the whole host"),
        ],
    )
    def test_a_knob_turns_what_it_cannot(self, given: dict[str, Any], says: str) -> None:
        """Its actuator takes a value, at both ends, and disrupts nothing."""
        with pytest.raises(ValueError, match=rf"^knobs\.k\.{says}"):
            laid(knobs={"k": knob(**given)})

    def test_an_actuator_that_there_is_not_is_named(self) -> None:
        """The nearest is told, or all; what may stand there besides is passed."""
        check_actuators("actuators", ["restart_plugin", "corrector"], "corrector")
        with pytest.raises(ValueError, match=r"^actuators\.restart_plugn: .*; did you mean 'restart_plugin'\?"):
            check_actuators("actuators", ["restart_plugn"])
        with pytest.raises(ValueError, match=r"^limits\.nope: there is no actuator 'nope'; there are .*set_workers"):
            check_actuators("limits", ["nope"])

    def test_the_built_in_policy_cannot_work(self) -> None:
        """It passes all that the settings are held to, and is the same afterwards."""
        assert laid() == DEFAULT_POLICY


class TestLeavingOut:
    @pytest.mark.parametrize("symptom", DEFAULT_POLICY.rules)
    def test_a_rule_that_others_name_cannot_be_left_out(self, symptom: str) -> None:
        """``None`` leaves any out; nothing names it any more, and the rest is as it was."""
        found = laid({symptom: None})

        assert found.rules.keys() == DEFAULT_POLICY.rules.keys() - {symptom}
        for name, plan in found.rules.items():
            before = DEFAULT_POLICY.rules[name]
            assert set(plan.masks) == set(before.masks) - {symptom}
            kept = [rung for rung in before.ladder if symptom not in {one.symptom for one in rung.requires}]
            assert [rung.action for rung in plan.ladder] == [rung.action for rung in kept]
            assert (plan.metric, plan.bound, plan.grace) == (before.metric, before.bound, before.grace)

    def test_all_cannot_be_left_out(self) -> None:
        """Then nothing is decided but the knobs, which ask for nothing either."""
        found = laid(dict.fromkeys(DEFAULT_POLICY.rules))

        assert found.rules == {}
        assert [one.unless for one in found.knobs.values()] == [()]

    def test_a_rung_that_requires_what_is_left_out_is_taken(self) -> None:
        """What is never looked at never holds: the rung goes with it, and conditions that it must not hold are met."""
        first = Rung("shed_background", requires=(Condition(symptom="b"),))
        second = Rung("release_memory", unless=(Condition(symptom="b"), Condition("m", above=1.0)))
        ill = rule(first, second, given=(Condition(symptom="b"),), masks=("b",))
        default = Policy(rules={"a": ill, "b": rule()}, slos={"c": Slo("n", target=0.99, masks=("b",))})
        found = laid({"b": None}, default=default)

        assert found.rules["a"].ladder == (Rung("release_memory", unless=(Condition("m", above=1.0),)),)
        assert (found.rules["a"].given, found.rules["a"].masks, found.slos["c"].masks) == ((), (), ())

    def test_an_slo_in_place_of_a_rule_is_not_named(self) -> None:
        """A promise may bear the name of a rule that is left out, and what names it means the promise."""
        promise = Slo("m", target=0.99)
        found = laid({"overloaded": None}, slos={"overloaded": promise})

        assert found.slos["overloaded"] == promise
        assert "overloaded" in found.rules["wedged"].masks
        with pytest.raises(ValueError, match="one symptom for each name"):
            laid(slos={"overloaded": promise})

    @pytest.mark.parametrize(
        ("given", "says"),
        [
            ({"rules": {"blokcing": None}}, r"^rules\.blokcing: null leaves .*; did you mean 'blocking'\?"),
            ({"knobs": {"wrokers": None}}, r"^knobs\.wrokers: null leaves .*; did you mean 'workers'\?"),
            ({"rules": {"hot": rule(masks=("wegded",))}}, r"^rules\.hot\.masks: .* 'wegded'; did you mean 'wedged'\?"),
            ({"rules": {"hot": rule(masks=("wedged",)), "wedged": None}}, r"^rules\.hot\.masks: .* leave it out"),
            ({"rules": {"hot": rule(given=(Condition(symptom="x"),))}}, r"^rules\.hot\.given: .* there are blocking, "),
            (
                {"rules": {"hot": rule(Rung("shed_background", requires=(Condition(symptom="x"),)))}},
                r"^rules\.hot\.ladder\[0\]\.requires: ",
            ),
            (
                {"rules": {"hot": rule(Rung("shed_background", unless=(Condition(symptom="x"),)))}},
                r"^rules\.hot\.ladder\[0\]\.unless: ",
            ),
            ({"slos": {"s": Slo("m", target=0.99, masks=("x",))}}, r"^slos\.s\.masks: "),
            ({"knobs": {"k": knob(unless=(Condition(symptom="x"),))}}, r"^knobs\.k\.unless: "),
        ],
    )
    def test_a_name_that_there_is_not_is_taken(self, given: dict[str, Any], says: str) -> None:
        """In the settings' own parts it is a mistake, with the nearest name."""
        with pytest.raises(ValueError, match=says):
            laid(given.get("rules"), slos=given.get("slos"), knobs=given.get("knobs"))
