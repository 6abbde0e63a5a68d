"""Which project a command is about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.kernel.cli.project import holder, load_config
from aetherra.kernel.config import Config
from aetherra.kernel.datadir import DataDir
from aetherra.kernel.errors import ConfigError

VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5)


def write(folder: Path, document: Any) -> None:
    (folder / "config.json").write_text(json.dumps(document), encoding="utf-8")


class TestLoadConfig:
    def test_no_file_means_the_defaults(self, tmp_path: Path) -> None:
        """A project needs no configuration."""
        assert load_config(tmp_path, None) == Config.parse({}, root=tmp_path)

    @pytest.mark.parametrize("document", [{}, {"profile": "dev"}, {"kernel": {"workers": 2}}, {"plugins": {"a": {}}}])
    def test_a_file_of_ours_is_read(self, tmp_path: Path, document: Any) -> None:
        """One of our sections is enough."""
        write(tmp_path, document)
        assert load_config(tmp_path, None).path == tmp_path / "config.json"

    @given(document=st.dictionaries(st.text().filter(lambda key: not set(key) & set("kernelplugisof")), VALUES))
    def test_a_file_of_somebody_else_is_not(
        self, tmp_path_factory: pytest.TempPathFactory, document: dict[str, Any]
    ) -> None:
        """Whatever other tools keep there under names that look nothing like ours, our host runs with its defaults."""
        folder = tmp_path_factory.mktemp("project")
        write(folder, document or {"x": 1})
        assert load_config(folder, None) == Config.parse({}, root=folder)

    @pytest.mark.parametrize("document", [[], ["kernel"], "kernel", 7, None])
    def test_nor_is_one_that_holds_no_object(
        self, tmp_path: Path, document: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """It is left alone, and that is said."""
        write(tmp_path, document)
        assert load_config(tmp_path, None) == Config.parse({}, root=tmp_path)
        assert "is not read" in capsys.readouterr().err

    def test_a_file_with_a_typo_beside_our_sections_is_ours(self, tmp_path: Path) -> None:
        """A mistake in a configuration of ours is an error, not somebody else's file."""
        write(tmp_path, {"kernel": {}, "plugin": {}})
        with pytest.raises(ConfigError, match="did you mean 'plugins'"):
            load_config(tmp_path, None)

    @pytest.mark.parametrize("typo", ["kernal", "plugin", "profil"])
    def test_a_file_with_nothing_but_a_typo_is_ours(self, tmp_path: Path, typo: str) -> None:
        """A slip of the pen in the only key is not taken for somebody else's file."""
        write(tmp_path, {typo: {}})
        with pytest.raises(ConfigError, match="did you mean"):
            load_config(tmp_path, None)

    def test_the_environment_chooses_the_profile(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """``AETHERRA_PROFILE`` is stronger than the file, and an empty one says nothing."""
        write(tmp_path, {"profile": "dev"})
        monkeypatch.setenv("AETHERRA_PROFILE", "prod")
        assert load_config(tmp_path, None).profile == "prod"
        monkeypatch.setenv("AETHERRA_PROFILE", "")
        assert load_config(tmp_path, None).profile == "dev"


class TestHolder:
    def test_names_the_process_that_holds_the_folder(self, tmp_path: Path) -> None:
        """This one while it does, and none before and after."""
        import os

        assert holder(tmp_path) is None
        held = DataDir(tmp_path).acquire()
        assert holder(tmp_path) == os.getpid()
        held.release()
        assert holder(tmp_path) is None
