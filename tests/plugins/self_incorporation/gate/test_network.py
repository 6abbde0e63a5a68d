"""Which hosts code names, and what the policy says of them."""

import ast

import pytest

from aetherra.plugins.self_incorporation.code.names import Names
from aetherra.plugins.self_incorporation.code.syntax import Syntax
from aetherra.plugins.self_incorporation.gate.decision import Line
from aetherra.plugins.self_incorporation.gate.network import Reached, network_grounds, reached_by


def reached(text: str) -> Reached:
    syntax = Syntax(ast.parse(text))
    return reached_by(syntax, Names(syntax))


class TestReachedBy:
    @pytest.mark.parametrize(
        ("text", "hosts"),
        [
            ("import requests\nrequests.get('https://a.example/x')", ["a.example"]),
            ("import requests\nURL = 'https://a.example'\nrequests.get(URL)", ["a.example"]),
            ("import requests\nrequests.get('https://' + 'a.example')", ["a.example"]),
            ("import requests\nrequests.get(f'https://a.example/{x}')", ["a.example"]),
            ("import requests\nrequests.get('https://user:word@A.Example:99/x')", ["a.example"]),
            ("import socket\nsocket.create_connection(('a.example', 80))", ["a.example"]),
            ("import http.client\nhttp.client.HTTPSConnection('a.example')", ["a.example"]),
            ("import smtplib\nsmtplib.SMTP(host='mail.a.example')", ["mail.a.example"]),
            ("import requests\nrequests.get('http://[::1]/')", ["[::1]"]),
            ("print('see https://a.example')", []),
        ],
    )
    def test_a_host_that_is_named_is_not_found(self, text: str, hosts: list[str]) -> None:
        """However it is written; what uses no network names none."""
        found = reached(text)

        assert list(found.hosts) == hosts
        assert found.unknown == ()

    @pytest.mark.parametrize(
        "text",
        [
            "import requests\nrequests.get(url)",
            "import requests\nrequests.get(f'https://{host}/x')",
            "import requests\nrequests.get(f'https://a.{host}')",
            "import socket\ns.connect((h, 1))",
            "import httpx\nself.client.get(url)",
        ],
    )
    def test_a_host_that_nobody_can_tell_is_passed_over(self, text: str) -> None:
        """The line that reaches for it is told."""
        assert reached(text).unknown == (2,)


class TestNetworkGrounds:
    def codes(self, hosts: list[str], unknown: int, allow: list[str], *, strict: bool) -> list[str]:
        named = [(host, Line("a.py", 1)) for host in hosts]
        return [ground.code for ground in network_grounds(named, [Line("a.py", 2)] * unknown, allow, strict=strict)]

    def test_a_policy_that_says_nothing_forbids_something(self) -> None:
        """Without a list and without strictness, a grant is all that network code needs."""
        assert self.codes(["a.example"], 1, [], strict=False) == []

    def test_strictness_needs_no_list(self) -> None:
        """With it, there must be a list, and every host known and on it."""
        assert self.codes(["a.example"], 0, [], strict=True) == ["network_no_allow_list", "network_host"]
        assert self.codes(["a.example"], 0, ["*.example", "a.example"], strict=True) == []
        assert self.codes(["a.example"], 1, ["*.example"], strict=True) == ["network_unknown_host"]
        assert self.codes([], 0, ["*.example"], strict=True) == ["network_unknown_host"]

    def test_a_list_is_not_kept_without_strictness(self) -> None:
        """A host that is named must be on a list that is there; the machine itself is always."""
        assert self.codes(["b.org", "localhost"], 1, ["*.example"], strict=False) == ["network_host"]
