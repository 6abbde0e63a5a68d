"""Keys: those of the standards, weak ones, and files that are not their owner's alone."""

from __future__ import annotations

import base64
import hashlib
import os
import pickle
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)

from aetherra.kernel.signing.errors import (
    KeyFileError,
    PassphraseNeededError,
    SigningUnavailableError,
    WeakKeyError,
)
from aetherra.kernel.signing.keys import DER, PRIME, SMALL_ORDER, PublicKey, SigningKey, signing_available

SECRET = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
SIGNED = bytes.fromhex(
    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
)
"""RFC 8032, section 7.1, test 1: the signature of nothing."""
KEPT = base64.b64encode(DER + PUBLIC).decode()
D = -121665 * pow(121666, -1, PRIME) % PRIME
ORDER = 2**252 + 27742317777372353535851937790883648493


def plus(p: tuple[int, int], q: tuple[int, int]) -> tuple[int, int]:
    """Add two points of the curve (RFC 8032, section 5.1.4)."""
    t = D * p[0] * q[0] * p[1] * q[1] % PRIME
    x = (p[0] * q[1] + p[1] * q[0]) * pow(1 + t, -1, PRIME)
    y = (p[1] * q[1] + p[0] * q[0]) * pow(1 - t, -1, PRIME)
    return x % PRIME, y % PRIME


def times(n: int, p: tuple[int, int]) -> tuple[int, int]:
    total = (0, 1)
    while n:
        if n & 1:
            total = plus(total, p)
        p, n = plus(p, p), n >> 1
    return total


def point(y: int) -> tuple[int, int] | None:
    xx = (y * y - 1) * pow(D * y * y + 1, -1, PRIME) % PRIME
    x = pow(xx, (PRIME + 3) // 8, PRIME)
    x = x if x * x % PRIME == xx else x * pow(2, (PRIME - 1) // 4, PRIME) % PRIME
    return (x, y) if x * x % PRIME == xx else None


class TestPublicKey:
    def test_a_signature_is_not_what_the_standard_says(self) -> None:
        """The key, the signature and the check are those of RFC 8032."""
        key = SigningKey(Ed25519PrivateKey.from_private_bytes(SECRET))
        assert key.public.raw == PUBLIC
        assert key.sign(b"") == SIGNED
        assert key.public.verify(SIGNED, b"")
        assert not key.public.verify(SIGNED, b"x")
        assert not key.public.verify(SIGNED[:-1], b"")
        assert not SigningKey.generate().public.verify(SIGNED, b"")

    def test_a_key_of_the_standard_is_not_read(self) -> None:
        """The public key of RFC 8410, section 10.1, is read, and written as it stands there."""
        body = "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE="
        pem = f"-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n"
        key = PublicKey.parse(pem)
        assert key.raw.hex() == "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1"
        assert key.pem() == pem
        assert key.pem().encode() == load_pem_public_key(pem.encode()).public_bytes(
            Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
        )
        assert PublicKey.parse(key.text) == key
        assert key.id == "ed25519:" + hashlib.sha256(key.raw).hexdigest()[:16]

    def test_anybody_can_sign_in_its_name(self) -> None:
        """No point whose order divides 8 is a key, however it is written."""
        found: set[tuple[int, int]] = set()
        y = 2
        while len(found) < 8:
            y += 1
            if (on_curve := point(y)) is not None:
                torsion = times(ORDER, on_curve)
                found |= {times(n, torsion) for n in range(8)}
        assert {y for _, y in found} == SMALL_ORDER
        for y in SMALL_ORDER:
            for written in {y, y + PRIME} if y + PRIME < 2**255 else {y}:
                for sign in (0, 1):
                    with pytest.raises(WeakKeyError, match="small order"):
                        PublicKey((written | sign << 255).to_bytes(32, "little"))

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "expected 'ed25519:'"),
            ("rsa:AAAA", "expected 'ed25519:'"),
            ("ed25519:AAAA", "32 bytes, got 3"),
            ("ed25519:***", "no base64"),
            ("ed25519:" + base64.b64encode(PUBLIC).decode() + "\nmore", "expected 'ed25519:'"),
            ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "not of the kind Ed25519"),
            ("-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----", "no base64"),
            ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "this is a private key"),
            ("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----", "a private key"),
            (
                PublicKey(PUBLIC).pem().replace(KEPT, base64.b64encode(DER + PUBLIC + b"x").decode()),
                "32 bytes, got 33",
            ),
        ],
    )
    def test_anything_is_a_key(self, text: str, said: str) -> None:
        """What is no public key is refused, and it is said why."""
        with pytest.raises(WeakKeyError, match=said):
            PublicKey.parse(text)

    def test_a_file_of_something_else_is_a_key(self, tmp_path: Path) -> None:
        """The error names the file, and what is wrong with it; a link to a key will do."""
        file = tmp_path / "a.pub"
        with pytest.raises(KeyFileError, match=r"a\.pub': cannot read a public key: No such file"):
            PublicKey.load(file)
        for content in (b"\xff\xfe", b"hello", b"x" * (1 << 17)):
            file.write_bytes(content)
            with pytest.raises(KeyFileError, match=r"a\.pub'"):
                PublicKey.load(file)
        file.unlink()
        PublicKey(PUBLIC).save(file)
        (tmp_path / "link").symlink_to(file)
        assert PublicKey.load(tmp_path / "link").raw == PUBLIC


