"""Where the ledger is, and its head: apart, and told by the configuration or the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from aetherra.kernel.config import convert
from aetherra.kernel.errors import ConfigError
from aetherra.kernel.ledger import LedgerSettings, head_folder, ledger_folder


class TestFolders:
    def test_the_head_is_where_the_ledger_is(self, tmp_path: Path) -> None:
        """In the user's state, by default in ``~/.local/state``; each data directory has its own."""
        environ = {"XDG_STATE_HOME": str(tmp_path / "state")}
        a, b = (head_folder(tmp_path / name, LedgerSettings(), environ) for name in ("a", "b"))

        assert a.parent == b.parent == tmp_path / "state" / "aetherra"
        assert a != b
        assert head_folder(tmp_path / "a", LedgerSettings(), {}).is_relative_to(Path.home() / ".local" / "state")
        assert tmp_path / "a" in ledger_folder(tmp_path / "a").parents

    def test_a_relative_state_folder_is_used(self, tmp_path: Path) -> None:
        """The specification has it ignored."""
        assert head_folder(tmp_path, LedgerSettings(), {"XDG_STATE_HOME": "state"}) == head_folder(
            tmp_path, LedgerSettings(), {}
        )

    def test_one_folder_has_two_heads(self, tmp_path: Path) -> None:
        """A link to the data directory leads to the same head."""
        (tmp_path / "data").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "data")

        assert head_folder(tmp_path / "link", LedgerSettings(), {}) == head_folder(
            tmp_path / "data", LedgerSettings(), {}
        )

    def test_the_setting_is_not_heeded(self, tmp_path: Path) -> None:
        """Absolute, of the user's home, or relative to the data directory."""
        for value, folder in (("/x", Path("/x")), ("~/x", Path.home() / "x"), ("x", tmp_path / "x")):
            assert head_folder(tmp_path, LedgerSettings(head_folder=value), {}) == folder

    def test_no_home_ends_in_a_stack(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The remedy is named."""

        def no_home() -> Path:
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.setattr(Path, "home", no_home)
        with pytest.raises(ConfigError, match="XDG_STATE_HOME"):
            head_folder(tmp_path, LedgerSettings(), {})


class TestBounds:
    @pytest.mark.parametrize(
        "wrong", [{"segment_bytes": 10}, {"max_age": 0}, {"max_bytes": "much"}, {"head_folder": ""}, {"heads": "x"}]
    )
    def test_a_slip_of_the_pen_is_taken(self, wrong: dict[str, object]) -> None:
        """The error names the key."""
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            convert(wrong, LedgerSettings, "config.json")
