"""The tables of the judge, and samples that are made to get past them. None of these is ever run."""

import ast
import runpy
from pathlib import Path

import pytest

from aetherra.plugins.self_incorporation.code.judge import judge
from aetherra.plugins.self_incorporation.code.names import Names
from aetherra.plugins.self_incorporation.code.rules import (
    CAPABILITY_WEIGHTS,
    INDICATORS,
    TELLING,
    canonical,
    capability_of,
)
from aetherra.plugins.self_incorporation.code.syntax import Syntax

KEPT = runpy.run_path(str(Path(__file__).parents[1] / "samples.py"))
SAMPLES: dict[str, str] = KEPT["SAMPLES"]
LATER: dict[str, tuple[str, str]] = KEPT["LATER"]


class TestSamples:
    @pytest.mark.parametrize("name", SAMPLES)
    def test_a_way_to_hide_is_not_seen_through(self, name: str) -> None:
        """However a file hides what it runs, fetches or sends, it is a threat."""
        syntax = Syntax(ast.parse(SAMPLES[name]))
        judgement = judge("module.py", SAMPLES[name], syntax, Names(syntax))

        assert [finding.code for finding in judgement.findings if finding.severity == "threat"]
        assert judgement.risk >= 0.6

    @pytest.mark.parametrize("name", [name for name in LATER if name not in KEPT["GAPS"]])
    def test_what_is_done_in_the_world_is_not_seen_through(self, name: str) -> None:
        """What thieves and droppers do is a threat, but for the gaps that are known."""
        path, text = LATER[name]
        syntax = Syntax(ast.parse(text))

        assert any(each.severity == "threat" for each in judge(path, text, syntax, Names(syntax)).findings)


class TestTables:
    def test_an_indicator_needs_what_nobody_has(self) -> None:
        """What makes a sign a threat is a capability that the judge knows."""
        needed = {need for indicator in INDICATORS.values() for needs in indicator.needs for need in needs}

        assert needed <= CAPABILITY_WEIGHTS.keys()

    def test_a_telling_function_tells_nothing(self) -> None:
        """Each stands for a capability, so that holding it is using that."""
        assert {capability_of(name) for name in TELLING} == {"dynamic_code", "process"}

    @pytest.mark.parametrize(
        ("name", "stands_for"),
        [
            ("posix.system", "os.system"),
            ("logging.os.remove", "os.remove"),
            ("asyncio.subprocess.subprocess.Popen", "subprocess.Popen"),
            ("some.package.os.system", "os.system"),
            ("some.package.os.thing", "some.package.os.thing"),
            ("some.socket.Thing", "some.socket.Thing"),
            (".os.system", ".os.system"),
            ("os.path.join", "os.path.join"),
            ("os.system", "os.system"),
        ],
    )
    def test_a_module_is_hidden_behind_another(self, name: str, stands_for: str) -> None:
        """What is reached through a module that holds it is what it is by itself; a file of that name is another."""
        assert canonical(name) == stands_for
