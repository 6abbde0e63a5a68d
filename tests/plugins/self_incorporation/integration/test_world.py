"""The world: what is installed is known, and read again only when that has changed."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from aetherra.plugins.self_incorporation.integration.world import installed


def install(folder: Path, name: str, version: str) -> None:
    place = folder / f"{name}-{version}.dist-info"
    place.mkdir()
    (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")


def test_what_is_installed_is_read_once_and_again_when_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a plan asks for it each time, and some environments hold hundreds."""
    install(tmp_path, "first_thing", "1.0")
    monkeypatch.syspath_prepend(str(tmp_path))
    reads: list[int] = []
    real = metadata.distributions
    monkeypatch.setattr(metadata, "distributions", lambda: reads.append(1) or real())
    assert installed()["distributions"]["first-thing"].version == "1.0"
    first = len(reads)
    assert "second-thing" not in installed()["distributions"]
    assert len(reads) == first
    install(tmp_path, "second_thing", "2.0")
    assert installed()["distributions"]["second-thing"].version == "2.0"
    assert len(reads) > first
