"""Definitions that nothing in the root names, beside where they are defined."""

import re

from msgspec import Struct

from aetherra.plugins.self_incorporation.code.facts import Definition
from aetherra.plugins.self_incorporation.code.front_door import is_plugin
from aetherra.plugins.self_incorporation.night.insights.census import Census
from aetherra.plugins.self_incorporation.night.insights.insight import Insight
from aetherra.plugins.self_incorporation.night.pace import Steps

__all__ = ["DeadCode", "dead_code_in"]

MOST_TOLD = 100
_STEP = 100
_FOUND_BY_NAME = re.compile(
    r"(test|pytest|visit|setup|teardown|upgrade|downgrade)(_|$)|Test|main$|__\w+__$", re.IGNORECASE
)


class DeadCode(Struct, frozen=True):
    """What nobody uses.

    Attributes:
        definitions: How many there are.
        quiet: Files that define something, none of which is used.
        insights: The first of them.
    """

    definitions: int
    quiet: tuple[str, ...]
    insights: tuple[Insight, ...]


def dead_code_in(census: Census) -> Steps[None, DeadCode]:
    """Find top-level functions and classes whose names stand nowhere else, neither in code nor in short texts.

    What is decorated, a plugin, or found by its name (tests, hooks, visitors), may be used without being named, and so
    may what other projects import: that is not known here.
    """
    dead = 0
    quiet: list[str] = []
    insights: list[Insight] = []
    for number, file in enumerate(census.sources()):
        unused = [found for found in file.definitions if _is_unused(found, census)]
        dead += len(unused)
        if unused and len(unused) == len(file.definitions):
            quiet.append(file.path)
        for definition in unused[: max(0, MOST_TOLD - len(insights))]:
            text = f"the {definition.kind} {definition.name!r} in line {definition.line} is named nowhere else"
            insights.append(Insight("dead_code", file.path, text))
        if number % _STEP == 0:
            yield None
    return DeadCode(dead, tuple(quiet), tuple(insights))


def _is_unused(definition: Definition, census: Census) -> bool:
    if definition.decorators or _FOUND_BY_NAME.match(definition.name):
        return False
    if any(map(is_plugin, definition.bases)):
        return False
    return definition.name not in census.names
