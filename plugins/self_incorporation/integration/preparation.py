"""Preparation: what a plan comes to in changes of files, with every byte at hand before the first of them is made."""

from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from aetherra.plugins import DataFileError
from aetherra.plugins.self_incorporation.index.paths import original
from aetherra.plugins.self_incorporation.integration.blobs import look, telling
from aetherra.plugins.self_incorporation.integration.catalogue import (
    CatalogueEntry,
    WorkflowEntry,
    agent_entry,
    utility_entry,
)
from aetherra.plugins.self_incorporation.integration.datasets import DatasetError, describe_dataset
from aetherra.plugins.self_incorporation.integration.errors import IntegrationError, ItemChangedError
from aetherra.plugins.self_incorporation.integration.plan import Plan, PlannedFile, Step
from aetherra.plugins.self_incorporation.integration.registrations import (
    Registration,
    encoded,
    file_name,
    registration,
)
from aetherra.plugins.self_incorporation.integration.tree import Change, File, Tree
from aetherra.plugins.self_incorporation.integration.workflows import Workflow, WorkflowError, read_workflow

__all__ = ["INCORPORATED", "REGISTRATIONS", "PreparedStep", "prepare"]

INCORPORATED = "incorporated"
"""The place of what is copied, in a tree."""
REGISTRATIONS = "registrations"
"""The place of registrations."""


class PreparedStep(Struct, frozen=True):
    """A step, and all it will change.

    Attributes:
        step: As planned.
        code: Changes of its files.
        registering: The change of its registration, which is made after these.
        before: What was registered under its name; ``None`` if nothing was.
        after: What will be.
        workflow: The actions to do, if that is what it is.
    """

    step: Step
    code: tuple[Change, ...]
    registering: tuple[Change, ...]
    before: Registration | None
    after: Registration
    workflow: Workflow | None = None

    @property
    def changes(self) -> tuple[Change, ...]:
        """All changes, in order."""
        return (*self.code, *self.registering)


def prepare(
    plan: Plan, tree: Tree, token: str, registered: Mapping[str, Registration], *, keep: bool = True
) -> tuple[PreparedStep, ...]:
    """Return what the steps of a plan come to.

    Args:
        plan: Which.
        tree: Where things go.
        token: What the integration is called.
        registered: What is there.
        keep: Whether contents are put among the tree's blobs; without, nothing is written at all.

    Raises:
        ItemChangedError: A file is not what was judged.
        PlaceChangedError: Something stands in the way that cannot be kept and put back.
        IntegrationError: A step cannot be done; says which and why.
        DataFileError: Something cannot be read, or kept.
    """
    return tuple(_prepared(step, tree, token, registered.get(step.name), keep=keep) for step in plan.steps)


def _prepared(step: Step, tree: Tree, token: str, before: Registration | None, *, keep: bool) -> PreparedStep:
    if (before.digest if before is not None else "") != step.replaces:
        raise IntegrationError(step.name, "what is registered under this name is not what was planned for; plan again")
    contents: dict[str, Path] = {}
    wanted: dict[str, File] = {}
    for file in step.files:
        mode, contents[file.source] = _taken(step, file, tree, keep=keep)
        if file.target:
            wanted[file.target] = File(file.sha256, file.size, 0o755 if mode & 0o100 else 0o644)
    code = tree.change(INCORPORATED, step.main, wanted, keep=keep) if wanted else ()
    if before is not None and before.path and before.path != step.main:
        code = (*code, *tree.change(INCORPORATED, before.path, {}, keep=keep))
    workflow, entry = _entry(step, contents)
    after = registration(step, token, step.uses, entry)
    data = encoded(after)
    sha256 = tree.blobs.put(data) if keep else ""
    name = file_name(step.name)
    registering = tree.change(REGISTRATIONS, name, {name: File(sha256, len(data), 0o600)}, keep=keep)
    return PreparedStep(step, code, registering, before, after, workflow)


def _taken(step: Step, file: PlannedFile, tree: Tree, *, keep: bool) -> tuple[int, Path]:
    """Take a file in if it is what was judged; return its permissions, and where its content can be read."""
    path = Path(step.root, original(file.source))
    try:
        blob = tree.blobs.take(path) if keep else look(path)
    except DataFileError as exc:
        if isinstance(exc.__cause__, FileNotFoundError):
            raise ItemChangedError(str(path), "it is gone") from exc
        raise
    if blob.sha256 != file.sha256:
        raise ItemChangedError(str(path), f"its SHA-256 was {file.sha256[:12]}..., and is {blob.sha256[:12]}...")
    return blob.mode, tree.blobs.path(blob.sha256) if keep else path


def _entry(step: Step, contents: Mapping[str, Path]) -> tuple[Workflow | None, CatalogueEntry | None]:
    """Return the actions of a workflow, and what the catalogue is to have."""
    if step.action == "load_plugin":
        return None, None
    first = step.files[0]
    main = contents[_main_source(step)]
    try:
        if step.action == "index_dataset":
            path = str(Path(step.root, original(first.source)))
            return None, describe_dataset(main, path, first.sha256, first.size)
        with telling(main, "read"):
            data = main.read_bytes()
        module = step.main.removesuffix(".py")
        if step.action == "register_agent":
            return None, agent_entry(module, data)
        if step.action == "import_utility":
            return None, utility_entry(module, data)
        workflow = read_workflow(data)
    except (DatasetError, WorkflowError, SyntaxError, ValueError) as exc:
        raise IntegrationError(step.name, str(exc)) from exc
    tags = tuple(action.tag for action in workflow.steps)
    final = tuple(action.tag for action in workflow.steps if action.undo is None)
    return workflow, WorkflowEntry(tags, final)


def _main_source(step: Step) -> str:
    """Return the file that is loaded: the only one, or the ``__init__.py`` of a package."""
    for file in step.files:
        if file.target in (step.main, f"{step.main}/__init__.py"):
            return file.source
    return step.files[0].source
