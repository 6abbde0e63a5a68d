"""The policy that the host begins with: what is a symptom here, and what is tried against it.

A threshold says where it comes from; the configuration replaces rules and knobs by name. Metrics that a host does not
measure are UNKNOWN: their rules are silent, and rungs that require them are passed over.
"""

from __future__ import annotations

from aetherra.plugins.homeostasis.decision.condition import Condition
from aetherra.plugins.homeostasis.decision.knob import Knob
from aetherra.plugins.homeostasis.decision.policy import Policy
from aetherra.plugins.homeostasis.decision.rule import Rule
from aetherra.plugins.homeostasis.decision.rung import Rung

__all__ = ["DEFAULT_POLICY"]

_MIB = 2.0**20
_CHANGED_LATELY = Condition("plugin.*.since_swap", below=900.0)
"""Its code was swapped within a quarter of an hour: what goes wrong later has seldom come by the swap."""
_NOT_LOAD = (Condition(symptom="overloaded"), Condition(symptom="retry_storm"))
"""A restart gives nobody more room: never for load, and not for errors that load brings."""


def _kept_away(
    *,
    settle: float,
    requires: tuple[Condition, ...] = (),
    unless: tuple[Condition, ...] = (),
    expects: str = "",
) -> Rung:
    """Return the rung that stops a plugin and gives it a try after ten minutes, for nobody sees how it is meanwhile."""
    return Rung(
        "disable_plugin",
        disruptive=True,
        lasting=True,
        retry_after=600.0,
        settle=settle,
        requires=requires,
        unless=unless,
        expects=expects,
    )


_WEDGED = Rule(
    "plugin.*.stalled",
    # 5 s without an answer, with calls in hand ten times longer than the longest ever: a pause is shorter.
    bad_above=5.0,
    clear=1.0,
    # Seconds add up by themselves, so each vote weighs more than one of a noisy ratio.
    enter=(3, 4),
    # A call has waited for long, or callers give up, or both: given-up work counts as waiting. That anything is in
    # hand would confirm nothing, as it is so in any plugin that is used.
    confirm=(Condition("plugin.*.oldest_call + plugin.*.timeouts", above=2.0),),
    ladder=(
        # A start takes a second or two, the first answers as long again.
        Rung("restart_plugin", disruptive=True, settle=20.0, expects="it answers again"),
        # What fails in a storm of retries is seldom at fault itself, and those who retry get nowhere without it.
        _kept_away(
            settle=20.0,
            unless=(Condition(symptom="retry_storm"),),
            expects="its callers are told at once instead of waiting",
        ),
    ),
    # Calls that hang are late, fail and pile up: all of that is its doing. A storm of retries goes first, though.
    masks=("failing", "overloaded", "dead_letters"),
)

_FAILING = Rule(
    "plugin.*.error_ratio",
    # Of ten calls, the fewest that make a ratio, three fail by chance once in a hundred times at 5 % errors; where so
    # few calls come that this stands for long, the bus does not agree.
    bad_above=0.2,
    clear=0.1,
    # The ratio looks back on up to a minute: its samples overlap, so it takes more of them. And the bus must agree as
    # often: of single errors that fall into a second, as in any host, it does so once in weeks.
    enter=(8, 10),
    plausible=(0.0, 1.0),
    # The bus counts by itself: if no calls on it fail, the plugin's figure is wrong. Three in ten seconds are what ten
    # calls with this ratio come to; a single one now and then fails in any host.
    confirm=(Condition("calls.errors", above=0.3),),
    # What a plugin asks of others may fail for some seconds, and is well again.
    grace=5.0,
    ladder=(
        Rung("roll_back_plugin", disruptive=True, settle=30.0, requires=(_CHANGED_LATELY,), unless=_NOT_LOAD),
        # Only where nobody is answered well: a plugin that rightly refuses what one client asks for fails as many
        # calls, and is well. So nobody is kept away for it, either.
        Rung(
            "restart_plugin",
            disruptive=True,
            settle=30.0,
            requires=(Condition("plugin.*.error_ratio", above=0.99),),
            unless=_NOT_LOAD,
        ),
    ),
    masks=("dead_letters",),
)

_LEAKING = Rule(
    "plugin.*.memory_growth",
    # A gigabyte an hour: most hosts end within a day of that.
    bad_above=0.25 * _MIB,
    clear=0.05 * _MIB,
    enter=(3, 4),
    # Weighing is dear: it comes every 5 s, and every 10 to 20 s where there is much to weigh.
    max_age=30.0,
    # Below that a cache that fills looks the same.
    given=(Condition("plugin.*.memory", above=32 * _MIB, max_age=30.0),),
    # The operating system must see the process grow as well.
    confirm=(Condition("process.rss_growth", above=0.1 * _MIB),),
    # Caches of most plugins are full by then.
    grace=20.0,
    ladder=(
        Rung("release_memory", settle=30.0, expects="plugins let go of what they can do without"),
        Rung(
            "restart_plugin",
            disruptive=True,
            settle=30.0,
            # What leaks goes on leaking: each start gives its memory back, though the growth stays.
            tries=5,
            # Worth the calls that it costs: twice what is looked at at all.
            requires=(Condition("plugin.*.memory", above=64 * _MIB, max_age=30.0),),
            expects="its memory is given back",
        ),
    ),
)

