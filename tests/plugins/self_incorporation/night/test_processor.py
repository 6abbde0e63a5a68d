"""The cycle as a whole: real threads, and a clock that goes when it is told to, or when a step of work is done."""

from __future__ import annotations

import gc
import threading

import pytest

from aetherra.plugins.self_incorporation.code.classifier import FileKind
from aetherra.plugins.self_incorporation.index.scanner import RootNotFoundError
from aetherra.plugins.self_incorporation.night import night as nights
from aetherra.plugins.self_incorporation.night.evidence import Vote
from aetherra.plugins.self_incorporation.night.insights.census import Census
from aetherra.plugins.self_incorporation.night.insights.measure import Measured
from aetherra.plugins.self_incorporation.night.learning.rescan_order import RescanOrder
from aetherra.plugins.self_incorporation.night.learning.trial import try_out
from aetherra.plugins.self_incorporation.night.phases import WORKING, Phase
from aetherra.plugins.self_incorporation.night.processor import NightFailedError
from aetherra.plugins.storage import DatabaseUnusableError
from tests.plugins.self_incorporation.night.conftest import WorkedClock

FILES = {f"pkg/m{number}.py": f'"""Doc."""\n\n\ndef used_{number}(a):\n    return a\n' for number in range(8)}
IDLE = {"idle_seconds": 1800.0, "look_interval": 60.0}
STEP = 0.03
"""Seconds of the injected clock that each step of work takes in a thread."""


def label(made, count=30):
    for number in range(count):
        votes = [Vote("named Agent", FileKind.AGENT, 1.5), Vote("defines something", FileKind.UTILITY, 3.0)]
        made.store.evidence.add_label("/r", f"f{number}.py", FileKind.AGENT, votes, by="person")


def passed(value, at):
    """Return the trial that has let an order of scans in."""
    figures = [1.0] * 9, [0.0] * 9
    given = {"learnt_from": 9, "margin": 0.02, "allowed": 0.05, "at": at}
    return try_out("rescan_order", "changes", "place", *figures, value=value, **given)


@pytest.fixture
def worked(monkeypatch):
    """Return a clock that goes on with each step, and calls ``at_step`` with its number, in the working thread."""
    clock = WorkedClock()
    clock.steps, clock.at_step, clock.threads = 0, lambda number: None, set()
    really = nights.Night._work

    def slowly(self):
        work, answer = really(self), None
        while True:
            clock.work(STEP)
            clock.steps += 1
            clock.last_step_at = clock.monotonic()
            clock.threads.add(threading.current_thread())
            clock.at_step(clock.steps)
            try:
                answer = yield work.send(answer)
            except StopIteration as stop:
                return stop.value

    monkeypatch.setattr(nights.Night, "_work", slowly)
    return clock


class TestTheWholeNight:
    async def test_a_night_begins_though_somebody_needs_the_host(self, folder, night):
        """It begins once nobody has needed the host for so long, and its report tells what was found."""
        folder.write(FILES)
        async with night(**IDLE) as made:
            await made.host.pass_time(1000, 60)
            made.host.calls += 1
            await made.host.pass_time(1740, 60)
            assert made.phase is Phase.MONITORING and not made.host.reports

            await made.host.pass_time(180, 60)

            report = made.host.reports[0]
            assert (report.number, report.files, report.measured) == (1, 8, 8)
            assert report.found == {"dead_code": 8, "quality": 1}
            assert made.status().nights == 1 and made.status().phase is Phase.MONITORING

    async def test_the_next_night_does_the_same_again(self, folder, night):
        """There is none before the rest is over, nor while all is as it was; then there is."""
        folder.write(FILES)
        async with night(rest_seconds=3600.0, **IDLE) as made:
            await made.host.pass_time(1900, 60)
            folder.write({"pkg/new.py": ""})
            await made.host.pass_time(3000, 60)
            assert len(made.host.reports) == 1

            await made.host.pass_time(1200, 60)
            assert [report.files for report in made.host.reports] == [8, 9]

            await made.host.pass_time(9000, 300)
            assert len(made.host.reports) == 2
            label(made)
            await made.host.pass_time(600, 60)
            assert len(made.host.reports) == 3

    async def test_the_phases_come_in_another_order(self, folder, night, worked):
        """Each of the seven is entered, those of work in their order."""
        folder.write(FILES)
        seen = []
        async with night(clock=worked, **IDLE) as made:
            worked.at_step = lambda number: seen.append(made.phase)
            await made.host.pass_time(1900, 60)
        assert made.phase is Phase.INACTIVE

        assert list(dict.fromkeys(seen)) == [*WORKING]

    async def test_switched_off_it_works(self, folder, night):
        """It waits inactive, until somebody asks."""
        folder.write(FILES)
        async with night(enabled=False, **IDLE) as made:
            await made.host.pass_time(4000, 300)
            assert made.phase is Phase.INACTIVE and not made.host.reports

            assert (await made.night_now()).files == 8


