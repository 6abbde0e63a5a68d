"""Names of metrics: sums, and the ``*`` that stands for a target."""

from __future__ import annotations

import re

__all__ = ["Naming"]

_NAME = re.compile(r"[\w*][^\s+.]*(\.[\w*][^\s+.]*)*")


class Naming:
    """A metric as a policy writes it: ``"plugin.*.waiting + plugin.*.refused"``.

    Raises:
        ValueError: A part is no name, as one with an empty part between its dots, one with more than one ``*``, or two
            names joined by something else than ``" + "``; or it stands there twice.
    """

    def __init__(self, metric: str) -> None:
        self._parts = [part.strip() for part in metric.split(" + ")]
        for part in self._parts:
            if part.count("*") > 1 or _NAME.fullmatch(part) is None:
                raise ValueError(
                    f"expected names as in 'plugin.*.stalled', joined by ' + ', with at most one '*' each, "
                    f"in metric {metric!r}, got {part!r}"
                )
            if self._parts.count(part) > 1:
                raise ValueError(f"expected each name once in metric {metric!r}, got {part!r} twice")
        starred = [part for part in self._parts if "*" in part]
        self.starred = bool(starred)
        self._prefix, _, self._suffix = (starred or self._parts)[0].partition("*")

    def names(self, target: str) -> tuple[str, ...]:
        """Return the metrics that are added up for a target."""
        return tuple(part.replace("*", target) for part in self._parts)

    def target_of(self, name: str) -> str | None:
        """Return what ``*`` stands for in a name that was seen; None if the name is another metric's."""
        if not self.starred:
            return "" if name == self._prefix else None
        prefix, suffix = self._prefix, self._suffix
        if len(name) > len(prefix) + len(suffix) and name.startswith(prefix) and name.endswith(suffix):
            return name[len(prefix) : len(name) - len(suffix)]
        return None

    def shared_with(self, other: Naming) -> str:
        """Return a name that both read, of whatever target; empty if there is none."""
        for part in self._parts:
            for its in other._parts:
                if part == its or _stands_for(part, its) or _stands_for(its, part):
                    return its
        return ""


def _stands_for(part: str, name: str) -> bool:
    """Return whether a part with a ``*`` reads, for one of its targets, a name without."""
    return "*" in part and "*" not in name and Naming(part).target_of(name) is not None
