"""The examiner on a real host: what it looks at, logs and tells, now and over the past."""

from __future__ import annotations

import anyio
import msgspec

from aetherra.plugins.self_improvement.messages import (
    Analyse,
    AnalysisCycle,
    GetAnalysisCycles,
    GetStrategies,
    ListProposals,
    MakeProposals,
    Simulate,
)

from .conftest import NOW


class TestExamine:
    async def test_an_analysis_is_not_told(self, site):
        """Each analysis is an event, a reply and a row of the log, with what it took and found; newest first."""
        async with site(mode="off") as here:
            await here.past(1800.0)
            with here.kernel.subscribe(AnalysisCycle) as events:
                first = await here.call(Analyse())
                await here.go_on(60.0)
                second = await here.call(Analyse())
                assert [await anext(events), await anext(events)] == [first, second]
            log = (await here.call(GetAnalysisCycles())).cycles

            assert (first.number, first.metrics, first.points) == (1, 1, 120)
            assert first.ts == here.clock.time() - 60.0
            assert [one.metric for one in first.found if one.kind == "beyond_setpoint"] == ["plant.latency"]
            assert [trend.name for trend in first.trends] == ["plant.latency"]
            assert [one.number for one in log] == [2, 1]
            assert log[1] == msgspec.structs.replace(first, trends=(), correlations=())
            assert all(one.seconds >= 0 and not one.problem for one in log)
            assert len((await here.call(GetAnalysisCycles(1))).cycles) == 1

    async def test_an_analysis_on_demand_changes_something(self, site):
        """``analyse`` proposes nothing."""
        async with site() as here:
            await here.past()
            cycle = await here.call(Analyse())
            await here.go_on(60.0)

            assert (cycle.proposed, (await here.status()).proposals, await here.value()) == ((), {}, 1)

    async def test_nobody_analyses(self, site):
        """Every five minutes there is an analysis by itself, and what it proposes is carried out."""
        async with site(analysis_interval=300.0) as here:
            await here.past()
            await here.go_on(615.0)
            log = (await here.call(GetAnalysisCycles())).cycles

            assert [one.ts - NOW for one in log] == [900.0, 600.0, 300.0]
            assert log[1].proposed == ((await here.proposal()).id,)
            assert await here.value() == 2
            status = await here.status()
            assert (status.analyses, status.last_analysis) == (3, NOW + 900.0)
            assert status.last_analysis_seconds is not None

    async def test_a_restart_forgets_the_log(self, site):
        """The log of analyses outlives the host."""
        async with site(data=True) as here:
            await here.past()
            await here.call(Analyse())
        async with site(data=True) as here:
            (cycle,) = (await here.call(GetAnalysisCycles())).cycles

            assert (cycle.number, cycle.points) == (1, 40)
            assert (await here.status()).analyses == 0

    async def test_two_who_ask_at_once_propose_twice(self, site):
        """One problem is answered by one proposal, however many ask for proposals at a time."""
        async with site() as here:
            await here.past()
            async with anyio.create_task_group() as group:
                for _ in range(5):
                    group.start_soon(here.call, MakeProposals())

            assert [each.proposal.knob for each in here.states if each.proposal.state == "proposed"] == ["plant.pool"]

    async def test_why_nothing_is_proposed_is_kept_quiet(self, site):
        """A knob that might have helped and was not proposed is told with why."""
        async with site(confidence_threshold=0.99) as here:
            await here.past()
            reply = await here.call(MakeProposals())

            assert reply.proposals == ()
            assert [(one.knob, one.metric) for one in reply.passed] == [("plant.pool", "plant.latency")]
            assert reply.passed[0].why
            assert (await here.call(ListProposals())).passed == reply.passed

    async def test_a_simulation_changes_something(self, site):
        """It says what would have been proposed, and proposes, turns and learns nothing."""
        async with site(mode="off") as here:
            await here.past(7200.0)
            before = (await here.call(ListProposals()), await here.call(GetStrategies()), await here.status())
            report = (await here.call(Simulate(7200.0, 600.0))).simulation
            await here.at_rest()

            assert report.complete
            assert report.proposals[0].proposal.knob == "plant.pool"
            assert report.proposals[0].times > 1
            after = (await here.call(ListProposals()), await here.call(GetStrategies()), await here.status())
            assert after == before
            assert (await here.value(), here.states, here.turns) == (1, [], [])
