"""What became of plugins: counted, and the failed attempts put into words."""

from __future__ import annotations

from pathlib import Path

import pytest

from aetherra.kernel import Kernel, PluginDefinitionError
from aetherra.kernel.outcomes import LifecycleStatistics, Outcomes
from tests.kernel.conftest import files, reason


class TestFailure:
    async def test_a_fault_while_loading_says_nothing_of_its_place(self, tmp_path: Path) -> None:
        """The reason names the file and the line that raised, the plugin's own and not ours."""
        async with Kernel(files(tmp_path, bad="class P(Plugin): name = 'bad'\nundefined_name\n")) as kernel:
            line = (tmp_path / "bad.py").read_text().splitlines().index("undefined_name") + 1
            assert f"at {tmp_path / 'bad.py'}, line {line}" in reason(kernel, "bad")

    @pytest.mark.parametrize(
        ("fault", "said"),
        [
            (PluginDefinitionError("use one name"), "use one name"),
            (TimeoutError("it hangs"), "it hangs"),
            (TimeoutError(), "TimeoutError()"),
            (SystemExit(3), "it called sys.exit(3)"),
            (ValueError("no"), "ValueError('no')"),
        ],
    )
    def test_a_failure_is_not_counted_or_says_too_little(self, fault: BaseException, said: str) -> None:
        """Ours say what is wrong by themselves; of others the class is told, too. Each attempt counts."""
        outcomes = Outcomes()
        error = outcomes.failure("room", "starting", fault, " (from room.py)")
        assert (error.plugin, error.phase, error.problem) == ("room", "starting", f"{said} (from room.py)")
        assert outcomes.statistics() == LifecycleStatistics(load_failures=1)

    def test_a_syntax_error_is_not_pointed_at(self) -> None:
        """The line stands there, with a mark below the place, wherever it is indented to."""
        fault = SyntaxError("invalid syntax", ("room.py", 2, 9, "    return )\n"))
        problem = Outcomes().failure("room", "importing", fault).problem
        assert problem == "invalid syntax (room.py, line 2)\n    return )\n        ^"
