"""An item: what comes in or stays out as one, a file or a whole package, and all that is known of it unrun."""

import hashlib
import json
from collections.abc import Iterable

from msgspec import Struct

from aetherra.plugins.self_incorporation.code.classifier import FileKind
from aetherra.plugins.self_incorporation.code.findings import Capability, Finding, RiskFactor

__all__ = ["Item", "ItemFile", "digest_of", "unnamed"]


class ItemFile(Struct, frozen=True):
    """One file of an item, as it was when it was read.

    Attributes:
        path: Relative to the root, in the written form of `paths.written`.
        sha256: Of its bytes, in hex.
        size: In bytes.
    """

    path: str
    sha256: str
    size: int


class Item(Struct, frozen=True, kw_only=True):
    """What is judged, planned and brought in as one.

    All paths are relative to ``root``, in the written form of `paths.written`.

    Attributes:
        root: The folder that was scanned, absolute.
        path: Of the file, or of the package's folder.
        name: Of the plugin when the code says it, else of the file or folder.
        kind: Of the file, or of the package's main file.
        confidence: How sure that is.
        files: All that belong to it, sorted by path; a file that was refused is none of them.
        project: The ``pyproject.toml`` that it comes with, if that lies above it, and may be that of others, too.
        digest: Of all of them: `digest_of`. What an approval, a signature check and a plan are bound to.
        risk: 0 to 1, of the whole: what its files can do counts once, wherever it stands.
        factors: What makes up the risk, heaviest first.
        capabilities: Of all its files, sorted.
        threats: Reasons to block, each with its file and line.
        warnings: How many signs there are that are no threat.
        refused: What belongs to it and could not be read or parsed, so that nobody knows what it does.
        version: As the code or its metadata declares it, else empty; likewise all below.
        service: The name of the service it provides.
        tags: Of the messages it defines, sorted.
        handles: The tags it answers, sorted.
        requires: Plugins or services it needs.
        dependencies: Distributions it needs (PEP 508).
        requires_python: A PEP 440 specifier.
        said_in: The files in which each of these requirements stands, and the specifier.
        unreadable: Why files that say what it needs cannot be read, by file.
        left_open: What files leave to a build, so that nobody knows it, by file: ``dependencies``, ``requires-python``.
        declared: The capabilities it says it needs, as grants are written: ``network:outbound``.
        imports: Modules its files import that are not its own, sorted.
        modules: The modules it is made of, dotted from its own folder, sorted.
        hosts: Network hosts that its code names, sorted.
        main: Path of the file to load; of a package, its ``__init__.py``.
        unloadable: Why it cannot be loaded as what it is, ``""`` if nothing is known against it.
    """

    root: str
    path: str
    name: str
    kind: FileKind
    confidence: float
    files: tuple[ItemFile, ...]
    digest: str
    risk: float
    factors: tuple[RiskFactor, ...]
    capabilities: tuple[Capability, ...]
    threats: tuple[Finding, ...]
    warnings: int
    refused: tuple[str, ...] = ()
    version: str = ""
    service: str = ""
    tags: tuple[str, ...] = ()
    handles: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    dependencies: tuple[str, ...] = ()
    requires_python: str = ""
    said_in: dict[str, str] = {}
    unreadable: dict[str, str] = {}
    left_open: dict[str, tuple[str, ...]] = {}
    declared: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    main: str = ""
    unloadable: str = ""
    project: ItemFile | None = None

    def digests(self) -> tuple[str, ...]:
        """Return the digests of it in this place: its own, and that of earlier versions, which left its project out."""
        return (self.digest,) if self.project is None else (self.digest, digest_of(self.files))

    def known_as(self) -> tuple[str, ...]:
        """Return what it is known by whatever it is called: `unnamed`, of its files and of these with its project."""
        own = [file.sha256 for file in self.files]
        return (unnamed(own),) if self.project is None else (unnamed(own), unnamed([*own, self.project.sha256]))


def unnamed(hashes: Iterable[str]) -> str:
    """Return the SHA-256, in hex, over those of all files: the same under another name is the same."""
    return hashlib.sha256(" ".join(sorted(hashes)).encode()).hexdigest()


def digest_of(files: Iterable[ItemFile]) -> str:
    """Return the SHA-256, in hex, over the sorted pairs of path and SHA-256: another name is another item."""
    pairs = sorted((file.path, file.sha256) for file in files)
    return hashlib.sha256(json.dumps(pairs, ensure_ascii=True, separators=(",", ":")).encode()).hexdigest()
