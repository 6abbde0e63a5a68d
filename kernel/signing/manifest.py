"""The manifest: what exactly is signed, byte for byte, and how it is written so that all write it alike."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Literal

import msgspec

from aetherra.kernel.signing.disk import placed
from aetherra.kernel.signing.errors import UnsignableError
from aetherra.kernel.signing.tree import Fault, ManifestFile, read, walk

FOLDER_SIGNATURE = "SIGNATURE.json"
"""The name of a folder's signature, in it."""
FILE_SIGNATURE = ".sig"
"""What a file's signature is called after the file's name, beside it."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What somebody puts their name to.

    Attributes:
        name: What the file or folder is called; under another name it is another item.
        kind: Which of the two it is.
        files: All of them, by path; the signature's own file is none of them.
        version: Of the item, if it has one.
        capabilities: What its author says that it needs.

    Raises:
        ValueError: A path is not one inside the item, they are not in order, or one is there twice.
    """

    name: str
    kind: Literal["file", "folder"]
    files: tuple[ManifestFile, ...]
    version: str = ""
    capabilities: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.name in ("", ".", "..") or "/" in self.name or "\0" in self.name:
            raise ValueError(f"{self.name!r} is no name of a file or folder")
        last = ""
        for file in self.files:
            if any(part in ("", ".", "..") for part in file.path.split("/")) or "\0" in file.path:
                raise ValueError(f"{file.path!r} is no path inside the item")
            if file.path <= last:
                raise ValueError(f"{file.path!r} is there twice, or not in order")
            last = file.path
        if self.kind == "file" and [file.path for file in self.files] != [self.name]:
            raise ValueError(f"expected {self.name!r} as the only file")


def manifest_of(path: Path, *, version: str = "", capabilities: tuple[str, ...] = ()) -> Manifest:
    """Read a file, or all files below a folder, and say what is in them.

    Raises:
        UnsignableError: Something is a symbolic link, a pipe or a device, cannot be read, changes meanwhile, is nested
            too deep, or has a name that is not UTF-8; or there is nothing to sign.
    """
    path = placed(path)
    is_folder = os.path.isdir(path) and not os.path.islink(path)  # noqa: PTH112, PTH114  # these raise nothing
    files: list[ManifestFile] = []
    for found in walk(path) if is_folder else [read(path)]:
        if isinstance(found, Fault):
            raise UnsignableError(str(path / found.path if is_folder else path), found.problem)
        if not is_folder or found.path != FOLDER_SIGNATURE:
            files.append(found)
    if not files:
        raise UnsignableError(str(path), "there is no file in it to sign")
    try:
        manifest = Manifest(
            name=path.name,
            kind="folder" if is_folder else "file",
            files=tuple(sorted(files, key=lambda file: file.path)),
            version=version,
            capabilities=capabilities,
        )
        canonical(manifest)
    except UnicodeEncodeError as exc:
        raise UnsignableError(str(path), f"what is not UTF-8 cannot be signed: {exc.object!r}") from exc
    except ValueError as exc:
        raise UnsignableError(str(path), str(exc)) from exc
    return manifest


def canonical(document: msgspec.Struct) -> bytes:
    """Write a document in the one way that all write it: keys sorted, no blanks, UTF-8.

    This is RFC 8785 (JSON Canonicalization Scheme) for documents whose keys are ASCII and whose numbers are integers
    below 2**53, as all of ours are; of others it is no promise.

    Raises:
        UnicodeEncodeError: A text has half of a surrogate pair, as names do that are not UTF-8.
    """
    return json.dumps(
        msgspec.to_builtins(document), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()
