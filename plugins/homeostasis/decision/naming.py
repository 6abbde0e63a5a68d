"""Names of metrics: sums, and the ``*`` that stands for a target."""

from __future__ import annotations

__all__ = ["Naming"]


class Naming:
    """A metric as a policy writes it: ``"plugin.*.waiting + plugin.*.refused"``.

    Raises:
        ValueError: A part is empty, or has more than one ``*``.
    """

    def __init__(self, metric: str) -> None:
        self._parts = [part.strip() for part in metric.split(" + ")]
        for part in self._parts:
            if not part or part.count("*") > 1:
                raise ValueError(f"expected names with at most one '*' each in metric {metric!r}, got {part!r}")
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
