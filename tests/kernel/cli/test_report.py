"""The report of one maintenance cycle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aetherra.kernel.cli import report


def cycle(**findings: Any) -> dict[str, Any]:
    step = {
        "type": "kernel.maintenance_step",
        "phase": "collect",
        "plugin": "p",
        "tag": "p.do",
        "seconds": 0.1,
        "error": "",
    }
    return {
        "seconds": 1.0,
        "steps": [step, {**step, "error": "no"}],
        "idle_phases": ["plan"],
        "findings": findings,
    }


class TestBuild:
    def test_every_documented_key_is_there_whoever_ran(self) -> None:
        """A host without our plugins reports, too, and says which keys nobody filled."""
        built = report.build(Path("/p"), [], {}, cycle())
        assert built.keys() >= report.KEYS.keys() | {"services"}
        assert built["unfilled"] == sorted(report.KEYS)

    def test_what_plugins_found_stands_under_its_own_names(self) -> None:
        """Findings fill the keys, and further ones come along."""
        built = report.build(Path("/p"), [], {}, cycle(files_found=3, extra="x"))
        assert (built["files_found"], built["extra"]) == (3, "x")
        assert "files_found" not in built["unfilled"]

    def test_steps_that_failed_are_listed_once_more(self) -> None:
        """The errors are what the exit status goes by."""
        built = report.build(Path("/p"), [], {}, cycle())
        assert [step["error"] for step in built["errors"]] == ["no"]

    def test_a_plugin_that_did_not_come_up_is_an_error(self) -> None:
        """A cycle without it is not a whole one."""
        built = report.build(Path("/p"), [], {"homeostasis": "unknown key 'intervall'"}, cycle())
        assert built["errors"][0] == {"plugin": "homeostasis", "error": "unknown key 'intervall'"}

    def test_a_plugins_finding_cannot_take_the_place_of_the_hosts_own(self) -> None:
        """What the host itself says of services, steps and errors is not a plugin's to overwrite."""
        built = report.build(
            Path("/p"), [], {}, cycle(services="mine", steps="mine", errors=[], seconds=-1.0, path="mine")
        )
        assert (built["services"], built["seconds"], built["path"]) == ([], 1.0, "/p")
        assert len(built["errors"]) == 1


class TestShow:
    def test_a_report_that_nobody_filled_reads_well(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Nothing known is said to be unknown."""
        report.show(report.build(Path("/p"), [], {}, cycle()))
        out = capsys.readouterr().out
        assert "health score unknown" in out
        assert "0 files found, 0 indexed, 0 refused" in out

    def test_a_long_list_is_cut_which_is_said(self, capsys: pytest.CaptureFixture[str]) -> None:
        """People see the first and the number of the others."""
        refused = [{"path": f"f{i}", "reason": "r", "detail": "d"} for i in range(report.SHOWN + 5)]
        report.show(report.build(Path("/p"), [], {}, cycle(files_refused=refused)))
        out = capsys.readouterr().out
        assert f"f{report.SHOWN - 1} " in out
        assert f"f{report.SHOWN} " not in out
        assert "and 5 more" in out