class TestYielding:
    @pytest.mark.parametrize("how", ["notice", "call", "cpu"])
    async def test_somebody_waits_for_the_night(self, folder, night, worked, how):
        """Within a second of somebody's needing the host, no step of work is done any more; it goes on where it was."""
        folder.write(FILES)
        stopped = []
        async with night(clock=worked, **IDLE) as made:

            def need(number):
                if number == 8:
                    stopped.append(worked.monotonic())
                    if how == "notice":
                        made.notice("a request")
                    elif how == "call":
                        made.host.calls += 1
                if how == "cpu" and number >= 8 and len(made.host.reports) == 0 and made.calm is False:
                    made.host.cpu += 2 * STEP  # beside the night's own

            made.calm = False
            worked.at_step = need
            await made.host.pass_time(1860, 60)

            assert stopped
            assert made.phase is Phase.MONITORING and not made.host.reports
            assert worked.last_step_at - stopped[0] <= 1.0
            taken, made.calm = worked.steps, True
            await made.host.pass_time(1500, 60)
            assert worked.steps == taken
            await made.host.pass_time(600, 60)

            report = made.host.reports[0]
            assert report.interruptions == 1 and len(report.interrupted_by) == 1
            assert report.files == 8

    async def test_the_event_loop_waits_for_the_night(self, folder, night, worked):
        """Work is done in worker threads, and the event loop has its turn after each unit."""
        folder.write(FILES)
        async with night(clock=worked, unit_seconds=STEP, **IDLE) as made:
            await made.host.pass_time(1740, 60)
            before = made.host.units
            await made.host.pass_time(120, 60)

            assert made.host.reports and made.host.units - before > worked.steps / 3

        assert worked.threads and threading.main_thread() not in worked.threads

    async def test_what_was_looked_at_is_held_for_as_long_as_a_night_waits(self, folder, night, worked):
        """Interrupted, it holds neither the census nor the measures; it goes on from what is on disk."""
        folder.write(FILES)
        worked.at_step = lambda number: made.notice("a request") if made.phase is Phase.PATTERN_LEARNING else None
        async with night(clock=worked, **IDLE) as made:
            await made.host.pass_time(1900, 60)
            gc.collect()

            assert made.status().unfinished is Phase.PATTERN_LEARNING
            assert not [held for held in gc.get_objects() if isinstance(held, Census | Measured)]

            worked.at_step = lambda number: None
            await made.host.pass_time(1900, 60)
            assert made.host.reports[0].found == {"dead_code": 8, "quality": 1}


class TestRestarts:
    async def test_an_interrupted_night_begins_anew(self, folder, night, worked):
        """After a restart it goes on at its first task that is not done, and no file is parsed twice."""
        folder.write(FILES)
        read = []
        really = folder.read
        folder.read = lambda path, limit: read.append(path) or really(path, limit=limit)

        async with night(clock=worked, **IDLE) as made:
            worked.at_step = lambda number: made.notice("a request") if made.phase is Phase.OPTIMIZATION else None
            await made.host.pass_time(1900, 60)
            assert made.status().unfinished is Phase.OPTIMIZATION and len(read) == 8
        worked.at_step = lambda number: None

        async with night(clock=worked, **IDLE) as made:
            assert made.status().unfinished is Phase.OPTIMIZATION
            await made.host.pass_time(1900, 60)

            report = made.host.reports[0]
            assert (report.number, report.interruptions, report.files, len(read)) == (1, 1, 8, 8)
            assert made.status().unfinished is None

    async def test_a_night_goes_on_over_other_code(self, folder, night, worked):
        """If the code is other when it goes on, it begins anew, under the same number."""
        folder.write(FILES)
        async with night(clock=worked, **IDLE) as made:
            worked.at_step = lambda number: made.notice("a request") if number == 20 else None
            await made.host.pass_time(1900, 60)
            folder.write({"pkg/new.py": ""})
            await made.host.pass_time(1900, 60)

            assert [(report.number, report.files) for report in made.host.reports] == [(1, 9)]


