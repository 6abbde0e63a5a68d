"""The settings that an integration is given: whom they are for, whether they fit, and that no text tells them."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

from aetherra.plugins import AetherraError
from aetherra.plugins.self_incorporation.code.classifier import FileKind
from aetherra.plugins.self_incorporation.index.paths import original
from aetherra.plugins.self_incorporation.integration.plan import Concern, Plan, Step
from aetherra.plugins.self_incorporation.integration.planner import Judged
from aetherra.plugins.self_incorporation.integration.shape import misfit

__all__ = ["AllSettings", "StraySettingsError", "hidden", "masked", "misfits", "refuse_stray"]

AllSettings: TypeAlias = Mapping[str, dict[str, Any]]
"""Settings by the names of the plugins that they are for."""
MARK: Final = "[a setting]"
_SHORTEST: Final = 4
"""Shorter values are no secrets, and would hide what a text says."""


class StraySettingsError(AetherraError, ValueError):
    """Settings were given for what is no plugin among the items; nothing was done."""

    def __init__(self, names: Sequence[str], plugins: Sequence[str]) -> None:
        super().__init__(tuple(names), tuple(plugins))
        self.names, self.plugins = tuple(names), tuple(plugins)

    def __str__(self) -> str:
        there = ", ".join(map(repr, self.plugins)) or "none"
        return f"there are settings for {', '.join(map(repr, self.names))}; expected plugins of the plan: {there}"


def refuse_stray(settings: AllSettings, judged: Sequence[Judged]) -> None:
    """Raise if settings are for nobody.

    Raises:
        StraySettingsError: They are.
    """
    plugins = {one.item.name for one in judged if one.item.kind is FileKind.PLUGIN}
    if strays := sorted(settings.keys() - plugins):
        raise StraySettingsError(strays, sorted(plugins))


def misfits(plan: Plan) -> Iterator[Concern]:
    """Yield the steps whose settings are not what their plugins declare, with the path of the wrong field.

    It reads the plugins' files and runs nothing of them; use it in a thread.
    """
    for step in plan.steps:
        if step.settings and (problem := _misfit(step)):
            text = f"its settings do not fit: {masked(problem, step.settings)}"
            yield Concern(step.root, step.path, True, text, "settings")


def _misfit(step: Step) -> str:
    first = (step.path, f"{step.path}/__init__.py")
    sources = sorted((file.source for file in step.files), key=lambda source: source not in first)

    def read(source: str) -> bytes:
        try:
            return Path(original(step.root), original(source)).read_bytes()
        except OSError:
            return b""  # it is told when it is taken, as it is not what was judged

    return misfit(step.name, step.settings, step.path, sources, read)


def hidden(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with their names alone, for those who have not given them."""
    return dict.fromkeys(settings, MARK)


def masked(text: str, *settings: Mapping[str, Any]) -> str:
    """Return a text without the values of settings, which it may have from an error of the plugin itself."""
    for value in sorted(
        {value for each in settings for value in _values(each)}, key=lambda value: (-len(value), value)
    ):
        for written in (value, repr(value)[1:-1], json.dumps(value)[1:-1]):
            text = text.replace(written, MARK)
    return text


def _values(value: object) -> Iterator[str]:
    """Yield the texts and numbers that could be secrets."""
    if isinstance(value, Mapping):
        value = cast("Mapping[object, object]", value).values()
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        if len(str(value)) >= _SHORTEST:
            yield str(value)
    elif isinstance(value, Iterable):
        for each in cast("Iterable[object]", value):
            yield from _values(each)
