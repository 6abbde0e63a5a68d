"""The listing: items with what was decided about them, those that somebody asks for."""

from __future__ import annotations

from collections.abc import Mapping

from aetherra.plugins.self_incorporation.assessor import Assessor, names_of
from aetherra.plugins.self_incorporation.gate.decision import Decision
from aetherra.plugins.self_incorporation.gate.item import Item
from aetherra.plugins.self_incorporation.messages import Items, JudgedItem, ListItems

__all__ = ["listing"]


async def listing(assessor: Assessor, request: ListItems, registered: Mapping[str, str]) -> Items:
    """List the items that are asked for.

    Args:
        assessor: Knows all.
        request: Which of them.
        registered: Under which name items were brought in, by their digests.
    """
    found: list[JudgedItem] = []
    total = 0
    async for item, decision in assessor.judged():
        if not _is_wanted(request, item, decision):
            continue
        total += 1
        if len(found) < request.limit:
            found.append(JudgedItem(item, decision, registered.get(item.digest, "")))
    return Items(tuple(found), total)


def _is_wanted(request: ListItems, item: Item, decision: Decision | None) -> bool:
    if request.name and request.name not in names_of(item):
        return False
    if request.kind is not None and item.kind is not request.kind:
        return False
    if decision is None:
        return not request.judged and request.verdict is None
    return request.verdict in (None, decision.verdict)
