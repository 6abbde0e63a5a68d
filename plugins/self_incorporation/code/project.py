"""The metadata that a project states of itself (packaging.python.org, "pyproject.toml specification")."""

from typing import Any

from msgspec import Struct, field

from aetherra.plugins.self_incorporation.code.script import Script, Text, Texts, read_toml

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
    return read_toml(data, _Document, _told, "it")


def _told(document: _Document) -> Script:
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
