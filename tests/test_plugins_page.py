"""The page on writing plugins, run: its knobs are listed, turned, and refused, as it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from aetherra.kernel import Config, Kernel
from aetherra.registry import HandlerError

PAGE = (Path(__file__).parents[1] / "docs" / "plugins.md").read_text(encoding="utf-8")


def example(name: str) -> str:
    """Return the block of the page that bears this name."""
    found = re.search(rf"<!-- example: {re.escape(name)} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None, f"plugins.md has no example {name}"
    return found.group(1)


async def test_a_knob_of_the_page_does_not_turn(tmp_path: Path) -> None:
    """Both knobs are there with what was declared, and take what they say."""
    (tmp_path / "mailer.py").write_text(example("mailer.py"), encoding="utf-8")
    document = {"kernel": {"discover": False, "data_dir": None}, "plugins": {"mailer": {"source": "mailer.py"}}}
    async with Kernel(Config.parse(document, root=tmp_path)) as kernel:
        knobs = {knob["name"]: knob for knob in (await kernel.call_tag("kernel.list_knobs"))["knobs"]}
        batch = knobs["mailer.batch"]
        assert (batch["value"], batch["whole"], batch["unit"], batch["role"]) == (8, True, "letters", "capacity")
        assert (knobs["mailer.format"]["value"], knobs["mailer.format"]["choices"]) == ("html", ("text", "html"))
        turned = await kernel.call_tag("kernel.set_knob", {"name": "mailer.batch", "value": 16, "expected": 8})
        assert turned == {"name": "mailer.batch", "before": 8, "after": 16}
        assert (await kernel.call_tag("kernel.set_knob", {"name": "mailer.format", "value": "text"}))[
            "before"
        ] == "html"
        for value, expected, error in ((65, None, "KnobRangeError"), (8, 8, "KnobChangedError")):
            with pytest.raises(HandlerError, match=error):
                await kernel.call_tag("kernel.set_knob", {"name": "mailer.batch", "value": value, "expected": expected})


async def test_a_knob_of_the_host_is_not_on_the_page() -> None:
    """The page names each that the host declares."""
    async with Kernel() as kernel:
        names = {knob["name"] for knob in (await kernel.call_tag("kernel.list_knobs"))["knobs"]}
    named = {re.sub(r"lane\.\w+", "lane.LANE", name) for name in names}
    assert len(named) == 4
    assert [name for name in named if f"`{name}`" not in PAGE] == []
