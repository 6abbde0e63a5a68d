"""A plugin over time: its settings, and what is told of it."""

from __future__ import annotations

from pathlib import Path

from aetherra.kernel import Config, Kernel, Settings
from aetherra.kernel.config import PluginConfig
from aetherra.kernel.entry import Entry
from aetherra.kernel.sources import MissingSource
from tests.kernel.conftest import files, reason, states


class Sized(Settings):
    size: int = 1


class TestSettings:
    def test_settings_of_an_older_class_are_refused(self) -> None:
        """Settings that were given as an instance serve the next generation's class as well."""
        newer = type("Sized", (Settings,), {"__annotations__": {"size": int}})
        entry = Entry("plain", MissingSource("plain"))
        entry.settings = Sized(size=3)
        assert entry.settings_for(newer, Config.in_memory()) == newer(size=3)

    async def test_wrong_settings_are_taken(self, tmp_path: Path) -> None:
        """A wrong setting is named with its path, and its plugin alone fails."""
        config = files(
            tmp_path,
            room="class S(Settings):\n    size: int = 1\nclass Room(Plugin[S]): pass",
            other="pass",
        )
        config.plugins["room"] = PluginConfig(source=config.plugins["room"].source, settings={"size": "big"})
        async with Kernel(config) as kernel:
            assert states(kernel) == {"room": "failed", "other": "serving"}
            assert "`$.plugins.room.size`: expected `int`, got `str`" in reason(kernel, "room")
