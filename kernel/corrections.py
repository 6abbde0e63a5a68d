"""Corrections: what a plugin knows to mend of what stands in the log, offered by the hook ``correction_categories``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import msgspec

Fact = str | int | float | None
"""The value of one attribute of an exception."""


class LogFacts(msgspec.Struct, frozen=True):
    """What is known of one log record; nothing of it is read out of a message's text.

    Attributes:
        logger: Whose record it is.
        level: Its level's name.
        template: The message before its arguments were put in.
        exception_type: The exception's class with its module; ``""`` if there is none.
        exception: Its attributes that say what it was about, as ``name`` and ``path`` of an ``ImportError``,
            ``filename`` and ``errno`` of an ``OSError``.
        module: Where it was logged: the module,
        function: the function,
        line: and the line in its file.
        ts: Unix time.
    """

    logger: str
    level: str
    template: str
    exception_type: str = ""
    exception: Mapping[str, Fact] = {}
    module: str = ""
    function: str = ""
    line: int = 0
    ts: float = 0.0


class Advise(Exception):  # noqa: N818  # a verdict, no error
    """Raise it in ``Correction.fix`` where only a person can mend it; ``text`` says what they should do."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class Correction(ABC):
    """One kind of trouble that a plugin can recognise and mend.

    Attributes:
        name: What it is called in the history; snake_case.
    """

    name: ClassVar[str]

    @abstractmethod
    def matches(self, facts: LogFacts) -> dict[str, str] | None:
        """Return what a record is about, as ``{"module": "numpy"}``, or ``None`` if it is none of this kind.

        Called for every record that is looked at, so it must be quick. Equal answers are one trouble.
        """

    @abstractmethod
    async def fix(self, subject: dict[str, str]) -> str:
        """Change something for the better, and return what was done, in words.

        Raises:
            Advise: Only a person can mend it.
            Exception: It failed.
        """

    @abstractmethod
    async def check(self, subject: dict[str, str]) -> bool:
        """Return whether it is mended now, by looking, not by what ``fix`` has said."""
