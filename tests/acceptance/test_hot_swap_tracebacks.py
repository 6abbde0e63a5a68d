"""Tracebacks show the source of the generation that raised, whatever is on disk by then."""

from __future__ import annotations

import traceback

import pytest

from aetherra.hmr import SwapFailed, Swapped
from aetherra.plugins import HandlerError

from .hot_swap_project import editor_fixture, plugin, project_fixture

editor, project = editor_fixture, project_fixture

RAISING = "raise ValueError({number})  # of version {number}"
RAISE = "def fail():\n    " + RAISING + "\n"


async def failure(host):
    """Return the traceback of the fault that asking raises, as text."""
    with pytest.raises(HandlerError) as caught:
        await host.answer()
    fault = caught.value.__cause__
    assert isinstance(fault, ValueError)
    return "".join(traceback.format_exception(fault))


def raising(number, *, above=0):
    """A plugin that raises in a line of its own, with so many others above it."""
    return plugin("self.fail()", top="#\n" * above, body=f"def fail(self):\n    {RAISING.format(number=number)}\n")


class TestTracebacks:
    async def test_a_traceback_shows_another_line_after_a_swap(self, project):
        """After a swap that moved all lines the new code's line is shown, in the file that it is from."""
        project.write("counter.py", raising(1))
        async with project.host("counter") as host:
            assert RAISING.format(number=1) in await failure(host)
            for number, above in ((2, 7), (3, 2)):
                await project.save("counter.py", raising(number, above=above))
                await host.hear(Swapped)
                text = await failure(host)
                assert RAISING.format(number=number) in text
                line = raising(number, above=above).splitlines().index("        " + RAISING.format(number=number)) + 1
                assert f'File "{project.root / "counter.py"}", line {line}, in fail' in text

    async def test_a_traceback_shows_a_line_of_a_save_that_was_refused(self, project):
        """After a save that was refused the old code's own line is shown, although the file has others there by now."""
        project.write("counter.py", raising(1))
        async with project.host("counter") as host:
            refused = "#\n" * 3 + raising(2).replace("@handler", "1 / 0\n    @handler")
            await project.save("counter.py", refused)
            await host.hear(SwapFailed)
            assert RAISING.format(number=1) in await failure(host)
            await project.save("counter.py", how="delete")
            assert RAISING.format(number=1) in await failure(host)

    async def test_a_traceback_from_a_helper_shows_a_line_of_a_save_that_was_refused(self, project):
        """The same of a helper's line, by which the entry came to grief."""
        project.write("helper.py", RAISE.format(number=1))
        project.write("counter.py", plugin("fail()", top="from helper import fail"))
        async with project.host("counter") as host:
            await project.save("helper.py", "import nothing_of_that_name\n" + RAISE.format(number=2))
            await host.hear(SwapFailed)
            text = await failure(host)
            assert RAISING.format(number=1) in text
            assert "of version 2" not in text

    async def test_a_traceback_shows_a_line_of_the_code_that_was_rolled_back(self, project):
        """After a rollback the lines are again those of the code from memory."""
        from aetherra.hmr import Rollback

        project.write("counter.py", raising(1))
        async with project.host("counter") as host:
            await project.save("counter.py", raising(2, above=5))
            await host.hear(Swapped)
            assert RAISING.format(number=2) in await failure(host)
            await host.kernel.call(Rollback("counter"))
            assert RAISING.format(number=1) in await failure(host)
