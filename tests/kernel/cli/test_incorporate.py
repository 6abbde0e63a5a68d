"""What ``aetherra incorporate`` knows beforehand of what the plugin says."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from click.testing import CliRunner

from aetherra.kernel.cli import incorporate as commands
from aetherra.kernel.cli.incorporate import KINDS, SETTLED, STAGES, VERDICTS, incorporate
from aetherra.plugins.self_incorporation.code.classifier import FileKind
from aetherra.plugins.self_incorporation.gate.decision import Verdict
from aetherra.plugins.self_incorporation.gate.policy import SETTLED_BY_PEOPLE
from aetherra.plugins.self_incorporation.integration.intents import Stage


class TestWords:
    def test_a_verdict_cannot_be_asked_for(self) -> None:
        """``--verdict`` takes each verdict, and no other."""
        assert set(VERDICTS) == set(get_args(Verdict))

    def test_a_kind_cannot_be_asked_for(self) -> None:
        """``--kind`` and ``correct`` take each kind, and no other."""
        assert set(KINDS) == {str(kind) for kind in FileKind}

    def test_a_stage_has_no_word(self) -> None:
        """However far an integration is, people are told."""
        assert set(STAGES) == set(get_args(Stage))

    def test_what_people_settle_is_not_what_the_policy_lets_them_settle(self) -> None:
        """The way in that ``show`` names is one."""
        assert set(SETTLED) == {*SETTLED_BY_PEOPLE, "rejected"}


def told(monkeypatch: pytest.MonkeyPatch, reply: dict[str, Any], *argv: str, status: int = 0) -> str:
    """Return what a command prints of a host's reply."""
    monkeypatch.setattr(commands, "ask_incorporation", lambda *_, **__: reply)
    ended = CliRunner().invoke(incorporate, [*argv, "--path", str(Path.cwd())], standalone_mode=False)
    assert (ended.exception, ended.return_value or 0) == (None, status), ended.output
    return ended.output


class TestScan:
    def test_what_was_not_looked_at_is_not_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A root that is gone, or an incoming folder that is misspelt, is told, and the status says so."""
        reply: dict[str, Any] = dict.fromkeys(
            ("files_found", "files_new", "files_changed", "files_removed", "files_refused"), 0
        )
        reply |= {"verdicts": {}, "quarantined": [], "held": {}, "brought_in": [], "kept_out": {}}
        reply |= {"problems": ["nothing comes in from 'imcoming': there is no such folder"]}
        said = told(monkeypatch, reply, "scan", status=1)
        assert said.splitlines()[-1] == "a problem: nothing comes in from 'imcoming': there is no such folder"
        assert "a problem" not in told(monkeypatch, reply | {"problems": []}, "scan")


class TestStatus:
    def test_what_failed_once_counts_as_what_is_wrong_now(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Why the latest scan failed is told as that; what is wrong now keeps nobody from bringing in by itself."""
        reply: dict[str, Any] = dict.fromkeys(
            ("files", "refusals", "findings", "scans", "integrations", "rollbacks", "waiting", "quarantined"), 0
        )
        reply |= {"items": {}, "problems": [], "scanning": "", "set_aside": "", "not_serving": {}, "registered": []}
        reply |= {"failed_scans": 1, "last_problem": "no such folder", "failed_integrations": 0, "night": "idle"}
        said = told(monkeypatch, reply, "status").splitlines()
        assert [line.split("  ")[0].strip() for line in said if "no such folder" in line] == ["the last to fail"]

        listed = {"integrations": [], "registered": {}, "waiting": {}, "problems": ["no such folder"]}
        assert told(monkeypatch, listed, "list").splitlines()[-1] == "a problem: no such folder"


