"""What to change, and what became of it: pure, without a clock, a disk or a message."""

from aetherra.plugins.self_improvement.proposals.confidence import Bin, Calibration, calibration
from aetherra.plugins.self_improvement.proposals.problems import Judgement
from aetherra.plugins.self_improvement.proposals.proposal import (
    OPEN,
    TRANSITIONS,
    Basis,
    Context,
    Evidence,
    ExpectedEffect,
    Impact,
    Kind,
    Load,
    MeasuredEffect,
    Problem,
    Proposal,
    ProposalStateError,
    State,
    Step,
    Value,
    Verdict,
    proposal_id,
)
from aetherra.plugins.self_improvement.proposals.proposer import Passed, Proposer, Round, Withdrawn
from aetherra.plugins.self_improvement.proposals.setpoints import DEFAULT_SETPOINTS, Setpoint, find_setpoint
from aetherra.plugins.self_improvement.proposals.settings import ProposerSettings
from aetherra.plugins.self_improvement.proposals.simulation import Simulation, WouldBe, simulate
from aetherra.plugins.self_improvement.proposals.strategies import Outcome, Strategies, Strategy, helped, same_value

__all__ = [
    "DEFAULT_SETPOINTS",
    "OPEN",
    "TRANSITIONS",
    "Basis",
    "Bin",
    "Calibration",
    "Context",
    "Evidence",
    "ExpectedEffect",
    "Impact",
    "Judgement",
    "Kind",
    "Load",
    "MeasuredEffect",
    "Outcome",
    "Passed",
    "Problem",
    "Proposal",
    "ProposalStateError",
    "Proposer",
    "ProposerSettings",
    "Round",
    "Setpoint",
    "Simulation",
    "State",
    "Step",
    "Strategies",
    "Strategy",
    "Value",
    "Verdict",
    "Withdrawn",
    "WouldBe",
    "calibration",
    "find_setpoint",
    "helped",
    "proposal_id",
    "same_value",
    "simulate",
]
