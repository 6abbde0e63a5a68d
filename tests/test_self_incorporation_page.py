"""The page on self-incorporation, run: its plugin comes to serve, and its commands do what they are said to do."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aetherra.plugins.self_incorporation import messages
from aetherra.plugins.self_incorporation.settings import SelfIncorporationSettings

PAGE = (Path(__file__).parents[1] / "docs" / "self-incorporation.md").read_text(encoding="utf-8")
AETHERRA = str(Path(sys.executable).with_name("aetherra"))
DEADLINE = 60.0


def example(name: str) -> str:
    """Return the block of the page that bears this name."""
    found = re.search(rf"<!-- example: {re.escape(name)} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None, f"self-incorporation.md has no example {name}"
    return found.group(1)


class Reader:
    """Does what the page says, in a project of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def says(self, *words: str, status: int = 0) -> str:
        """Run a command, which has to end as is wanted."""
        command = [AETHERRA, *words]
        ended = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False, timeout=DEADLINE)
        assert ended.returncode == status, (words, ended.stdout, ended.stderr)
        return ended.stdout

    def tells(self, *words: str) -> Any:
        """Run a command, and return what a program reads."""
        return json.loads(self.says(*words, "--json"))

    def follows(self, name: str, **values: str) -> list[str]:
        """Run the commands of an example, with words of it replaced, and return what they say."""
        said: list[str] = []
        expected = ""
        for line in example(name).splitlines():
            if not line.startswith("$ aetherra "):
                expected += line
                continue
            assert expected == "", f"only the last command of {name} has an answer"
            words = [values.get(word, word) for word in shlex.split(line.removeprefix("$ aetherra "))]
            said.append(self.says(*words))
        assert expected in said[-1]
        return said

    def waits_for(self, what: Callable[[], Any]) -> Any:
        """Look until something is so."""
        end = time.monotonic() + DEADLINE
        while not (found := what()):
            assert time.monotonic() < end, "it did not come true"
            time.sleep(0.1)
        return found


@pytest.mark.timeout(240)
def test_a_reader_sees_something_else(tmp_path: Path) -> None:
    """The file comes to serve by itself; then each command does what is said of it."""
    config = json.loads(example("config.json"))
    config["plugins"]["self_incorporation"]["trial"] = {"traffic": 0, "first_time": 0.3}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (tmp_path / "incoming").mkdir()
    reader = Reader(tmp_path)
    with (tmp_path / "log").open("wb") as log:
        host = subprocess.Popen([AETHERRA, "run"], cwd=tmp_path, stdout=log, stderr=log)
    try:
        reader.waits_for((tmp_path / ".aetherra" / "control.sock").exists)
        (tmp_path / "incoming" / "greeter.py").write_text(example("greeter.py"), encoding="utf-8")
        reader.waits_for(lambda: "brought in by" in (tmp_path / "log").read_text(encoding="utf-8"))
        reader.follows("serve")

        scanned, listed, shown = reader.follows("look")
        assert "1 approved" in scanned
        assert "incoming/greeter.py" in listed
        assert "brought in as  greeter" in shown
        (came,) = reader.tells("incorporate", "list")["integrations"]
        _, back = reader.follows("back", TOKEN=came["token"])
        assert "taken out: greeter" in back

        digest = reader.tells("incorporate", "plan", "greeter")["plan"]["digest"]
        planned, _, done = reader.follows("plan", PLAN=digest)
        assert "plugin 'greeter' is brought up" in planned
        assert "brought in: greeter" in done

        item = reader.tells("incorporate", "show", "greeter")["item"]["digest"]
        rejected, accepted = reader.follows("decide", DIGEST=item)
        assert "blocked" in rejected
        assert "approved" in accepted

        set_aside, *_ = example("quarantine").splitlines()
        kept = reader.tells(*shlex.split(set_aside.removeprefix("$ aetherra ")))["id"]
        assert not (tmp_path / "incoming" / "greeter.py").exists()
        for line in example("quarantine").splitlines()[1:]:
            reader.says(*shlex.split(line.removeprefix("$ aetherra ").replace("ID", kept)))
        assert (tmp_path / "incoming" / "greeter.py").read_text(encoding="utf-8") == example("greeter.py")

        _, report, again = reader.follows("night")
        assert report == again
    finally:
        host.terminate()
        assert host.wait(DEADLINE) == 0


def test_a_setting_of_the_page_is_another() -> None:
    """The table has every setting, and its default where it tells one."""
    rows = re.findall(r"^\| `(\w+)` \| (?:`(.*?)`)? ?\| (?=.)", PAGE.partition("## Settings")[2], re.MULTILINE)
    defaults = json.loads(msgspec.json.encode(SelfIncorporationSettings()))
    told = dict(rows)
    assert told.keys() == defaults.keys() - {"enabled", "source", "grants"}
    for name, default in told.items():
        assert not default or json.loads(default) == defaults[name], name


def test_a_message_of_the_page_is_none() -> None:
    """Each tag that the page names is said by self-incorporation, and none of its requests is left out."""
    section = PAGE.partition("## Messages")[2]
    named = {f"selfinc.{name}" for name in re.findall(r"`(?:selfinc)?\.(\w+)`", section)}
    tags = {getattr(messages, name).__struct_config__.tag for name in messages.__all__}
    assert named <= tags
    assert {tag for tag in tags if isinstance(tag, str) and not tag.endswith("_reply")} - {"selfinc.classify"} <= named
