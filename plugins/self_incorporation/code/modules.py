"""What the files of an item are called when they are imported, and what an import in one of them reaches."""

from collections.abc import Iterable

from aetherra.plugins.self_incorporation.code.source import IMPORTED

__all__ = ["Modules", "is_source", "module_of"]


class Modules:
    """The modules of one item.

    Attributes:
        names: From each dotted name, counted from the folder that the item lies in, to the written path of its file.
    """

    def __init__(self, item: str, paths: Iterable[str]) -> None:
        self._base = item.rpartition("/")[0] if item != "." else ""
        self.names = {module_of(path, self._base): path for path in paths}

    def absolute(self, path: str, name: str) -> str:
        """Return a name as it is written in one file, with leading dots counted from there.

        What leaves the item upwards is empty.
        """
        if not name.startswith("."):
            return name
        bare = name.lstrip(".")
        level = len(name) - len(bare)
        parts = module_of(path, self._base).split(".")  # of a stub, too, which is no module
        if not is_package(path):
            parts = parts[:-1]
        if level - 1 > len(parts):
            return ""
        parts = parts[: len(parts) - (level - 1)]
        return ".".join([*parts, bare]) if bare else ".".join(parts)

    def file(self, name: str) -> tuple[str, str] | None:
        """Return the file of the longest module that a dotted name begins with, and the rest of the name."""
        module, rest = name, ""
        while module:
            if (path := self.names.get(module)) is not None:
                return path, rest
            module, _, last = module.rpartition(".")
            rest = f"{last}.{rest}" if rest else last
        return None


def is_source(path: str) -> bool:
    """Say whether a file can be imported as Python source."""
    return path.endswith(IMPORTED)


def is_package(path: str) -> bool:
    """Say whether a file is what a package is imported by, or its stub."""
    return path.rpartition("/")[2] in ("__init__.py", "__init__.pyi")


def module_of(path: str, base: str) -> str:
    """Return the dotted name of a file, counted from a folder; of the ``__init__.py`` of that folder, ``__init__``."""
    inner = path.removeprefix(f"{base}/") if base else path
    stem = inner.rpartition(".")[0] if "." in inner.rpartition("/")[2] else inner
    if stem.endswith("/__init__"):
        stem = stem.removesuffix("/__init__")
    return stem.replace("/", ".")