_BLOCKING = Rule(
    "plugin.*.blocked",
    # It holds the event loop a fifth of the time: everybody's calls are late by that.
    bad_above=0.2,
    clear=0.05,
    enter=(4, 6),
    # The watchdog's own measure; 0.1 s is what the host's users notice.
    confirm=(Condition("loop.lag_max", above=0.1),),
    ladder=(
        Rung("restart_plugin", disruptive=True, settle=60.0, expects="it no longer holds the event loop"),
        # Half of the time at least: then all others suffer more than its own callers would.
        _kept_away(
            settle=60.0,
            requires=(Condition("plugin.*.blocked", above=0.5),),
            expects="the event loop is free for the others",
        ),
    ),
    masks=("overloaded", "retry_storm"),
)

_FAILED = Rule(
    "plugin.*.failed",
    # It is 1 or 0.
    bad_above=0.5,
    enter=(3, 4),
    plausible=(0.0, 1.0),
    # The kernel's own count of plugins that could not be brought up.
    confirm=(Condition("plugins.failed", above=0.5),),
    # Many need something that comes up a little later.
    grace=10.0,
    ladder=(Rung("reload_plugin", disruptive=True, settle=30.0, expects="it comes up"),),
    # What does not come up three times will not by itself: leave it for an hour.
    cooldown=3600.0,
)

_RETRY_STORM = Rule(
    "actions.retry_ratio",
    # More than half of all attempts are repeated: the host is busy with its own retries.
    bad_above=0.5,
    clear=0.2,
    enter=(4, 6),
    plausible=(0.0, 1.0),
    # Repeated for want of time or room; what is repeated as it fails is no storm.
    given=(Condition("calls.timeouts + queue.refused + queue.expired", above=0.5),),
    ladder=(
        # New load goes first; what retries is already more than can be done. It shows within some rounds of retries.
        Rung("shed_background", lasting=True, settle=15.0),
        # Attempts that are given up on just before they are done are what feeds it.
        Rung("widen_timeout", {"factor": 2.0, "highest": 120.0}, lasting=True, settle=60.0),
        # Fewer at a time finish where more get in each other's way. Last, and a little: where they do not, it harms.
        Rung("set_workers", {"factor": 0.75, "lowest": 2.0}, lasting=True, settle=30.0),
    ),
    # Who is asked by a storm answers nobody, as if it were wedged. More workers are the wrong answer, too.
    masks=("wedged", "overloaded", "dead_letters"),
    # A storm that is over does not come back by itself, and shed work is refused meanwhile.
    undo_after=20.0,
)

_OVERLOADED = Rule(
    # Refused and expired work counts as waiting: a lane is no shorter for either.
    "queue.depth_ratio + queue.refused + queue.expired",
    # Half of a lane is full, or one action in two seconds finds no room or waits in vain.
    bad_above=0.5,
    clear=0.2,
    # The knob goes first; four times as many workers take it ten seconds.
    grace=20.0,
    ladder=(Rung("shed_background", lasting=True, settle=30.0, expects="what is urgent has room again"),),
)

_DEAD_LETTERS = Rule(
    "dlq.rate",
    # One in two seconds, for longer than a burst: letters are read by people.
    bad_above=0.5,
    clear=0.05,
    enter=(6, 10),
    # 100 letters are where the health score counts the queue as bad.
    given=(Condition("dlq.depth", above=100.0),),
    grace=30.0,
    # Only told: doing their actions again repeats what they did outside, and parking hides them.
)

_DISK_SHORT = Rule(
    "host.disk_free_bytes",
    # The journal and the history need room; 64 MiB is where the health score counts it as lost.
    bad_below=256 * _MIB,
    clear=512 * _MIB,
    # Nothing here deletes files: what was not begun writes nothing, and giving up tells a person.
    ladder=(Rung("shed_background", lasting=True, settle=60.0, expects="less is written"),),
)

_WORKERS = Knob(
    "set_workers",
    # Offered work by workers: it says how many are missing, where what waits, expires or is refused says only that
    # some are, and is nothing as soon as there is one too many.
    "actions.utilisation",
    # A third of the workers are free for a burst.
    setpoint=0.7,
    low=2.0,
    # Of actions that mostly wait; more than that get in each other's way in one process.
    high=64.0,
    # The metric answers at once and in proportion, so an integral alone brings it there: in about four seconds.
    kp=0.0,
    ki=0.25,
    slew=0.3,
    # One worker more or less of five changes no more than that.
    deadband=0.25,
    whole=True,
    every=3.0,
    unless=(Condition(symptom="retry_storm"), Condition(symptom="wedged"), Condition(symptom="blocking")),
    actual="actions.workers",
)

DEFAULT_POLICY = Policy(
    rules={
        "wedged": _WEDGED,
        "blocking": _BLOCKING,
        "failed": _FAILED,
        "failing": _FAILING,
        "leaking": _LEAKING,
        "retry_storm": _RETRY_STORM,
        "overloaded": _OVERLOADED,
        "dead_letters": _DEAD_LETTERS,
        "disk_short": _DISK_SHORT,
    },
    knobs={"workers": _WORKERS},
    # Coming up again and again is worse than being away: one restart in two minutes. Tries of what is kept away are ten
    # minutes apart anyway.
    limits={
        "restart_plugin": 0.5,
        "roll_back_plugin": 0.2,
        "disable_plugin": 0.2,
        "reload_plugin": 0.5,
        # Taking it back counts, too, and what is shed is refused as long as it waits for that.
        "shed_background": 4.0,
    },
)
"""Rules in the order in which they may act."""
