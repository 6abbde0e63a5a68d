"""What the corrector says: what it found and did, what it asks to have done, and what it asks of the host.

Whatever it changes is one of these requests, and answered by a check of its own: that a module stands in the list, that
a path is inside the project. So nobody gets more by sending one than the configuration allows.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from aetherra.plugins import Message, Request, RestartPlugin

Outcome = Literal["fixed", "advised", "failed"]
"""It is mended, as a look at it has shown; a person must, and was told how; it was tried, and is not mended."""


class Corrected(Message, tag="homeostasis.corrected"):
    """A trouble in the log was dealt with.

    Attributes:
        category: What kind of trouble.
        subject: What it is about.
        outcome: How that ended.
        text: What was done, what a person should do, or why it failed.
        logger: Whose record told of it.
        exception_type: Which exception did; ``""`` if none.
        ts: Unix time.
        seconds: What it took.
    """

    category: str
    subject: dict[str, str]
    outcome: Outcome
    text: str
    logger: str
    exception_type: str
    ts: float
    seconds: float


class CorrectorStatistics(Message, tag="homeostasis.corrector_reply"):
    """What the corrector has counted since it started.

    ``detected`` is ``suppressed + gone + attempted + advised``, and ``attempted`` is ``successful + failed``.

    Attributes:
        running: Whether it listens.
        seen: Records of level WARNING and above, its own left out.
        exceptions: How many of them told of an exception.
        dropped: Those that were not looked at, as too many came.
        detected: Those that tell of a trouble it knows.
        suppressed: Those of a trouble that was looked at within its cooldown.
        gone: Those of a trouble that was over when it was looked at.
        attempted: Times that something was changed to mend it.
        successful: Those after which it was mended, as a look at it has shown.
        failed: Those after which it was not.
        advised: Times that only a person can mend it, or may.
        waiting: Records that wait to be looked at.
        watched: Plugins that have failed and are looked at again.
        categories: ``detected``, ``successful``, ``failed`` and ``advised`` of each category.
        recent: The last outcomes, newest last.
    """

    running: bool = False
    seen: int = 0
    exceptions: int = 0
    dropped: int = 0
    detected: int = 0
    suppressed: int = 0
    gone: int = 0
    attempted: int = 0
    successful: int = 0
    failed: int = 0
    advised: int = 0
    waiting: int = 0
    watched: int = 0
    categories: dict[str, dict[str, int]] = {}
    recent: tuple[Corrected, ...] = ()


class GetCorrections(Request[CorrectorStatistics], tag="homeostasis.corrector"):
    """Ask what the corrector has found and done."""


class ModuleInstalled(Message, tag="homeostasis.module_installed"):
    """pip has ended well; whether the module is there, its check says."""

    module: str
    requirement: str
    said: str


class InstallModule(Request[ModuleInstalled], tag="homeostasis.install_module"):
    """Install a module that the configuration allows, by what is named for it there."""

    module: str


class DataFileMade(Message, tag="homeostasis.data_file_made"):
    """A file was made, or a folder; ``size`` is in bytes."""

    path: str
    size: int


class MakeDataFile(Request[DataFileMade], tag="homeostasis.make_data_file"):
    """Make a missing file or folder that the configuration declares, by the path that it has there."""

    path: str


class ImportsRewritten(Message, tag="homeostasis.imports_rewritten"):
    """A file's imports name what they import by where it is now; ``backup`` has the bytes from before."""

    path: str
    backup: str
    moved: dict[str, str]


class RewriteImports(Request[ImportsRewritten], tag="homeostasis.rewrite_imports"):
    """Rewrite the imports of moved names in a file of a plugin, where the configuration allows that."""

    plugin: str
    path: str


class EditRestored(Message, tag="homeostasis.edit_restored"):
    """A file is as it was, byte for byte."""

    path: str


class RestoreEdit(Request[EditRestored], tag="homeostasis.restore_edit"):
    """Undo the last rewriting of a file, unless somebody has edited it since."""

    path: str


class OfferedDone(Message, tag="homeostasis.offered_correction_done"):
    """A plugin's own correction was made, or ``advice`` says what a person should do in place of it."""

    text: str
    advice: str = ""


class MakeOffered(Request[OfferedDone], tag="homeostasis.make_offered_correction"):
    """Make a correction that a plugin offers, named ``plugin.category``."""

    category: str
    subject: dict[str, str]


class BroughtUp(Message, tag="homeostasis.plugin_brought_up"):
    """A plugin was brought up; whether it serves, its check says."""

    plugin: str


class BringUp(Request[BroughtUp], tag="homeostasis.bring_up"):
    """Bring a plugin up that does not serve: ``anew``, by its code on disk; else by that in memory, and says why."""

    plugin: str
    anew: bool = False
    reason: str = ""

    @classmethod
    def by(cls, way: ReloadPlugin | RestartPlugin) -> BringUp:
        """Ask for what would be asked of the host."""
        if isinstance(way, RestartPlugin):
            return cls(way.plugin, reason=way.reason)
        return cls(way.plugin, anew=True)

    @property
    def way(self) -> ReloadPlugin | RestartPlugin:
        """What to ask of the host for it."""
        return ReloadPlugin(plugin=self.plugin) if self.anew else RestartPlugin(self.plugin, self.reason)


# What is asked of the host, with the fields that are read


class HostedPlugin(msgspec.Struct, frozen=True):
    """A plugin, as the host lists it."""

    name: str
    state: str
    source: str
    service: str
    tags: tuple[str, ...]
    requires: tuple[str, ...]
    reason: str


class HostedPluginList(Message, tag="kernel.plugins_reply"):
    """The plugins there are."""

    plugins: tuple[HostedPlugin, ...]


class ListHostedPlugins(Request[HostedPluginList], tag="kernel.plugins"):
    """Ask which plugins there are, failed ones too."""


class Reloaded(Message, tag="hmr.swapped"):
    """A plugin's code was loaded from disk and serves."""

    plugin: str
    generation: int


class ReloadPlugin(Request[Reloaded], tag="hmr.reload"):
    """Load a plugin's code from disk and have it serve."""

    plugin: str
