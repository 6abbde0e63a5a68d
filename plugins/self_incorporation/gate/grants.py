"""Which grant an item needs for what its code can do, and which of them it does not have."""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Final

from aetherra.plugins.self_incorporation.code.findings import Capability

__all__ = ["GRANT_OF", "covers", "missing_grants", "misspelt"]

GRANT_OF: Final[Mapping[Capability, str]] = {
    "network": "network:outbound",
    "fs_read": "fs:read:*",
    "fs_write": "fs:write:*",
    "process": "process:spawn",
    "dynamic_code": "code:dynamic",
    "native_code": "code:native",
    "environment": "env:read",
    "serialization": "code:unpickle",
}
"""The grant that each capability needs. Nothing tells which files code reads, so one for some files is not enough."""
_VERBS = frozenset(grant.partition(":")[0] for grant in GRANT_OF.values())
_SHAPE = re.compile(
    r"network:(?:outbound|\*)|fs:(?:\*|(?:read|write):\S+)|process:(?:spawn|\*)|code:(?:dynamic|native|unpickle|\*)"
    r"|env:(?:read|\*)"
)


def covers(grant: str, needed: str) -> bool:
    """Say whether a grant is at least the one that is needed.

    Only a ``*`` at the end of a grant of these verbs stands for more; ``*:*`` is a grant for messages, and for no code.
    """
    if grant == needed:
        return True
    opening = grant.removesuffix("*")
    return opening != grant and opening.partition(":")[0] in _VERBS and ":" in opening and needed.startswith(opening)


def missing_grants(capabilities: Iterable[Capability], grants: Iterable[str]) -> dict[Capability, str]:
    """Return the grants that none of those given covers, by the capability that needs them."""
    given = tuple(grants)
    needed: dict[Capability, str] = {capability: GRANT_OF[capability] for capability in sorted(set(capabilities))}
    return {capability: grant for capability, grant in needed.items() if not any(covers(each, grant) for each in given)}


def misspelt(grants: Iterable[str]) -> tuple[str, ...]:
    """Return a sentence on every grant that is meant for code and grants nothing, with what it is likely to mean."""
    found: list[str] = []
    for grant in grants:
        verb = grant.partition(":")[0]
        near = difflib.get_close_matches(grant, GRANT_OF.values(), n=1, cutoff=0.6)
        if _SHAPE.fullmatch(grant) or (verb not in _VERBS and not (near and difflib.get_close_matches(verb, _VERBS))):
            continue
        known = ", ".join(repr(each) for each in GRANT_OF.values())
        hint = f"did you mean {near[0]!r}?" if near else f"expected one of {known}"
        found.append(f"the grant {grant!r} grants nothing: {hint}")
    return tuple(found)
