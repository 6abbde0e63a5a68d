"""Offers: what ``importlib.metadata`` finds, found without it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from aetherra.kernel.offers import Offer, offers

GROUP = "aetherra.plugins"


def put(folder: Path, entry_points: str | None, about: str | None, file: str = "METADATA") -> None:
    """Install a distribution, as far as metadata go."""
    folder.mkdir(parents=True)
    if entry_points is not None:
        (folder / "entry_points.txt").write_text(entry_points, encoding="utf-8")
    if about is not None:
        (folder / file).write_text(f"Metadata-Version: 2.1\n{about}\nVersion: 1.0\n\nName: in the text\n")


def asked() -> list[Offer]:
    """What the standard library finds."""
    found = metadata.entry_points(group=GROUP)
    return [Offer(each.name, each.value, each.dist.name if each.dist is not None else "?") for each in found]


class TestOffers:
    def test_other_offers_are_found_than_there_are(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The first distribution of a name counts, however it is written, also if it offers nothing."""
        first, second = tmp_path / "first", tmp_path / "second"
        put(
            first / "Acme.Rooms-1.0.dist-info",
            f"# ours\n[console]\nx = y:z\n\n[{GROUP}]\n a = b:C \n#d=e\n",
            "Name: acme-rooms",
        )
        put(first / "plain-1.0.dist-info", None, "Name: plain")
        put(first / "other-2.dist-info", f"[not.{GROUP}]\nx = y:z\n", "Name: other")
        put(first / "old.egg-info", f"[{GROUP}]\ng=h.i:J.K [extra]\n[more]\nl=m\n", "name: old", "PKG-INFO")
        put(second / "acme_rooms-2.0.dist-info", f"[{GROUP}]\nshadowed = b:C\n", "Name: acme_rooms")
        put(second / "Plain-2.0.dist-info", f"[{GROUP}]\nshadowed = b:C\n", "Name: Plain")
        put(second / "last-1.dist-info", f"[{GROUP}]\nn = o:P\nq = r:S\n", "Summary: it\nName: Last")
        (second / "file.egg-info").write_text("Name: file\n")
        monkeypatch.setattr(sys, "path", [str(first), str(tmp_path / "nowhere"), str(second), *sys.path])
        with monkeypatch.context() as patch:
            patch.setattr("aetherra.kernel.offers._asked", None)
            found = list(offers(GROUP))
        assert found == asked()
        assert {each.name: each.distribution for each in found if each.name in "agnq"} == {
            "a": "acme-rooms",
            "g": "old",
            "n": "Last",
            "q": "Last",
        }
        assert "shadowed" not in {each.name for each in found}

    def test_what_is_in_an_archive_or_found_by_another_is_left_out(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where packages are not in folders alone the standard library is asked."""
        archive = tmp_path / "packed.zip"
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("packed-1.0.dist-info/entry_points.txt", f"[{GROUP}]\npacked = b:C\n")
            file.writestr("packed-1.0.dist-info/METADATA", "Name: packed\n")
        monkeypatch.setattr(sys, "path", [*sys.path, str(archive)])
        assert "packed" in {each.name for each in offers(GROUP)}
        assert list(offers(GROUP)) == asked()

    def test_another_finder_of_distributions_is_not_asked(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What it finds is there too."""
        put(tmp_path / "far-1.0.dist-info", f"[{GROUP}]\nfar = b:C\n", "Name: far")

        class Far(metadata.DistributionFinder):
            def find_distributions(self, context: metadata.DistributionFinder.Context = ...) -> object:  # type: ignore[assignment,override]
                return [metadata.PathDistribution(tmp_path / "far-1.0.dist-info")]

        monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Far()])
        assert Offer("far", "b:C", "far") in list(offers(GROUP))

    def test_a_look_brings_the_parser_of_mail(self) -> None:
        """Where packages are in folders, neither it nor ``importlib.metadata`` is imported."""
        code = (
            "import sys; from aetherra.kernel.offers import offers; "
            f"assert list(offers({GROUP!r})); print(sorted({{'email', 'importlib.metadata'}} & set(sys.modules)))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout == "[]\n"
