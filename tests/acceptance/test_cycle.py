"""``aetherra run --once`` over real trees: the report, its promises, and what a second run saves."""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.acceptance.conftest import Ended, Project

CHECKOUT = Path(__file__).parents[2]
KEYS = {
    "health_score",
    "services",
    "metrics",
    "trends",
    "proposals",
    "files_found",
    "files_indexed",
    "files_refused",
    "findings",
}


def copied(tree: Path, project: Project) -> Path:
    """Copy a tree into the project, so that the host keeps its state there and not in the original."""
    copy = project.path / tree.name
    shutil.copytree(tree, copy, ignore=shutil.ignore_patterns("__pycache__", ".aetherra"))
    return copy


def cycle(project: Project, path: Path) -> dict[str, Any]:
    """Run one cycle and return its report, which keeps the promises that every report keeps."""
    ended: Ended = project.aetherra("run", "--once", "--json", "--backend", project.backend, path, timeout=60.0)
    assert ended.status == 0, ended.err
    assert ended.out.count("\n") == 1
    report: dict[str, Any] = ended.json
    assert report.keys() >= KEYS
    assert 0.0 <= report["health_score"] <= 1.0
    assert {"homeostasis_system", "self_improvement_engine", "self_incorporation", "hmr_controller"} <= {
        service["name"] for service in report["services"]
    }
    assert len([metric for metric in report["metrics"].values() if metric["value"] is not None]) >= 15
    assert report["files_found"] == report["files_indexed"] + len(report["files_refused"])
    assert all(refusal["path"] and refusal["reason"] and refusal["detail"] for refusal in report["files_refused"])
    assert report["errors"] == []
    assert "Traceback" not in ended.err
    return report


def big_package() -> Path:
    """Return the smallest installed package of more than 300 files."""
    site = Path(sysconfig.get_path("purelib"))
    sizes = {
        folder: sum(1 for file in folder.rglob("*") if file.is_file() and file.suffix != ".pyc")
        for folder in site.iterdir()
        if (folder / "__init__.py").is_file()
    }
    big = {folder: size for folder, size in sizes.items() if size > 300}
    if not big:
        pytest.skip(f"no package in {site} has more than 300 files")
    return min(big, key=lambda folder: big[folder])


