"""Ctrl-C and SIGTERM in every phase of a host's life: it ends in time, says so, and leaves nothing behind."""

from __future__ import annotations

import random
import signal
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aetherra.kernel.cli.signals import GRACE

if TYPE_CHECKING:
    from tests.acceptance.conftest import Project, RunningHost

BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
HANGS = """
class Stuck(Plugin):
    name = "stuck"

    async def {step}(self, *ctx):
        print("here", file=sys.stderr, flush=True)
        {how}
"""
BLOCKS = """
class Rested(Message, tag="blocker.rested"):
    pass

class Rest(Request[Rested], tag="blocker.rest"):
    seconds: float

class Blocker(Plugin):
    name = "blocker"

    @every(3600.0, at_start=True)
    async def rest(self) -> None:
        print("here", file=sys.stderr, flush=True)
        time.sleep({seconds})
"""


def assert_said_nothing_ugly(host: RunningHost) -> None:
    """No traceback, and nothing that the interpreter found left over."""
    for ugly in ("Traceback", "Exception ignored", "Warning", "never awaited"):
        assert ugly not in host.log, host.log


class TestASignal:
    @BOTH
    def test_while_serving_ends_the_host_with_status_0(self, project: Project, number: signal.Signals) -> None:
        """A host that is asked to stop has done what it was asked."""
        with project.host() as host:
            assert host.stop(number) == 0
            assert_said_nothing_ugly(host)
            assert "aetherra.run: stopped" in host.log
        project.assert_left_clean()

    @BOTH
    def test_during_a_hanging_start_ends_the_host_at_once(self, project: Project, number: signal.Signals) -> None:
        """The host does not wait for a plugin that is still on its way up."""
        project.plugin("stuck", HANGS.format(step="start", how="await anyio.sleep_forever()"))
        project.configure(start_timeout=60.0)
        with project.host(serving=False) as host:
            host.wait_for("here")
            assert host.stop(number) == 0
            assert_said_nothing_ugly(host)
        assert not project.socket.exists()

    @BOTH
    def test_while_a_plugin_blocks_the_loop_is_heard_when_it_lets_go(
        self, project: Project, number: signal.Signals
    ) -> None:
        """Within the deadline the stop is still clean."""
        project.plugin("blocker", BLOCKS.format(seconds=0.7))
        with project.host(serving=False) as host:
            host.wait_for("here")
            assert host.stop(number) == 0
            assert_said_nothing_ugly(host)
        assert not project.socket.exists()

    def test_while_a_plugin_never_lets_go_of_the_loop_ends_the_process_by_force(self, project: Project) -> None:
        """After the shutdown deadline the process is ended with status 1, saying where it hung."""
        project.plugin("blocker", BLOCKS.format(seconds=600))
        project.configure(shutdown_timeout=0.2)
        with project.host(serving=False) as host:
            host.wait_for("here")
            host.send(signal.SIGTERM)
            assert host.wait(seconds=0.2 + GRACE + 5) == 1
            assert "the stop took longer than" in host.log
            assert "time.sleep(600)" in host.log
        project.configure(plugins={"blocker": {"enabled": False}})
        project.assert_left_clean()

    def test_during_a_stop_that_cannot_be_cancelled_ends_the_process_by_force(self, project: Project) -> None:
        """A plugin that shields itself from cancellation holds up the host no longer than the deadline."""
        how = "\n        ".join(["with anyio.CancelScope(shield=True):", "    await anyio.sleep_forever()"])
        project.plugin("stuck", HANGS.format(step="stop", how=how))
        project.configure(stop_timeout=0.1, shutdown_timeout=0.3)
        with project.host() as host:
            host.send(signal.SIGTERM)
            assert host.wait(seconds=0.3 + GRACE + 5) == 1
            assert "'stuck'" in host.log
            assert "stop()" in host.log
        project.configure(plugins={"stuck": {"enabled": False}})
        project.assert_left_clean()

    @BOTH
    def test_a_second_one_ends_the_process_at_once(self, project: Project, number: signal.Signals) -> None:
        """Who asks twice does not want to wait."""
        project.plugin("stuck", HANGS.format(step="stop", how="await anyio.sleep_forever()"))
        project.configure(stop_timeout=60.0, shutdown_timeout=60.0)
        with project.host() as host:
            host.send(number)
            host.wait_for("here")
            assert host.stop(number) == 1
            assert "a second signal: ended without a clean stop" in host.log
        project.configure(plugins={"stuck": {"enabled": False}})
        project.assert_left_clean()

    @BOTH
    def test_during_a_cycle_ends_it_without_a_report(self, project: Project, number: signal.Signals) -> None:
        """``--once`` that was interrupted has failed: status 1, nothing on standard output."""
        project.configure(discover=True)
        tree = Path(sysconfig.get_path("stdlib"))
        project.configure(plugins={"self_incorporation": {"roots": [str(tree)]}})
        with project.host("--once", "--json", serving=False) as host:
            host.wait_for("analyse: self_improvement done")
            assert host.stop(number) == 1, host.log
            assert host.out == ""
            assert "stopped before the cycle was done" in host.log
            assert_said_nothing_ugly(host)
        assert not project.socket.exists()

    def test_during_the_first_scan_of_a_big_tree_ends_the_host_with_status_0(self, project: Project) -> None:
        """A scan that goes on when the host stops ends at its next file."""
        project.configure(discover=True)
        tree = Path(sysconfig.get_path("stdlib"))
        project.configure(plugins={"self_incorporation": {"roots": [str(tree)]}})
        with project.host() as host:
            assert host.stop(signal.SIGINT) == 0, host.log
            assert_said_nothing_ugly(host)
        assert not project.socket.exists()


class TestASignalAtAnyMoment:
    def test_before_the_host_is_up_it_leaves_nothing_behind(self, project: Project) -> None:
        """From the first instruction of the process on, a signal ends it and the next host starts."""
        chance = random.Random(project.backend)
        for number in (signal.SIGINT, signal.SIGTERM) * 6:
            with project.host(serving=False) as host:
                time.sleep(chance.uniform(0.0, 0.35))
                status = host.stop(number)
                # While the interpreter imports us, its own answer to a signal holds: death by it, or, as the import
                # of msgspec's C module does not survive a KeyboardInterrupt, by another.
                assert status in (0, 1) or status < 0, host.log
                if "aetherra.run" in host.log:
                    assert status == 0, host.log
                    assert_said_nothing_ugly(host)
            assert not project.socket.exists()
        project.assert_left_clean()
