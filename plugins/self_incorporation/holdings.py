"""The holdings: what the index has of all roots together."""

from __future__ import annotations

from collections import Counter

from aetherra.plugins import PluginContext
from aetherra.plugins.self_incorporation.index.code_index import CodeIndex
from aetherra.plugins.self_incorporation.index.report import Risk
from aetherra.plugins.self_incorporation.index.rows import FileRecord
from aetherra.plugins.self_incorporation.messages import IndexedFile
from aetherra.plugins.self_incorporation.places import Places

__all__ = ["Holdings"]

MOST_RISKS = 10
"""Files that are told of as the riskiest ones."""


class Holdings:
    """Asks the index in a worker thread, root by root, as the roots are now.

    Args:
        ctx: Of the plugin that it works in.
        index: What is known of each root.
        places: Which roots there are.
    """

    def __init__(self, ctx: PluginContext, index: CodeIndex, places: Places) -> None:
        self._ctx = ctx
        self._index = index
        self._places = places

    async def kinds(self) -> dict[str, int]:
        """Count files by kind."""
        kinds: Counter[str] = Counter()
        for root in self._places.roots():
            counted = await self._ctx.run_sync(self._index.kinds, root)
            kinds.update({str(kind): count for kind, count in counted.items()})
        return dict(kinds)

    async def severities(self) -> dict[str, int]:
        """Count findings by severity."""
        severities: Counter[str] = Counter()
        for root in self._places.roots():
            severities.update(await self._ctx.run_sync(self._index.severities, root))
        return dict(severities)

    async def riskiest(self) -> tuple[Risk, ...]:
        """Return the riskiest files, the riskiest first."""
        risks: list[Risk] = []
        for root in self._places.roots():
            records = await self._ctx.run_sync(self._index.riskiest, root)
            risks.extend(Risk(record.path, record.risk, record.factors) for record in records)
        risks.sort(key=lambda risk: (-risk.risk, risk.path))
        return tuple(risks[:MOST_RISKS])

    async def file(self, path: str) -> tuple[str, FileRecord]:
        """Return the first root that has a file of this path, and what is known of the file.

        Raises:
            LookupError: None has.
        """
        roots = self._places.roots()
        for root in roots:
            record = await self._ctx.run_sync(self._index.file, root, path)
            if record is not None:
                return root, record
        raise LookupError(f"the index holds no file {path!r}; paths are relative to {' or '.join(roots)}")

    async def tell(self, path: str) -> IndexedFile:
        """Tell what is known of a file; raises ``LookupError`` if nothing is."""
        _, record = await self.file(path)
        return IndexedFile(
            path=record.path,
            sha256=record.sha256,
            size=record.stamp.size,
            kind=str(record.kind),
            confidence=record.confidence,
            features=tuple(record.features),
            risk=record.risk,
            factors=tuple(factor.code for factor in record.factors),
            capabilities=tuple(record.capabilities),
            imports=tuple(record.imports),
            entry_points=tuple(record.entry_points),
            lines=record.lines,
        )
