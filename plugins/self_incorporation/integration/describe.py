"""The dry run: exactly what carrying a plan out would do, with nothing done and nothing written."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from msgspec import Struct

from aetherra.plugins.self_incorporation.integration.plan import Action, Conflict, LeftOut, Plan
from aetherra.plugins.self_incorporation.integration.preparation import PreparedStep
from aetherra.plugins.self_incorporation.integration.tree import Change, File, Folder, Tree

__all__ = ["Description", "Effect", "FileEffect", "describe"]


class FileEffect(Struct, frozen=True):
    """What becomes of one path.

    Attributes:
        path: Absolute.
        what: What happens there.
        size: Bytes that are written; 0 if none are.
        sha256: Of these, in hex; empty if none are, or for a registration, which names its integration.
        mode: Permission bits afterwards, in octal.
    """

    path: str
    what: Literal["made", "written", "replaced", "removed"]
    size: int
    sha256: str
    mode: str


class Effect(Struct, frozen=True, kw_only=True):
    """What one step would do.

    Attributes:
        number: Its turn.
        action: What is done.
        name: What it is registered as.
        files: What becomes of files, in order.
        settings: What a plugin is loaded with.
        host: What happens in the running host: sentences for people.
        undo: What is not taken back by a way back: sentences for people.
    """

    number: int
    action: Action
    name: str
    files: tuple[FileEffect, ...]
    settings: dict[str, object]
    host: tuple[str, ...]
    undo: tuple[str, ...]


class Description(Struct, frozen=True, kw_only=True):
    """What carrying a plan out would do.

    Attributes:
        digest: Of the plan.
        effects: By step.
        bytes_written: To the destination and the registrations; as much again is kept for the way back.
        left_out: What is in no step, and why.
        conflicts: What stands against some of these.
        needs_approval: Why a person has to agree; empty if nobody has to.
    """

    digest: str
    effects: tuple[Effect, ...]
    bytes_written: int
    left_out: tuple[LeftOut, ...]
    conflicts: tuple[Conflict, ...]
    needs_approval: str


def describe(
    plan: Plan, prepared: Sequence[PreparedStep], tree: Tree, users: dict[str, tuple[str, ...]]
) -> Description:
    """Return what a plan would do.

    Args:
        plan: Which.
        prepared: What its steps come to.
        tree: Where things go.
        users: Plugins by the name of the registration whose module they import.
    """
    effects = tuple(_effect(step, tree, users.get(step.step.name, ())) for step in prepared)
    return Description(
        digest=plan.digest,
        effects=effects,
        bytes_written=sum(file.size for effect in effects for file in effect.files),
        left_out=plan.left_out,
        conflicts=plan.conflicts,
        needs_approval=plan.needs_approval,
    )


def _effect(prepared: PreparedStep, tree: Tree, users: Sequence[str]) -> Effect:
    step = prepared.step
    return Effect(
        number=step.number,
        action=step.action,
        name=step.name,
        files=tuple(_of_file(change, tree.path(change.place, change.path)) for change in prepared.changes),
        settings=dict(step.settings),
        host=tuple(_in_host(prepared, users)),
        undo=tuple(_not_undone(prepared)),
    )


def _of_file(change: Change, path: Path) -> FileEffect:
    match change.after:
        case None:
            return FileEffect(str(path), "removed", 0, "", "")
        case Folder(mode):
            return FileEffect(str(path), "made", 0, "", f"{mode:o}")
        case File(sha256, size, mode):
            return FileEffect(str(path), "written" if change.before is None else "replaced", size, sha256, f"{mode:o}")


def _in_host(prepared: PreparedStep, users: Sequence[str]) -> list[str]:
    step, before = prepared.step, prepared.before
    match step.action:
        case "load_plugin":
            answers = f", which answers {', '.join(step.tags)}" if step.tags else ""
            if before is None:
                return [f"plugin {step.name!r} is brought up{answers}, and watched in its first time"]
            if before.path != step.main or before.settings != step.settings:
                return [f"plugin {step.name!r} is stopped, and brought up anew{answers}"]
            return [f"plugin {step.name!r} is swapped{answers}: by a canary if it has calls enough, else watched"]
        case "import_utility" | "register_agent":
            swapped = [f"plugin {user!r}, which imports it, is swapped" for user in users if before is not None]
            return [f"module {step.main.removesuffix('.py')!r} is imported in a process of its own", *swapped]
        case "execute_workflow":
            assert prepared.workflow is not None
            return [f"action {action.tag!r} is done" for action in prepared.workflow.steps]
        case "index_dataset":
            return []


def _not_undone(prepared: PreparedStep) -> list[str]:
    steps = prepared.workflow.steps if prepared.workflow is not None else ()
    return [f"action {action.tag!r} has no way back" for action in steps if action.undo is None]
