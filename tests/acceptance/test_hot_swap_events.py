"""What is told of a swap, in order: prepared, then swapped or failed, and what was rolled back."""

from __future__ import annotations

import anyio

from aetherra.hmr import Rollback, SwapFailed, Swapped
from aetherra.hmr.messages import Prepared, RolledBack

from .hot_swap_project import PATIENCE, editor_fixture, plugin, project_fixture

editor, project = editor_fixture, project_fixture


class TestEvents:
    async def test_a_step_of_a_swap_is_not_told(self, project):
        """A good save is told as prepared and swapped, a bad one as failed only, a rollback as rolled back."""
        async with project.host("counter") as host:
            with host.kernel.subscribe("hmr.*") as events, anyio.fail_after(PATIENCE):
                await project.save("counter.py", plugin(2))
                prepared, swapped = await anext(events), await anext(events)
                assert isinstance(prepared, Prepared)
                assert isinstance(swapped, Swapped)
                assert prepared.generation == swapped.generation == host.generation()
                await project.save("counter.py", "oops oops\n")
                assert isinstance(await anext(events), SwapFailed)
                await host.kernel.call(Rollback("counter", reason="it was better"))
                told = [await anext(events)]
                while not isinstance(told[-1], RolledBack):
                    told.append(await anext(events))
                assert isinstance(told[0], Prepared)
                back = told[-1]
                assert (back.plugin, back.automatic, back.reason) == ("counter", False, "it was better")
                assert (back.generation, back.rejected) == (host.generation(), swapped.generation)
