"""The metadata that a single-file script may carry in its comments (packaging.python.org, "Inline script metadata")."""

import re
from collections.abc import Callable
from typing import Annotated, TypeAlias, TypeVar

import msgspec
from msgspec import Meta, Struct, field

__all__ = ["Script", "Text", "Texts", "read_toml", "script_of"]

T = TypeVar("T")

_BEGIN = re.compile(r"^# /// script[ \t]*$", re.MULTILINE)
_END = "# ///"


class Script(Struct, frozen=True):
    """What a script, or a project, says it needs.

    Attributes:
        dependencies: Requirements as they are written (PEP 508), unchecked.
        requires_python: A version specifier as it is written, or empty.
        problem: Why the block cannot be read, or only a part of it; empty if all of it could.
        version: Of a project; empty if it does not say.
        left_open: What of these only building a project would tell.
    """

    dependencies: tuple[str, ...] = ()
    requires_python: str = ""
    problem: str = ""
    version: str = ""
    left_open: tuple[str, ...] = ()


Text: TypeAlias = Annotated[str, Meta(max_length=1000)]
"""Longer ones are no requirements, and would be told whole."""
Texts: TypeAlias = Annotated[tuple[Text, ...], Meta(max_length=1000)]


class _Metadata(Struct):
    dependencies: Texts = ()
    requires_python: Text = field(name="requires-python", default="")


def script_of(text: str) -> Script | None:
    """Return the metadata of a source, or None where it has no such block; never raises."""
    begins = list(_BEGIN.finditer(text))
    if not begins:
        return None
    if len(begins) > 1:
        return Script(problem=f"expected one block of script metadata, got {len(begins)}")
    content: list[str] = []
    closed = 0
    for line in text[begins[0].end() + 1 :].splitlines():
        if line != "#" and not line.startswith("# "):
            break
        content.append(line[2:])
        if line.rstrip() == _END:  # the last of these ends the block: there may be one in the content
            closed = len(content)
    if not closed:
        return Script(problem=f"the block of script metadata is not closed by a line {_END!r}")
    return read_toml("\n".join(content[: closed - 1]), _Metadata, _told, "the script metadata")


def _told(metadata: _Metadata) -> Script:
    return Script(metadata.dependencies, metadata.requires_python)


def read_toml(toml: str | bytes, kind: type[T], told: Callable[[T], Script], what: str) -> Script:
    """Return what TOML of a kind tells, or why it cannot be read; never raises."""
    import tomllib  # noqa: PLC0415  # 2 ms, for who meets metadata

    try:
        text = toml if isinstance(toml, str) else toml.removeprefix(b"\xef\xbb\xbf").decode()
        return told(msgspec.convert(tomllib.loads(text), kind))
    except msgspec.ValidationError as exc:
        return Script(problem=f"{what} is not as expected: {exc}")
    except (ValueError, RecursionError) as exc:  # tomllib's own error is a ValueError
        return Script(problem=f"{what} is no TOML: {exc}")