class TestPlan:
    def test_steps_are_kept_back_where_there_is_a_problem(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """They are told, with why nobody can say what they would do."""
        step = {
            "number": 1,
            "action": "load_plugin",
            "name": "a",
            "version": "",
            "path": "a.py",
            "risk": 0.0,
            "after": [],
        }
        plan = {"steps": [{**step, "needs_approval": ""}], "left_out": [], "digest": "d"}

        said = told(monkeypatch, {"plan": plan, "would": None, "problem": "the disk is gone"}, "plan")

        assert "1. load plugin a from a.py" in said
        assert said.splitlines()[-1] == "it cannot be done: the disk is gone"  # and no command that ends so

    def test_what_matters_is_told_among_all_the_rest(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What there is nothing to be done with is counted; all else is told by its path, and so is what to do next."""
        left = [("docs", "x/LICENSE"), ("docs", "y/LICENSE"), ("not_shipped", "x/tests"), ("conflict", "x/tool.py")]
        codes = {"docs": "wrong_kind"}
        left_out = [{"item": item, "name": "n", "code": codes.get(why, why), "text": why} for why, item in left]
        step = {"number": 2, "action": "load_plugin", "name": "a", "version": "", "path": "x/a.py", "risk": 0.0}
        place = {"what": "written", "path": str(Path.cwd() / "kept" / "a.py"), "size": 3}
        effect = {"number": 2, "files": [place], "settings": {"room": "hall"}, "host": [], "undo": []}
        plan = {"steps": [{**step, "needs_approval": "", "after": [1]}], "left_out": left_out, "digest": "d"}
        reply = {"plan": plan, "would": {"effects": [effect]}, "problem": ""}

        assert told(monkeypatch, reply, "plan", "--settings", '{"a": {"room": "hall"}}').splitlines() == [
            "2. load plugin a from x/a.py, risk 0",
            "   after 1, which it needs",
            "   written: kept/a.py, 3 bytes",
            '   with the settings {"room":"hall"}',
            "left out: x/tests: not_shipped",
            "left out: x/tool.py: conflict",
            "left out: 2 other files: docs",
            "nothing was done; to do exactly this: aetherra incorporate integrate --digest d --settings ...",
        ]
        assert "left out: x/LICENSE: docs" in told(monkeypatch, reply, "plan", "x/LICENSE")


class TestSettings:
    @pytest.mark.parametrize(
        ("given", "typed"), [('{"lamp": {"room": "hall"}}', None), ("-", '{"lamp": {"room": "hall"}}')]
    )
    def test_settings_do_not_reach_the_host(
        self, monkeypatch: pytest.MonkeyPatch, given: str, typed: str | None
    ) -> None:
        """The plan, the dry run and the integration are asked for with them, from the line or from standard input."""
        asked: list[tuple[str, Any]] = []

        def ask(_path: Path, _config: Path | None, tag: str, body: dict[str, Any], **_: Any) -> dict[str, Any]:
            asked.append((tag, body["settings"]))
            plan = {"steps": [], "left_out": [], "digest": "d"}
            return {"plan": plan, "would": None, "problem": "", "token": "t", "names": ["lamp"], "notes": []}

        monkeypatch.setattr(commands, "ask_incorporation", ask)
        for words in (["plan"], ["integrate", "--dry-run"], ["integrate"]):
            argv = [*words, "lamp", "--settings", given, "--path", str(Path.cwd())]
            CliRunner().invoke(incorporate, argv, input=typed, catch_exceptions=False)
        expected = {"lamp": {"room": "hall"}}
        assert asked == [("selfinc.plan", expected), ("selfinc.plan", expected), ("selfinc.integrate", expected)]

    @pytest.mark.parametrize(
        "words", [["integrate"], ["integrate", "--dry-run"], ["accept", "--reason", "x"], ["reject", "--reason", "x"]]
    )
    def test_a_digest_that_is_none_counts_as_not_given(self, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
        """As that of a script whose variable is unset: no host is asked, and what is expected is told."""
        asked: list[str] = []
        monkeypatch.setattr(commands, "ask_incorporation", lambda _path, _config, tag, *_, **__: asked.append(tag))
        for digest in ("", "abc", "A" * 64, "0" * 64 + "\n", "0" * 63):
            ended = CliRunner().invoke(incorporate, [*words, "lamp", "--digest", digest])
            assert (ended.exit_code, "expected a digest, 64 digits" in ended.output) == (2, True)
        assert asked == []

    @pytest.mark.parametrize("given", ["{", "[]", '{"lamp": 3}', "room=hall"])
    def test_words_that_are_no_settings_reach_the_host(self, given: str) -> None:
        """They are refused, with what is expected."""
        ended = CliRunner().invoke(incorporate, ["plan", "--settings", given])
        assert (ended.exit_code, "expected settings by the names of plugins" in ended.output) == (2, True)


class TestShow:
    @pytest.mark.parametrize(
        ("codes", "is_a_way"), [(["risk"], True), (["risk", "rejected"], True), (["risk", "grant_missing"], False)]
    )
    def test_a_way_in_is_named_that_is_none(
        self, monkeypatch: pytest.MonkeyPatch, codes: list[str], is_a_way: bool
    ) -> None:
        """Acceptance is named only where nothing else stands in the way."""
        item = {"name": "a", "path": "a.py", "root": "/r", "kind": "plugin", "confidence": 1.0, "version": ""}
        item |= {"files": [], "digest": "d", "risk": 0.7, "factors": [], "capabilities": [], "requires_python": ">=3"}
        item |= {
            "project": {"path": "p.toml"},
            "unreadable": {"q.toml": "no TOML"},
            "left_open": {"p.toml": ["x", "y"]},
        }
        item |= {key: [] for key in ("declared", "handles", "requires", "dependencies", "hosts", "refused")}
        grounds = [{"code": code, "text": code, "lines": [], "against": True} for code in codes]
        decision = {"verdict": "blocked", "tier": "STANDARD", "mode": "standard", "rationale": grounds}

        said = told(monkeypatch, {"items": [{"item": item, "decision": decision, "registered": ""}]}, "show", "a")

        assert ("incorporate accept a.py" in said) is is_a_way
        assert all(text in said for text in ("needs Python  >=3", "q.toml: no TOML", "p.toml: x, y"))
