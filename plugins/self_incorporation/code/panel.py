"""Other plugins' classifiers, asked by the hook ``classify_file``: with care, as anybody wrote them."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from aetherra.plugins import Vote
from aetherra.plugins.self_incorporation.code.classifier import Feature, FileKind
from aetherra.plugins.self_incorporation.code.facts import Facts

__all__ = ["Asked", "Panel"]

SLOW = 0.02
"""Seconds that a classifier may take for a file, over all it was asked about since the scan began,"""
GRACE = 0.5
"""and what it may take beyond that."""
_MOST_SAID = 100


class Asked(Protocol):
    """One plugin's classifier, as the host tells of it: `HookCaller.implementations`."""

    @property
    def plugin(self) -> str:
        """Whose it is."""
        ...

    @property
    def version(self) -> str:
        """Of the plugin."""
        ...

    @property
    def call(self) -> Callable[..., Any]:
        """Ask it about a file."""
        ...


class Panel:
    """Owns who is asked during a scan. One that raises, or is slow, is asked no more until the next, and it is said.

    Args:
        find: Returns the classifiers that there are now.
        clock: Counts seconds, from anywhere.
        say: Told of each that is left out, once for each plugin and reason.
    """

    def __init__(
        self, find: Callable[[], Iterable[Asked]], *, clock: Callable[[], float], say: Callable[[str], None]
    ) -> None:
        self._find, self._clock, self._say = find, clock, say
        self._asked: dict[str, Asked] = {}
        self._spent: dict[str, float] = {}
        self._said: set[tuple[str, str]] = set()

    def convene(self) -> str:
        """Ask those that there are now, from here on; returns their names and versions, empty if there are none."""
        self._asked = {each.plugin: each for each in sorted(self._find(), key=lambda each: each.plugin)}
        self._spent = dict.fromkeys(self._asked, -GRACE)
        return ", ".join(f"{each.plugin} {each.version}" for each in self._asked.values())

    def adjourn(self) -> None:
        """Ask nobody, and hold on to none of them."""
        self._asked = {}

    def features(self, path: str, head: bytes, facts: Facts | None) -> Iterator[Feature]:
        """Yield what they say of one file."""
        for name, each in list(self._asked.items()):
            begun = self._clock()
            try:
                vote: Vote | None = each.call(path=path, head=head, facts=facts)
            except (Exception, SystemExit) as exc:  # noqa: BLE001  # the others are none the worse
                self._leave_out(name, f"it raised {type(exc).__name__}: {exc}", path)
                continue
            self._spent[name] += self._clock() - begun - SLOW
            if self._spent[name] > 0:
                self._leave_out(name, f"it takes longer than {SLOW:g} s a file", path)
            if vote is not None:
                yield Feature(f"{name}: {vote.feature}", FileKind(vote.kind), vote.weight)

    def _leave_out(self, plugin: str, why: str, path: str) -> None:
        del self._asked[plugin]
        if (plugin, why) not in self._said and len(self._said) < _MOST_SAID:
            self._said.add((plugin, why))
            self._say(f"the classifier of plugin {plugin!r} is left out of this scan: {why} (at {path!r})")
