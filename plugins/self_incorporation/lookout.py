"""The lookout: looks at all roots, as time passes and as files are saved, and has done what there is to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path

import anyio

from aetherra.plugins import AetherraError, DataFileError, PluginContext
from aetherra.plugins.self_incorporation.assessor import Assessor
from aetherra.plugins.self_incorporation.index.scanner import RootNotFoundError, ScanStopped, name_of_root
from aetherra.plugins.self_incorporation.index.tree_watcher import ANYTHING, TreeWatcher
from aetherra.plugins.self_incorporation.messages import LookedAround, Scanned
from aetherra.plugins.self_incorporation.once import Once
from aetherra.plugins.self_incorporation.places import Places
from aetherra.plugins.self_incorporation.surveyor import Surveyor
from aetherra.plugins.self_incorporation.tray import Emptied, Tray
from aetherra.plugins.self_incorporation.troubles import Troubles

__all__ = ["Lookout"]


class Lookout:
    """One look at a time: it scans, has items decided about, and has the tray emptied.

    A root that cannot be looked at keeps nobody from looking at the others.

    Args:
        ctx: Of the plugin that it works in.
        places: What is looked at.
        surveyor: Scans.
        assessor: Decides.
        tray: Brings in; ``None`` where nothing is to be brought in unasked.
        ask_why: Why a person has to agree to that; ``""`` if none has to.
        troubles: Told what cannot be looked at.
        apart: Folders that are not watched.
    """

    def __init__(
        self,
        ctx: PluginContext,
        *,
        places: Places,
        surveyor: Surveyor,
        assessor: Assessor,
        tray: Tray | None,
        ask_why: str,
        troubles: Troubles,
        apart: Iterable[Path],
    ) -> None:
        self._ctx = ctx
        self._places = places
        self._surveyor = surveyor
        self._assessor = assessor
        self._tray = tray
        self._ask_why = ask_why
        self._troubles = troubles
        self._apart = tuple(apart)
        self._looking = anyio.Lock()
        self._once = Once(ctx.log)
        self._watched: frozenset[Path] | None = None
        self._watch = anyio.CancelScope()

    async def begin(self) -> None:
        """Look around in a task of its own, which neither a stop nor a swap of this plugin waits for."""
        if not self._looking.locked():
            self._ctx.start_soon(self._look_by_itself, None)

    async def follow(self, notice: Callable[[str], None]) -> None:
        """Look at what changes, as it is saved; roots that come or go meanwhile are seen at the next whole look.

        Args:
            notice: Told that somebody saves files.
        """
        while True:
            with anyio.CancelScope() as self._watch:
                self._watched = there = await self._ctx.run_sync(self._there)
                async with TreeWatcher(there, apart=self._apart, say=self._ctx.log.info) as watcher:
                    while True:
                        changed = await watcher.changed()
                        notice("files were saved")
                        await self._look_by_itself(changed)

    def _there(self) -> frozenset[Path]:
        return frozenset(root for root in self._places.paths() if _is_there(root))

    async def _look_by_itself(self, changed: Mapping[Path, AbstractSet[str]] | None) -> None:
        try:
            await self.look(changed)
        except ScanStopped as exc:
            self._ctx.log.info("%s", exc)
        except (OSError, AetherraError) as exc:
            self._troubles.note("look", f"the project cannot be looked at: {exc}")
        else:
            self._troubles.note("look", "")

    async def look(self, changed: Mapping[Path, AbstractSet[str]] | None = None) -> LookedAround:
        """Look at what may have changed, by root; at all of all roots by default.

        Raises:
            ScanStopped: The plugin ends.
            DatabaseUnusableError: What is known cannot be read or written.
        """
        async with self._looking:
            if changed is None:
                await self._note_places()
            scans, problems = await self._scan(changed)
            partly = None if changed is None or any("" in paths for paths in changed.values()) else changed
            by_name = None if partly is None else await self._ctx.run_sync(_by_name, partly)
            assessed = await self._assessor.assess(by_name)
            for part, problem in self._assessor.problems.items():
                self._troubles.note(part, problem)
            emptied = await self._empty(by_name)
        if changed is None and self._watched not in (None, await self._ctx.run_sync(self._there)):
            self._watch.cancel()
        return LookedAround(
            files_found=sum(scan.files_found for scan in scans),
            files_new=sum(scan.files_new for scan in scans),
            files_changed=sum(scan.files_changed for scan in scans),
            files_removed=sum(scan.files_removed for scan in scans),
            files_refused=sum(scan.refusals for scan in scans),
            verdicts=assessed.verdicts,
            quarantined=assessed.quarantined,
            held=assessed.held,
            brought_in=emptied.came,
            kept_out=emptied.kept_out,
            problems=(*problems, *await self._misplaced()),
        )

    async def _note_places(self) -> None:
        try:
            await self._ctx.run_sync(self._places.note)
        except DataFileError as exc:
            self._ctx.log.warning("what the roots are called is not kept: %s", exc)

    async def _misplaced(self) -> list[str]:
        """Return from which incoming folders nothing can come in; the log has each once."""
        problems = await self._ctx.run_sync(self._places.misplaced)
        for problem in problems:
            self._once.say(problem, problem, "%s", problem)
        self._once.keep(problems)
        return problems

    async def _scan(self, changed: Mapping[Path, AbstractSet[str]] | None) -> tuple[list[Scanned], list[str]]:
        scans: list[Scanned] = []
        problems: list[str] = []
        for root, paths in (changed or dict.fromkeys(self._places.paths(), ANYTHING)).items():
            try:
                scans.append(await self._surveyor.scan(root, paths))
            except OSError as exc:
                problems.append(str(exc))
        if changed is None or problems:
            self._troubles.note("roots", "; ".join(problems))
        return scans, problems

    async def _empty(self, changed: Mapping[str, AbstractSet[str]] | None) -> Emptied:
        if self._tray is None:
            return Emptied((), {})
        if changed is not None:
            incoming = await self._ctx.run_sync(self._places.incoming)
            if not any(incoming.touches(root, paths) for root, paths in changed.items()):
                return Emptied((), {})
        refused = await self._assessor.refused()
        emptied = await self._tray.empty(self._ask_why)
        return Emptied(emptied.came, refused | emptied.kept_out)


def _is_there(root: Path) -> bool:
    try:
        root.stat()
    except OSError:
        return False
    return True


def _by_name(changed: Mapping[Path, AbstractSet[str]]) -> dict[str, AbstractSet[str]]:
    found: dict[str, AbstractSet[str]] = {}
    for root, paths in changed.items():
        try:
            name = name_of_root(root)
        except RootNotFoundError:
            continue
        found[name] = found.get(name, frozenset()) | paths
    return found
