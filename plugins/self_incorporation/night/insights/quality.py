"""How each kind of code is usually written here, and what falls short of that."""

import statistics
from collections.abc import Iterator

from msgspec import Struct

from aetherra.plugins.self_incorporation.night.insights.census import Census, CountedFile
from aetherra.plugins.self_incorporation.night.insights.insight import Insight
from aetherra.plugins.self_incorporation.night.pace import Steps

__all__ = ["Norm", "Quality", "quality_of"]

FEWEST = 5
"""Files of one kind from which on it can be said what is usual."""
_STEP = 100


class Norm(Struct, frozen=True, kw_only=True):
    """How files of one kind are, in the middle.

    Attributes:
        files: How many there are.
        documented: Share of what is public that has a docstring.
        branches: A function.
        tested: Share of files that have a test named after them.
    """

    files: int
    documented: float
    branches: float
    tested: float


class Quality(Struct, frozen=True):
    """The norm of each kind, marks of files by path, and what stands out."""

    norms: dict[str, Norm]
    marks: dict[str, dict[str, float]]
    insights: tuple[Insight, ...]


def quality_of(census: Census) -> Steps[None, Quality]:
    """Tell what is usual for each kind, and mark each file with how far it is from that: 0, as usual, to 1."""
    by_kind: dict[str, list[CountedFile]] = {}
    for file in census.sources():
        if not _is_test(file.path):
            by_kind.setdefault(str(file.kind), []).append(file)
    yield None
    norms: dict[str, Norm] = {}
    marks: dict[str, dict[str, float]] = {}
    insights: list[Insight] = []
    for kind, files in sorted(by_kind.items()):
        if len(files) < FEWEST:
            continue
        norm = norms[kind] = _norm(files)
        insights.append(Insight("quality", "", _told(kind, norm)))
        yield None
        for number, file in enumerate(files):
            found = dict(_marks(file, norm))
            if found:
                marks[file.path] = found
            if found.get("quality:complex", 0.0) >= 1.0:
                text = f"branches {_branches(file):.1f} times a function, where {norm.branches:.1f} is usual for {kind}"
                insights.append(Insight("quality", file.path, text))
            if number % _STEP == 0:
                yield None
    return Quality(norms, marks, tuple(insights))


def _norm(files: list[CountedFile]) -> Norm:
    return Norm(
        files=len(files),
        documented=round(statistics.median(map(_documented, files)), 4),
        branches=round(statistics.median(map(_branches, files)), 4),
        tested=round(sum(file.has_test for file in files) / len(files), 4),
    )


def _marks(file: CountedFile, norm: Norm) -> Iterator[tuple[str, float]]:
    if (short := norm.documented - _documented(file)) > 0:
        yield "quality:undocumented", round(short, 4)
    if (more := _branches(file) / max(1.0, norm.branches) - 1.0) > 0:
        yield "quality:complex", round(min(1.0, more / 2), 4)
    if not file.has_test and norm.tested > 0:
        yield "quality:untested", norm.tested


def _documented(file: CountedFile) -> float:
    measured = file.measured
    return measured.documented / measured.public if measured is not None and measured.public else 0.0


def _branches(file: CountedFile) -> float:
    measured = file.measured
    return measured.branches / max(1, measured.functions) if measured is not None else 0.0


def _is_test(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name.startswith("test_") or name == "conftest.py"


def _told(kind: str, norm: Norm) -> str:
    return (
        f"{norm.files} files of kind {kind}: {norm.documented:.0%} of what is public is documented in the middle, "
        f"{norm.branches:.1f} branches a function, {norm.tested:.0%} have a test named after them"
    )
