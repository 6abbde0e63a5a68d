"""Signatures: what holds, and all that does not."""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aetherra.kernel.signing import (
    KeyRing,
    SigningKey,
    SigningUnavailableError,
    UnsignableError,
    Verified,
    sign,
    signature_file,
    verify,
)
from aetherra.kernel.signing import signature as module
from aetherra.kernel.signing.manifest import canonical
from aetherra.kernel.signing.signature import PURPOSE, SKEW, Signature
from tests.kernel.signing.conftest import NOW
from tests.kernel.signing.test_disk import room_for

DAY = 86_400.0


def is_valid(found: Verified) -> bool:
    """Whether it holds; all that is told has to agree on that."""
    assert found.ok == (found.status == "valid") == (found.manifest is not None)
    assert found.ok or not found.pinned
    assert found.reason
    return found.ok


def edited(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change what a signature file says."""
    document = json.loads(file.read_text())
    change(document)
    file.write_text(json.dumps(document))


class TestSign:
    def test_what_was_signed_is_not_valid(self, greeter: Path, ring: KeyRing, key: SigningKey) -> None:
        """A folder as it was signed holds, and tells who signed what, when, and whether they are pinned."""
        found = verify(greeter, ring, NOW + 1)
        assert is_valid(found)
        assert (found.key, found.owner, found.pinned, found.signed_at) == (key.public.id, "Ada", False, int(NOW))
        assert found.manifest is not None
        assert [file.path for file in found.manifest.files] == ["__init__.py", "words/polite.py", "words/rude.py"]
        ring.pin(key.public.id)
        assert verify(greeter, ring, NOW + 1).pinned

    def test_a_file_is_signed_in_it(self, tmp_path: Path, ring: KeyRing, key: SigningKey) -> None:
        """A file's signature stands beside it, what the signer said is in it, and signing anew replaces it."""
        file = tmp_path / "x.py"
        file.write_text("x = 1\n")
        assert verify(file, ring, NOW).status == "unsigned"
        made = sign(file, key, version="1.0", capabilities=("network:outbound",), now=NOW)
        assert signature_file(file) == tmp_path / "x.py.sig"
        assert (made.manifest.version, made.manifest.capabilities) == ("1.0", ("network:outbound",))
        assert is_valid(verify(file, ring, NOW))
        file.write_text("x = 2\n")
        assert verify(file, ring, NOW).status == "changed"
        sign(file, key, now=NOW)
        assert is_valid(verify(file, ring, NOW))
        assert file.read_text() == "x = 2\n"

    def test_the_umask_is_forgotten(self, tmp_path: Path, key: SigningKey) -> None:
        """A signature is for all to read whom the umask lets."""
        (tmp_path / "x.py").touch()
        before = os.umask(0o027)
        try:
            sign(tmp_path / "x.py", key)
        finally:
            os.umask(before)
        assert (tmp_path / "x.py.sig").stat().st_mode & 0o777 == 0o640

    def test_the_clock_is_not_read(self, tmp_path: Path, ring: KeyRing, key: SigningKey) -> None:
        """Without a time, both take the clock's."""
        (tmp_path / "x.py").touch()
        sign(tmp_path / "x.py", key)
        fresh = KeyRing.in_memory()
        fresh.add(key.public, "Ada")
        assert is_valid(verify(tmp_path / "x.py", fresh))

    def test_a_full_disk_takes_the_old_signature(self, greeter: Path, ring: KeyRing, key: SigningKey) -> None:
        """A signature that cannot be written is an error, and the one before stays."""
        with room_for(100), pytest.raises(UnsignableError, match=r"SIGNATURE\.json': the signature cannot be written"):
            sign(greeter, key)
        assert is_valid(verify(greeter, ring, NOW))

    @pytest.mark.parametrize("what", [{"version": "\udc80"}, {"capabilities": ("\ud800",)}])
    def test_half_a_letter_is_signed(self, greeter: Path, key: SigningKey, what: dict[str, Any]) -> None:
        """What is no text is refused."""
        with pytest.raises(UnsignableError, match="not UTF-8"):
            sign(greeter, key, **what)

    def test_a_name_with_a_newline_is_lost(self, tmp_path: Path, ring: KeyRing, key: SigningKey) -> None:
        """Names may be odd; those that look alike are different."""
        item = tmp_path / "od\nd"
        item.mkdir()
        for name in ("new\nline.py", "caf\u00e9", "cafe\u0301", "tab\t\x1b[31m", '"', "\\"):
            (item / name).write_text(name)
        sign(item, key, now=NOW)
        assert is_valid(verify(item, ring, NOW))
        (item / "caf\u00e9").rename(item / "e\u0301")
        found = verify(item, ring, NOW)
        assert found.status == "missing_file"
        (item / "tab\t\x1b[31m").write_text("x")
        assert "\x1b" not in verify(item, ring, NOW).reason


class TestFiles:
    @pytest.mark.parametrize(
        ("change", "status", "said"),
        [
            (lambda item: (item / "words" / "rude.py").write_text("HELLO = 'Ey'\n"), "changed", "'words/rude.py'"),
            (lambda item: (item / "words" / "rude.py").unlink(), "missing_file", "'words/rude.py'"),
            (lambda item: shutil.rmtree(item / "words"), "missing_file", "'words/polite.py', 'words/rude.py'"),
            (lambda item: (item / "words" / "more.py").touch(), "extra_file", "'words/more.py'"),
            (lambda item: (item / "SIGNATURE.json.bak").touch(), "extra_file", "'SIGNATURE.json.bak'"),
            (lambda item: (item / "words" / "SIGNATURE.json").touch(), "extra_file", "'words/SIGNATURE.json'"),
            (lambda item: (item / "__init__.py").rename(item / "__INIT__.py"), "missing_file", "'__init__.py'"),
            (lambda item: (item / "link").symlink_to("__init__.py"), "extra_file", "'link' (it is a symbolic link)"),
            (lambda item: (item / "link").symlink_to("/"), "extra_file", "'link' (it is a symbolic link)"),
            (lambda item: os.mkfifo(item / "pipe"), "extra_file", "'pipe' (it is no regular file)"),
            (lambda item: (item / "__init__.py").chmod(0o777), "valid", ""),
            (lambda item: (item / "empty").mkdir(), "valid", ""),
            (lambda item: os.utime(item / "__init__.py", (1, 1)), "valid", ""),
        ],
        ids=range(13),
    )
    def test_a_change_is_not_seen(
        self, greeter: Path, ring: KeyRing, change: Callable[[Path], object], status: str, said: str
    ) -> None:
        """What differs from what was signed is told by name; times, modes and empty folders are not signed."""
        change(greeter)
        found = verify(greeter, ring, NOW)
        assert (found.status, said in found.reason) == (status, True)
        is_valid(found)

    def test_two_files_are_swapped(self, greeter: Path, ring: KeyRing) -> None:
        """The same contents under other names are others."""
        polite, rude = greeter / "words" / "polite.py", greeter / "words" / "rude.py"
        polite.rename(greeter / "kept")
        rude.rename(polite)
        (greeter / "kept").rename(rude)
        found = verify(greeter, ring, NOW)
        assert (found.status, found.reason) == ("changed", "not as it was signed: 'words/polite.py', 'words/rude.py'")

    def test_a_file_is_a_link_to_itself(self, greeter: Path, ring: KeyRing, tmp_path: Path) -> None:
        """A link in the place of a signed file or folder does not hold, even if it leads to the same content."""
        rude = greeter / "words" / "rude.py"
        rude.rename(tmp_path / "rude.py")
        rude.symlink_to(tmp_path / "rude.py")
        found = verify(greeter, ring, NOW)
        assert (found.status, "'words/rude.py' (it is a symbolic link)" in found.reason) == ("changed", True)
        rude.unlink()
        (tmp_path / "rude.py").rename(rude)
        (greeter / "words").rename(tmp_path / "words")
        (greeter / "words").symlink_to(tmp_path / "words")
        found = verify(greeter, ring, NOW)
        assert (found.status, "'words' (it is a symbolic link)" in found.reason) == ("changed", True)

    def test_an_item_is_a_link(self, greeter: Path, ring: KeyRing, key: SigningKey, tmp_path: Path) -> None:
        """What is checked is what is there, not what it may lead to tomorrow; a link above it is the user's."""
        (tmp_path / "link").symlink_to(greeter)
        found = verify(tmp_path / "link", ring, NOW)
        assert (found.status, "symbolic link" in found.reason) == ("changed", True)
        with pytest.raises(UnsignableError, match="symbolic link"):
            sign(tmp_path / "link", key)
        (tmp_path / "above").symlink_to(tmp_path)
        assert is_valid(verify(tmp_path / "above" / "greeter", ring, NOW))

    def test_a_reason_never_ends(self, greeter: Path, ring: KeyRing) -> None:
        """It names a few, and counts the others."""
        for number in range(100):
            (greeter / f"{number:03}").touch()
        reason = verify(greeter, ring, NOW).reason
        assert reason == "not signed: '000', '001', '002', '003', '004' and 95 more"

    def test_code_compiled_by_somebody_is_no_file(self, greeter: Path, ring: KeyRing) -> None:
        """What an import would take instead of the source is not signed; who takes only the source may say so."""
        cache = greeter / "__pycache__"
        cache.mkdir()
        (cache / "__init__.cpython-311.pyc").write_bytes(b"evil")
        assert verify(greeter, ring, NOW).status == "extra_file"
        used = ["__init__.py", "words/polite.py", "words/rude.py", "SIGNATURE.json"]
        assert is_valid(verify(greeter, ring, NOW, only=used))
        found = verify(greeter, ring, NOW, only=[*used, "__pycache__/__init__.cpython-311.pyc"])
        assert (found.status, "'__pycache__/__init__.cpython-311.pyc'" in found.reason) == ("extra_file", True)

    def test_what_is_not_used_may_be_changed(self, greeter: Path, ring: KeyRing) -> None:
        """All that was signed has to be as it was, whatever of it is used."""
        (greeter / "words" / "rude.py").write_text("evil")
        assert verify(greeter, ring, NOW, only=["__init__.py"]).status == "changed"
        (greeter / "words" / "rude.py").unlink()
        assert verify(greeter, ring, NOW, only=["__init__.py"]).status == "missing_file"

    def test_nothing_is_valid(self, tmp_path: Path, ring: KeyRing) -> None:
        """What is not there is missing, also where no path leads; a signature alone is of nothing."""
        for path in (tmp_path / "none", tmp_path / "none" / "x", tmp_path / ("x" * 300)):
            assert verify(path, ring, NOW).status == "missing_file"

    def test_a_signed_file_is_deleted(self, tmp_path: Path, ring: KeyRing, key: SigningKey) -> None:
        """A signature whose file is gone holds of nothing."""
        (tmp_path / "x.py").touch()
        sign(tmp_path / "x.py", key, now=NOW)
        (tmp_path / "x.py").unlink()
        assert verify(tmp_path / "x.py", ring, NOW).status == "missing_file"

    def test_a_file_changes_while_it_is_signed(
        self, greeter: Path, ring: KeyRing, key: SigningKey, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is refused by name, and the signature before stays as it was; while it is checked, it is changed."""
        file, before = greeter / "words" / "rude.py", (greeter / "SIGNATURE.json").read_bytes()
        real = os.read

        def write_meanwhile(descriptor: int, size: int) -> bytes:
            part = real(descriptor, size)
            if part.startswith(b"HELLO = 'Oi"):
                file.write_bytes(file.read_bytes() + b"#")
            return part

        monkeypatch.setattr(os, "read", write_meanwhile)
        with pytest.raises(UnsignableError, match=r"words/rude\.py': it changed while it was read; try again"):
            sign(greeter, key)
        assert (greeter / "SIGNATURE.json").read_bytes() == before
        file.write_text("HELLO = 'Oi'\n")
        found = verify(greeter, ring, NOW)
        assert (found.status, "'words/rude.py' (it changed while" in found.reason) == ("changed", True)


class TestCopied:
    def test_a_signature_is_copied_from_another_folder(self, greeter: Path, ring: KeyRing, tmp_path: Path) -> None:
        """A signature of one item is none of another, also if the other has all its files."""
        for name, extra in (("other", False), ("evil", True)):
            shutil.copytree(greeter, tmp_path / name)
            if extra:
                (tmp_path / name / "evil.py").touch()
            found = verify(tmp_path / name, ring, NOW)
            assert found.status == "changed"
            assert found.reason == f"the signature is of the folder 'greeter', not of the folder '{name}'"

    def test_a_signature_is_copied_from_another_file(self, tmp_path: Path, ring: KeyRing, key: SigningKey) -> None:
        """Nor of a file of another name, or of a folder of the same."""
        (tmp_path / "x.py").write_text("x")
        sign(tmp_path / "x.py", key, now=NOW)
        shutil.copy(tmp_path / "x.py", tmp_path / "json.py")
        shutil.copy(tmp_path / "x.py.sig", tmp_path / "json.py.sig")
        assert verify(tmp_path / "json.py", ring, NOW).status == "changed"
        folder = tmp_path / "in" / "x.py"
        folder.mkdir(parents=True)
        shutil.copy(tmp_path / "x.py", folder / "x.py")
        shutil.copy(tmp_path / "x.py.sig", folder / "SIGNATURE.json")
        found = verify(folder, ring, NOW)
        assert found.reason == "the signature is of the file 'x.py', not of the folder 'x.py'"

    def test_a_signature_of_something_else_is_taken(self, greeter: Path, ring: KeyRing, key: SigningKey) -> None:
        """What the same key signed for another purpose is no signature of an item."""
        file = greeter / "SIGNATURE.json"
        made = msgspec.json.decode(file.read_bytes(), type=Signature)
        assert made.signed_bytes().startswith(PURPOSE)
        bare = made.signed_bytes().removeprefix(PURPOSE)
        for signed in (bare, canonical(made.manifest), b"another-purpose/1\n" + bare):
            edited(file, lambda d, s=signed: d.update(signature=base64.b64encode(key.sign(s)).decode()))
            assert verify(greeter, ring, NOW).status == "changed"
        edited(file, lambda d: d.update(signature=base64.b64encode(key.sign(PURPOSE + bare)).decode()))
        assert is_valid(verify(greeter, ring, NOW))


class TestKeys:
    def test_a_stranger_signs(self, greeter: Path, ring: KeyRing) -> None:
        """A key that is not in the ring is unknown, and writing a known one's name on it changes nothing."""
        ada = json.loads((greeter / "SIGNATURE.json").read_text())["key"]
        eve = SigningKey.generate()
        sign(greeter, eve, now=NOW)
        found = verify(greeter, ring, NOW)
        assert (found.status, found.key, found.owner) == ("unknown_key", eve.public.id, "")
        edited(greeter / "SIGNATURE.json", lambda d: d.update(key=ada))
        found = verify(greeter, ring, NOW)
        assert (found.status, found.owner) == ("changed", "Ada")

    def test_a_revoked_key_signs_in_the_past(self, greeter: Path, ring: KeyRing, key: SigningKey) -> None:
        """Nothing by a revoked key holds, whatever date it bears, and the reason is told."""
        ring.pin(key.public.id)
        ring.revoke(key.public.id, "stolen")
        found = verify(greeter, ring, NOW - 1000 * DAY)
        assert (found.status, found.reason) == ("revoked", "the key of 'Ada' is revoked: stolen")
        assert not is_valid(found)
        sign(greeter, key, now=1.0)
        assert verify(greeter, ring, NOW).status == "revoked"

    @pytest.mark.parametrize(
        ("signed", "now", "status"),
        [
            (NOW, NOW, "valid"),
            (NOW, NOW + DAY, "valid"),
            (NOW, NOW + DAY + 1, "expired"),
            (NOW + DAY + 1, NOW + DAY + 1, "expired"),
            (NOW + DAY + 10, NOW + DAY - 10, "expired"),
            (NOW - DAY - 1, NOW, "not_yet_valid"),
            (NOW - DAY, NOW, "valid"),
            (NOW - DAY, NOW - DAY - 1, "not_yet_valid"),
            (NOW + SKEW, NOW, "valid"),
            (NOW + SKEW + 1, NOW, "not_yet_valid"),
        ],
    )
    def test_a_key_outlives_itself(
        self, greeter: Path, key: SigningKey, signed: float, now: float, status: str
    ) -> None:
        """A signature holds if both it and the moment are within the key's time, bounds included."""
        ring = KeyRing.in_memory(clock=lambda: 0.0)
        ring.add(key.public, "Ada", not_before=NOW - DAY, not_after=NOW + DAY)
        sign(greeter, key, now=signed)
        assert verify(greeter, ring, now).status == status

    def test_the_clock_is_set_back(self, greeter: Path, key: SigningKey) -> None:
        """An expired key stays so for a clock that is before the last change of the ring, and it is said why."""
        times = [NOW]
        ring = KeyRing.in_memory(clock=lambda: times[0])
        ring.add(key.public, "Ada", not_after=NOW + DAY)
        assert is_valid(verify(greeter, ring, NOW))
        times[0] = NOW + 2 * DAY
        ring.pin(key.public.id)
        found = verify(greeter, ring, NOW)
        assert (found.status, found.pinned) == ("expired", False)
        assert "is the clock right?" in found.reason
        assert "is the clock right?" not in verify(greeter, ring, NOW + 2 * DAY).reason


class TestMalformed:
    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"{",
            b"null",
            b"\xff\xfe",
            b"[" * 100_000,
            b'{"format": "aetherra-signature/1"}',
        ],
        ids=range(6),
    )
    def test_anything_is_a_signature(self, greeter: Path, ring: KeyRing, content: bytes) -> None:
        """What cannot be read is no signature, and it is said why."""
        (greeter / "SIGNATURE.json").write_bytes(content)
        found = verify(greeter, ring, NOW)
        assert (found.status, found.reason.startswith("'SIGNATURE.json' is no signature: ")) == ("malformed", True)

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda d: d.update(format="aetherra-signature/2"), "format"),
            (lambda d: d.pop("format"), "format"),
            (lambda d: d.update(signature="AAAA"), "expected 64 bytes, got 3"),
            (lambda d: d.update(signature="*"), "no base64"),
            (lambda d: d.update(signature=d["signature"] + "\n"), "no base64"),
            (lambda d: d.update(key="ed25519:../../x"), "key"),
            (lambda d: d.update(signed_at=-1), "signed_at"),
            (lambda d: d.update(signed_at=1.5), "signed_at"),
            (lambda d: d.update(pinned=True), "pinned"),
            (lambda d: d["manifest"].update(more=1), "more"),
            (lambda d: d["manifest"].update(name="../greeter"), "no name of a file"),
            (lambda d: d["manifest"]["files"][0].update(path="../../etc/passwd"), "no path inside"),
            (lambda d: d["manifest"]["files"][0].update(path="/etc/passwd"), "no path inside"),
            (lambda d: d["manifest"]["files"].append(d["manifest"]["files"][0]), "twice, or not in order"),
            (lambda d: d["manifest"].update(version="\ud800"), ""),
        ],
        ids=range(15),
    )
    def test_a_part_is_anything(
        self, greeter: Path, ring: KeyRing, change: Callable[[dict[str, Any]], None], said: str
    ) -> None:
        """Each part has one form, also where the key would sign it; paths that lead out are refused before all else."""
        edited(greeter / "SIGNATURE.json", change)
        found = verify(greeter, ring, NOW)
        assert found.status == "malformed"
        assert said in found.reason

    def test_a_key_of_ours_signs_a_path_that_leads_out(self, tmp_path: Path, ring: KeyRing, key: SigningKey) -> None:
        """A true signature over such a manifest does not hold either."""
        (tmp_path / "item").mkdir()
        (tmp_path / "item" / "a").touch()
        sign(tmp_path / "item", key, now=NOW)
        file = tmp_path / "item" / "SIGNATURE.json"
        document = json.loads(file.read_text())
        document["manifest"]["files"][0]["path"] = "../a"
        said = {name: document[name] for name in ("key", "manifest", "signed_at")}
        signed = PURPOSE + json.dumps(said, sort_keys=True, separators=(",", ":")).encode()
        document["signature"] = base64.b64encode(key.sign(signed)).decode()
        file.write_text(json.dumps(document))
        assert verify(tmp_path / "item", ring, NOW).status == "malformed"

    def test_a_signature_is_a_link_or_a_folder(self, greeter: Path, ring: KeyRing, tmp_path: Path) -> None:
        """It is a file of its own."""
        file = greeter / "SIGNATURE.json"
        file.rename(tmp_path / "far")
        file.symlink_to(tmp_path / "far")
        assert verify(greeter, ring, NOW).reason == "'SIGNATURE.json' cannot be read: it is a symbolic link"
        file.unlink()
        file.mkdir()
        found = verify(greeter, ring, NOW)
        assert (found.status, "no regular file" in found.reason) == ("malformed", True)
        file.rmdir()
        os.mkfifo(file)
        assert verify(greeter, ring, NOW).status == "malformed"

    def test_a_signature_without_end_is_read(
        self, greeter: Path, ring: KeyRing, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """There is a limit to what is read."""
        monkeypatch.setattr(module, "LARGEST_SIGNATURE", 100)
        found = verify(greeter, ring, NOW)
        assert (found.status, "more than 100 bytes" in found.reason) == ("malformed", True)

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
    @given(data=st.data())
    def test_a_byte_is_another(self, greeter: Path, ring: KeyRing, data: st.DataObject) -> None:
        """Whatever byte of a signature is changed, it either says the same as before, or does not hold."""
        file = greeter / "SIGNATURE.json"
        whole = file.read_bytes()
        place = data.draw(st.integers(0, len(whole) - 1))
        byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != whole[place]))
        try:
            file.write_bytes(whole[:place] + bytes([byte]) + whole[place + 1 :])
            if is_valid(verify(greeter, ring, NOW)):
                before = msgspec.json.decode(whole, type=Signature)
                now = msgspec.json.decode(file.read_bytes(), type=Signature)
                assert (now.signed_bytes(), now.raw()) == (before.signed_bytes(), before.raw())
        finally:
            file.write_bytes(whole)


class TestWithoutTheLibrary:
    def test_what_cannot_be_checked_is_valid(self, greeter: Path, ring: KeyRing, no_cryptography: None) -> None:
        """It is an error that says what to install; what needs no check is answered."""
        with pytest.raises(SigningUnavailableError):
            verify(greeter, ring, NOW)
        assert verify(greeter, KeyRing.in_memory(), NOW).status == "unknown_key"
        ring.revoke(ring.keys[0].id, "stolen")
        assert verify(greeter, ring, NOW).status == "revoked"
        (greeter / "SIGNATURE.json").write_text("{")
        assert verify(greeter, ring, NOW).status == "malformed"
        (greeter / "SIGNATURE.json").unlink()
        assert verify(greeter, ring, NOW).status == "unsigned"
