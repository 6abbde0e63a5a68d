"""The plan: what is to be done with which approved item, in what order, and what is left out and why."""

import hashlib
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Struct

from aetherra.plugins.self_incorporation.code.classifier import FileKind

__all__ = [
    "OF_NO_CONCERN",
    "Action",
    "Concern",
    "Conflict",
    "ConflictCode",
    "LeftOut",
    "LeftOutCode",
    "Plan",
    "PlannedFile",
    "Step",
    "digest_of",
]

Action: TypeAlias = Literal["load_plugin", "register_agent", "import_utility", "execute_workflow", "index_dataset"]
CODE: frozenset[Action] = frozenset({"load_plugin", "register_agent", "import_utility"})
"""What is done with code, which stands beside other code."""
ConflictCode: TypeAlias = Literal[
    "duplicate_name",
    "duplicate_tag",
    "duplicate_service",
    "namespace_collision",
    "version_conflict",
    "dependency_conflict",
    "missing_plugin",
    "missing_capability",
    "metadata_unreadable",
]
LeftOutCode: TypeAlias = Literal[
    "not_approved",
    "judged_otherwise",
    "wrong_kind",
    "unusable",
    "conflict",
    "circle",
    "beside",
    "settings",
    "not_shipped",
    "unchanged",
    "altered",
]


OF_NO_CONCERN: frozenset[LeftOutCode] = frozenset({"unchanged", "wrong_kind", "not_shipped"})
"""Why something is left out that nobody meant to come in, or that is in."""


class PlannedFile(Struct, frozen=True):
    """One file of a step.

    Attributes:
        source: Relative to the item's root, in the written form of `paths.written`.
        target: Where it goes, relative to the destination, likewise; empty where it is read and not copied.
        sha256: Of its bytes as they were judged, in hex.
        size: In bytes.
    """

    source: str
    target: str
    sha256: str
    size: int


class Step(Struct, frozen=True, kw_only=True):
    """What is done with one item.

    Attributes:
        number: Its turn, from 1 on.
        action: What is done.
        name: What it is registered as.
        kind: Of the item.
        root: Of the item, absolute.
        path: Of the item, relative to its root.
        digest: Of the item.
        version: As its code declares it.
        risk: Of the item, 0 to 1.
        main: The file or folder to load, relative to the destination; of what is not copied, relative to the root.
        files: All of it, by source.
        after: The steps whose items it needs.
        replaces: The digest of the item that is registered under this name now; empty if it is new.
        service: The service it provides.
        tags: The requests it answers.
        requires: The plugins it needs.
        uses: The registrations whose modules it imports.
        settings: What it is loaded with; empty for those of the configuration.
        needs_approval: Why a person has to agree; empty if nobody has to.
    """

    number: int
    action: Action
    name: str
    kind: FileKind
    root: str
    path: str
    digest: str
    version: str
    risk: float
    main: str
    files: tuple[PlannedFile, ...]
    after: tuple[int, ...] = ()
    replaces: str = ""
    service: str = ""
    tags: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    settings: dict[str, Any] = {}
    needs_approval: str = ""

    @property
    def is_code(self) -> bool:
        """Whether its files are copied, and imported by the name of its file or folder."""
        return self.action in CODE


class Concern(Struct, frozen=True):
    """What stands against an item once it stands where it would, beside all that is there, with its settings.

    Attributes:
        root: Of the item.
        path: Of it, relative to the root.
        blocks: Whether it cannot come in; else a person has to agree.
        text: Why, for people.
        code: What it is, where it blocks.
    """

    root: str
    path: str
    blocks: bool
    text: str
    code: LeftOutCode = "beside"


class Conflict(Struct, frozen=True):
    """Why an item cannot come in beside what is there, or beside another item.

    Attributes:
        code: For programs.
        item: The path of the item that is left out.
        other: What it collides with, or lacks.
        text: One sentence for people: what was found, and what to do.
    """

    code: ConflictCode
    item: str
    other: str
    text: str


class LeftOut(Struct, frozen=True):
    """An item that is in no step, and why."""

    item: str
    name: str
    code: LeftOutCode
    text: str


class Plan(Struct, frozen=True, kw_only=True):
    """What is to be done, as it was decided at one time.

    Attributes:
        steps: In order.
        left_out: Every item that was offered and is in no step.
        conflicts: What stands against some of these.
        digest: `digest_of` the steps: what an approval is bound to.
        made_at: Unix time.
        standing: What had come in when it was made: it is carried out beside that, or not at all.
    """

    steps: tuple[Step, ...]
    left_out: tuple[LeftOut, ...]
    conflicts: tuple[Conflict, ...]
    digest: str
    made_at: float
    standing: str = ""

    @property
    def component(self) -> str:
        """What a guard counts it by: the name of its only item, or all of them."""
        return ", ".join(step.name for step in self.steps)

    @property
    def needs_approval(self) -> str:
        """Why a person has to agree; empty if nobody has to."""
        return "; ".join(f"{step.name}: {step.needs_approval}" for step in self.steps if step.needs_approval)

    @property
    def summary(self) -> str:
        """One sentence for people; of settings it tells the names alone, as their values may be secrets."""
        done = "; ".join(f"{step.action.replace('_', ' ')} {step.name}{_with(step)}" for step in self.steps)
        return f"{len(self.steps)} step{'s' * (len(self.steps) != 1)}: {done}" if done else "nothing to do"


def _with(step: Step) -> str:
    return f" with its own {', '.join(sorted(step.settings))}" if step.settings else ""


def digest_of(steps: Sequence[Step]) -> str:
    """Return the SHA-256, in hex, of all that would be done: other bytes, places or settings are another plan."""
    return hashlib.sha256(msgspec.json.encode(msgspec.to_builtins(steps), order="sorted")).hexdigest()
