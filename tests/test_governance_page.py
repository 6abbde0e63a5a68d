"""The page on governance, run: its baker asks, is one too many, and is stopped; its settings and words are ours."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from aetherra.kernel import Config, Kernel
from aetherra.kernel.permission import Code
from aetherra.plugins import HandlerError
from aetherra.plugins.governance import Governance
from aetherra.plugins.governance import messages as m
from aetherra.plugins.governance.settings import GUARDS, GovernanceSettings

PAGE = (Path(__file__).parents[1] / "docs" / "governance.md").read_text(encoding="utf-8")


def example(name: str) -> str:
    """Return the block of the page that bears this name."""
    found = re.search(rf"<!-- example: {re.escape(name)} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None, f"governance.md has no example {name}"
    return found.group(1)


async def test_the_baker_of_the_page_does_not_ask(tmp_path: Path) -> None:
    """One batch passes, the second is one too many, and after a stop there is none."""
    (tmp_path / "baker.py").write_text(example("baker.py"), encoding="utf-8")
    document = {"kernel": {"discover": False, "data_dir": None}, "plugins": {"baker": {"source": "baker.py"}}}
    async with Kernel(Config.parse(document, root=tmp_path)) as kernel:
        await kernel.add_plugin(Governance)
        assert await kernel.call_tag("baker.bake", {"loaves": 3}) == {"loaves": 3}
        with pytest.raises(HandlerError, match=r"baking of 'oven' is not permitted: .*one more baking"):
            await kernel.call_tag("baker.bake", {"loaves": 3})
        await kernel.call(m.EmergencyStopAll("smoke"))
        with pytest.raises(HandlerError, match="emergency stop by the host: smoke"):
            await kernel.call_tag("baker.bake", {"loaves": 3})
        told = [entry.code for entry in (await kernel.call(m.GetAuditTail())).entries if entry.kind == "baking"]
        assert told == ["allowed", "done", "guard", "stopped"]


def test_the_settings_of_the_page_are_refused() -> None:
    """All that the page names is a setting, and every setting is named."""
    document: Any = json.loads(example("settings"))
    said = msgspec.convert(document, GovernanceSettings)
    assert said.guard("integrations_per_hour").limit == 3
    assert set(document) == set(GovernanceSettings.__struct_fields__)
    defaults = GovernanceSettings()
    for name in ("approval_lifetime", "most_waiting", "relays", "audit"):
        assert getattr(said, name) == getattr(defaults, name), name


def test_a_guard_is_not_as_the_page_says() -> None:
    """Limit, window, measure and its time are those that the table tells."""
    settings, windows = GovernanceSettings(), {"hour": 3600.0, "minute": 60.0}
    for name in GUARDS:
        row = re.search(rf"\| `{name}` \| (\d+) \| `(\w+)`(.*) \|", PAGE)
        assert row is not None, name
        guard = settings.guard(name)
        assert (guard.limit, guard.breach) == (int(row[1]), row[2])
        assert guard.seconds == windows[name.rpartition("_")[2]]
        assert ("for 600 s" in row[3]) if guard.lasts == 600.0 else ("until a person" in row[3])


def test_an_answer_is_not_explained() -> None:
    """Each code stands in the table."""
    told = set(re.findall(r"`(\w+)`", "\n".join(re.findall(r"^\| (`\w+`.*?) \|", PAGE, re.MULTILINE))))
    assert set(get_args(Code)) <= told


def test_a_tag_is_not_listed() -> None:
    """Each message that governance says or hears stands on the page."""
    tags = re.findall(r'tag="(governance\.\w+)"', Path(m.__file__).read_text(encoding="utf-8"))
    assert len(tags) > 20
    for tag in tags:
        if not tag.endswith("_reply"):
            assert tag.removeprefix("governance.") in PAGE, tag
