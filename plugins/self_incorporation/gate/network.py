"""The hosts that code names, where it reaches for one that it does not name, and what the policy says of both."""

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

from msgspec import Struct

from aetherra.plugins.self_incorporation.code.names import Names
from aetherra.plugins.self_incorporation.code.rules import capability_of
from aetherra.plugins.self_incorporation.code.syntax import Syntax
from aetherra.plugins.self_incorporation.gate.decision import Ground, Line

__all__ = ["Reached", "network_grounds", "reached_by"]

_URL = re.compile(
    r"(?:https?|wss?|ftps?|tcp|udp|grpc|amqps?|rediss?|mqtts?|ssh|smtps?)://(?:[^/@\s?#]*@)?(\[[0-9a-fA-F:.]+\]|[^/\s?#:\[\]]+)",
    re.IGNORECASE,
)
_HOST = re.compile(
    r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?)+|localhost"
)
_LOCAL = frozenset(["localhost", "127.0.0.1", "::1", "[::1]", "0.0.0.0"])  # noqa: S104 - a name to compare with
# What is called with the place that it reaches for.
_REACHING = frozenset(
    f"{module}.{name}"
    for module, names in {
        "urllib.request": ("urlopen", "urlretrieve", "Request"),
        "urllib2": ("urlopen", "Request"),
        "http.client": ("HTTPConnection", "HTTPSConnection"),
        "socket": ("create_connection", "gethostbyname", "getaddrinfo"),
        "smtplib": ("SMTP", "SMTP_SSL"),
        "ftplib": ("FTP", "FTP_TLS"),
        "poplib": ("POP3", "POP3_SSL"),
        "imaplib": ("IMAP4", "IMAP4_SSL"),
        "telnetlib": ("Telnet",),
        "xmlrpc.client": ("ServerProxy",),
        "asyncio": ("open_connection",),
        "anyio": ("connect_tcp",),
        "trio": ("open_tcp_stream",),
        "websockets": ("connect",),
        "websocket": ("create_connection",),
    }.items()
    for name in names
)
_VERBS = frozenset(["get", "post", "put", "patch", "delete", "head", "options", "request", "stream"])
_CLIENTS = ("requests", "httpx", "aiohttp", "urllib3")
_CONNECTING = frozenset(["connect", "connect_ex", "sendto", "urlopen", "ws_connect", "create_connection"])


class Reached(Struct, frozen=True):
    """Where the code of one file reaches.

    Attributes:
        hosts: Those it names, each with the first line that does.
        unknown: Lines that reach for a host which only running them would tell.
    """

    hosts: dict[str, int]
    unknown: tuple[int, ...]


def reached_by(syntax: Syntax, names: Names) -> Reached:
    """Read off a file which hosts it names, as far as it uses the network at all."""
    hosts: dict[str, int] = {}
    unknown: set[int] = set()
    networked = any(capability_of(module) == "network" for module in names.modules)
    for scope in syntax.scopes:
        for call in scope.calls:
            if not _reaches(call, names, networked):
                continue
            named = list(_hosts_of(call, names))
            for host in named:
                hosts.setdefault(host, call.lineno)
            if not named:
                unknown.add(call.lineno)
    if networked or hosts:
        for node in ast.walk(syntax.tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and "://" in node.value:
                for match in _URL.finditer(node.value):
                    hosts.setdefault(match[1].lower(), node.lineno)
    return Reached(dict(sorted(hosts.items())), tuple(sorted(unknown)))


def network_grounds(
    hosts: Iterable[tuple[str, Line]], unknown: Sequence[Line], allow: Sequence[str], *, strict: bool
) -> Iterator[Ground]:
    """Yield what the policy has against the hosts that an item with network code names.

    Without ``strict`` and without an allow list, nothing. With a list, each host that is named must be on it. With
    ``strict``, too, there must be a list, and no line may reach for a host that nobody can tell.

    Args:
        hosts: Each with a line that names it; the host itself (``localhost``) is no other.
        unknown: Lines that reach for a host that only running them would tell.
        allow: Patterns of hosts, as in ``fnmatch``: ``*.example.org``.
        strict: Whether ``AETHERRA_NET_STRICT`` is set, or the policy says so.
    """
    if strict and not allow:
        yield Ground(
            "network_no_allow_list", "network code needs a list of hosts in policy.network.allow, and there is none"
        )
    named = list(hosts)
    if allow or strict:
        for host, line in named:
            if host not in _LOCAL and not any(fnmatchcase(host, pattern.lower()) for pattern in allow):
                yield Ground("network_host", f"the host {host!r} is not in policy.network.allow", (line,))
    if strict and unknown:
        text = "reaches for a host that the code does not name"
        yield Ground("network_unknown_host", text, tuple(unknown[:20]))
    if strict and not named and not unknown:
        yield Ground("network_unknown_host", "uses the network, and names no host at all")


def _reaches(call: ast.Call, names: Names, networked: bool) -> bool:
    resolved = names.resolve(call.func)
    if resolved is not None:
        name = resolved.name
        if name in _REACHING:
            return True
        root, _, rest = name.partition(".")
        if root in _CLIENTS and rest.rpartition(".")[2] in _VERBS:
            return True
    if not networked or not isinstance(call.func, ast.Attribute):
        return False
    method = call.func.attr
    if method in _CONNECTING:
        return True
    owner = ast.unparse(call.func.value).lower() if method in _VERBS else ""
    return any(word in owner for word in ("session", "client", "http"))


def _hosts_of(call: ast.Call, names: Names) -> Iterator[str]:
    for argument in [*call.args[:2], *(keyword.value for keyword in call.keywords if keyword.arg in ("url", "host"))]:
        pending: list[ast.AST] = [argument]
        while pending:
            node = pending.pop()
            if isinstance(node, ast.Name) and (text := names.texts.get(node.id)) is not None:
                yield from _in_text(text)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield from _in_text(node.value)
            elif isinstance(node, ast.JoinedStr):
                yield from _in_joined(node)
            elif isinstance(node, ast.Tuple | ast.List | ast.BinOp | ast.Call):
                pending.extend(ast.iter_child_nodes(node))


def _in_joined(node: ast.JoinedStr) -> Iterator[str]:
    """Yield the host of a text with gaps, if it ends before the first of them."""
    first = node.values[0] if node.values else None
    if isinstance(first, ast.Constant) and isinstance(first.value, str):
        match = _URL.match(first.value)
        if match is not None and (match.end() < len(first.value) or len(node.values) == 1):
            yield match[1].lower()


def _in_text(text: str) -> Iterator[str]:
    if (match := _URL.match(text)) is not None:
        yield match[1].lower()
    elif _HOST.fullmatch(text):
        yield text.lower()
