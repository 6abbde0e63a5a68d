"""Names, tags and services that more than one item claims of those that it would have on a host."""

from collections.abc import Iterable, Iterator

from msgspec import Struct

from aetherra.plugins.self_incorporation.code.classifier import FileKind
from aetherra.plugins.self_incorporation.gate.item import Item
from aetherra.plugins.self_incorporation.night.insights.insight import Insight
from aetherra.plugins.self_incorporation.night.pace import Steps

__all__ = ["Conflicts", "conflicts_of"]

MOST_TOLD = 100
_NAMED = (FileKind.PLUGIN, FileKind.AGENT, FileKind.UTILITY)  # which nothing else can be imported or asked as
_STEP = 100


class Conflicts(Struct, frozen=True):
    """Marks of items by path, and what collides."""

    marks: dict[str, dict[str, float]]
    insights: tuple[Insight, ...]


def conflicts_of(items: Iterable[Item]) -> Steps[None, Conflicts]:
    """Find what more than one item claims; all that claim it are marked."""
    claims: dict[tuple[str, str], list[str]] = {}
    for item in items:
        for claim in _claims(item):
            claims.setdefault(claim, []).append(item.path)
        yield None
    marks: dict[str, dict[str, float]] = {}
    insights: list[Insight] = []
    for number, ((what, name), paths) in enumerate(sorted(claims.items())):
        if len(set(paths)) > 1:
            for path in paths:
                marks.setdefault(path, {})[f"conflict:{what}"] = 1.0
            if len(insights) < MOST_TOLD:
                first, *others = sorted(set(paths))
                text = f"the {what} {name!r} is claimed by {', '.join(others[:3])}, too"
                insights.append(Insight("conflict", first, text))
        if number % _STEP == 0:
            yield None
    return Conflicts(marks, tuple(insights))


def _claims(item: Item) -> Iterator[tuple[str, str]]:
    if item.kind in _NAMED:
        yield f"{item.kind} name", item.name
    if item.service:
        yield "service", item.service
    for tag in item.handles:
        yield "tag", tag
