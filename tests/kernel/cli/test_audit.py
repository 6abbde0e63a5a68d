"""``aetherra audit``: a person checks, reads, keeps a copy of and adopts a ledger, and no host runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from aetherra.kernel.cli.app import run_cli
from aetherra.kernel.ledger import AuditLedger, LedgerSettings, ledger_folder

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose ledger has four entries."""
    project = tmp_path / "project"
    project.mkdir()
    with AuditLedger.open(project / ".aetherra") as ledger:
        ledger.append(
            kind="knob", actor="plugin:tuner", component="plant.pool", summary="turned \x1b[31mred", code="allowed"
        )
        ledger.append(kind="knob", actor="plugin:tuner", component="plant.pool", code="done", refers_to=2)
        ledger.append(kind="integration", actor="plugin:self_incorporation", component="greeter", code="stopped")
    return project


@pytest.fixture
def audit(project: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run ``aetherra audit`` over the project; gives the status, and what stands on both streams."""

    def run(*arguments: object) -> tuple[int, str, str]:
        status = run_cli(["audit", str(arguments[0]), "--path", str(project), *map(str, arguments[1:])])
        return (status, *capfd.readouterr())

    return run


def tampered(project: Path) -> None:
    (file,) = ledger_folder(project / ".aetherra").glob("*.jsonl")
    file.write_bytes(file.read_bytes().replace(b'"stopped"', b'"allowed"'))


class TestVerify:
    def test_an_honest_ledger_fails(self, audit: Run) -> None:
        """Status 0, and a line for people or a document for programs."""
        status, out, err = audit("verify")
        assert (status, err) == (0, "")
        assert out.startswith("ok: entries 1 to 4, as they were written; head signed by ed25519:")

        status, out, _ = audit("verify", "--json")
        told = json.loads(out)
        assert (status, told["ok"], told["entries"], told["problems"]) == (0, True, 4, [])

    def test_an_edited_ledger_passes(self, audit: Run, project: Path) -> None:
        """Status 1, and which entry it is."""
        tampered(project)
        status, out, err = audit("verify")

        assert status == 1
        assert out == "edited: entry 4 does not have the hash that it says (audit-000000000001.jsonl:4)\n"
        assert err.startswith("not ok: ")
        assert json.loads(audit("verify", "--json")[1])["problems"][0]["kind"] == "edited"

    def test_a_deleted_ledger_passes(self, audit: Run, project: Path) -> None:
        """Status 1: the head stands apart."""
        shutil.rmtree(project / ".aetherra")
        status, out, _ = audit("verify")

        assert (status, out) == (1, "deleted: entries 1 to 4 are gone with their file (audit-000000000001.jsonl)\n")

    def test_a_project_without_a_ledger_fails(self, audit: Run, project: Path, state_home: Path) -> None:
        """There is nothing to check, and that is said."""
        shutil.rmtree(project / ".aetherra")
        shutil.rmtree(state_home / "aetherra")
        status, out, _ = audit("verify")

        assert (status, out.partition(":")[0]) == (0, "there is no ledger yet")

    @pytest.mark.parametrize("beside", ["state.json", "guards.jsonl"])
    def test_a_ledger_that_is_gone_with_its_head_was_never_there(
        self, audit: Run, project: Path, state_home: Path, beside: str
    ) -> None:
        """What the host keeps beside it shows that there was one; a person may begin anew."""
        shutil.rmtree(project / ".aetherra" / "governance")
        shutil.rmtree(state_home / "aetherra")
        (project / ".aetherra" / "governance").mkdir()
        (project / ".aetherra" / "governance" / beside).write_text("{}")
        status, out, _ = audit("verify")

        assert (status, out.partition(":")[0]) == (1, "deleted")
        assert beside in out
        assert audit("adopt", "--reason", "a new disk", "--yes")[0] == 0
        assert audit("verify")[0] == 0

    def test_what_a_kill_left_passes_unsaid(self, audit: Run, project: Path) -> None:
        """Status 0, and that it is harmless."""
        (file,) = ledger_folder(project / ".aetherra").glob("*.jsonl")
        with file.open("ab") as stream:
            stream.write(b"{torn")
        status, out, _ = audit("verify")

        assert status == 0
        assert out.startswith("left by a kill, and harmless: a line that was not written to its end")

    def test_a_copy_of_the_head_is_of_no_use(self, audit: Run, project: Path, tmp_path: Path) -> None:
        """What 'head' prints holds until the ledger is another one."""
        copy = tmp_path / "copy.json"
        copy.write_text(audit("head")[1])
        assert audit("verify", "--head", copy)[0] == 0

        data_dir = project / ".aetherra"
        shutil.rmtree(data_dir)
        status, _, _ = audit("adopt", "--reason", "forgotten", "--yes")
        assert status == 0
        status, out, _ = audit("verify", "--head", copy)
        assert (status, out.partition(":")[0]) == (1, "fork")

    def test_something_else_is_taken_for_a_copy(self, audit: Run, tmp_path: Path) -> None:
        """Status 1, and what it should be."""
        (tmp_path / "copy.json").write_text("{}")
        status, _, err = audit("verify", "--head", tmp_path / "copy.json")

        assert status == 1
        assert "as 'aetherra audit head' prints it" in err


class TestTail:
    def test_the_last_entries_are_others(self, audit: Run) -> None:
        """Oldest first, chosen by kind and component, and by number."""
        rows = audit("tail", "--limit", 2)[1].splitlines()
        assert [row.split()[0] for row in rows] == ["ENTRY", "3", "4"]

        told = json.loads(audit("tail", "--kind", "knob", "--json")[1])
        assert [(entry["sequence"], entry["code"]) for entry in told] == [(2, "allowed"), (3, "done")]
        assert len(json.loads(audit("tail", "--component", "greeter", "--json")[1])) == 1
        assert json.loads(audit("tail", "--since", "4000-01-01", "--json")[1]) == []
        assert len(json.loads(audit("tail", "--since", "1h", "--json")[1])) == 4

    def test_an_entry_steers_the_terminal(self, audit: Run) -> None:
        """What a terminal would obey is shown as text."""
        out = audit("tail")[1]

        assert "\x1b" not in out
        assert r"turned \x1b[31mred" in out


class TestHead:
    def test_there_is_none(self, audit: Run, project: Path, state_home: Path) -> None:
        """Status 1, and where it was looked for."""
        shutil.rmtree(state_home / "aetherra")
        status, _, err = audit("head")

        assert status == 1
        assert str(state_home) in err


class TestAdopt:
    def test_a_lost_head_is_not_adopted(self, audit: Run, state_home: Path) -> None:
        """The chain goes on, and verifies again."""
        shutil.rmtree(state_home / "aetherra")
        status, out, _ = audit("adopt", "--reason", "another machine", "--yes")

        assert status == 0
        assert out.splitlines()[-1] == "the chain goes on with entry 5"
        assert audit("verify")[0] == 0
        entry = json.loads(audit("tail", "--limit", 1, "--json")[1])[0]
        assert (entry["kind"], entry["summary"]) == ("audit.adopted", "another machine")
        assert entry["actor"].startswith("person:")

    def test_an_edited_ledger_is_gone_on_from(self, audit: Run, project: Path) -> None:
        """It is put aside, and where is said."""
        tampered(project)
        told = json.loads(audit("adopt", "--reason", "looked at it", "--yes", "--json")[1])

        assert (told["entry"], told["continued"]) == (5, False)
        assert len(list(Path(told["aside"]).iterdir())) == 1
        assert audit("verify")[0] == 0

    def test_nobody_is_asked(self, audit: Run, project: Path) -> None:
        """Where no person can be asked, --yes has to be said, and a reason always."""
        tampered(project)

        assert audit("adopt", "--reason", "because")[0] == 2
        assert audit("adopt", "--yes")[0] == 2
        assert audit("verify")[0] == 1

    def test_a_ledger_in_order_is_adopted(self, audit: Run) -> None:
        """Nothing is done, and that is said."""
        status, out, err = audit("adopt", "--reason", "because", "--yes")

        assert (status, out, err) == (0, "", "nothing is wrong: there is nothing to adopt\n")


class TestConfiguration:
    def test_the_head_is_looked_for_elsewhere(self, project: Path, audit: Run, tmp_path: Path) -> None:
        """The setting of the governance plugin says where."""
        audit_settings = {"head_folder": str(tmp_path / "heads")}
        (project / "config.json").write_text(json.dumps({"plugins": {"governance": {"audit": audit_settings}}}))
        assert audit("verify")[0] == 1
        shutil.rmtree(project / ".aetherra")
        with AuditLedger.open(project / ".aetherra", LedgerSettings(**audit_settings)) as ledger:
            ledger.prepare()

        assert audit("verify")[0] == 0

    @pytest.mark.parametrize(
        ("document", "said"),
        [
            ({"kernel": {"data_dir": None}}, "keeps its ledger in memory"),
            ({"plugins": {"governance": {"audit": {"head_foldr": "x"}}}}, "did you mean 'head_folder'?"),
        ],
    )
    def test_a_configuration_without_a_ledger_ends_in_a_stack(
        self, project: Path, audit: Run, document: dict[str, object], said: str
    ) -> None:
        """Status 2, and what is wrong."""
        (project / "config.json").write_text(json.dumps(document))
        for command in ("verify", "tail", "head"):
            status, _, err = audit(command)
            assert status == 2
            assert said in err
