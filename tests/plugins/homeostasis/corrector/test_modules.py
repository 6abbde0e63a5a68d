"""Missing modules: real wheels, real pip, and all that must not install anything."""

from __future__ import annotations

import base64
import hashlib
import logging
import sys
import zipfile

import pytest

from aetherra.kernel.testing import FakeClock
from aetherra.plugins.homeostasis.corrector import CorrectorSettings
from aetherra.plugins.homeostasis.corrector.messages import InstallModule
from aetherra.plugins.homeostasis.corrector.modules import InstallError, allowed_name, can_be_found, install

LOG = logging.getLogger("acme")


def build_wheel(folder, name):
    """Write a wheel with one module, by hand: nothing is fetched."""
    files = {
        f"{name}.py": "WORD = 'ground'\n",
        f"{name}-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{name}-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: by-hand\n"
        "Root-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()},{len(text)}"
        for path, text in files.items()
    ]
    files[f"{name}-1.0.dist-info/RECORD"] = "\n".join([*rows, f"{name}-1.0.dist-info/RECORD,,", ""])
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """Return settings of a corrector that may install from a folder of wheels, into a folder that is imported from."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    wheels = tmp_path / "wheels"
    build_wheel(wheels, "millstone_of_tests")
    before = set(sys.modules)
    yield {
        "allow_modules": {"millstone_of_tests": "millstone_of_tests>=1"},
        "pip_arguments": ["--no-deps", "--no-index", "--find-links", str(wheels), "--target", str(site)],
    }
    for name in set(sys.modules) - before:
        if name.startswith("millstone"):
            del sys.modules[name]


class TestMissingModule:
    async def test_a_plugin_stays_down_for_an_allowed_module(self, clinic, project, plugin_text, shelf):
        """A module in the list is installed, the plugin that failed for it is brought up, and that is called fixed."""
        project(
            "mill.py", plugin_text("mill", "import millstone_of_tests", body="return Answer(millstone_of_tests.WORD)")
        )
        async with clinic(plugins=["mill"], **shelf) as host:
            assert ("missing_module", "fixed") in await host.work()
            assert host.state("mill") == "serving"
            assert (await host.kernel.call_tag("mill.ask", {}))["text"] == "ground"
            assert InstallModule(module="millstone_of_tests") in host.doctor.asked

    async def test_a_module_is_installed_that_nobody_allowed(self, clinic, project, plugin_text, shelf):
        """A module that is not in the list is advised on, with the line that would allow it; pip is not asked."""
        project("mill.py", plugin_text("mill", "import millstone_of_tests"))
        async with clinic(plugins=["mill"], **{**shelf, "allow_modules": {}}) as host:
            assert ("missing_module", "advised") in await host.work()
            assert '"allow_modules": {"millstone_of_tests": "NAME>=VERSION"}' in host.last
            assert not can_be_found("millstone_of_tests")
            assert not any(isinstance(request, InstallModule) for request in host.doctor.asked)

    async def test_a_text_installs_a_module(self, clinic, shelf):
        """A message that says what a missing module says, even of one in the list, installs nothing."""
        async with clinic(**shelf) as host:
            LOG.error("No module named 'millstone_of_tests'")
            LOG.error("ModuleNotFoundError: No module named %r", "millstone_of_tests")
            LOG.error("%s", RuntimeError("No module named 'millstone_of_tests'"))
            LOG.error("%s", ModuleNotFoundError("No module named 'millstone_of_tests'"))  # no name of its own

            assert await host.work() == []
            assert host.doctor.asked == []

    async def test_an_exception_raised_on_purpose_installs_a_module(self, clinic, shelf):
        """Who raises the right exception gets what the list allows, and no more, whatever the name looks like."""
        async with clinic(**shelf) as host:
            for name in (
                "evil",
                "evil; rm -rf /",
                "--index-url=http://evil",
                "../evil",
                "",
                "millstone_of_tests2",
                ".",
            ):
                LOG.error("%s", ModuleNotFoundError("gone", name=name))

            assert {outcome for _, outcome in await host.work()} == {"advised"}
            assert host.doctor.asked == []

    async def test_a_name_that_no_module_has_is_advised_on(self, clinic):
        """A person is told of what an import may have asked for, and of a long name no more than its beginning."""
        async with clinic() as host:
            for name in ("os; rm", "a..b", "-x", "a\nb", "", "n" * 300):
                LOG.error("%s", ModuleNotFoundError("gone", name=name))

            assert await host.work() == [("missing_module", "advised")]
            assert "n" * 77 + "..." in host.last
            assert "n" * 78 not in host.last

    async def test_pip_that_fails_is_called_fixed(self, clinic, shelf):
        """A requirement that pip cannot meet is failed, with what pip says; for the cooldown it is not tried again."""
        async with clinic(**{**shelf, "allow_modules": {"nowhere_of_tests": "nowhere_of_tests"}}) as host:
            LOG.error("%s", ModuleNotFoundError("gone", name="nowhere_of_tests.part"))
            assert await host.work() == [("missing_module", "failed")]
            assert "No matching distribution found for nowhere_of_tests" in host.last
            await host.clock.advance(299.0)
            LOG.error("%s", ModuleNotFoundError("gone", name="nowhere_of_tests.part"))
            assert await host.work() == []
            assert host.corrector.get_statistics().suppressed == 1

    async def test_a_request_installs_what_is_not_allowed(self, clinic, shelf):
        """The request itself is held to the list, whoever sends it."""
        async with clinic(**shelf) as host:
            with pytest.raises(Exception, match="the configuration does not allow it"):
                await host.kernel.call_tag("homeostasis.install_module", {"module": "evil"})


class TestInstall:
    async def test_pip_runs_for_ever(self, tmp_path, monkeypatch):
        """After ``pip_timeout`` pip is ended, with what it has begun, and that is said."""
        folder = tmp_path / "slow"
        folder.mkdir()
        (folder / "pip.py").write_text("import time\nprint('at work', flush=True)\ntime.sleep(600)\n")
        monkeypatch.setenv("PYTHONPATH", str(folder))
        settings = CorrectorSettings(allow_modules={"slow": "slow"}, pip_timeout=0.5)
        from aetherra.registry import SystemClock

        with pytest.raises(InstallError, match=r"not done after 0\.5 s"):
            await install("slow", settings, SystemClock(), tmp_path)

    async def test_a_module_of_the_project_runs_in_place_of_pip(self, tmp_path, monkeypatch):
        """A ``pip.py``, or one that hides a module of Python's own, in the project is not run."""
        monkeypatch.delenv("PYTHONPATH", raising=False)
        for name in ("pip", "queue"):
            (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nraise SystemExit(0)\n")
        settings = CorrectorSettings(allow_modules={"odd": "odd_of_tests"}, pip_arguments=("--no-index",))

        with pytest.raises(InstallError, match="No matching distribution found for odd_of_tests"):
            await install("odd", settings, FakeClock(), tmp_path)

        assert not (tmp_path / "ran").exists()

    async def test_a_shell_reads_the_requirement(self, tmp_path, monkeypatch):
        """What the configuration names reaches pip as one word, behind the end of the options."""
        (tmp_path / "pip.py").write_text("import sys\nprint(sys.argv[1:])\n")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        settings = CorrectorSettings(allow_modules={"odd": "odd"}, pip_arguments=("--no-deps",))
        settings.allow_modules["odd"] = "odd>=1; touch x $(touch y)"  # which the settings themselves refuse

        done = await install("odd", settings, FakeClock(), tmp_path)

        assert done.said.endswith("'--no-deps', '--', 'odd>=1; touch x $(touch y)']")
        assert not (tmp_path / "x").exists()
        assert not (tmp_path / "y").exists()


class TestNames:
    @pytest.mark.parametrize(
        ("module", "wanted"),
        [
            ("yaml", "yaml"),
            ("yaml.reader", "yaml"),
            ("google.cloud.storage", "google.cloud"),
            ("google", None),
            ("yam", None),
        ],
    )
    def test_a_part_is_taken_for_another_package(self, module, wanted):
        """A module is allowed by its own name or that of a package that it is in."""
        assert allowed_name(module, {"yaml": "PyYAML", "google.cloud": "google-cloud"}) == wanted

    def test_a_module_that_is_there_is_missing(self):
        """What can be imported is found, without running it; what cannot is not."""
        assert can_be_found("json.decoder")
        assert not can_be_found("json.nowhere")
        assert not can_be_found("json.decoder.nowhere")
        assert not can_be_found("")
        assert not can_be_found(".json")