class TestChanges:
    async def test_what_helps_is_not_put_to_use(self, folder, night):
        """What stood its trial is asked about, put to use, and told to the host."""
        folder.write(FILES)
        async with night(**IDLE) as made:
            label(made)
            report = await made.night_now()

            assert [intent.component for intent in made.host.asked] == ["self_incorporation.classifier_weights.labels"]
            assert made.host.told == ["classifier_weights"] and report.changed == 1
            assert made.status().kept == {"classifier_weights": 1}

            taken = await made.undo("classifier_weights")
            assert taken.version == 1 and made.status().kept == {}
            assert made.host.told == ["classifier_weights"] * 2
            with pytest.raises(LookupError):
                await made.undo("classifier_weights")

    async def test_what_was_refused_is_never_tried_again(self, folder, night):
        """Nothing is changed without leave; the next night asks again, though nothing new has happened."""
        folder.write(FILES)
        async with night(rest_seconds=3600.0, **IDLE) as made:
            label(made)
            made.host.refusal = "everything is stopped"
            await made.host.pass_time(1900, 60)
            assert made.host.told == [] and made.host.reports[0].tried[0].outcome == "not_permitted"
            assert made.store.learned.weights == {}

            made.host.refusal = ""
            await made.host.pass_time(3700, 60)

            assert made.host.told == ["classifier_weights"] and made.host.reports[1].changed == 1


class TestFailing:
    async def test_a_night_that_fails_ends_all_nights(self, folder, night):
        """It is told, and after the rest there is another."""
        folder.write(FILES)
        really, folder.read = folder.read, None

        def broken(path, limit):
            raise OSError("the disk is gone")

        async with night(rest_seconds=3600.0, **IDLE) as made:
            folder.read = broken
            await made.host.pass_time(1900, 60)
            assert made.status().problem == "the disk is gone" and made.phase is Phase.MONITORING
            await made.host.pass_time(1800, 60)
            assert not made.host.reports

            folder.read = really
            await made.host.pass_time(2000, 60)
            assert made.host.reports and made.status().problem == ""

    @pytest.mark.parametrize(
        "exc", [RootNotFoundError("/r"), DatabaseUnusableError("code index", "/i", "read", "gone")]
    )
    async def test_a_look_that_fails_ends_all_nights(self, folder, night, exc):
        """A root or an index that is gone while it is waited for counts as a night that failed."""
        folder.write(FILES)
        really = folder.revision
        async with night(rest_seconds=3600.0, **IDLE) as made:
            await made.host.pass_time(1900, 60)
            assert len(made.host.reports) == 1
            folder.write({"pkg/new.py": ""})

            def gone():
                raise exc

            folder.revision = gone
            await made.host.pass_time(3700, 60)
            assert made.status().problem == str(exc) and made.phase is Phase.MONITORING

            folder.revision = really
            await made.host.pass_time(3700, 60)
            assert [report.files for report in made.host.reports] == [8, 9] and made.status().problem == ""

    async def test_what_a_person_took_back_meanwhile_ends_all_nights(self, folder, night):
        """The night takes back nothing else instead, and says that somebody was faster."""
        folder.write({**FILES, **{f"d/m{number}.py": "" for number in range(8)}})
        async with night(rest_seconds=3600.0, **IDLE) as made:
            values = [RescanOrder({"": 0.1, place: 1.0}) for place in ("pkg", "d")]
            for value in values:
                made.store.learned.keep(passed(value, made.clock.time()), value)
            await made.host.pass_time(10)
            for _ in range(20):
                made.store.evidence.add_changes(folder.root, ["pkg/m1.py"])
            really = made.host.permitted

            def faster(intent):
                if intent.undo:
                    made.store.learned.undo("rescan_order")
                return really(intent)

            made.host.permitted = faster

            report = await made.night_now()

            tried = report.tried[0]
            assert tried.outcome == "discarded" and "version 2 of what was learnt" in tried.reason
            assert made.store.learned.versions("rescan_order")[0].value == values[0]

    async def test_who_asked_waits_for_ever(self, folder, night):
        """Who asks for a night that fails is told why; and so is who asks when none is done."""
        folder.write(FILES)
        async with night(**IDLE) as made:
            folder.read = lambda path, limit: (_ for _ in ()).throw(OSError("the disk is gone"))
            with pytest.raises(NightFailedError, match="the disk is gone"):
                await made.night_now()
        with pytest.raises(NightFailedError, match="does not run"):
            await made.night_now()

    async def test_a_person_waits_for_an_idle_host(self, folder, night):
        """Who asks has the night at once, whoever needs the host."""
        folder.write(FILES)
        async with night(**IDLE) as made:
            made.host.in_hand = 3

            assert (await made.night_now()).interruptions == 0
