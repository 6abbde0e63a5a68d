"""What the host's own policy does about what can go wrong with it."""

from __future__ import annotations

import msgspec
import pytest

from aetherra.plugins.homeostasis.decision import Policy
from aetherra.plugins.homeostasis.decision.defaults import DEFAULT_POLICY

MIB = 2.0**20
ACTUATORS = {
    "reload_plugin", "restart_plugin", "disable_plugin", "roll_back_plugin", "set_workers", "set_lane_weight",
    "set_lane_capacity", "shed_background", "release_memory", "redrive_dead_letters", "park_dead_letters",
    "widen_timeout",
}  # fmt: skip
RESTARTS = {"restart_plugin", "disable_plugin", "roll_back_plugin", "reload_plugin"}
WELL = {
    "queue.depth_ratio": 0.02, "queue.refused": 0.0, "queue.expired": 0.0, "actions.workers": 16.0,
    "actions.utilisation": 0.3, "actions.retry_ratio": 0.02, "actions.failed_ratio": 0.0, "calls.errors": 0.1,
    "calls.timeouts": 0.0, "dlq.rate": 0.0, "dlq.depth": 3.0, "plugins.failed": 0.0,
    "loop.lag_max": 0.01, "process.rss_growth": 0.0, "host.disk_free_bytes": 1e10,
    **{f"plugin.{name}.{what}": value for name in ("a", "b", "c", "d") for what, value in {
        "stalled": 0.0, "error_ratio": 0.01, "in_hand": 1.0,
        "oldest_call": 0.05, "timeouts": 0.0, "blocked": 0.0, "failed": 0.0,
    }.items()},
}  # fmt: skip


@pytest.fixture
def host(drive):
    """A host that was well for a while."""
    host = drive(policy=DEFAULT_POLICY)
    host.look(WELL, 30)
    return host


def shown(host, seconds=60, **ill):
    """Show the host ill for a while, and return what was done."""
    names = {name.replace("__", "."): value for name, value in ill.items()}
    return [(one.kind, one.action, one.target) for one in host.look(WELL | names, seconds)]


