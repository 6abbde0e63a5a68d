"""Missing data files: made of what is declared, inside the project, and nowhere else."""

from __future__ import annotations

import logging
import stat

import pytest

from aetherra.plugins.homeostasis.corrector.data_files import DataFileNotMadeError, make
from aetherra.plugins.homeostasis.corrector.messages import MakeDataFile

LOG = logging.getLogger("acme")


def miss(path):
    """Open a file that is not there, and log what is raised."""
    try:
        with open(path):  # noqa: PTH123
            pass
    except FileNotFoundError as exc:
        LOG.error("lost: %s", exc)


class TestMissingDataFile:
    async def test_a_plugin_stays_down_for_a_declared_file(self, clinic, project, plugin_text, tmp_path):
        """A declared file is made with the folders it is in, byte for byte, and the plugin that missed it comes up."""
        zones = tmp_path / "data" / "deep" / "zones.json"
        default = project("defaults/zones.json", '{"kitchen": 21}\n')
        default.chmod(0o640)
        project(
            "mill.py",
            plugin_text(
                "mill", f"import pathlib; WORD = pathlib.Path({str(zones)!r}).read_text()", body="return Answer(WORD)"
            ),
        )
        async with clinic(plugins=["mill"], data_files={"data/deep/zones.json": "defaults/zones.json"}) as host:
            assert ("missing_data_file", "fixed") in await host.work()
            assert zones.read_bytes() == default.read_bytes()
            assert stat.S_IMODE(zones.stat().st_mode) == 0o640
            assert (await host.kernel.call_tag("mill.ask", {}))["text"] == '{"kitchen": 21}\n'

    async def test_a_missing_folder_stays_missing(self, clinic, tmp_path):
        """A declared folder is made when a file in it cannot be."""
        async with clinic(data_files={"exports/": ""}) as host:
            miss(tmp_path / "exports" / "today.csv")

            assert await host.work() == [("missing_data_file", "fixed")]
            assert (tmp_path / "exports").is_dir()

    async def test_a_file_is_made_of_nothing(self, clinic, tmp_path):
        """A file that is not declared is advised on, with the line that would declare it."""
        async with clinic() as host:
            miss(tmp_path / "zones.json")

            assert await host.work() == [("missing_data_file", "advised")]
            assert '"data_files": {"zones.json": ' in host.last
            assert not (tmp_path / "zones.json").exists()

    async def test_a_file_is_made_outside_of_the_project(self, clinic, project, tmp_path, tmp_path_factory):
        """A link that leads out of the project is followed before it is judged, also one to nothing."""
        outside = tmp_path_factory.mktemp("outside")
        project("default.json", "{}")
        (tmp_path / "out").symlink_to(outside)
        (tmp_path / "dangling.json").symlink_to(outside / "made.json")
        declared = {"out/zones.json": "default.json", "dangling.json": "default.json"}
        async with clinic(data_files=declared) as host:
            miss(tmp_path / "out" / "zones.json")
            miss(tmp_path / "dangling.json")
            miss(outside / "other.json")

            assert await host.work() == []
            for path in declared:
                with pytest.raises(Exception, match="leads out of the project"):
                    await host.kernel.call_tag("homeostasis.make_data_file", {"path": path})
            assert list(outside.iterdir()) == []

    async def test_a_file_that_nobody_declared_is_made_by_request(self, clinic, tmp_path):
        """The request itself is held to what is declared."""
        async with clinic() as host:
            with pytest.raises(Exception, match="does not declare it"):
                await host.kernel.call(MakeDataFile(path="zones.json"))

    async def test_a_default_that_is_missing_too_is_called_fixed(self, clinic, tmp_path):
        """Where the default cannot be copied the outcome is failed, with the reason."""
        async with clinic(data_files={"zones.json": "defaults/zones.json"}) as host:
            miss(tmp_path / "zones.json")

            assert await host.work() == [("missing_data_file", "failed")]
            assert "defaults/zones.json" in host.last

    async def test_an_error_without_its_file_makes_one(self, clinic, project, tmp_path):
        """The exception's own ``filename`` counts, and never what its text or the message says."""
        project("default.json", "{}")
        async with clinic(data_files={"zones.json": "default.json"}) as host:
            LOG.error("No such file or directory: %r", str(tmp_path / "zones.json"))
            LOG.error("%s", FileNotFoundError(f"No such file or directory: {tmp_path / 'zones.json'}"))

            assert await host.work() == []
            assert not (tmp_path / "zones.json").exists()


class TestMake:
    def test_a_file_that_is_there_is_overwritten(self, tmp_path):
        """What is there stays as it is, also what is no file."""
        (tmp_path / "default").write_text("default")
        (tmp_path / "mine").write_text("mine")

        with pytest.raises(DataFileNotMadeError):
            make(tmp_path, "mine", {"mine": "default"})

        assert (tmp_path / "mine").read_text() == "mine"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["default", "mine"]

    def test_a_default_is_read_from_outside(self, tmp_path, tmp_path_factory):
        """A default outside of the project, by dots or by a link, is not copied into it."""
        outside = tmp_path_factory.mktemp("outside") / "secret"
        outside.write_text("secret")
        (tmp_path / "link").symlink_to(outside)

        for source in (str(outside), f"../{outside.parent.name}/secret", "link"):
            with pytest.raises(DataFileNotMadeError, match="leads out of the project"):
                make(tmp_path, "mine", {"mine": source})
