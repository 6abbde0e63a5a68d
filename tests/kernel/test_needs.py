"""What plugins require: waited for, and named where it cannot be met."""

from __future__ import annotations

from pathlib import Path

from aetherra.kernel import Kernel
from tests.kernel.conftest import files, reason, states


class TestNeeds:
    async def test_requirements_that_cannot_be_met_are_waited_for(self, tmp_path: Path) -> None:
        """What is missing, fails, or goes in a circle is named; the others start."""
        config = files(
            tmp_path,
            well="pass",
            lonely="requires = ('nobody',)",
            broken="requires = ()\n    async def start(self, ctx): raise ValueError('no')",
            hopeful="requires = ('broken',)",
            selfish="requires = ('selfish',)",
            hen="requires = ('egg',)",
            egg="requires = ('chick',)",
            chick="requires = ('well', 'hen')",
            beside="requires = ('hen',)",
        )
        async with Kernel(config) as kernel:
            assert [name for name, state in states(kernel).items() if state == "serving"] == ["well"]
            assert reason(kernel, "lonely").endswith("it requires plugin 'nobody', which is not there")
            assert reason(kernel, "hopeful").endswith("it requires plugin 'broken', which is failed")
            assert reason(kernel, "selfish").endswith("it requires itself")
            assert reason(kernel, "hen").endswith("its requirements go in a circle: hen -> egg -> chick -> hen")
            assert reason(kernel, "egg").endswith("its requirements go in a circle: egg -> chick -> hen -> egg")
            assert reason(kernel, "beside").endswith("it requires plugin 'hen', which is failed")
