"""The decision core: named metrics in, explained decisions out. Pure: no clock, no I/O, nothing of the host."""

from aetherra.plugins.homeostasis.decision.condition import Condition
from aetherra.plugins.homeostasis.decision.controller import Controller
from aetherra.plugins.homeostasis.decision.decision import (
    Considered,
    Decision,
    DecisionKind,
    Effect,
    Evidence,
    Outcome,
    OutcomeStatus,
)
from aetherra.plugins.homeostasis.decision.errors import StateError
from aetherra.plugins.homeostasis.decision.knob import Knob
from aetherra.plugins.homeostasis.decision.observation import Observation, Observed
from aetherra.plugins.homeostasis.decision.policy import Policy
from aetherra.plugins.homeostasis.decision.rule import Rule
from aetherra.plugins.homeostasis.decision.rung import Arguments, Rung
from aetherra.plugins.homeostasis.decision.slo import Slo
from aetherra.plugins.homeostasis.decision.status import (
    ChangeStatus,
    ControllerStatus,
    KnobStatus,
    LiftStatus,
    SymptomPhase,
    SymptomStatus,
)
from aetherra.plugins.homeostasis.decision.trust import QuarantineRule

__all__ = [
    "Arguments",
    "ChangeStatus",
    "Condition",
    "Considered",
    "Controller",
    "ControllerStatus",
    "Decision",
    "DecisionKind",
    "Effect",
    "Evidence",
    "Knob",
    "KnobStatus",
    "LiftStatus",
    "Observation",
    "Observed",
    "Outcome",
    "OutcomeStatus",
    "Policy",
    "QuarantineRule",
    "Rule",
    "Rung",
    "Slo",
    "StateError",
    "SymptomPhase",
    "SymptomStatus",
]
