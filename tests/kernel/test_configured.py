"""The plugins to start with: from files, folders and installed packages, each name once."""

from __future__ import annotations

from pathlib import Path

import pytest

from aetherra.kernel import Config, Kernel, Plugin, PluginLoadError
from aetherra.kernel.config import KernelConfig, PluginConfig
from aetherra.kernel.sources import FileSource
from aetherra.registry import Identity
from tests.kernel.conftest import HEADER, offer, reason, states


class TestConfigured:
    async def test_a_source_is_not_brought_up(self, site: Path) -> None:
        """Plugins come from files, folders and installed packages; settings stand under their names."""
        text = HEADER + "class S(Settings):\n    size: int = 1\nclass P(Plugin[S]):\n"
        body = "    name = '{}'\n    async def start(self, ctx): self.__class__.version = str(self.settings.size)\n"
        (site / "one.py").write_text(text + body.format("one"))
        (site / "two").mkdir()
        (site / "two/__init__.py").write_text(text + body.format("two"))
        (site / "installed_three.py").write_text(text + body.format("three"))
        (site / "installed_four.py").write_text("1 / 0")
        offer(site, "rooms", "three = installed_three:P", "four = installed_four:P")
        document = {
            "kernel": {"data_dir": None},
            "plugins": {
                "one": {"source": "one.py", "size": 2},
                "two": {"source": "two", "size": 3},
                "three": {"size": 4},
                "four": {"enabled": False},
                "five": {},
                **{
                    name: {"enabled": False}
                    for name in ("governance", "hmr", "homeostasis", "self_improvement", "self_incorporation")
                },
            },
        }
        async with Kernel(Config.parse(document, path=site / "config.json")) as kernel:
            assert {info.name: info.version for info in kernel.plugins()} == {
                "one": "2",
                "two": "3",
                "three": "4",
                "five": "",
            }
            assert "no installed package offers a plugin 'five'; install one, or name a file" in reason(kernel, "five")

    async def test_two_plugins_have_one_name(self, site: Path, caplog: pytest.LogCaptureFixture) -> None:
        """The second of a name is refused, naming both, wherever they come from."""
        (site / "installed_room.py").write_text(HEADER + "class Room(Plugin): pass\n")
        offer(site, "rooms", "room = installed_room:Room")
        offer(site, "more-rooms", "room = installed_room:Room", "homeostasis = installed_room:Room")
        config = Config(kernel=KernelConfig(data_dir=None), root=site)
        async with Kernel(config) as kernel:
            assert states(kernel)["room"] == "serving"
            assert states(kernel)["homeostasis"] == "serving", "a stranger took the name of one of ours"
            refused = [record.getMessage() for record in caplog.records if "two installed" in record.getMessage()]
            (found,) = (text for text in refused if "'room'" in text)
            assert "entry point of rooms" in found
            assert "entry point of more-rooms" in found

            class Room(Plugin):
                pass

            with pytest.raises(PluginLoadError) as caught:
                await kernel.add_plugin(Room)
            assert "the name is taken by installed_room:Room (entry point of" in str(caught.value)
            assert f"{__name__}:TestConfigured." in str(caught.value)
            assert states(kernel)["room"] == "serving"

    async def test_what_comes_later_fails_at_the_start_or_cannot_come(self, site: Path) -> None:
        """A plugin of source ``later`` is no failure, and once somebody adds it, it has its settings and grants."""
        text = "class S(Settings):\n    size: int = 1\nclass P(Plugin[S]):\n    name = 'one'\n"
        body = "    async def start(self, ctx): self.__class__.version = str(self.settings.size)\n"
        (site / "one.py").write_text(HEADER + text + body)
        later = PluginConfig(source="later", settings={"size": 5}, grants=("call:two.*",))
        config = Config(kernel=KernelConfig(data_dir=None, discover=False), plugins={"one": later}, root=site)
        async with Kernel(config) as kernel:
            assert kernel.plugins() == []
            await kernel._running().plugins.add(FileSource("one", str(site / "one.py")), "one")
            (info,) = kernel.plugins()
            assert (info.state, info.version) == ("serving", "5")
            identity = Identity("plugin", "one", info.generation)
            assert kernel.registry.bus.capabilities.covers(identity, "call", "two.ask")
