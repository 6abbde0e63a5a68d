"""A requirement: what pip is asked for, held to the forms that cannot be taken for anything else."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["is_path", "is_requirement", "path_of"]

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_CLAUSE = r"(?:===|==|~=|!=|<=|>=|<|>)\s*[A-Za-z0-9_.*+!-]+"
_CLAUSES = rf"{_CLAUSE}(?:\s*,\s*{_CLAUSE})*"
_VARIABLE = (
    r"(?:python_version|python_full_version|os_name|sys_platform|platform_(?:release|system|version|machine"
    r"|python_implementation)|implementation_(?:name|version)|extra)"
)
_STRING = r"""(?:'[\w .*+!()<>=,-]*'|"[\w .*+!()<>=,-]*")"""
_OPERAND = rf"(?:{_VARIABLE}|{_STRING})"
_TERM = rf"\(*\s*{_OPERAND}\s*(?:===|==|~=|!=|<=|>=|<|>|in\b|not\s+in\b)\s*{_OPERAND}\s*\)*"
_REQUIREMENT = (
    rf"\s*{_NAME}\s*(?:\[\s*(?:{_NAME}(?:\s*,\s*{_NAME})*)?\s*\])?"
    rf"\s*(?:{_CLAUSES}|\(\s*{_CLAUSES}\s*\)|@\s*[A-Za-z][A-Za-z0-9+.-]*://\S+(?=\s|$))?"
    rf"\s*(?:;\s*{_TERM}(?:\s*\b(?:and|or)\b\s*{_TERM})*)?\s*"
)
"""Compiled with its first use, as a start need not wait for it."""
_ARCHIVE = re.compile(r".*\.(whl|zip|tar|tar\.gz|tgz|tar\.bz2|tbz|tar\.xz|txz)", re.IGNORECASE)
_EXTRAS = re.compile(r"\[[\w\s,.-]*\]$")


def is_requirement(text: str) -> bool:
    """Whether a text is a requirement as PEP 508 has it: a name, extras, versions or an address, and a marker."""
    return (
        re.fullmatch(_REQUIREMENT, text, re.ASCII) is not None
        and text.count("(") == text.count(")")
        and "\n" not in text
    )


def is_path(text: str) -> bool:
    """Whether pip takes a text for a path: it has a ``/``, begins with a dot, or is named like an archive."""
    name = _EXTRAS.sub("", text)
    if not text.strip() or not text.isprintable() or text.startswith("-") or "://" in text or ";" in text:
        return False
    return "/" in name or name.startswith(".") or _ARCHIVE.fullmatch(name) is not None


def path_of(root: Path, text: str) -> Path:
    """Return where a path is, relative to the project, the extras behind it left away."""
    return root / _EXTRAS.sub("", text)