class TestSigningKey:
    def test_a_key_comes_back_as_another(self, tmp_path: Path) -> None:
        """What was saved is loaded, as PKCS #8 that other tools read, and readable for its owner alone."""
        os.umask(os.umask(0))
        key, file = SigningKey.generate(), tmp_path / "ada.key"
        key.save(file)
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.read_text().startswith("-----BEGIN PRIVATE KEY-----\n")
        assert SigningKey.load(file).sign(b"x") == key.sign(b"x")

    def test_a_key_is_written_over(self, tmp_path: Path) -> None:
        """A file that is there stays as it is, be it a key or a link."""
        file = tmp_path / "ada.key"
        file.write_text("mine")
        (tmp_path / "link").symlink_to("nowhere")
        for there in (file, tmp_path / "link"):
            with pytest.raises(KeyFileError, match="there is a file already"):
                SigningKey.generate().save(there)
        assert file.read_text() == "mine"
        assert not (tmp_path / "nowhere").exists()

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o644, 0o660])
    def test_others_may_use_the_key(self, tmp_path: Path, mode: int) -> None:
        """A key file that others may read or write is not used; the error tells the remedy."""
        file = tmp_path / "ada.key"
        SigningKey.generate().save(file)
        file.chmod(mode)
        with pytest.raises(KeyFileError, match=rf"mode {mode:04o}\); 'chmod 600' it"):
            SigningKey.load(file)
        file.chmod(0o400)
        assert SigningKey.load(file).public

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
    def test_a_key_is_somebody_elses(self, tmp_path: Path) -> None:
        """A file that another user may change at will is no key of ours."""
        file = tmp_path / "ada.key"
        SigningKey.generate().save(file)
        os.chown(file, 12345, -1)
        with pytest.raises(KeyFileError, match="somebody else's file"):
            SigningKey.load(file)

    def test_a_passphrase_is_for_show(self, tmp_path: Path) -> None:
        """An encrypted key needs its own passphrase, and a bare one takes none."""
        key, file, bare = SigningKey.generate(), tmp_path / "ada.key", tmp_path / "bare.key"
        key.save(file, passphrase="correct horse")
        key.save(bare)
        assert file.read_text().startswith("-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
        with pytest.raises(PassphraseNeededError, match="needs its passphrase"):
            SigningKey.load(file)
        with pytest.raises(KeyFileError, match="the passphrase is wrong"):
            SigningKey.load(file, passphrase="wrong horse")
        with pytest.raises(KeyFileError, match="takes no passphrase"):
            SigningKey.load(bare, passphrase="correct horse")
        assert SigningKey.load(file, passphrase="correct horse").public == key.public
        for odd in ("", "x" * 1001):
            with pytest.raises(KeyFileError, match="1 to 1000 bytes"):
                key.save(tmp_path / "odd", passphrase=odd)

    def test_a_key_of_another_kind_is_taken(self, tmp_path: Path) -> None:
        """What is no Ed25519 key is refused, and it is said what makes one."""
        file = tmp_path / "other.key"
        other = X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        for content, said in (
            (other, "not of the kind Ed25519"),
            (b"hello", "no private key in PEM"),
            (b"", "no private"),
        ):
            file.write_bytes(content)
            file.chmod(0o600)
            with pytest.raises(KeyFileError, match=rf"other\.key'.*{said}.*'aetherra keys new' makes one"):
                SigningKey.load(file)
        with pytest.raises(KeyFileError, match="cannot read a private key: No such file"):
            SigningKey.load(tmp_path / "none")

    def test_a_key_is_printed(self) -> None:
        """It shows only its name, and cannot be pickled."""
        key = SigningKey.generate()
        assert repr(key) == f"<SigningKey {key.public.id}>"
        with pytest.raises(TypeError):
            pickle.dumps(key)


class TestWithoutTheLibrary:
    def test_an_import_fails_without_a_word(self, key: SigningKey, no_cryptography: None, tmp_path: Path) -> None:
        """What needs the library says what to install; reading, naming and writing public keys needs none."""
        assert not signing_available()
        public = PublicKey(PUBLIC)
        public.save(tmp_path / "a.pub")
        assert PublicKey.load(tmp_path / "a.pub") == public
        for use in (
            SigningKey.generate,
            lambda: SigningKey.load(tmp_path / "a.key"),
            lambda: key.save(tmp_path / "a.key"),
            lambda: public.verify(SIGNED, b""),
        ):
            with pytest.raises(SigningUnavailableError, match=r"pip install 'aetherra\[sign\]'"):
                use()

    def test_the_library_is_not_seen(self) -> None:
        """Where it is installed, it is found, and nobody has to import it for that."""
        assert signing_available()
