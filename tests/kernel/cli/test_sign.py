"""``aetherra sign`` and ``verify``, on files and in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from aetherra.kernel.cli.app import run_cli
from aetherra.kernel.signing import KeyRing, SigningKey

Capture = pytest.CaptureFixture[str]
HIDING = "import sys; sys.modules['cryptography'] = None; from aetherra.kernel.cli import main; main()"
"""The command line of a machine where the library is not installed."""


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SigningKey:
    """Stand in a project with a folder to sign, a key of Ada's, and a ring that knows her."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "greeter").mkdir()
    (tmp_path / "greeter" / "__init__.py").write_text("HELLO = 1\n")
    (tmp_path / "solo.py").write_text("SOLO = 1\n")
    key = SigningKey.generate()
    key.save(tmp_path / "ada.key")
    KeyRing.load(tmp_path / ".aetherra" / "governance" / "keyring.json").add(key.public, "Ada")
    return key


class TestSign:
    def test_what_was_signed_is_not_told(self, world: SigningKey, capsys: Capture) -> None:
        """A person reads where the signature is, and of how much; then that it is valid, by whom, and if pinned."""
        assert run_cli(["sign", "greeter", "--key", "ada.key"]) == 0
        assert (
            capsys.readouterr().out
            == f"{Path('greeter/SIGNATURE.json').absolute()}: 1 file signed with {world.public.id}\n"
        )
        assert run_cli(["verify", "greeter"]) == 0
        said = capsys.readouterr().out
        assert said.startswith(f"greeter: valid: 1 file signed by 'Ada' ({world.public.id}, not pinned) on 2")
        KeyRing.load(Path(".aetherra/governance/keyring.json")).pin(world.public.id)
        assert run_cli(["verify", "greeter/"]) == 0
        assert ", pinned) on" in capsys.readouterr().out

    def test_a_key_that_was_revoked_signs_unsaid(self, world: SigningKey, capsys: Capture) -> None:
        """Who signs is told that it counts for nothing here; it is signed all the same, for others may not know."""
        KeyRing.load(Path(".aetherra/governance/keyring.json")).revoke(world.public.id, "stolen")
        assert run_cli(["sign", "solo.py", "--key", "ada.key"]) == 0
        assert "is revoked here" in capsys.readouterr().err
        Path(".aetherra/governance/keyring.json").write_text("no ring")
        assert run_cli(["sign", "solo.py", "--key", "ada.key"]) == 0
        assert capsys.readouterr().err == ""

    def test_a_program_reads_half_of_it(self, world: SigningKey, capsys: Capture) -> None:
        """--json has all of the signature, and all of what came of checking it."""
        words = ["--version", "1.2", "--capability", "process:spawn", "--capability", "env:read"]
        assert run_cli(["sign", "solo.py", "--key", "ada.key", *words, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["path"] == str(Path("solo.py.sig").absolute())
        assert told["signature"] == json.loads(Path("solo.py.sig").read_text())
        assert run_cli(["verify", "solo.py", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["status"], found["owner"], found["pinned"]) == ("valid", "Ada", False)
        assert found["manifest"]["capabilities"] == ["env:read", "process:spawn"]
        assert found["manifest"]["version"] == "1.2"

    @pytest.mark.parametrize(
        ("words", "status", "said"),
        [
            (["sign", "solo.py"], 2, "Missing option '--key'"),
            (["sign", "none.py", "--key", "ada.key"], 1, "none.py': No such file"),
            (["sign", "link", "--key", "ada.key"], 1, "link': it is a symbolic link"),
            (["sign", "solo.py", "--key", "none.key"], 1, "none.key': cannot read a private key: No such file"),
            (["sign", "solo.py", "--key", "open.key"], 1, "others may read or write this key"),
            (["sign", "solo.py", "--key", "solo.py"], 1, "solo.py'"),
            (["verify", "solo.py", "--keyring", "open.json"], 1, "others may write it"),
            (["verify", "solo.py", "--keyring", "solo.py"], 1, "is no key ring"),
        ],
        ids=range(8),
    )
    def test_a_mistake_is_a_traceback(
        self, world: SigningKey, capsys: Capture, words: list[str], status: int, said: str
    ) -> None:
        """What is wrong is said in a line that names the file, and nothing is written."""
        Path("link").symlink_to("solo.py")
        world.save(Path("open.key"))
        Path("open.key").chmod(0o644)
        Path("open.json").touch()
        Path("open.json").chmod(0o666)
        assert run_cli(words) == status
        out, err = capsys.readouterr()
        assert (out, said in err) == ("", True)
        assert not Path("solo.py.sig").exists()


class TestVerify:
    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ("", "unsigned: there is no 'SIGNATURE.json'"),
            ("sign; more", "extra file: not signed: 'more.py'"),
            ("sign; edit", "changed: not as it was signed: '__init__.py'"),
            ("sign; revoke", "revoked: the key of 'Ada' is revoked: lost"),
            ("sign; forget", "unknown key: signed by ed25519:"),
        ],
    )
    def test_a_script_takes_it_for_valid(self, world: SigningKey, capsys: Capture, change: str, said: str) -> None:
        """What does not hold ends with 1, with the reason, for people and for programs."""
        if "sign" in change:
            run_cli(["sign", "greeter", "--key", "ada.key"])
        if "more" in change:
            Path("greeter/more.py").touch()
        if "edit" in change:
            Path("greeter/__init__.py").write_text("HELLO = 2\n")
        if "revoke" in change:
            KeyRing.load(Path(".aetherra/governance/keyring.json")).revoke(world.public.id, "lost")
        if "forget" in change:
            Path(".aetherra/governance/keyring.json").unlink()
        capsys.readouterr()
        assert run_cli(["verify", "greeter"]) == 1
        assert capsys.readouterr().out.startswith(f"greeter: {said}")
        assert run_cli(["verify", "greeter", "--json"]) == 1
        assert json.loads(capsys.readouterr().out)["manifest"] is None


class TestWithoutTheLibrary:
    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command where it is not installed."""
        return subprocess.run(
            [sys.executable, "-c", HIDING, *words], capture_output=True, text=True, timeout=60, check=False
        )

    def test_the_extra_is_not_named(self, world: SigningKey, capsys: Capture) -> None:
        """What needs it says what to install; the ring can be looked after without it."""
        run_cli(["sign", "greeter", "--key", "ada.key"])
        world.public.save(Path("ada.pub"))
        for words in (
            ["sign", "greeter", "--key", "ada.key"],
            ["verify", "greeter"],
            ["keys", "new", "bob.key"],
        ):
            done = self.run(*words)
            assert (done.returncode, done.stdout) == (1, "")
            assert done.stderr == "aetherra: signatures need the package 'cryptography': pip install 'aetherra[sign]'\n"
        assert sorted(file.name for file in Path().iterdir()) == [
            ".aetherra",
            "ada.key",
            "ada.pub",
            "greeter",
            "solo.py",
        ]
        assert self.run("verify", "solo.py").stdout == "solo.py: unsigned: there is no 'solo.py.sig'\n"
        assert self.run("keys", "add", "ada.pub", "--owner", "Ada", "--keyring", "ring.json").returncode == 0
        assert world.public.id in self.run("keys", "list", "--keyring", "ring.json").stdout
