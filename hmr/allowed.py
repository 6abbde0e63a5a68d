"""The allow-list: which plugins may be swapped, by where their code is."""

from __future__ import annotations

from pathlib import Path

from aetherra.hmr.errors import SwapError
from aetherra.hmr.files import real
from aetherra.kernel import Swapper


class AllowedSources:
    """Asks the kernel where a plugin's code is, and the settings whether that may be swapped.

    Args:
        swapper: Knows where code is.
        sources: Files and folders, relative to ``root``; ``None`` for all, an empty list for none.
        root: The project.
        itself: The plugin that swaps; it is never swapped.
    """

    def __init__(self, swapper: Swapper, sources: tuple[str, ...] | None, root: Path, itself: str) -> None:
        self._swapper = swapper
        self._sources = sources
        self._root = root
        self._itself = itself

    def folders(self) -> list[Path]:
        """Return the folders of the list, where plugins come and go."""
        return [folder for source in self._sources or () if (folder := self._root / source).suffix != ".py"]

    def places(self) -> dict[str, Path]:
        """Return where the code of each plugin is that may be swapped."""
        places = {name: place for name, place in self._swapper.watched().items() if name != self._itself}
        return {name: place for name, place in places.items() if self._allows(place)}

    def place(self, plugin: str) -> Path | None:
        """Return where a plugin's code is; ``None`` if that is no file, which loading it will say.

        Raises:
            SwapError: It may not be swapped.
        """
        place = self._swapper.watched().get(plugin)
        sources = self._sources
        if sources is not None and (place is None or not self._allows(place)):
            where = f"{real(place)} is not below" if place is not None else "it comes from no file below"
            wanted = f"any of the allowed sources {', '.join(map(repr, sources))}" if sources else "an allowed source"
            raise SwapError(plugin, "source_not_allowed", f"{where} {wanted}")
        return place

    def _allows(self, place: Path) -> bool:
        if self._sources is None:
            return True
        allowed = {real(self._root / source) for source in self._sources}
        place = real(place)
        return not allowed.isdisjoint((place, *place.parents))
