"""Who governs a host, as a test wants it."""

from __future__ import annotations

from typing import Any

import pytest

from aetherra.plugins import (
    AskPermission,
    CheckPermission,
    OutcomeRecorded,
    Permission,
    Plugin,
    TellOutcome,
    handler,
)

ALLOWED = Permission(allowed=True, code="allowed")


class Governor(Plugin):
    """Answers what is asked as ``answers`` says of its kind, and remembers what was asked and told."""

    name = "governance"

    def __init__(self, settings: Any = None) -> None:
        super().__init__(settings)
        Governor.here = self
        self.answers: dict[str, Permission] = {}
        self.asked: list[Any] = []
        self.peeked: list[Any] = []
        self.told: list[tuple[Any, str, str]] = []

    here: Governor

    def says(self, kind, code="allowed", **rest):
        """Have all of a kind answered so; ``*`` is every kind."""
        self.answers[kind] = Permission(allowed=code == "allowed", code=code, **rest)

    def answer(self, intent):
        return self.answers.get(intent.kind, self.answers.get("*", ALLOWED))

    @handler
    async def ask(self, request: AskPermission) -> Permission:
        intent, answer = request.intent, self.answer(request.intent)
        if request.peek:
            self.peeked.append(intent)
            return answer
        self.asked.append(intent)
        return Permission(
            allowed=answer.allowed,
            code=answer.code,
            reason=answer.reason,
            entry=len(self.asked),
            approval=answer.approval,
            retry_after=answer.retry_after,
        )

    @handler
    async def check(self, request: CheckPermission) -> Permission:
        return self.answer(self.asked[request.entry - 1])

    @handler
    async def tell(self, request: TellOutcome) -> OutcomeRecorded:
        self.told.append((self.asked[request.entry - 1], request.outcome, request.detail))
        return OutcomeRecorded(len(self.told))


@pytest.fixture
def governor():
    """The plugin that governs; ``governor.here`` is the one that does."""
    return Governor
