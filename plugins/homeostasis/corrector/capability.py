"""A missing capability: a plugin may not do what it tries. Nobody but the host's owner grants it."""

from __future__ import annotations

import json
from typing import Any

from aetherra.plugins import Advise, Correction, LogFacts
from aetherra.plugins.homeostasis.corrector.facts import is_ours, text_in


class MissingCapability(Correction):
    """Tells the line that would grant it, and grants nothing."""

    name = "missing_capability"

    def matches(self, facts: LogFacts) -> dict[str, str] | None:
        """Return the grant that is missing, and where it would stand."""
        if is_ours(facts, "PrivilegeError"):
            plugin, privilege = text_in(facts, "plugin"), text_in(facts, "privilege")
            return {"place": f"plugins.{plugin}.grants", "grant": privilege} if plugin and privilege else None
        if is_ours(facts, "CapabilityError"):
            place, grant = text_in(facts, "remedy").partition(" ")[0], text_in(facts, "grant")
            return {"place": place, "grant": grant} if place and grant else None
        return None

    async def fix(self, subject: dict[str, str]) -> str:
        """Advise."""
        line: Any = [subject["grant"]]
        for key in reversed(subject["place"].split(".")):
            line = {key: line}
        raise Advise(f"if it may, grant it in config.json, beside what stands there: {json.dumps(line)[1:-1]}")

    async def check(self, subject: dict[str, str]) -> bool:
        """Whether it is granted: never known here, so that each refusal is told once a cooldown."""
        del subject
        return False
