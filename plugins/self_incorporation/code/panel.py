"""Other plugins' classifiers, asked by the hook ``classify_file``: with care, as anybody wrote them."""

from collections import Counter
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
FAULTS = 3
"""Files on which a classifier may raise in one scan; from then on it is not asked."""
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
    """Owns who is asked during a scan. One that raises often, or is slow, is asked no more until the next; it is said.

    Args:
        find: Returns the classifiers that there are now.
        clock: Counts seconds, from anywhere.
        say: Told of each fault, once for each plugin and reason.

    Attributes:
        is_whole: Whether all are asked that have an answer to some file: one that was left out for its faults, though
            it had answered, is missing, and the files after it are to be read again by the next scan. So a classifier
            that bears no file costs one scan, and one that does not bear some of them is asked about all others.
    """

    def __init__(
        self, find: Callable[[], Iterable[Asked]], *, clock: Callable[[], float], say: Callable[[str], None]
    ) -> None:
        self._find, self._clock, self._say = find, clock, say
        self._asked: dict[str, Asked] = {}
        self._spent: dict[str, float] = {}
        self._faults: Counter[str] = Counter()
        self._answered: set[str] = set()
        self.is_whole = True
        self._said: set[tuple[str, str, str]] = set()

    def convene(self) -> str:
        """Ask those that there are now, from here on; returns their names and versions, empty if there are none."""
        self._asked = {each.plugin: each for each in sorted(self._find(), key=lambda each: each.plugin)}
        self._spent = dict.fromkeys(self._asked, -GRACE)
        self._faults.clear()
        self._answered.clear()
        self.is_whole = True
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
                self._has_raised(name, f"it raised {type(exc).__name__}: {exc}", path)
                continue
            self._answered.add(name)
            self._spent[name] += self._clock() - begun - SLOW
            if self._spent[name] > 0:
                del self._asked[name]
                self._tell(name, "is left out of this scan", f"it takes longer than {SLOW:g} s a file", path)
            if vote is not None:
                yield Feature(f"{name}: {vote.feature}", FileKind(vote.kind), vote.weight)

    def _has_raised(self, plugin: str, why: str, path: str) -> None:
        self._faults[plugin] += 1
        if self._faults[plugin] < FAULTS:
            self._tell(plugin, "says nothing", why, path)
            return
        del self._asked[plugin]
        self._tell(plugin, "is left out of this scan", why, path)
        if plugin in self._answered:
            self.is_whole = False

    def _tell(self, plugin: str, what: str, why: str, path: str) -> None:
        if (plugin, what, why) not in self._said and len(self._said) < _MOST_SAID:
            self._said.add((plugin, what, why))
            self._say(f"the classifier of plugin {plugin!r} {what}: {why} (at {path!r})")