class TestDefaultPolicy:
    def test_an_action_has_no_actuator(self):
        """All that it names the host can do."""
        rungs = {rung.action for rule in DEFAULT_POLICY.rules.values() for rung in rule.ladder}

        assert rungs | {knob.action for knob in DEFAULT_POLICY.knobs.values()} <= ACTUATORS
        assert msgspec.json.decode(msgspec.json.encode(DEFAULT_POLICY), type=Policy) == DEFAULT_POLICY

    def test_a_healthy_host_is_acted_on(self, host):
        """An hour of health brings no decision."""
        host.look(WELL, 3600)

        assert host.decisions == []

    def test_a_wedged_plugin_is_waited_for(self, host):
        """It is restarted, then kept away; what hangs with it is not taken for load."""
        done = shown(host, 40, plugin__a__stalled=9.0, plugin__a__oldest_call=9.0, plugin__a__error_ratio=1.0,
                     queue__refused=5.0)  # fmt: skip

        assert done[:2] == [("act", "restart_plugin", "a"), ("act", "disable_plugin", "a")]

    def test_a_stall_that_nobody_waits_for_restarts_a_plugin(self, host):
        """The figure alone is not enough: a call must have waited, or callers have given up."""
        assert not {action for _, action, _ in shown(host, 300, plugin__a__stalled=60.0)} - {""}

    def test_bad_code_is_restarted(self, host):
        """Errors after a swap take the plugin back to the code before; without one it is restarted, if all fails."""
        ill = {"plugin__a__error_ratio": 0.6, "calls__errors": 3.0}

        assert shown(host, 20, **ill, plugin__a__since_swap=30.0) == [("act", "roll_back_plugin", "a")]
        assert shown(host, 20, plugin__b__error_ratio=0.9, calls__errors=3.0) == []
        other = shown(host, 20, plugin__c__error_ratio=1.0, calls__errors=3.0)
        assert other == [("act", "restart_plugin", "c")]

    def test_errors_that_nobody_else_sees_restart_a_plugin(self, host):
        """The plugin's own figure alone is not enough."""
        assert not {action for _, action, _ in shown(host, 300, plugin__a__error_ratio=1.0, calls__errors=0.2)} - {""}

    def test_errors_that_others_make_now_and_then_restart_a_plugin(self, host):
        """A figure that lies is not confirmed by single errors of others."""
        for second in range(600):
            shown(host, 1, plugin__a__error_ratio=0.6, calls__errors=1.0 if second % 7 in (0, 1, 3) else 0.0)

        assert host.did() == []

    def test_load_restarts_something(self, host):
        """More workers, then shedding; and it is all taken back."""
        done = shown(host, 120, queue__depth_ratio=0.9, actions__utilisation=3.0,
                     plugin__a__error_ratio=0.6, calls__errors=3.0)  # fmt: skip
        actions = {action for _, action, _ in done}
        assert actions >= {"set_workers", "shed_background"}
        assert not actions & RESTARTS
        assert max(one.value for one in host.decisions if one.kind == "set") > 16

        shown(host, 600)
        assert [one.value for one in host.decisions if one.kind == "set"][-1] == 16
        assert host.core.status().changes == ()

    def test_a_retry_storm_gets_more_workers(self, host):
        """It gets less work, fewer workers and longer timeouts."""
        storm = {"actions__retry_ratio": 0.8, "calls__timeouts": 12.0, "actions__utilisation": 3.0}
        done = shown(host, 130, **storm)
        acts = [one for one in host.decisions if one.kind == "act"]

        assert [one.action for one in acts] == ["shed_background", "widen_timeout", "set_workers"]
        assert acts[2].arguments["factor"] < 1
        assert not [one for one in host.decisions if one.kind == "set" and one.value > 24]
        assert not {action for _, action, _ in done} & RESTARTS

    def test_a_plugin_that_a_storm_asks_is_kept_away(self, host):
        """It answers nobody, as if it hung; once shedding is tried it may be restarted, and is never kept away."""
        done = shown(host, 300, actions__retry_ratio=0.8, calls__timeouts=12.0, plugin__a__stalled=30.0,
                     plugin__a__timeouts=12.0, plugin__a__error_ratio=1.0, calls__errors=12.0)  # fmt: skip

        assert done[0] == ("act", "shed_background", "")
        assert ("act", "disable_plugin", "a") not in done

    def test_retries_of_what_fails_are_a_storm(self, host):
        """What is repeated because it fails at once is no storm: nothing is shed for it."""
        done = shown(host, 120, actions__retry_ratio=0.7, plugin__a__error_ratio=1.0, calls__errors=12.0)

        assert {action for kind, action, _ in done if kind == "act"} == {"restart_plugin"}

    def test_a_leak_is_restarted_at_once(self, host):
        """Memory is asked back first; the plugin that grows is restarted, and only once it is worth that."""
        grows = {"plugin__a__memory_growth": 2 * MIB, "process__rss_growth": 2 * MIB}
        done = []
        for second in range(120):
            done += shown(host, 1, **grows,
                          plugin__a__memory=(40 + 2 * second) * MIB)  # fmt: skip
        assert done[:2] == [("act", "release_memory", "a"), ("act", "restart_plugin", "a")]

    def test_a_fast_leak_is_given_up(self, host):
        """What goes on growing after a start is started again, not left to fill the machine."""
        done = []
        for second in range(400):
            done += shown(host, 1, plugin__a__memory_growth=4 * MIB, process__rss_growth=4 * MIB,
                          plugin__a__memory=(80 + 4 * (second % 120)) * MIB)  # fmt: skip
        assert done.count(("act", "restart_plugin", "a")) >= 3

    def test_a_plugin_is_kept_away_for_good(self, host):
        """It gets a try after ten minutes, though it says nothing meanwhile, and is kept away again if it hangs."""
        ill = {"plugin__a__stalled": 9.0, "plugin__a__oldest_call": 9.0}
        shown(host, 40, **ill)
        gone = {name: value for name, value in WELL.items() if not name.startswith("plugin.a.")}
        host.look(gone, 620)
        assert host.did("undo") == ["disable_plugin"]

        assert shown(host, 10, **ill) == [("act", "disable_plugin", "a")]

    def test_a_plugin_that_holds_the_loop_is_let(self, host):
        """It is restarted once the watchdog agrees."""
        assert shown(host, 20, plugin__a__blocked=1.0, loop__lag_max=0.0) == []
        assert shown(host, 10, plugin__a__blocked=1.0, loop__lag_max=0.5) == [("act", "restart_plugin", "a")]

    def test_a_plugin_that_failed_is_left(self, host):
        """It is loaded again after a while."""
        assert shown(host, 20, plugin__a__failed=1.0, plugins__failed=1.0) == [("act", "reload_plugin", "a")]

    def test_dead_letters_are_done_again_or_hidden(self, host):
        """They are told, and wait for a person: doing them again may repeat what they did outside."""
        assert shown(host, 60, dlq__rate=2.0, dlq__depth=200.0) == []
        assert "dead_letters" in {one.symptom for one in host.core.status().symptoms if one.phase == "holds"}
        assert shown(host, 400, dlq__rate=0.0, dlq__depth=200.0) == []

    def test_a_full_disk_is_written_to(self, host):
        """Background work waits."""
        assert ("act", "shed_background", "") in shown(host, 20, host__disk_free_bytes=1e8)
