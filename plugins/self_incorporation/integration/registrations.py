"""Registrations: what came in, one file each, so that one integration's way back never touches another's."""

import hashlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
from msgspec import Struct

from aetherra.plugins import DataFileError
from aetherra.plugins.self_incorporation.code.classifier import FileKind
from aetherra.plugins.self_incorporation.integration.blobs import telling
from aetherra.plugins.self_incorporation.integration.catalogue import CatalogueEntry
from aetherra.plugins.self_incorporation.integration.plan import Action, Step

__all__ = [
    "Registration",
    "Unreadable",
    "encoded",
    "file_name",
    "module_of",
    "read_registrations",
    "registration",
    "standing_of",
]


class Registration(Struct, frozen=True, kw_only=True):
    """What came in under one name.

    Attributes:
        name: Of the plugin, or of the file or folder.
        action: How it came in.
        kind: What it is.
        path: Of its file or folder, relative to the destination; empty if it was not copied.
        origin: Where it was found, absolute.
        root: The tree that it was found in.
        digest: Of the item, as it was judged.
        version: As its code declares it.
        files: The SHA-256 of each of its files, by their paths in the destination.
        settings: What a plugin is loaded with; empty for those of the configuration.
        token: The integration that it came with.
        service: The service it provides.
        tags: The requests it answers.
        requires: The plugins it needs.
        uses: Names of registrations that its code imports.
        entry: What the catalogue has of it; ``None`` of a plugin.
    """

    name: str
    action: Action
    kind: FileKind
    path: str
    origin: str
    digest: str
    version: str
    files: dict[str, str]
    settings: dict[str, Any]
    token: str
    service: str = ""
    tags: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    entry: CatalogueEntry | None = None
    root: str = ""

    @property
    def module(self) -> str:
        """The top-level module that it is imported as; empty if it is no code."""
        return module_of(self.path)


class Unreadable(Struct, frozen=True):
    """A registration that cannot be read, and why; what it stands for is left alone."""

    path: str
    problem: str


def module_of(path: str) -> str:
    """Return what the file or folder at a path is imported as; empty for no path."""
    return PurePosixPath(path).name.removesuffix(".py")


def registration(step: Step, token: str, uses: tuple[str, ...], entry: CatalogueEntry | None) -> Registration:
    """Return what a step leaves behind."""
    return Registration(
        name=step.name,
        action=step.action,
        kind=step.kind,
        path=step.main if any(file.target for file in step.files) else "",
        origin=str(Path(step.root) / step.path),
        digest=step.digest,
        version=step.version,
        files={file.target: file.sha256 for file in step.files if file.target},
        settings=step.settings,
        token=token,
        service=step.service,
        tags=step.tags,
        requires=step.requires,
        uses=uses,
        entry=entry,
        root=step.root,
    )


def standing_of(registered: Mapping[str, Registration]) -> str:
    """Return what changes whenever other code has come in, in hex."""
    code = sorted((one.name, one.path, one.digest) for one in registered.values() if one.path)
    return hashlib.sha256(msgspec.json.encode(code)).hexdigest()


def encoded(item: Registration) -> bytes:
    """Return the bytes of its file: the same for the same registration."""
    return msgspec.json.format(msgspec.json.encode(item, order="sorted"), indent=1) + b"\n"


def file_name(name: str) -> str:
    """Return the name of the file that a registration of this name stands in."""
    return f"{name}.json"


def read_registrations(folder: Path) -> tuple[dict[str, Registration], tuple[Unreadable, ...]]:
    """Return what is registered, by name, and what cannot be read.

    Raises:
        DataFileError: The folder cannot be listed.
    """
    found: dict[str, Registration] = {}
    problems: list[Unreadable] = []
    with telling(folder, "listed"):
        paths = sorted(folder.glob("*.json"))
    for path in paths:
        try:
            with telling(path, "read"):
                item = msgspec.json.decode(path.read_bytes(), type=Registration)
        except (DataFileError, msgspec.DecodeError) as exc:
            problems.append(Unreadable(str(path), str(exc)))
            continue
        if file_name(item.name) != path.name:
            problems.append(Unreadable(str(path), f"it is the registration of {item.name!r}"))
            continue
        found[item.name] = item
    return found, tuple(problems)
