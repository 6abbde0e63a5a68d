"""A policy for the plant, in its own words: what a person would write who knows the plant from its handbook."""

from __future__ import annotations

from collections.abc import Mapping

from aetherra.plugins.homeostasis.decision import Condition, Knob, Policy, Rule, Rung
from healing.ours import Doing

RECENTLY = Condition("*.changed", below=900.0)
FULL = Condition("memory", above=0.7)

POLICY = Policy(
    rules={
        "wedged": Rule(
            "*.stuck",
            bad_above=5.0,
            clear=1.0,
            enter=(3, 4),
            given=(Condition("*.held", above=1.5),),
            confirm=(Condition("*.oldest", above=4.0),),
            ladder=(
                Rung("restart", disruptive=True, settle=10.0),
                Rung("rollback", disruptive=True, settle=10.0, requires=(RECENTLY,)),
                Rung("disable", disruptive=True, settle=10.0, lasting=True),
            ),
            masks=("overloaded",),
            undo_after=300.0,
        ),
        "failing": Rule(
            "*.errors",
            bad_above=0.15,
            clear=0.05,
            enter=(8, 10),
            grace=4.0,
            confirm=(Condition("*.faults", above=0.3),),
            ladder=(Rung("rollback", disruptive=True, settle=20.0, requires=(RECENTLY,)),),
        ),
        "faulting": Rule(
            "*.faults",
            bad_above=0.5,
            clear=0.2,
            enter=(10, 12),
            grace=4.0,
            confirm=(Condition("failing", above=0.015),),
            ladder=(Rung("rollback", disruptive=True, settle=20.0, requires=(RECENTLY,)),),
        ),
        "leaking": Rule(
            "*.growth",
            bad_above=1e6,
            clear=0.5e6,
            given=(FULL,),
            confirm=(FULL,),
            ladder=(Rung("release", settle=8.0), Rung("restart", disruptive=True, settle=20.0)),
        ),
        "overloaded": Rule(
            "queue.wait",
            bad_above=1.4,
            clear=0.6,
            enter=(4, 5),
            ladder=(Rung("shed", lasting=True),),
            undo_after=20.0,
        ),
    },
    knobs={
        "room": Knob(
            "queue_limit",
            "queue.wait",
            setpoint=0.8,
            low=10.0,
            high=1000.0,
            direction="down",
            kp=0.3,
            ki=0.25,
            slew=0.8,
            every=1.0,
            enter=(6, 7),
            whole=True,
            unless=(Condition(symptom="wedged"),),
        ),
        "workers": Knob(
            "workers",
            "queue.wait",
            setpoint=0.8,
            low=32.0,
            high=56.0,
            every=5.0,
            enter=(6, 7),
            whole=True,
            unless=(Condition(symptom="wedged"),),
        ),
    },
    limits={"release": 4.0},
    flap_budget=30,
)

DOINGS: Mapping[str, Doing] = {
    "restart": Doing("restart"),
    "rollback": Doing("rollback"),
    "disable": Doing("disable", undo="enable"),
    "release": Doing("release"),
    "shed": Doing("shed", undo="unshed"),
    "queue_limit": Doing("queue_limit", reading="room"),
    "workers": Doing("workers", reading="workers"),
}
