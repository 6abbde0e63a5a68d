"""The corrector's settings, as they stand in a configuration."""

from __future__ import annotations

import msgspec
import pytest

from aetherra.plugins.homeostasis.corrector import CorrectorSettings


def test_the_defaults_change_code():
    """By default nothing is installed, edited or made."""
    settings = CorrectorSettings()

    assert (settings.allow_modules, settings.allow_edits, settings.data_files) == ({}, False, {})
    assert settings.cooldown == settings.cooldown_jitter == 300.0


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"allow_modules": {"yaml": "--index-url=http://evil"}}, "requirement for module 'yaml'"),
        ({"allow_modules": {"yaml": " "}}, "requirement for module 'yaml'"),
        ({"allow_modules": {"yaml": "a\n--index-url=x"}}, "requirement for module 'yaml'"),
        ({"allow_modules": {"yaml": "PyYAML; rm -rf"}}, "^allow_modules.yaml: expected a requirement"),
        ({"allow_modules": {"yaml": "-e ./yaml"}}, "requirement for module 'yaml'"),
        ({"allow_modules": {"../yaml": "PyYAML"}}, "name of a module"),
        ({"data_files": {"../x": "default"}}, "^data_files.../x: expected paths inside the project, got '../x'"),
        ({"data_files": {"x": "a/../../default"}}, "^data_files.x: expected paths inside the project, got 'a/../../d"),
        ({"data_files": {"a/../": ""}}, "inside the project"),
        ({"data_files": {"x": "\0"}}, "inside the project"),
        ({"interval": 1e-9}, ">= 0.05"),
        ({"revisit": 1e-9}, ">= 0.05"),
        ({"moved": {"a.b": "c d"}}, "name of a module"),
        ({"data_files": {"folder/": "default"}}, 'a folder as "path/": ""'),
        ({"data_files": {"file": ""}}, "a file with a file to copy"),
        ({"capacity": 0}, ">= 1"),
        ({"cooldwon": 1}, "unknown field"),
    ],
)
def test_a_mistake_is_taken(given, problem):
    """What cannot be meant is refused, and says what was expected."""
    with pytest.raises(msgspec.ValidationError, match=problem):
        msgspec.convert(given, CorrectorSettings)


class TestCheck:
    def test_a_path_that_is_not_there_is_installed(self, tmp_path):
        """It is an error at the start; one that is there, with extras or without, and a requirement are not."""
        (tmp_path / "wheels").mkdir()
        (tmp_path / "wheels" / "acme-1.whl").touch()
        well = {
            "acme": "wheels/acme-1.whl",
            "more": "./wheels/acme-1.whl[more]",
            "yaml": "PyYAML>=6",
            "dir": "./wheels",
        }
        CorrectorSettings(allow_modules=well).check(tmp_path)

        with pytest.raises(ValueError, match=r"^corrector.allow_modules.acme: there is no 'wheels/acme-2.whl' at "):
            CorrectorSettings(allow_modules={"acme": "wheels/acme-2.whl"}).check(tmp_path)

    def test_a_file_is_declared_outside_of_the_project(self, tmp_path):
        """An absolute path may be inside, and is refused where it is not; a link to the project is no way out."""
        (tmp_path / "project").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "project")
        inside = {str(tmp_path / "project" / "a.json"): "default.json", "exports/": ""}
        for root in ("project", "link"):
            CorrectorSettings(data_files=inside).check(tmp_path / root)
            for outside in ({"/etc/x": "a"}, {"a": "/etc/x"}, {str(tmp_path / "project" / ".." / "x"): "a"}):
                with pytest.raises(ValueError, match=r"^corrector.data_files\..* leads out of the project at "):
                    CorrectorSettings(data_files=outside).check(tmp_path / root)

    async def test_settings_that_cannot_work_are_found_out_later(self, clinic):
        """The plugin does not come up with them, and says why."""
        with pytest.raises(Exception, match=r"there is no '\./nowhere\.whl' at") as found:
            async with clinic(allow_modules={"acme": "./nowhere.whl"}):
                pass
        assert "allow_modules.acme" in str(found.value)
