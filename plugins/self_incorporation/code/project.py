"""The metadata that a project states of itself (packaging.python.org, "pyproject.toml specification")."""

from typing import Any

import msgspec
from msgspec import Struct, field

from aetherra.plugins.self_incorporation.code.script import Script, Text, Texts

__all__ = ["is_project", "project_of"]

_NAME = "pyproject.toml"
_MOST_BYTES = 256_000
_NEEDS = ("dependencies", "requires-python")


class _Project(Struct):
    version: Text = ""
    requires_python: Text = field(name="requires-python", default="")
    dependencies: Texts = ()
    dynamic: Texts = ()


class _Document(Struct):
    project: _Project | None = None
    build_system: Any = field(name="build-system", default=None)


def is_project(path: str) -> bool:
    """Say whether a file tells of the project that lies in its folder."""
    return path.rpartition("/")[2] == _NAME


def project_of(data: bytes) -> Script:
    """Return what a project says that it needs; never raises."""
    if len(data) > _MOST_BYTES:
        return Script(problem=f"expected at most {_MOST_BYTES:,} bytes, got {len(data):,}")
    try:
        return _read(data.removeprefix(b"\xef\xbb\xbf").decode())
    except msgspec.ValidationError as exc:
        return Script(problem=f"it is not as expected: {exc}")
    except (ValueError, RecursionError) as exc:  # tomllib's own error is a ValueError
        return Script(problem=f"it is no TOML: {exc}")


def _read(toml: str) -> Script:
    import tomllib  # noqa: PLC0415  # 2 ms, for who meets a project

    document = msgspec.convert(tomllib.loads(toml), _Document)
    project = document.project
    if project is None:  # with a build, its metadata stands where only that looks
        return Script(left_open=_NEEDS if document.build_system is not None else ())
    given = {"dependencies": project.dependencies, "requires-python": project.requires_python}
    return Script(
        dependencies=project.dependencies,
        requires_python=project.requires_python,
        version=project.version,
        left_open=tuple(need for need in _NEEDS if need in project.dynamic and not given[need]),
    )
