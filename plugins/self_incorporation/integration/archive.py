"""The archive: what is kept and known of integrations, on disk, and what stands against changing it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from aetherra.plugins import AetherraError, DataFileError
from aetherra.plugins.self_incorporation.integration.blobs import Blobs, telling
from aetherra.plugins.self_incorporation.integration.errors import (
    IntegrationError,
    PlaceChangedError,
    RollbackRefusedError,
)
from aetherra.plugins.self_incorporation.integration.intents import (
    Committed,
    History,
    Journal,
    Record,
    Undone,
    take_in,
)
from aetherra.plugins.self_incorporation.integration.outcomes import Recovery
from aetherra.plugins.self_incorporation.integration.preparation import INCORPORATED, REGISTRATIONS, PreparedStep
from aetherra.plugins.self_incorporation.integration.registrations import (
    Registration,
    Unreadable,
    file_name,
    read_registrations,
)
from aetherra.plugins.self_incorporation.integration.tree import Change, File, Tree
from aetherra.plugins.self_incorporation.integration.world import Present

__all__ = ["Archive", "told"]


class Archive:
    """The journal, the tree with its contents, and the registrations. All of it waits for the disk: use it in a thread.

    Args:
        folder: Where state is kept.
        destination: Where files are copied to.
        now: Unix time.
        kept: Integrations that are remembered with all contents, the latest; those that are not finished always are.

    Attributes:
        tree: The places that integrations change, and the contents of what was there.
        journal: What was intended and done.
        histories: What it says, by token, the oldest first; replaced, never changed.
        registered: What was integrated, by name.
        unreadable: Registrations that cannot be read.
        stuck: Why an integration that did not come to its end could not be undone, by token: till somebody has seen to
            it, nothing is done with what it touches.
        lost: Why it is not known how what is registered came in; ``""`` if it is. Until then nothing is forgotten.
    """

    def __init__(self, folder: Path, destination: Path, *, now: Callable[[], float], kept: int) -> None:
        places = {INCORPORATED: destination, REGISTRATIONS: folder.absolute() / REGISTRATIONS}
        self.folder = folder
        self.tree = Tree(places, Blobs(folder / "blobs"))
        self.journal = Journal(folder / "integrations.jsonl")
        self.histories: dict[str, History] = {}
        self.registered: dict[str, Registration] = {}
        self.unreadable: tuple[Unreadable, ...] = ()
        self.stuck: dict[str, str] = {}
        self.lost = ""
        self.seen: object = None
        self._now = now
        self._kept = kept

    def lay_out(self) -> None:
        """Make the folders that are not there.

        Raises:
            DataFileError: One cannot be made.
        """
        for folder in (self.folder, *self.tree.places.values()):
            with telling(folder, "made"):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def recover(self) -> Recovery:
        """Undo what had not come to its end, each by itself, and forget the oldest integrations; nothing if it is lost.

        Raises:
            DataFileError: The journal, or what is registered, cannot be read or written.
        """
        self.histories = self.journal.histories()
        self.read()
        unreadable, self.stuck, self.lost = self.journal.unreadable, {}, self._why_lost()
        if self.lost:
            return Recovery((), (self.lost,), unreadable)
        if unreadable:
            self.journal.keep_only(self.histories.values())  # without the torn line, before more is written
        rolled_back: list[str] = []
        stuck: dict[str, str] = {}
        for history in reversed(tuple(self.histories.values())):
            if history.stage not in ("open", "going_back"):
                continue
            try:
                self._refuse_differing(history, "before", "after")
                left = self.tree.become(history.begun.changes, "before")
            except (AetherraError, ValueError) as exc:  # a path that leads out of its place
                stuck[history.token] = f"integration {history.token!r} was not finished, and cannot be undone: {exc}"
                continue
            reason = history.reason or "the host ended in the middle of it"
            self.write(Undone(token=history.token, at=self._now(), reason=reason, left=left))
            rolled_back.append(history.token)
        self.stuck = stuck
        self.forget()
        self.read()
        return Recovery(tuple(rolled_back), tuple(stuck.values()), unreadable)

    def _why_lost(self) -> str:
        """Return why the journal is not the one that was written; ``""`` if it is, or somebody has made it anew.

        A crash tears the last line, and of what came in long ago it is right to know nothing.
        """
        journal = self.journal
        names = sorted(name for name, one in self.registered.items() if one.token not in self.histories)
        if journal.damaged:
            how = f"damaged in line {', '.join(map(str, journal.damaged))}"
        elif names and journal.signature() is None:
            how = "gone"
        elif names and journal.unreadable and not self.histories:
            how = "not what was written"
        else:
            return ""
        what = f", and what came in ({', '.join(names)}) cannot be taken out" if names else ""
        remedy = "remove these lines" if journal.damaged else "make an empty file there to do without its ways back"
        return (
            f"the journal {journal.path} is {how}, so nothing comes in or is forgotten{what}: put it back, or "
            f"{remedy}, and start the host again"
        )

    def tidy(self) -> None:
        """Forget the oldest integrations where there are twice as many as are kept.

        Raises:
            DataFileError: The journal or the contents cannot be written.
        """
        if len(self.histories) >= 2 * self._kept:
            self.forget()

    def forget(self) -> None:
        """Keep the latest integrations alone, and the contents they need; while one is stuck, or lost, keep all."""
        if self.stuck or self.lost:
            return
        ended = [
            history.token for history in self.histories.values() if not history.sent or history.stage == "committed"
        ]
        forgotten = set(ended[: max(0, len(self.histories) - self._kept)])
        kept = {token: history for token, history in self.histories.items() if token not in forgotten}
        if forgotten:
            self.journal.keep_only(kept.values())
        self.histories = kept
        self.seen = self.journal.signature()
        self.tree.blobs.keep_only(
            {
                state.sha256
                for history in kept.values()
                if history.stage != "undone"
                for change in history.begun.changes
                for state in (change.before, change.after)
                if isinstance(state, File)
            }
        )

    def disorder(self, registered: Registration) -> str:
        """Return how a registration, or its files, are not what was integrated."""
        remedy = f"'aetherra incorporate integrate {registered.name}' writes it anew"
        history = self.histories.get(registered.token)
        name = file_name(registered.name)
        for change in history.begun.changes if history is not None else ():
            if (change.place, change.path) == (REGISTRATIONS, name) and change.after != self.tree.state(*_at(change)):
                return f"its registration was changed since it was integrated; {remedy}"
        if not {registered.path, f"{registered.path}/__init__.py"} & registered.files.keys():
            return f"its registration names {registered.path!r}, which is none of its files; {remedy}"
        for path, sha256 in registered.files.items():
            state = self.tree.state(INCORPORATED, path)
            if not isinstance(state, File) or state.sha256 != sha256:
                return f"{path!r} was changed since it was integrated; {remedy}"
        return ""

    def altered(self) -> dict[str, str]:
        """Return how what is registered is not as it came in any more, by name."""
        found: dict[str, str] = {}
        for name, registered in self.registered.items():
            if registered.path:
                try:
                    problem = self.disorder(registered)
                except (AetherraError, ValueError) as exc:  # a path that leads out of its place
                    problem = str(exc)
                if problem:
                    found[name] = problem
        return found

    def was_altered(self, history: History, registered: Registration) -> bool:
        """Whether something was not as it came in any more when an integration took its place."""
        changes = {_at(change): change for change in history.begun.changes}
        for path, sha256 in registered.files.items():
            change = changes.get((INCORPORATED, path))
            if change is not None and not (isinstance(change.before, File) and change.before.sha256 == sha256):
                return True
        place = (REGISTRATIONS, file_name(registered.name))
        earlier = self.histories.get(registered.token)
        wrote = [change.after for change in earlier.begun.changes if _at(change) == place] if earlier else []
        return bool(wrote) and place in changes and changes[place].before != wrote[0]

    def plugins(self) -> list[str]:
        """Return the registered plugins, each after those it needs."""
        order: list[str] = []

        def take(name: str, above: tuple[str, ...]) -> None:
            registered = self.registered.get(name)
            if registered is None or name in order or name in above:
                return
            for need in (*registered.requires, *registered.uses):
                take(need, (*above, name))
            order.append(name)

        for name in sorted(self.registered):
            take(name, ())
        return [name for name in order if self.registered[name].action == "load_plugin"]

    def users(self, name: str) -> tuple[str, ...]:
        """Return the registered plugins that import what is registered under a name."""
        return tuple(
            other.name
            for other in self.registered.values()
            if other.action == "load_plugin" and name in other.uses and other.name != name
        )

    def put_back(self, history: History) -> tuple[str, ...]:
        """Put files back, but for what somebody else has put in their places meanwhile; return that."""
        changes = history.begun.changes
        foreign = {(change.place, change.path) for change, _ in self.tree.differing(changes, "before", "after")}
        ours = [change for change in changes if (change.place, change.path) not in foreign]
        told = (
            f"{self.tree.path(*place)} was changed by somebody, and is as they left it" for place in sorted(foreign)
        )
        return (*self.tree.become(ours, "before"), *told)

    def turns(self, history: History) -> list[tuple[Registration | None, Registration | None]]:
        """Return what was registered before and after, in the order of its steps."""
        changed = [change for change in history.begun.changes if change.place == REGISTRATIONS]
        return [(self._registration(change.before), self._registration(change.after)) for change in changed]

    def _registration(self, state: Any) -> Registration | None:
        if not isinstance(state, File):
            return None
        try:
            return msgspec.json.decode(self.tree.blobs.read(state.sha256), type=Registration)
        except msgspec.DecodeError as exc:
            raise DataFileError(str(self.tree.blobs.path(state.sha256)), f"is no registration: {exc}") from exc

    def held_up(self) -> dict[str, str]:
        """Return the names that a stuck integration touches, and of all that needs these, each with the problem."""
        found: dict[str, str] = {}
        for token, problem in self.stuck.items():
            touched = _touched(self.histories[token])
            found |= dict.fromkeys(self.histories[token].begun.names, problem)
            for name, registered in self.registered.items():
                if not touched.isdisjoint(_places(registered)):
                    found.setdefault(name, problem)
        pending = list(found)
        while pending:
            name = pending.pop()
            for other in self.registered.values():
                if other.name not in found and name in (*other.requires, *other.uses):
                    found[other.name] = found[name]
                    pending.append(other.name)
        return found

    def refuse_held_up(self, steps: Sequence[PreparedStep]) -> None:
        """Let nothing be built upon what could not be undone.

        Raises:
            IntegrationError: A step touches or needs such a thing.
        """
        held_up = self.held_up()
        touched = {place: problem for token, problem in self.stuck.items() for place in _touched(self.histories[token])}
        for one in steps:
            names = (one.step.name, *one.step.requires, *one.step.uses)
            found = [held_up[name] for name in names if name in held_up]
            found += [touched[_at(change)] for change in one.changes if _at(change) in touched]
            if found:
                raise IntegrationError(one.step.name, f"nothing can be done with it before this is seen to: {found[0]}")

    def refuse_unknown(self, names: Iterable[str]) -> None:
        """Let nothing come in while it is not known how others did, or what is there under its name.

        Raises:
            IntegrationError: It is not.
        """
        if self.lost:
            raise IntegrationError("the journal", self.lost)
        unreadable = {Path(one.path).name: one for one in self.unreadable}
        for name in names:
            if one := unreadable.get(file_name(name)):
                problem = f"its registration {one.path} cannot be read: {one.problem}; put it back, or remove it"
                raise IntegrationError(name, problem)

    def refuse_stuck(self, history: History) -> None:
        """Let nothing be taken out from under what could not be undone.

        Raises:
            RollbackRefusedError: It is that itself, or has changed the same.
        """
        places = _touched(history)
        for token, problem in self.stuck.items():
            if token == history.token or not places.isdisjoint(_touched(self.histories[token])):
                raise RollbackRefusedError(history.token, f"this is to be seen to first: {problem}")

    def refuse_damaged(self, history: History) -> None:
        """Let nothing be put back that is not kept as it was.

        Raises:
            RollbackRefusedError: A content is gone, or is damaged.
        """
        for change in history.begun.changes:
            if isinstance(change.before, File):
                try:
                    self.tree.blobs.check(change.before.sha256)
                except DataFileError as exc:
                    problem = f"what {self.tree.path(change.place, change.path)} held before cannot be put back: {exc}"
                    raise RollbackRefusedError(history.token, problem) from exc

    def refuse_taken(self, history: History, earlier: Sequence[Registration], plugins: Mapping[str, Present]) -> None:
        """Let nothing be brought back whose place another plugin has taken since.

        Raises:
            RollbackRefusedError: It answers what earlier code would, or provides its service.
        """
        for one in earlier:
            for plugin in plugins.values():
                if one.action != "load_plugin" or plugin.name in history.begun.names:
                    continue
                taken = [*sorted({*one.tags}.intersection(plugin.tags))]
                taken += [f"service {one.service}"] * bool(one.service and one.service == plugin.service)
                if taken:
                    holder = self.registered.get(plugin.name)
                    remedy = f"roll {holder.token} back first" if holder is not None else "remove that first"
                    problem = f"{one.name!r} would come back, and plugin {plugin.name!r} has {taken[0]!r} now; {remedy}"
                    raise RollbackRefusedError(history.token, problem)

    def refuse_needed(self, history: History, plugins: Mapping[str, Present]) -> None:
        """Let nothing be taken out that something else needs."""
        gone = {name for name in self.registered if _is_new(history, name)}
        for other in self.registered.values():
            if needed := gone.intersection((*other.requires, *other.uses)) if other.name not in gone else ():
                problem = f"{other.name!r}, of integration {other.token!r}, needs {min(needed)!r}"
                raise RollbackRefusedError(history.token, f"{problem}; roll that back first")
        for plugin in plugins.values():
            if needed := gone.intersection(plugin.requires) if plugin.name not in gone else ():
                problem = f"plugin {plugin.name!r} needs {min(needed)!r}; remove that first"
                raise RollbackRefusedError(history.token, problem)

    def refuse_later(self, history: History) -> None:
        """Let nothing be overwritten that came later."""
        tokens = list(self.histories)
        touched = _touched(history)
        for token in tokens[tokens.index(history.token) + 1 :]:
            later = self.histories[token]
            if later.stage == "committed" and not touched.isdisjoint(_touched(later)):
                problem = (
                    f"integration {token!r} has changed the same since ({later.begun.summary}); roll that back first"
                )
                raise RollbackRefusedError(history.token, problem)
        self._refuse_differing(history, "after")

    def _refuse_differing(self, history: History, *sides: Any) -> None:
        try:
            differing = self.tree.differing(history.begun.changes, *sides)
        except PlaceChangedError as exc:
            raise RollbackRefusedError(history.token, str(exc)) from exc
        for change, now in differing:
            path = self.tree.path(change.place, change.path)
            wanted = " or ".join(told(getattr(change, side)) for side in sides)
            problem = (
                f"{str(path)!r} was changed by somebody: expected {wanted}, found {told(now)}; put that back first"
            )
            raise RollbackRefusedError(history.token, problem)

    def write(self, record: Record) -> None:
        """Have a record on disk, and know it."""
        self.journal.append(record)
        histories = dict(self.histories)  # others may be reading the old one
        take_in(histories, record)
        self.histories = histories
        self.seen = self.journal.signature()

    def look_again(self) -> None:
        """Know what another integrator has done, if one has."""
        if self.journal.signature() == self.seen:
            return
        self.histories = self.journal.histories()
        self.read()
        self.lost = self._why_lost()

    def commit(self, token: str) -> None:
        """Have it on disk that an integration came to its end, and know what is registered."""
        self.write(Committed(token=token, at=self._now()))
        self.read()

    def read(self) -> None:
        """Read what is registered."""
        self.seen = self.journal.signature()
        self.registered, self.unreadable = read_registrations(self.tree.places[REGISTRATIONS])


def _at(change: Change) -> tuple[str, str]:
    return change.place, change.path


def _touched(history: History) -> set[tuple[str, str]]:
    return {_at(change) for change in history.begun.changes}


def _places(registered: Registration) -> set[tuple[str, str]]:
    return {(REGISTRATIONS, file_name(registered.name)), *((INCORPORATED, path) for path in registered.files)}


def _is_new(history: History, name: str) -> bool:
    """Whether something was registered first by an integration."""
    return any(
        _at(change) == (REGISTRATIONS, file_name(name)) and change.before is None for change in history.begun.changes
    )


def told(state: object) -> str:
    """Say what is at a path, for people."""
    match state:
        case None:
            return "nothing"
        case File(sha256, size, mode):
            return f"{size} bytes with SHA-256 {sha256[:12]}... and mode {mode:o}"
        case _:
            return "a folder"
