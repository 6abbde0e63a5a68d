"""Who may say what: grants, the profile that decides what stands in none, and the verdict on one act."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Literal, get_args

from aetherra.registry.errors import CapabilityError
from aetherra.registry.identity import HOST, Identity

log = logging.getLogger("aetherra.registry.capabilities")
Verb = Literal["call", "publish", "subscribe", "submit"]
"""What can be done with a message."""
Undeclared = Literal["allow", "log", "refuse"]
"""What becomes of an act that no grant covers."""
UNDECLARED: dict[str, Undeclared] = {"dev": "allow", "test": "allow", "standard": "log", "prod": "refuse"}
"""What each profile makes of one."""
LOGGED = 10_000
"""Acts that are remembered as logged; beyond that each is logged once more."""
_WILD = re.compile(r"[*?\[]")
_SHAPE = re.compile(rf"({'|'.join(get_args(Verb))}|\*):[\w.*?\[\]!-]+")


def check_grant(grant: str) -> str:
    """Return a grant for messages as it is; anything with another verb is somebody else's and passes.

    Raises:
        ValueError: It is meant for messages and misspelt.
    """
    verb, colon, _ = grant.partition(":")
    if colon and (verb in get_args(Verb) or verb == "*") and not _SHAPE.fullmatch(grant):
        raise ValueError(
            f"{grant!r} is no grant; expected a verb and a pattern of tags, as in 'call:selfimprovement.*'"
        )
    return grant


class Capabilities:
    """What each identity may do with messages.

    Everyone may do as they like with tags under their own name (``greeter.*`` for plugin ``greeter``), and the host
    with all. For the rest an identity needs a grant: ``call:``, ``publish:``, ``subscribe:`` or ``submit:`` and a
    pattern of tags. A pattern is one of ``fnmatch``. To subscribe to a pattern, a grant must cover all of it: the
    same pattern, or one with a wider ending.

    ``refused`` counts acts that were refused, ``ungranted`` kinds of acts that were let pass and logged.

    Args:
        undeclared: What becomes of an act that no grant covers.
        anybody: Tags that every plugin may call without a grant.
    """

    def __init__(self, undeclared: Undeclared = "allow", *, anybody: Iterable[str] = ()) -> None:
        self.undeclared = undeclared
        self._anybody = frozenset(anybody)
        self.refused = 0
        self.ungranted = 0
        self._grants: dict[tuple[str, str], tuple[str, ...]] = {}
        self._logged: set[tuple[Identity, str, str]] = set()

    def grant(self, identity: Identity, grants: Iterable[str]) -> None:
        """Say what a plugin (all its generations) or a remote client may do; it replaces what was said before.

        Raises:
            ValueError: A grant is misspelt.
        """
        self._grants[identity.kind, identity.name] = tuple(check_grant(grant) for grant in grants)

    def covers(self, identity: Identity, verb: Verb, tag: str) -> bool:
        """Whether a grant covers an act; ``tag`` may be a pattern."""
        if identity is HOST or identity.kind == "host" or tag.startswith(f"{identity.name}."):
            return True
        if identity.kind == "plugin" and verb == "call" and tag in self._anybody:
            return True
        grants = self._grants.get((identity.kind, identity.name))
        if grants is None and identity.kind == "remote":
            grants = self._grants.get(("remote", "*"))
        return any(_covers(grant, verb, tag) for grant in grants or ())

    def check(self, identity: Identity, verb: Verb, tag: str) -> None:
        """Pass an act, or log it once, or refuse it, as the grants and the profile say.

        Raises:
            CapabilityError: It is refused; says which grant is missing.
        """
        if self.covers(identity, verb, tag) or self.undeclared == "allow":
            return
        if self.undeclared == "refuse":
            self.refused += 1
            raise CapabilityError(str(identity), f"{verb}:{tag}", _remedy(identity))
        if (act := (identity, verb, tag)) not in self._logged:
            if len(self._logged) >= LOGGED:
                self._logged.clear()
            self._logged.add(act)
            self.ungranted += 1
            log.info(
                "%s does what no grant covers, and profile 'prod' would refuse: add \"%s:%s\" to %s",
                identity, verb, tag, _remedy(identity),
            )  # fmt: skip


def _covers(grant: str, verb: str, tag: str) -> bool:
    granted, _, pattern = grant.partition(":")
    if granted not in (verb, "*"):
        return False
    if pattern == tag:
        return True
    if _WILD.search(tag) is None:
        return fnmatchcase(tag, pattern)
    opening = pattern.removesuffix("*")
    return opening != pattern and _WILD.search(opening) is None and tag.startswith(opening)


def _remedy(identity: Identity) -> str:
    if identity.kind == "plugin":
        return f"plugins.{identity.name}.grants in the configuration"
    return f"kernel.clients.{identity.name} in the configuration"
