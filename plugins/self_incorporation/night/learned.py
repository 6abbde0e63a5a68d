"""What was learnt and is in use: by version, with the trial that let it in, and the way back."""

from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from aetherra.plugins import AetherraError
from aetherra.plugins.self_incorporation.night.learning.candidate import LearnedValue
from aetherra.plugins.self_incorporation.night.learning.classifier_weights import ClassifierWeights
from aetherra.plugins.self_incorporation.night.learning.plan_order import PlanOrder
from aetherra.plugins.self_incorporation.night.learning.rescan_order import RescanOrder
from aetherra.plugins.self_incorporation.night.learning.trial import Target, Trial, digest_of
from aetherra.plugins.storage import StateFile

__all__ = ["HISTORY", "Kept", "Learned", "NotInUseError", "NotValidatedError"]

HISTORY = 5
"""Versions of one target that can be gone back to, one after the other."""
_TYPES: dict[Target, type[LearnedValue]] = {
    "classifier_weights": ClassifierWeights,
    "rescan_order": RescanOrder,
    "plan_order": PlanOrder,
}


class NotInUseError(AetherraError, LookupError):
    """Something would be taken back that is not in use."""

    def __init__(self, target: str, version: int | None) -> None:
        super().__init__(target, version)
        self.target, self.version = target, version

    def __str__(self) -> str:
        if self.version is None:
            return f"nothing that was learnt is in use for {self.target!r}"
        return f"version {self.version} of what was learnt for {self.target!r} is not in use any more"


class NotValidatedError(AetherraError, ValueError):
    """Something would be kept that no trial has let in."""

    def __init__(self, target: str, reason: str) -> None:
        super().__init__(target, reason)
        self.target, self.reason = target, reason

    def __str__(self) -> str:
        return f"what was learnt for {self.target!r} is not kept: {self.reason}"


class Kept(Struct, frozen=True, kw_only=True):
    """One version of what was learnt for one target.

    Attributes:
        version: Counts up over all targets.
        trial: What let it in.
        value: What it is.
    """

    version: int
    trial: Trial
    value: LearnedValue


class _Book(Struct, frozen=True, kw_only=True):
    """All that is on disk: of each target the versions, the one in use last, and when something was last tried."""

    last: int = 0
    kept: dict[str, tuple[Kept, ...]] = {}
    tried: dict[str, float] = {}


class Learned:
    """What is in use, in a small file that is replaced as a whole.

    Reading may be done from any thread; changing from one at a time.

    Args:
        path: Of the file; None keeps it in memory alone.
        problem: Told what is wrong with a file that cannot be used: it is moved aside, and nothing counts as learnt.

    Raises:
        OSError: The file is there and cannot be read.
    """

    def __init__(self, path: Path | None, problem: Callable[[str], object] = lambda _: None) -> None:
        self._file = StateFile(path, _Book)
        self._book = self._file.load() or _Book()
        if any(_objection(kept.trial, kept.value) for versions in self._book.kept.values() for kept in versions):
            self._file.put_aside("it holds what no trial has let in")
            self._book = _Book()
        if self._file.problem:
            problem(self._file.problem)

    @property
    def weights(self) -> dict[str, float]:
        """The classifier's weights, as far as they are other than its own."""
        value = self._value("classifier_weights")
        return value.weights if isinstance(value, ClassifierWeights) else {}

    @property
    def rescan_order(self) -> RescanOrder | None:
        """The order of a scan; None: by name."""
        value = self._value("rescan_order")
        return value if isinstance(value, RescanOrder) else None

    @property
    def plan_order(self) -> PlanOrder | None:
        """What to arrange the steps of a plan by; None: by risk."""
        value = self._value("plan_order")
        return value if isinstance(value, PlanOrder) else None

    def current(self, target: Target) -> Kept | None:
        """Return what is in use for a target; None: what the code says."""
        versions = self._book.kept.get(target, ())
        return versions[-1] if versions else None

    def versions(self, target: Target) -> tuple[Kept, ...]:
        """Return the versions of a target that are known, the one in use last."""
        return self._book.kept.get(target, ())

    def tried_at(self, target: Target) -> float:
        """Return the Unix time of the last trial for a target; 0 if there was none."""
        return self._book.tried.get(target, 0.0)

    def tried(self, target: Target, at: float) -> None:
        """Note that something was tried for a target; raises `DataFileError` if that cannot be kept."""
        self._replace(_Book(last=self._book.last, kept=self._book.kept, tried={**self._book.tried, target: at}))

    def keep(self, trial: Trial, value: LearnedValue) -> Kept:
        """Take what a trial has let in into use.

        Raises:
            NotValidatedError: The trial has not let it in, or was about something else.
            DataFileError: It cannot be written: what was in use is.
        """
        if objection := _objection(trial, value):
            raise NotValidatedError(trial.target, objection)
        kept = Kept(version=self._book.last + 1, trial=trial, value=value)
        versions = (*self.versions(trial.target), kept)[-HISTORY:]
        self._replace(
            _Book(last=kept.version, kept={**self._book.kept, trial.target: versions}, tried=self._book.tried)
        )
        return kept

    def undo(self, target: Target, *, version: int | None = None) -> Kept:
        """Go back to what was in use before, and return what was taken back.

        Args:
            target: What was learnt for.
            version: That is taken back; None for whichever is in use.

        Raises:
            NotInUseError: It is not in use, or nothing that was learnt is.
            DataFileError: It cannot be written: all is as it was.
        """
        versions = self.versions(target)
        if not versions or version not in (None, versions[-1].version):
            raise NotInUseError(target, version)
        *before, taken = versions
        kept = {**self._book.kept, target: tuple(before)}
        self._replace(_Book(last=self._book.last, kept=kept, tried=self._book.tried))
        return taken

    def _value(self, target: Target) -> LearnedValue | None:
        kept = self.current(target)
        return None if kept is None else kept.value

    def _replace(self, book: _Book) -> None:
        self._file.save(book)
        self._book = book


def _objection(trial: Trial, value: LearnedValue) -> str:
    if not trial.passed:
        return f"it has not stood its trial: {trial.reason}"
    if not isinstance(value, _TYPES[trial.target]):
        return f"expected {_TYPES[trial.target].__name__}, got {type(value).__name__}"
    return "" if digest_of(value) == trial.digest else "it is not what was tried"
