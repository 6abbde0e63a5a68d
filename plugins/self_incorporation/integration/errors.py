"""Why an integration, or a way back, did not happen."""

from aetherra.plugins import AetherraError

__all__ = [
    "ActionRefusedError",
    "BusyError",
    "IntegrationError",
    "ItemChangedError",
    "PlaceChangedError",
    "RollbackRefusedError",
    "StepFailedError",
    "UnknownTokenError",
]


class IntegrationError(AetherraError, RuntimeError):
    """An integration was refused or undone; ``__cause__`` is what went wrong.

    Attributes:
        where: The step or item it was about.
        problem: What went wrong, and what to do.
        left: What could not be undone; empty if all is as it was.
    """

    def __init__(self, where: str, problem: str, left: tuple[str, ...] = ()) -> None:
        super().__init__(where, problem, left)
        self.where, self.problem, self.left = where, problem, left

    def __str__(self) -> str:
        rest = f"; could not be undone: {'; '.join(self.left)}" if self.left else "; all is as it was"
        return f"{self.where}: {self.problem}{rest}"


class StepFailedError(IntegrationError):
    """A step was begun and failed, and all was taken back, but for what it names; ``where`` is the step's name.

    Any other ``IntegrationError`` is of something that was never begun, or of the state.
    """


class ActionRefusedError(IntegrationError):
    """An action was refused before it was tried, so that it had no effect; ``where`` is its tag."""


class BusyError(IntegrationError):
    """Somebody is in the middle of an integration; nothing was begun, and the same may be tried again after it."""


class ItemChangedError(AetherraError, RuntimeError):
    """A file is not what was judged; scan, judge and plan again."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path, self.problem = path, problem

    def __str__(self) -> str:
        return f"{self.path!r} is not what was judged: {self.problem}; scan, judge and plan again"


class PlaceChangedError(AetherraError, RuntimeError):
    """What integrations look after was changed by somebody else; nothing is overwritten."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path, self.problem = path, problem

    def __str__(self) -> str:
        return f"{self.path!r} was changed by somebody else: {self.problem}"


class RollbackRefusedError(AetherraError, RuntimeError):
    """An integration cannot be rolled back now, and nothing was changed."""

    def __init__(self, token: str, problem: str) -> None:
        super().__init__(token, problem)
        self.token, self.problem = token, problem

    def __str__(self) -> str:
        return f"integration {self.token!r} cannot be rolled back: {self.problem}"


class UnknownTokenError(AetherraError, LookupError):
    """There is no integration of that token."""

    def __init__(self, token: str) -> None:
        super().__init__(token)
        self.token = token

    def __str__(self) -> str:
        return f"there is no integration {self.token!r} here; its files are kept for the latest ones only"
