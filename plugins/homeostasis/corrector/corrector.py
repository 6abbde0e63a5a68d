"""The corrector: listens to the log, and mends what it knows how to, one trouble at a time."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterable

import anyio

from aetherra.plugins import Advise, AetherraError, Correction, LogFacts, current_call
from aetherra.plugins.homeostasis.corrector.capability import MissingCapability
from aetherra.plugins.homeostasis.corrector.cooldowns import Cooldowns
from aetherra.plugins.homeostasis.corrector.counts import Counts
from aetherra.plugins.homeostasis.corrector.data_files import MissingDataFile, make, without_default
from aetherra.plugins.homeostasis.corrector.edits import EditError, Edits
from aetherra.plugins.homeostasis.corrector.facts import facts_of, glean_error, is_ours
from aetherra.plugins.homeostasis.corrector.hands import Hands, NotMine
from aetherra.plugins.homeostasis.corrector.hosted import HostedPlugins
from aetherra.plugins.homeostasis.corrector.intake import Intake
from aetherra.plugins.homeostasis.corrector.loading import FailedPlugins, PluginLoadFailure
from aetherra.plugins.homeostasis.corrector.messages import (
    Corrected,
    CorrectorStatistics,
    DataFileMade,
    EditRestored,
    ImportsRewritten,
    InstallModule,
    MakeDataFile,
    MakeOffered,
    ModuleInstalled,
    OfferedDone,
    Outcome,
    RestoreEdit,
    RewriteImports,
)
from aetherra.plugins.homeostasis.corrector.modules import MissingModule, install
from aetherra.plugins.homeostasis.corrector.moved_imports import DeprecatedImport, rewrite_file
from aetherra.plugins.homeostasis.corrector.offered import Offered, Offers
from aetherra.plugins.homeostasis.corrector.places import OutsideError, inside
from aetherra.plugins.homeostasis.corrector.port import Act, Port
from aetherra.plugins.homeostasis.corrector.put_off import NotNow, PutOffs
from aetherra.plugins.homeostasis.corrector.registration import ServiceRegistration
from aetherra.plugins.homeostasis.corrector.settings import CorrectorSettings
from aetherra.plugins.homeostasis.corrector.warnings_tap import WarningsTap
from aetherra.plugins.homeostasis.leave import Leave, is_worth_asking

GONE_SEC = 5.0
"""For how long a trouble that was over is not looked at again."""


class AutonomousErrorCorrector:
    """Mends troubles that the log tells of, and says of each what became of it.

    A trouble is recognised by logger names, exception types and the exceptions' own attributes, never by a text, which
    any plugin can write. It is *fixed* only if a look at it says so, *advised* if a person must mend it, or may, and
    else *failed*. The same trouble is left alone for a while after each look.

    Whatever is changed goes by ``act`` as a request; the methods from ``install_module`` on answer these. For each
    correction who governs the host is asked once, and told how it ended; one that may not be made now is put off.

    Args:
        port: The host; a plugin's context is one.
        settings: What is allowed.
        act: Has a request done that changes something.
        held: Says why nothing may be changed now; ``""`` if it may. Then troubles are advised on only.
        treated: Says what else brings a failed plugin up, by name; ``""`` if nothing does. Then it is left to that.
        leave: Asks who governs the host; one of its own by default.
        rng: What jitter is drawn from.

    Raises:
        ValueError: The settings name paths that are not there, or lead out of the project.
    """

    def __init__(
        self,
        port: Port,
        settings: CorrectorSettings,
        *,
        act: Act,
        held: Callable[[], str] = str,
        treated: Callable[[str], str] = lambda _: "",
        leave: Leave | None = None,
        rng: random.Random | None = None,
    ) -> None:
        settings.check(port.root)
        self._port = port
        self._settings = settings
        self._hands = Hands(act, held, leave or Leave(port))
        self._edits = None if port.data_dir is None else Edits(port.data_dir)
        self._put_offs = PutOffs(port.clock.monotonic)
        self._plugins = HostedPlugins(port, self._hands, self._hear, treated)
        self._failed = FailedPlugins(port, self._plugins)
        self._offers = Offers(port, self._hands)
        self._intake = Intake(settings.capacity, own=(port.log.name,))
        self._tap: WarningsTap | None = None
        chance = rng or random.Random()  # noqa: S311  # spreads looks out, and keeps no secret
        self._cooldowns = Cooldowns(port.clock.monotonic, chance, settings.cooldown, settings.cooldown_jitter)
        self._counts = Counts()
        self._loading = PluginLoadFailure(self._plugins, self._failed)
        self._categories: tuple[Correction, ...] = (  # the first that knows a trouble has it
            DeprecatedImport(port, self._hands, self._plugins, settings, self._edits),
            MissingModule(port, self._hands, self._plugins, settings),
            MissingDataFile(port, self._hands, self._plugins, settings),
            MissingCapability(),
            ServiceRegistration(self._plugins),
            self._loading,
        )
        self._scope: anyio.CancelScope | None = None
        self._revisit_at = port.clock.monotonic()
        self._begun = False
        self._turn = anyio.Lock()

    # Listening

    def start(self) -> None:
        """Listen to the log, and mend in a task of whoever runs this, if it is enabled; twice does no harm."""
        if self._scope is not None or not self._settings.enabled:
            return
        for path in without_default(self._port.root, self._settings.data_files):
            source = self._settings.data_files[path]
            self._port.log.warning("data_files.%s: %r is not there, so that nothing could be made of it", path, source)
        self._scope = anyio.CancelScope()
        logging.getLogger().addHandler(self._intake)
        self._tap = WarningsTap(self._intake.put)  # another each time: somebody may stand before the last one
        self._tap.open()
        self._port.start_soon(self._run, self._scope)

    def stop(self) -> None:
        """Listen no more, and cancel what is being mended; what waits is kept. Twice does no harm."""
        if self._scope is None:
            return
        logging.getLogger().removeHandler(self._intake)
        if self._tap is not None:
            self._tap.close()
        scope, self._scope = self._scope, None
        scope.cancel()

    def process_log_message(self, record: logging.LogRecord) -> None:
        """Take a record as if it had been logged, from any thread, and never wait; what is too much is dropped."""
        self._intake.handle(record)

    def get_statistics(self) -> CorrectorStatistics:
        """Return what was counted since this object was made."""
        return self._counts.statistics(
            running=self._scope is not None,
            seen=self._intake.seen,
            exceptions=self._intake.exceptions,
            dropped=self._intake.dropped,
            waiting=self._intake.waiting,
            watched=len(self._failed),
        )

    async def _run(self, scope: anyio.CancelScope) -> None:
        try:
            with scope:
                while True:
                    await self._port.clock.sleep(self._settings.interval)
                    await self._work_on()
        finally:
            if self._scope is scope:  # nobody has stopped it: who does not look must not seem to listen
                self.stop()

    async def _work_on(self) -> None:
        try:
            await self.work()
        except AetherraError as exc:  # the host does not answer, as when it stops
            self._port.log.warning("troubles in the log cannot be looked at: %s", exc)
        except Exception:
            self._port.log.exception("a look at the troubles in the log raised, and the next comes as planned")

    async def work(self) -> None:
        """Look at all that waits, and at plugins that have failed, once; one look after the other, whoever asks."""
        async with self._turn:
            await self._work()

    async def _work(self) -> None:
        if not self._begun:
            self._begun = True
            for facts in await self._failed.find():
                await self._look_at([facts], [self._loading])
        taken = self._intake.take()
        if taken:
            categories = [*self._categories, *self._offers.now()]
            for gleaned in taken:
                try:
                    await self._look_at(facts_of(gleaned), categories)
                except AetherraError as exc:
                    self._port.log.warning("a trouble in the log of %s was not looked at: %s", gleaned.logger, exc)
                except Exception:
                    self._port.log.exception("a look at a trouble in the log of %s raised", gleaned.logger)
        await self._look_at_put_offs()
        now = self._port.clock.monotonic()
        if now >= self._revisit_at:
            self._revisit_at = now + self._settings.revisit
            for facts, chance in await self._failed.chances():
                subject = self._loading.matches(facts)
                if subject is not None and not self._plugins.treated(subject["plugin"]):
                    await self._correct(self._loading, facts, subject, occasion=chance)

    async def _look_at(self, found: list[LogFacts], categories: Iterable[Correction]) -> None:
        for facts in found:
            if is_ours(facts, "PluginLoadError"):
                await self._failed.note(facts)
        for category in categories:
            for facts in found:
                subject = self._subject(category, facts)
                if subject is not None and await self._correct(category, facts, subject):
                    return

    async def _look_at_put_offs(self) -> None:
        """Make the corrections that were put off and may be made now."""
        for trouble, one in self._put_offs.due():
            permission = await self._port.peek_permission(one.intent)
            if not is_worth_asking(permission) and permission.code != "denied":
                self._put_offs.wait(trouble, permission.retry_after)
                continue
            self._put_offs.forget(trouble)
            self._cooldowns.shorten(trouble, 0.0)
            categories = (*self._categories, *self._offers.now())
            category = next((each for each in categories if _name(each) == one.category), None)
            if category is not None and permission.code != "denied":
                await self._correct(category, one.facts, one.subject, one.occasion)

    def _subject(self, category: Correction, facts: LogFacts) -> dict[str, str] | None:
        try:
            return category.matches(facts)
        except Exception:
            self._port.log.exception("correction %r cannot judge a record, which goes on without it", _name(category))
            return None

    def _hear(self, error: BaseException) -> None:
        """Take why a plugin did not come up as the next trouble."""
        self._intake.put(glean_error(error, self._port.log.name, time.time()))

    # Mending

    async def _correct(
        self, category: Correction, facts: LogFacts, subject: dict[str, str], occasion: str = ""
    ) -> bool:
        """Deal with a trouble; return whether it is of this category."""
        name = _name(category)
        trouble = (name, tuple(sorted(subject.items())), occasion)
        if not self._cooldowns.admit(trouble, (facts.logger, facts.template, facts.exception_type)):
            self._counts.suppressed(name)
            return True
        begun = self._port.clock.monotonic()
        try:
            ended = await self._mend(category, subject)
        except NotMine:
            self._cooldowns.shorten(trouble, 0.0)
            return False
        except NotNow as exc:
            self._put_offs.add(trouble, name, facts, subject, occasion, exc)
            ended = "advised", exc.text
        if ended is None:
            self._counts.gone(name)
            self._cooldowns.shorten(trouble, GONE_SEC)
            return True
        outcome, text = ended
        done = Corrected(
            category=name,
            subject=subject,
            outcome=outcome,
            text=text,
            logger=facts.logger,
            exception_type=facts.exception_type,
            ts=self._port.clock.time(),
            seconds=self._port.clock.monotonic() - begun,
        )
        self._counts.ended(done)
        level = logging.INFO if outcome == "fixed" else logging.WARNING
        self._port.log.log(level, "%s, %s: %s", name, outcome, text)
        await self._port.publish(done)
        return True

    async def _mend(self, category: Correction, subject: dict[str, str]) -> tuple[Outcome, str] | None:
        """Mend a trouble and return how that ended; ``None`` if it was over.

        Raises:
            NotMine: It is of another category.
            NotNow: It is put off.
        """
        acts = self._hands.acts
        limit = self._settings.timeout
        ended: tuple[Outcome, str] | None = ("failed", f"it was not done after {limit:g} s")
        try:
            with self._port.clock.move_on_after(limit):
                ended = await self._try(category, subject)
        except (NotMine, NotNow):
            raise
        except Advise as advice:
            return ("advised" if self._hands.acts == acts else "failed"), advice.text
        except Exception as exc:  # noqa: BLE001  # a plugin's own correction, or a request that was refused
            return "failed", f"{type(exc).__name__}: {exc}"
        return ended

    async def _try(self, category: Correction, subject: dict[str, str]) -> tuple[Outcome, str] | None:
        async with self._hands.correcting(_name(category), subject) as correcting:
            if await category.check(subject):
                return None
            text = await category.fix(subject)
            is_mended = await category.check(subject)
            if not is_mended:
                text = f"{text}, and a look at it shows that it is as it was"
            if correcting.permit is not None:
                correcting.permit.outcome("done" if is_mended else "failed", text)
            return ("fixed" if is_mended else "failed"), text

    # Answering what is asked for on the way

    async def install_module(self, request: InstallModule) -> ModuleInstalled:
        """Install a module that the configuration allows.

        Raises:
            InstallError: It does not, or pip failed.
        """
        return await install(request.module, self._settings, self._port.clock, self._port.root)

    async def make_data_file(self, request: MakeDataFile) -> DataFileMade:
        """Make a file or folder that the configuration declares.

        Raises:
            DataFileNotMadeError: It does not, or that cannot be made.
        """
        return await self._port.run_sync(make, self._port.root, request.path, self._settings.data_files)

    async def rewrite_imports(self, request: RewriteImports) -> ImportsRewritten:
        """Rewrite imports of moved names in a plugin's file, if the configuration allows edits.

        An edit that was withdrawn is made only for who calls for it, and for no action that comes late.

        Raises:
            EditError: It does not, or that cannot be done.
        """
        plugin = await self._plugins.get(request.plugin)
        if plugin is None:
            raise EditError(request.path, f"there is no plugin {request.plugin!r}")
        call = current_call()
        now = call is not None and call.kind == "call"  # our own come as actions, maybe late
        return await self._port.run_sync(
            rewrite_file, self._port.root, plugin, request.path, self._settings, self._kept(request.path), now
        )

    async def restore_edit(self, request: RestoreEdit) -> EditRestored:
        """Undo the last rewriting of a file, byte for byte.

        Raises:
            EditError: There was none, or somebody has edited the file since.
        """
        try:
            place = inside(self._port.root, request.path)
            await self._port.run_sync(self._kept(request.path).restore, place)
        except (OutsideError, OSError) as exc:
            raise EditError(request.path, str(exc)) from exc
        return EditRestored(str(place))

    async def make_offered(self, request: MakeOffered) -> OfferedDone:
        """Make a correction that a plugin offers.

        Raises:
            LookupError: None is offered by that name now.
        """
        return await self._offers.make(request)

    def _kept(self, path: str) -> Edits:
        if self._edits is None:
            raise EditError(path, "the host keeps nothing on disk, so there is no place for the backup")
        return self._edits


def _name(category: Correction) -> str:
    return category.called if isinstance(category, Offered) else category.name
