"""The plant under the names of a host: so that the policy that ships is tried on a plant it was not written for."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from aetherra.plugins.homeostasis.decision import Knob, Observed
from aetherra.plugins.homeostasis.decision.defaults import DEFAULT_POLICY
from healing.ours import Doing, Observation
from healing.sensing import OF_TARGETS, Samples

BYTES = 1e9  # of memory, as the plant has them
GROWS = 0.14e6  # bytes a second by which a host grows that weighs its plugins one by one

WHOLE: Mapping[str, tuple[str, ...]] = {
    "queue.wait": ("queue.oldest_age", "queue.normal.oldest_age", "queue.normal.wait_p95"),
    "queue.full": ("queue.depth_ratio",),
    "queue.waiting": ("queue.normal.depth",),
    "refused": ("queue.refused",),
    "served": ("calls.rate",),
    "errors": ("calls.error_ratio", "actions.failed_ratio"),
    "failed": ("calls.errors",),
    "again": ("actions.retry_ratio",),
    "workers": ("actions.workers",),
    "pause": ("loop.lag", "loop.lag_max"),
    "growth": ("process.rss_growth",),
}
"""What the plant's readings as a whole are called in a host."""
OF_PLUGINS: Mapping[str, str] = {
    "errors": "error_ratio",
    "rate": "call_rate",
    "faults": "faults",
    "timeouts": "timeouts",
    "latency": "latency_p95",
    "held": "in_hand",
    "oldest": "oldest_call",
    "stuck": "stalled",
    "memory": "memory",
    "growth": "memory_growth",
    "changed": "since_swap",
}
"""What a target's readings are called in a host, after the plugin's name."""
WHEN_WEIGHED = frozenset({"memory", "growth"})


def as_a_host(samples: Samples) -> Observation:
    """Put the plant's readings under a host's names; the plant's targets are its plugins."""
    seen = {name: Observed(sample.value, sample.age) for name, sample in samples.items()}
    host = {other: seen[name] for name, others in WHOLE.items() for other in others}
    used = seen["memory"]
    if used.value is not None:
        host["process.rss"] = Observed(used.value * BYTES, used.age)
        host["host.memory_available"] = Observed(1 - used.value, used.age)
    targets = [name.removesuffix(".changed") for name in samples if name.endswith(".changed")]
    grows = seen["growth"].value
    weighed = grows is not None and grows > GROWS
    for target in targets:
        for name in OF_TARGETS:
            reading = seen.get(f"{target}.{name}")
            if reading is not None and (weighed or name not in WHEN_WEIGHED):
                host[f"plugin.{target}.{OF_PLUGINS[name]}"] = reading
        host[f"plugin.{target}.blocked"] = Observed(0.0)
        host[f"plugin.{target}.failed"] = Observed(0.0)
    host["plugins.failed"] = Observed(0.0)
    up = sum(f"{target}.rate" in seen for target in targets)
    host["services.available"] = Observed(up / len(targets))
    return host


POLICY = msgspec.structs.replace(
    DEFAULT_POLICY,
    knobs={
        **DEFAULT_POLICY.knobs,
        "room": Knob(
            "set_lane_capacity",
            "queue.oldest_age",
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
        ),
    },
)
"""The policy that a host begins with, and one knob of its owner's, who promises an answer within 2 s: how long its
callers wait is what a host does not know of itself."""

DOINGS: Mapping[str, Doing] = {
    "restart_plugin": Doing("restart"),
    "reload_plugin": Doing(""),
    "roll_back_plugin": Doing("rollback"),
    "disable_plugin": Doing("disable", undo="enable"),
    "release_memory": Doing("release"),
    "shed_background": Doing("shed", undo="unshed"),
    "widen_timeout": Doing("call_limit", reading="limit"),
    "set_lane_capacity": Doing("queue_limit", reading="room"),
    "set_workers": Doing("workers", reading="workers"),
}
"""What a host's actuators are on the plant; it has no others."""
