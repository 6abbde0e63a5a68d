"""Manifests: what they may say, and the bytes they are written as."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.kernel.signing.errors import UnsignableError
from aetherra.kernel.signing.manifest import Manifest, canonical, manifest_of
from aetherra.kernel.signing.tree import ManifestFile

SHA = "ab" * 32


def of(*paths: str, name: str = "item") -> Manifest:
    return Manifest(name=name, kind="folder", files=tuple(ManifestFile(path, SHA, 1) for path in paths))


class _Text(msgspec.Struct):
    text: str


class TestCanonical:
    def test_two_write_it_differently(self) -> None:
        """Keys are sorted, there are no blanks, and text is UTF-8 with the escapes of RFC 8785, section 3.2.2.2."""
        written = canonical(
            Manifest(name="a", kind="file", files=(ManifestFile("a", SHA, 7),), version="\u20ac$\x0f\n")
        )
        assert (
            written
            == (
                '{"capabilities":[],"files":[{"path":"a","sha256":"' + SHA + '","size":7}],'
                '"kind":"file","name":"a","version":"\u20ac$\\u000f\\n"}'
            ).encode()
        )
        assert canonical(_Text('\b\t\n\f\r"\\/\x7f\u2028')) == b'{"text":"\\b\\t\\n\\f\\r\\"\\\\/\x7f\xe2\x80\xa8"}'

    @given(text=st.text(st.characters(exclude_categories=["Cs"])))
    def test_a_text_is_written_as_another(self, text: str) -> None:
        """Whatever text there is, reading what was written gives it back."""
        assert json.loads(canonical(_Text(text))) == {"text": text}

    def test_half_a_letter_is_written(self) -> None:
        """Half of a surrogate pair is no text."""
        with pytest.raises(UnicodeEncodeError):
            canonical(_Text("\udc80"))


class TestManifest:
    @pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd", "", ".", "a/./b", "a//b", "a/", "..", "x\0y"])
    def test_a_path_leads_out(self, path: str) -> None:
        """Paths are inside of the item, in their shortest form."""
        with pytest.raises(ValueError, match="no path inside the item"):
            of(path)
        with pytest.raises(msgspec.ValidationError, match="no path inside the item"):
            msgspec.json.decode(json.dumps({"name": "i", "kind": "folder", "files": [
                {"path": path, "sha256": SHA, "size": 1}]}), type=Manifest)  # fmt: skip

    @pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/", "a\0"])
    def test_a_name_is_a_path(self, name: str) -> None:
        """An item's name is one in its folder."""
        with pytest.raises(ValueError, match="no name of a file or folder"):
            of("a", name=name)

    def test_a_file_is_there_twice(self) -> None:
        """Files are in order, each once, so that there is one way to write them."""
        for paths in (("a", "a"), ("b", "a")):
            with pytest.raises(ValueError, match="twice, or not in order"):
                of(*paths)

    @pytest.mark.parametrize(
        "file", [{"sha256": "AB" * 32}, {"sha256": "ab"}, {"size": -1}, {"size": 2**53}, {"size": 1.5}, {"more": 1}]
    )
    def test_a_figure_is_anything(self, file: dict[str, object]) -> None:
        """Digests and sizes have one form, and nothing is there besides."""
        body = {"path": "a", "sha256": SHA, "size": 1} | file
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(json.dumps({"name": "i", "kind": "folder", "files": [body]}), type=Manifest)

    def test_a_file_is_of_several(self) -> None:
        """A single file's manifest is of that file."""
        with pytest.raises(ValueError, match="expected 'a' as the only file"):
            Manifest(name="a", kind="file", files=(ManifestFile("b", SHA, 1),))


class TestManifestOf:
    def test_a_folder_is_read_in_disorder(self, tmp_path: Path) -> None:
        """All files are there by their path; a signature of the folder is none of them, others are."""
        for name in ("a/x", "a.py", "b/SIGNATURE.json", "SIGNATURE.json", "c.sig"):
            (tmp_path / "item" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "item" / name).write_text(name)
        manifest = manifest_of(tmp_path / "item", version="1", capabilities=("network",))
        assert [file.path for file in manifest.files] == ["a.py", "a/x", "b/SIGNATURE.json", "c.sig"]
        assert (manifest.name, manifest.kind, manifest.version) == ("item", "folder", "1")

    def test_a_file_is_a_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A file is an item by itself; where one stands makes no difference to its name."""
        (tmp_path / "x.py").write_text("x")
        monkeypatch.chdir(tmp_path)
        manifest = manifest_of(Path("x.py"))
        assert (manifest.name, manifest.kind, [file.path for file in manifest.files]) == ("x.py", "file", ["x.py"])
        assert manifest_of(Path()).name == tmp_path.name

    @pytest.mark.parametrize(
        ("make", "said"),
        [
            (lambda item: item.symlink_to("/etc"), "'.*item': it is a symbolic link"),
            (lambda item: item.symlink_to("/etc/passwd"), "'.*item': it is a symbolic link"),
            (os.mkfifo, "'.*item': it is no regular file"),
            (lambda item: item.mkdir(), "no file in it"),
            (lambda item: None, "No such file"),
            (lambda item: (item.mkdir(), (item / "l").symlink_to("x")), "'.*item/l': it is a symbolic link"),
            (lambda item: (item.mkdir(), (item / "SIGNATURE.json").touch()), "no file in it"),
            (lambda item: (item.mkdir(), os.close(os.open(bytes(item) + b"/\xff", os.O_CREAT))), "not UTF-8"),
        ],
    )
    def test_anything_can_be_signed(self, tmp_path: Path, make: object, said: str) -> None:
        """What cannot be relied on is refused, by its name and with the reason."""
        make(tmp_path / "item")  # type: ignore[operator]
        with pytest.raises(UnsignableError, match=said):
            manifest_of(tmp_path / "item")
