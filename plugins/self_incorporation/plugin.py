"""The self-incorporation plugin: scans in a worker thread, one tree at a time, and answers from the index."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import msgspec

from aetherra.plugins import CycleStep, MetricSample, Plugin, PluginContext, ServiceStatus, Settings, handler, hookimpl
from aetherra.plugins.self_incorporation.code.panel import Panel
from aetherra.plugins.self_incorporation.index.code_index import CodeIndex
from aetherra.plugins.self_incorporation.index.report import Risk
from aetherra.plugins.self_incorporation.index.scanner import Limits, Scanner, ScanStopped, name_of_root
from aetherra.plugins.self_incorporation.messages import (
    Classify,
    GetFile,
    GetSelfIncorporationStatus,
    IndexedFile,
    Judged,
    Kinds,
    Scan,
    Scanned,
    SecurityEval,
    SelfIncorporationStatus,
)
from aetherra.plugins.self_incorporation.surveyor import Surveyor
from aetherra.plugins.storage import DatabaseUnusableError


class SelfIncorporationSettings(Settings):
    """Settings of self-incorporation.

    Attributes:
        roots: Trees to scan, relative to the project.
        scan_at_start: Whether the roots are scanned as soon as the plugin serves.
        scan_interval: Seconds between two scans of the roots; unchanged files are not read again.
        max_source_bytes: Larger Python files are refused.
        max_file_bytes: Larger files of other kinds are refused.
    """

    roots: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] = (".",)
    scan_at_start: bool = True
    scan_interval: Annotated[float, msgspec.Meta(gt=0)] = 900.0
    max_source_bytes: Annotated[int, msgspec.Meta(gt=0)] = 5_000_000
    max_file_bytes: Annotated[int, msgspec.Meta(gt=0)] = 64_000_000


class SelfIncorporationService(Plugin[SelfIncorporationSettings]):
    """Knows the code of the project; it does not run any of it."""

    name = "self_incorporation"
    service = "self_incorporation"
    version = "1"
    capabilities = ("publish:selfinc.*",)

    def __init__(self, settings: SelfIncorporationSettings | None = None) -> None:
        super().__init__(settings)
        self._scanning_roots = False
        self._degraded = False

    async def start(self, ctx: PluginContext) -> None:
        """Open the index, and scan the roots now and then."""
        folder = ctx.data_dir
        location = ":memory:" if folder is None else folder / "index.sqlite3"
        self._index = await ctx.enter(await ctx.run_sync(CodeIndex, location, ctx.log.warning))
        if self._index.set_aside is not None:
            ctx.log.error("the index could not be read; it was moved to %s", self._index.set_aside.path)
        limits = Limits(source_bytes=self.settings.max_source_bytes, file_bytes=self.settings.max_file_bytes)
        apart = () if folder is None else (folder,)
        panel = Panel(lambda: ctx.hooks.implementations("classify_file"), clock=time.perf_counter, say=ctx.log.warning)
        scanner = Scanner(self._index, clock=time.perf_counter, limits=limits, apart=apart, panel=panel)
        self._surveyor = Surveyor(ctx, self._index, scanner, await ctx.run_sync(self._index.statistics))
        ctx.every(self.settings.scan_interval, self._begin_scan, at_start=self.settings.scan_at_start)

    async def stop(self) -> None:
        """Have a scan end at its next file."""
        self._surveyor.stop()

    @handler
    async def scan(self, request: Scan) -> Scanned:
        """Scan one tree; a cancelled call ends the scan at its next file, and what was read stays in the index."""
        return await self._surveyor.scan(self._root(request.path))

    @handler
    async def classify(self, _: Classify) -> Kinds:
        """Count the kinds of the first root."""
        counted = await self._surveyor.ask(lambda: self._index.kinds(self._key(None)))
        return Kinds({str(kind): count for kind, count in counted.items()})

    @handler
    async def judge(self, _: SecurityEval) -> Judged:
        """Tell the risks of the first root."""
        root = self._key(None)
        severities = await self._surveyor.ask(lambda: self._index.severities(root))
        riskiest = await self._surveyor.ask(lambda: self._index.riskiest(root))
        return Judged(
            {str(severity): count for severity, count in severities.items()},
            tuple(Risk(record.path, record.risk, record.factors) for record in riskiest),
        )

    @handler
    async def tell_file(self, request: GetFile) -> IndexedFile:
        """Tell what is known of one file of the first root."""
        record = await self._surveyor.ask(lambda: self._index.file(self._key(None), request.path))
        if record is None:
            raise LookupError(f"the index holds no file {request.path!r}; paths are relative to {self._key(None)}")
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

    @handler
    async def report(self, _: GetSelfIncorporationStatus) -> SelfIncorporationStatus:
        """Say what was done, also in the middle of a scan: then the index is as it was before."""
        held = await self._surveyor.statistics()
        aside = self._index.set_aside
        return SelfIncorporationStatus(
            scanning=self._surveyor.scanning,
            scans=self._surveyor.scans,
            failed_scans=self._surveyor.failed,
            last_problem=self._surveyor.problem,
            files=held.files,
            refusals=held.refusals,
            findings=held.findings,
            set_aside="" if aside is None else str(aside.path),
        )

    @hookimpl
    def cycle_steps(self) -> Iterable[CycleStep]:
        """Scan, then tell the kinds and the risks."""
        return [
            CycleStep("discover", Scan()),
            CycleStep("classify", Classify()),
            CycleStep("judge", SecurityEval()),
        ]

    @hookimpl
    def collect_metrics(self) -> Iterable[MetricSample]:
        """Count scans."""
        return [
            MetricSample("scans", float(self._surveyor.scans), "scans"),
            MetricSample("failed_scans", float(self._surveyor.failed), "scans"),
        ]

    async def _begin_scan(self) -> None:
        """Scan in a task of its own, which neither a stop nor a swap of this plugin waits for: ``stop`` ends it."""
        if not self._scanning_roots:
            self._scanning_roots = True
            self.ctx.start_soon(self._scan_roots)

    async def _scan_roots(self) -> None:
        try:
            for root in self.settings.roots:
                await self._surveyor.scan(self._root(root))
        except ScanStopped as exc:
            self.ctx.log.info("%s", exc)
        except (OSError, DatabaseUnusableError) as exc:
            self.ctx.log.error("the project cannot be scanned: %s", exc)  # noqa: TRY400  # the text says it all
            self.ctx.set_status(ServiceStatus.DEGRADED, str(exc))
            self._degraded = True
        else:
            if self._degraded:
                self.ctx.set_status(ServiceStatus.HEALTHY)
            self._degraded = False
        finally:
            self._scanning_roots = False

    def _root(self, path: str | None) -> Path:
        return self.ctx.root / (self.settings.roots[0] if path is None else path)

    def _key(self, path: str | None) -> str:
        return name_of_root(self._root(path))
