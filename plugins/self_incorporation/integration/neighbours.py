"""Neighbours: the code that will stand beside what a plan brings in, judged as it will stand before anything comes."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TypeAlias

import msgspec

from aetherra.plugins.self_incorporation.gate.decision import Decision
from aetherra.plugins.self_incorporation.gate.item import Item, ItemFile
from aetherra.plugins.self_incorporation.index.paths import original, written
from aetherra.plugins.self_incorporation.integration.blobs import telling
from aetherra.plugins.self_incorporation.integration.plan import Concern, Plan, Step
from aetherra.plugins.self_incorporation.integration.planner import Judged
from aetherra.plugins.self_incorporation.integration.registrations import Registration, module_of, standing_of

__all__ = ["Neighbours", "Reach"]

Reach: TypeAlias = dict[tuple[str, str], frozenset[str]]
"""The modules that code looks for, by what else had come in when that was found, and by its name."""


class Neighbours:
    """What came in before, and what would come: all of it imports all of it, so all is judged beside all.

    An item was judged with what lay beside it where it was found. In the destination it has other neighbours, and
    those get another one. So the code that is there, and that which would come, is laid out in a folder of its own as
    it would stand; whatever is against a piece of it there and was not before, stands against what would come. It
    waits for the disk: use it in a thread.

    Args:
        destination: Where what came in stands.
        registered: What came in, by name.
        judged: What would come, with what was decided about it.
        decide: Decides about an item as it lies there, and keeps nothing.
        reach: Which modules what came in looks for, as it was found before; to be given again the next time.
    """

    def __init__(
        self,
        destination: Path,
        registered: Mapping[str, Registration],
        judged: Sequence[Judged],
        decide: Callable[[Item], Decision],
        reach: "Reach | None" = None,
    ) -> None:
        self._destination = destination
        self._registered = {name: one for name, one in registered.items() if one.path}
        self._judged = {(one.item.root, one.item.path): one for one in judged}
        self._decide = decide
        self._reach = reach if reach is not None else {}
        self._standing = standing_of(registered)
        for key in [key for key in self._reach if key[0] != self._standing]:
            del self._reach[key]

    def concerns(self, plan: Plan) -> tuple[Concern, ...]:
        """Return what stands against the steps of a plan.

        Raises:
            DataFileError: Files cannot be copied to where they are looked at.
        """
        steps = [step for step in plan.steps if step.is_code]
        if not steps:
            return ()
        with telling(self._destination, "copied"), TemporaryDirectory(prefix="aetherra-") as folder:
            layouts = _Layouts(Path(folder), self._destination, self._registered)
            after, changed = layouts.of(steps)
            if changed:
                return changed
            found = [*self._about_steps(steps, layouts, after), *self._about_registered(steps, layouts, after)]
        return tuple(dict.fromkeys(found))

    def _about_steps(self, steps: Sequence[Step], layouts: "_Layouts", after: Path) -> Iterator[Concern]:
        for step in steps:
            one = self._judged[step.root, step.path]
            alone = self._decide(layouts.item(one.item, layouts.alone(step)))
            together = self._decide(layouts.item(one.item, after))
            if said := _worse(together, one.decision, alone):
                text = f"beside what came in before it would be {together.verdict}: {said}"
                yield Concern(step.root, step.path, _blocks(together), text)

    def _about_registered(self, steps: Sequence[Step], layouts: "_Layouts", after: Path) -> Iterator[Concern]:
        changed = {module_of(step.main) for step in steps}
        changed |= {self._registered[step.name].module for step in steps if step.name in self._registered}
        names = [name for name in self._registered.keys() - {step.name for step in steps} if self._may(name, changed)]
        before = layouts.of(())[0] if names else after
        worse: dict[str, tuple[Decision, Decision]] = {}
        for name in sorted(names):
            item = _item(self._registered[name], before)
            now = self._decide(layouts.item(item, before))
            self._reach[self._standing, name] = frozenset(module.partition(".")[0] for module in now.looked_for)
            if not self._may(name, changed):
                continue
            then = self._decide(layouts.item(item, after))
            if _worse(then, now):
                worse[name] = now, then
        for name, (now, then) in worse.items():
            item = _item(self._registered[name], before)
            blamed = False
            for step in steps if len(steps) > 1 else ():
                single = self._decide(layouts.item(item, layouts.of([step])[0]))
                if _worse(single, now):
                    blamed = True
                    yield _concern(step, name, single, now)
            if not blamed:  # it takes all of them together, or there is one
                yield from (_concern(step, name, then, now) for step in steps)

    def _may(self, name: str, changed: AbstractSet[str]) -> bool:
        """Whether what came in may look for one of these modules; if nobody knows, it may."""
        reached = self._reach.get((self._standing, name))
        return reached is None or not reached.isdisjoint(changed)


class _Layouts:
    """Folders with code as it would stand.

    Args:
        folder: Where they are made.
        destination: Where what came in stands.
        registered: What came in, by name.
    """

    def __init__(self, folder: Path, destination: Path, registered: Mapping[str, Registration]) -> None:
        self._folder = folder
        self._destination = destination
        self._registered = registered
        self._made: dict[tuple[int, ...], Path] = {}
        self._roots: dict[tuple[str, Path], Path] = {}

    def of(self, steps: Sequence[Step]) -> tuple[Path, tuple[Concern, ...]]:
        """Return what came in with some steps done, and which of these are not what was judged."""
        key = tuple(step.number for step in steps)
        if key in self._made:
            return self._made[key], ()
        tree = self._new()
        if self._destination.is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(self._destination, tree, symlinks=True, ignore=ignore, dirs_exist_ok=True)
        for name in self._registered.keys() - {step.name for step in steps}:
            _copy_signature(Path(original(self._registered[name].origin)), tree / original(self._registered[name].path))
        for step in steps:
            for path in {step.main, self._registered[step.name].path if step.name in self._registered else step.main}:
                _remove(tree / original(path))
        changed = tuple(concern for step in steps for concern in _copied(step, tree))
        self._made[key] = tree
        return tree, changed

    def alone(self, step: Step) -> Path:
        """Return a folder with what one step brings, and nothing else."""
        tree = self._new()
        tuple(_copied(step, tree))
        return tree

    def item(self, item: Item, tree: Path) -> Item:
        """Return an item as it stands in a folder, under the path that it was judged under, and without a project."""
        item = msgspec.structs.replace(item, project=None)
        above = str(PurePosixPath(item.path).parent)
        if above == ".":
            return msgspec.structs.replace(item, root=written(str(tree)))
        root = self._roots.get((above, tree))
        if root is None:
            root = self._roots[above, tree] = self._new()
            place = root / original(above)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(tree, target_is_directory=True)
        return msgspec.structs.replace(item, root=written(str(root)))

    def _new(self) -> Path:
        path = self._folder / str(len(os.listdir(self._folder)))  # noqa: PTH208  # a number that is free
        path.mkdir()
        return path


def _copied(step: Step, tree: Path) -> Iterator[Concern]:
    """Copy what a step brings; tell if it is not what was judged."""
    for file in step.files:
        if not file.target:  # it is read, and not copied
            continue
        target = tree / original(file.target)
        target.parent.mkdir(parents=True, exist_ok=True)
        source = Path(original(step.root), original(file.source))
        try:
            data = source.read_bytes()
        except OSError as exc:
            yield Concern(step.root, step.path, True, f"{str(source)!r} cannot be read: {exc.strerror or exc}")
            continue
        if hashlib.sha256(data).hexdigest() != file.sha256:
            yield Concern(step.root, step.path, True, f"{str(source)!r} is not what was judged; scan again")
        target.write_bytes(data)
    _copy_signature(Path(original(step.root), original(step.path)), tree / original(step.main))


def _copy_signature(place: Path, target: Path) -> None:
    """Copy the signature of a file or folder, if it has one; what it is worth is the gate's to say."""
    for source, copy in (
        (place.with_name(f"{place.name}.sig"), target.with_name(f"{target.name}.sig")),
        (place / "SIGNATURE.json", target / "SIGNATURE.json"),
    ):
        if source.is_file() and copy.parent.is_dir():
            copy.write_bytes(source.read_bytes())


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _item(registered: Registration, tree: Path) -> Item:
    """Return what is registered as the item that it was."""
    path = registered.origin.removeprefix(f"{registered.root}/") if registered.root else registered.path
    above = path.rpartition("/")[0]
    files = tuple(
        ItemFile(f"{above}/{target}" if above else target, sha256, _size(tree / original(target)))
        for target, sha256 in sorted(registered.files.items())
    )
    return Item(
        root=registered.root,
        path=path,
        name=registered.name,
        kind=registered.kind,
        confidence=1.0,
        files=files,
        digest=registered.digest,
        risk=0.0,
        factors=(),
        capabilities=(),
        threats=(),
        warnings=0,
        version=registered.version,
        service=registered.service,
        handles=registered.tags,
        requires=registered.requires,
        main=path,
    )


def _size(path: Path) -> int:
    return path.lstat().st_size if os.path.lexists(path) else 0


def _worse(decision: Decision, *before: Decision) -> str:
    """Return what is against something now and was not before, empty if nothing is or it may come in all the same."""
    if decision.verdict == "approved":
        return ""
    known = {(ground.code, ground.text) for one in before for ground in one.rationale}
    new = [ground for ground in decision.rationale if ground.against and (ground.code, ground.text) not in known]
    return "; ".join(ground.text for ground in new)


def _blocks(decision: Decision) -> bool:
    return decision.verdict != "needs_approval"


def _concern(step: Step, name: str, then: Decision, now: Decision) -> Concern:
    text = f"{name!r}, which came in before, would be {then.verdict} beside it: {_worse(then, now)}"
    return Concern(step.root, step.path, _blocks(then), text)
