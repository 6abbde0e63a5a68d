"""The host's policy: the built-in one with the settings laid over it, held to what the actuators can do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec

from aetherra.plugins.homeostasis.actuators.actuator import Actuator
from aetherra.plugins.homeostasis.actuators.all import ACTUATOR_TYPES
from aetherra.plugins.homeostasis.decision import Condition, Knob, Policy, Rule, Rung, Slo
from aetherra.plugins.homeostasis.decision.naming import Naming

__all__ = ["CORRECTOR", "check_actuators", "lay_over"]

PlanT = TypeVar("PlanT", Rule, Slo)
PartT = TypeVar("PartT", Rule, Knob)
ACTUATORS: Mapping[str, type[Actuator[Any]]] = MappingProxyType({kind.name: kind for kind in ACTUATOR_TYPES})
CORRECTOR = "corrector"
"""What the settings call the corrector among the actuators."""


def lay_over(
    default: Policy, rules: Mapping[str, Rule | None], slos: Mapping[str, Slo], knobs: Mapping[str, Knob | None]
) -> Policy:
    """Return a policy with parts laid over those of the same names; ``None`` leaves one out.

    What names a symptom that is left out goes on without it: it never holds. What disrupts is disruptive, whatever
    its rung says.

    Raises:
        ValueError: A part cannot work on this host, names what there is not, or all of them do not go together; it
            begins with the path of what is wrong.
    """
    own_rules, no_rules = _sorted_out("rules", default.rules, rules)
    own_knobs, no_knobs = _sorted_out("knobs", default.knobs, knobs)
    gone = no_rules - slos.keys()
    symptoms = {*default.rules, *default.slos, *own_rules, *slos} - gone
    for kind, parts in (("rules", own_rules), ("slos", slos), ("knobs", own_knobs)):
        for name, part in parts.items():
            _check_symptoms(f"{kind}.{name}", part, symptoms, gone)
    kept = {name: _without(rule, gone) for name, rule in default.rules.items() if name not in no_rules}
    kept_slos = {name: _without(slo, gone) for name, slo in default.slos.items()}
    kept_knobs = {
        name: msgspec.structs.replace(knob, unless=_left(knob.unless, gone))
        for name, knob in default.knobs.items()
        if name not in no_knobs
    }
    for name, knob in own_knobs.items():
        _check_knob(f"knobs.{name}", knob)
    return msgspec.structs.replace(
        default,
        rules={name: _able(f"rules.{name}", rule) for name, rule in {**kept, **own_rules}.items()},
        slos={name: _able(f"slos.{name}", slo) for name, slo in {**kept_slos, **slos}.items()},
        knobs={**kept_knobs, **own_knobs},
    )


def check_actuators(place: str, names: Iterable[str], *others: str) -> None:
    """See that there are actuators of some names, or that these are among the others that may stand there.

    Raises:
        ValueError: There is none; it begins with the place, and names those that there are.
    """
    for name in names:
        if name not in ACTUATORS and name not in others:
            raise ValueError(f"{place}.{name}: there is no actuator {name!r}; {_known(name, [*ACTUATORS, *others])}")


def _sorted_out(
    place: str, default: Mapping[str, PartT], own: Mapping[str, PartT | None]
) -> tuple[dict[str, PartT], set[str]]:
    """Return the parts that stand there, and the names of those that are left out."""
    left_out = {name for name, part in own.items() if part is None}
    for name in sorted(left_out - default.keys()):
        raise ValueError(
            f"{place}.{name}: null leaves a built-in one out, and there is none of that name; {_known(name, default)}"
        )
    return {name: part for name, part in own.items() if part is not None}, left_out


def _known(name: str, names: Iterable[str]) -> str:
    names = list(names)
    near = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names) or 'none'}"


def _conditions(part: Rule | Slo | Knob) -> Iterator[tuple[str, Condition]]:
    """Yield all conditions of a part, each with the place where it stands."""
    if isinstance(part, Knob):
        yield from (("unless", condition) for condition in part.unless)
        return
    yield from (("confirm", condition) for condition in part.confirm)
    if isinstance(part, Rule):
        yield from (("given", condition) for condition in part.given)
    for number, rung in enumerate(part.ladder):
        yield from ((f"ladder[{number}].requires", condition) for condition in rung.requires)
        yield from ((f"ladder[{number}].unless", condition) for condition in rung.unless)


def _check_symptoms(place: str, part: Rule | Slo | Knob, symptoms: set[str], gone: set[str]) -> None:
    """See that a part of the settings names symptoms that there are."""
    named = [(where, condition.symptom) for where, condition in _conditions(part) if condition.symptom]
    if not isinstance(part, Knob):
        named += [("masks", symptom) for symptom in part.masks]
    for where, symptom in named:
        if symptom not in symptoms:
            why = "these settings leave it out" if symptom in gone else _known(symptom, sorted(symptoms))
            raise ValueError(f"{place}.{where}: there is no rule and no SLO {symptom!r}; {why}")


def _without(part: PlanT, gone: set[str]) -> PlanT:
    """Return a built-in part without what asks for symptoms that are left out: a rung that requires one can never be
    taken, and all else goes on without.
    """  # noqa: D205
    if not gone:
        return part
    ladder = tuple(
        msgspec.structs.replace(rung, unless=_left(rung.unless, gone))
        for rung in part.ladder
        if len(_left(rung.requires, gone)) == len(rung.requires)
    )
    masks = tuple(symptom for symptom in part.masks if symptom not in gone)
    rest = {"given": _left(part.given, gone)} if isinstance(part, Rule) else {}
    return msgspec.structs.replace(part, ladder=ladder, masks=masks, confirm=_left(part.confirm, gone), **rest)


def _left(conditions: tuple[Condition, ...], gone: set[str]) -> tuple[Condition, ...]:
    return tuple(condition for condition in conditions if condition.symptom not in gone)


def _able(place: str, plan: PlanT) -> PlanT:
    """Return a rule or an SLO whose rungs the actuators can take, each as disruptive as its actuator."""
    starred = Naming(plan.metric).starred
    ladder = tuple(
        _able_rung(f"{place}.ladder[{number}]", rung, plan.metric, starred=starred)
        for number, rung in enumerate(plan.ladder)
    )
    try:
        return msgspec.structs.replace(plan, ladder=ladder)
    except ValueError as exc:
        raise ValueError(f"{place}: {exc}") from exc


def _able_rung(place: str, rung: Rung, metric: str, *, starred: bool) -> Rung:
    kind = _find(place, rung.action, metric, starred=starred)
    _check_arguments(place, kind, rung.arguments)
    return msgspec.structs.replace(rung, disruptive=rung.disruptive or kind.disruptive)


def _find(place: str, action: str, metric: str, *, starred: bool) -> type[Actuator[Any]]:
    kind = ACTUATORS.get(action)
    if kind is None:
        raise ValueError(f"{place}.action: there is no actuator {action!r}; {_known(action, ACTUATORS)}")
    if kind.target == "needed" and not starred:
        raise ValueError(
            f"{place}.action: {action!r} must be told what to do it to; expected a metric with a '*' that stands for "
            f"that, got {metric!r}"
        )
    if kind.target == "none" and starred:
        raise ValueError(
            f"{place}.action: {action!r} is done to the whole host; expected a metric without '*', got {metric!r}"
        )
    return kind


def _check_arguments(place: str, kind: type[Actuator[Any]], arguments: Mapping[str, Any]) -> None:
    wanted: type[msgspec.Struct] = kind.arguments_type  # pyright: ignore[reportGeneralTypeIssues]  # all kinds set it
    try:
        msgspec.convert(dict(arguments), wanted)
    except msgspec.ValidationError as exc:
        takes = ", ".join(field.name for field in msgspec.structs.fields(wanted)) or "none"
        text = str(exc).replace("`", "")
        text = f"{text[:1].lower()}{text[1:]}"
        raise ValueError(f"{place}.arguments: {text}; the arguments of {kind.name!r} are: {takes}") from exc


def _check_knob(place: str, knob: Knob) -> None:
    kind = _find(place, knob.action, knob.metric, starred=Naming(knob.metric).starred)
    if kind.disruptive:
        raise ValueError(
            f"{place}.action: {knob.action!r} is disruptive, and a knob turns without another metric that agrees; "
            "expected a rule with confirm"
        )
    if "value" in knob.arguments:
        raise ValueError(f"{place}.arguments: expected no value, as that is what the knob is turned to")
    for value in (knob.low, knob.high):
        _check_arguments(place, kind, {**knob.arguments, "value": value})