class TestACycle:
    @pytest.mark.parametrize("folder", ["registry", "kernel", "hmr", "plugins"])
    def test_over_our_own_code_indexes_all_of_it(self, asyncio_project: Project, folder: str) -> None:
        """Nothing that we write is refused."""
        copy = copied(CHECKOUT / folder, asyncio_project)
        report = cycle(asyncio_project, copy)
        sources = {file for file in copy.rglob("*") if file.is_file() and ".aetherra" not in file.parts}

        assert report["files_found"] == len(sources) > 5
        assert report["files_refused"] == []

    def test_over_files_that_no_tool_can_read_names_each_with_its_reason(self, project: Project) -> None:
        """Broken syntax and broken encodings are refused one by one, and counted."""
        stdlib = Path(sysconfig.get_path("stdlib"))
        broken = [path for path in (stdlib / "lib2to3" / "tests", stdlib / "test" / "tokenizedata") if path.is_dir()]
        if not broken:
            pytest.skip(f"this interpreter came without its tests: nothing broken in {stdlib}")
        for tree in broken:
            report = cycle(project, copied(tree, project))
            assert report["files_indexed"] > 0
            assert {refusal["reason"] for refusal in report["files_refused"]} & {
                "syntax_error",
                "bad_encoding_declaration",
                "not_utf8",
            }

    def test_over_an_installed_package_is_incremental(self, project: Project) -> None:
        """Every file is read once; the second run reads what changed since."""
        copy = copied(big_package(), project)
        first = cycle(project, copy)
        assert first["files_found"] > 300
        assert first["files_read"] >= first["files_indexed"]
        assert first["files_new"] == first["files_indexed"]

        changed = next(path for path in copy.rglob("*.py") if path.stat().st_size > 100)
        changed.write_bytes(changed.read_bytes() + b"\n# changed\n")
        second = cycle(project, copy)
        assert second["files_found"] == first["files_found"]
        assert 1 <= second["files_read"] < 30  # those written within a tick of the first run are read again
        assert second["files_unchanged"] >= first["files_indexed"] - 1
        assert second["files_changed"] == 1

    @pytest.mark.slow
    def test_over_the_standard_librarys_tests_accounts_for_every_file(self, asyncio_project: Project) -> None:
        """A tree of more than a thousand files, some of them meant to be broken."""
        tests = Path(sysconfig.get_path("stdlib")) / "test"
        if not (tests / "test_grammar.py").is_file():
            pytest.skip("this interpreter came without its tests")
        assert cycle(asyncio_project, copied(tests, asyncio_project))["files_found"] > 1000

    def test_over_an_empty_folder_has_every_key(self, project: Project) -> None:
        """Nothing there is a report, too."""
        report = cycle(project, project.path)
        assert (report["files_found"], report["findings"]) == (0, [])

    def test_finds_what_a_thief_would_write(self, asyncio_project: Project) -> None:
        """A threat is named with its file and line."""
        (asyncio_project.path / "steal.py").write_text(
            "import base64\nexec(base64.b64decode('cHJpbnQoMSk='))\n", encoding="utf-8"
        )
        report = cycle(asyncio_project, asyncio_project.path)
        assert ("steal.py", 2) in {(finding["path"], finding["line"]) for finding in report["findings"]}

    def test_prints_one_document_whatever_plugins_print(self, project: Project) -> None:
        """What a plugin or its child process prints goes to standard error."""
        project.plugin(
            "noisy",
            """
            import subprocess
            print("imported")

            class Noisy(Plugin):
                name = "noisy"

                async def start(self, ctx):
                    print("started")
                    subprocess.run([sys.executable, "-c", "print('a child')"], check=True)

                async def stop(self):
                    print("stopped")
            """,
        )
        project.configure(discover=True)
        ended = project.aetherra("run", "--once", "--json", "--backend", project.backend)
        assert (ended.status, ended.json["errors"]) == (0, [])
        assert {"imported", "started", "a child", "stopped"} <= set(ended.err.splitlines())

    def test_reads_well_without_json(self, asyncio_project: Project) -> None:
        """People get the same report as lines and tables."""
        (asyncio_project.path / "one.py").write_text("x = 1\n", encoding="utf-8")
        ended = asyncio_project.aetherra("run", "--once")
        assert ended.status == 0
        assert "health score" in ended.out
        assert "1 files found, 1 indexed, 0 refused" in ended.out
        assert "collect: homeostasis done in" in ended.err

    def test_a_step_that_fails_is_reported_and_fails_the_command(self, asyncio_project: Project) -> None:
        """The report is there all the same, with the error in it."""
        asyncio_project.plugin(
            "broken",
            """
            from aetherra.plugins import CycleStep, hookimpl

            class Mended(Message, tag="broken.mended"):
                pass

            class Mend(Request[Mended], tag="broken.mend"):
                pass

            class Broken(Plugin):
                name = "broken"

                @handler
                async def mend(self, request: Mend) -> Mended:
                    raise OSError("no glue")

                @hookimpl
                def cycle_steps(self):
                    return [CycleStep("correct", Mend())]
            """,
        )
        ended = asyncio_project.aetherra("run", "--once", "--json")
        assert ended.status == 1
        assert [("broken", "no glue" in step["error"]) for step in ended.json["errors"]] == [("broken", True)]


class TestAScan:
    def test_needs_no_host_and_writes_nothing(self, asyncio_project: Project) -> None:
        """``aetherra scan`` judges a tree and leaves it as it was."""
        (asyncio_project.path / "one.py").write_text("x = 1\n", encoding="utf-8")
        report = asyncio_project.aetherra("scan", "--json", ".").json
        assert (report["files_found"], report["files_indexed"], report["files_refused"]) == (1, 1, [])
        assert [path.name for path in asyncio_project.path.iterdir()] == ["one.py"]

    def test_of_one_file_is_about_that_file(self, asyncio_project: Project) -> None:
        """A file may be named instead of a folder."""
        (asyncio_project.path / "one.py").write_text("x = 1\n", encoding="utf-8")
        (asyncio_project.path / "two.py").write_text("x = 1\n", encoding="utf-8")
        assert asyncio_project.aetherra("scan", "--json", "two.py").json["files_found"] == 1

    def test_that_finds_a_threat_exits_with_1(self, asyncio_project: Project) -> None:
        """A script may branch on it."""
        (asyncio_project.path / "steal.py").write_text(
            "import base64\nexec(base64.b64decode('cHJpbnQoMSk='))\n", encoding="utf-8"
        )
        ended = asyncio_project.aetherra("scan", ".")
        assert ended.status == 1
        assert "steal.py:2" in ended.out
