"""Permits on a real host: asked before, told after, refused, governed by nobody, by who fails, and by who has gone."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import anyio
import pytest

from aetherra.kernel import (
    AskPermission,
    CheckPermission,
    Config,
    GetGrants,
    Intent,
    Kernel,
    NotPermittedError,
    OutcomeRecorded,
    Permission,
    Plugin,
    PluginContext,
    TellOutcome,
    handler,
)
from aetherra.kernel.config import KernelConfig, PluginConfig
from aetherra.registry import current_call

INTENT = Intent(kind="knob", component="room.batch", summary="make it larger", facts={"to": 9})


class Gardener(Plugin):
    """Does things by itself."""

    async def start(self, ctx: PluginContext) -> None:
        self.given = ctx


class Judge(Plugin):
    """Answers for governance as a test wants it, and remembers what it was told."""

    name = "governance"

    def __init__(self, settings: Any = None) -> None:
        super().__init__(settings)
        self.answer = Permission(allowed=True, code="allowed", entry=7)
        self.still = self.answer
        self.asked: list[tuple[str, AskPermission]] = []
        self.told: list[TellOutcome] = []
        self.fault: Exception | None = None

    @handler
    async def ask(self, request: AskPermission) -> Permission:
        call = current_call()
        assert call is not None
        self.asked.append((str(call.caller), request))
        if self.fault is not None:
            raise self.fault
        return self.answer

    @handler
    async def check(self, request: CheckPermission) -> Permission:
        return self.still

    @handler
    async def tell(self, request: TellOutcome) -> OutcomeRecorded:
        if self.fault is not None:
            raise self.fault
        self.told.append(request)
        return OutcomeRecorded(8)


def host(profile: Any = "standard", **plugins: PluginConfig) -> Kernel:
    return Kernel(Config(profile=profile, kernel=KernelConfig(data_dir=None, discover=False), plugins=plugins))


async def gardener_of(kernel: Kernel) -> PluginContext:
    await kernel.add_plugin(gardener := Gardener)
    return kernel._running().plugins.entry(gardener.name).generation.plugin.given  # type: ignore[union-attr]


async def judge_of(kernel: Kernel) -> Judge:
    await kernel.add_plugin(Judge)
    return kernel._running().plugins.entry("governance").generation.plugin  # type: ignore[union-attr,return-value]


class TestPermitted:
    async def test_an_act_is_not_asked_about_or_not_told(self) -> None:
        """The question names the intent and comes from the plugin; the report follows the act and names the entry."""
        async with host() as kernel:
            ctx, judge = await gardener_of(kernel), await judge_of(kernel)
            async with ctx.permitted(INTENT) as permit:
                assert judge.told == []
                assert permit.entry == 7
            async with ctx.permitted(INTENT) as permit:
                permit.outcome("unchanged", "it was so already", {"was": 9})

            assert judge.asked[0] == ("plugin 'gardener' (generation 1)", AskPermission(INTENT))
            assert judge.told == [TellOutcome(7, "done"), TellOutcome(7, "unchanged", "it was so already", {"was": 9})]

    async def test_a_failed_act_is_told_as_done(self) -> None:
        """What the body raises is told and goes on; a cancelled one is told in spite of the cancellation."""
        async with host() as kernel:
            ctx, judge = await gardener_of(kernel), await judge_of(kernel)
            with pytest.raises(ZeroDivisionError):
                await self.fail(ctx)
            with anyio.CancelScope() as scope:
                async with ctx.permitted(INTENT):
                    scope.cancel()
                    await anyio.sleep_forever()

            assert judge.told == [TellOutcome(7, "failed", "no room"), TellOutcome(7, "cancelled")]

    async def test_what_is_refused_is_done(self) -> None:
        """The body does not run; the error has the code, the reason and the approval it waits for."""
        async with host() as kernel:
            ctx, judge = await gardener_of(kernel), await judge_of(kernel)
            judge.answer = Permission(
                allowed=False, code="needs_approval", reason="it waits for a person", approval="a1", retry_after=3.0
            )
            with pytest.raises(NotPermittedError) as caught:
                async with ctx.permitted(INTENT):
                    pytest.fail("it was done")

            error = caught.value
            assert (error.code, error.approval, error.retry_after) == ("needs_approval", "a1", 3.0)
            assert str(error) == "knob of 'room.batch' is not permitted: it waits for a person"
            assert judge.told == []

    async def test_a_stop_between_two_steps_is_not_seen(self) -> None:
        """``check`` raises once what was allowed is not any more, and once nobody can tell."""
        async with host() as kernel:
            ctx, judge = await gardener_of(kernel), await judge_of(kernel)
            with pytest.raises(NotPermittedError, match="a person said stop"):
                await self.be_stopped(ctx, judge)
            assert [told.outcome for told in judge.told] == ["failed"]

            judge.still = judge.answer
            with pytest.raises(NotPermittedError, match=r"does not serve|is gone"):
                await self.be_left_alone(ctx, kernel)

    async def fail(self, ctx: PluginContext) -> None:
        async with ctx.permitted(INTENT) as permit:
            permit.outcome("unchanged")
            raise ZeroDivisionError("no room")

    async def be_stopped(self, ctx: PluginContext, judge: Judge) -> None:
        async with ctx.permitted(INTENT) as permit:
            await permit.check()
            judge.still = Permission(allowed=False, code="stopped", reason="a person said stop")
            await permit.check()

    async def be_left_alone(self, ctx: PluginContext, kernel: Kernel) -> None:
        async with ctx.permitted(INTENT) as permit:
            await kernel.remove_plugin("governance")
            await permit.check()

    @pytest.mark.parametrize(
        ("profile", "allowed"), [("standard", True), ("dev", True), ("test", True), ("prod", False)]
    )
    async def test_a_host_without_governance_does_the_wrong_thing(self, profile: str, allowed: bool) -> None:
        """Where nobody governs all is allowed, but in ``prod`` nothing; a report has nobody to go to."""
        async with host(profile) as kernel:
            ctx = await gardener_of(kernel)
            assert (await ctx.peek_permission(INTENT)).allowed is allowed
            if allowed:
                async with ctx.permitted(INTENT) as permit:
                    await permit.check()
                    assert permit.entry == 0
            else:
                with pytest.raises(NotPermittedError, match="enable the plugin 'governance'"):
                    async with ctx.permitted(INTENT):
                        pytest.fail("it was done")

    async def test_an_act_is_allowed_as_governance_fails(self) -> None:
        """Who governs, and raises or is quarantined, permits nothing."""
        async with host() as kernel:
            ctx, judge = await gardener_of(kernel), await judge_of(kernel)
            judge.fault = OSError("no space left")
            with pytest.raises(NotPermittedError, match="no space left") as caught:
                async with ctx.permitted(INTENT):
                    pytest.fail("it was done")
            assert caught.value.code == "refused"

            await kernel.call_tag("kernel.disable_plugin", {"plugin": "governance"})
            with pytest.raises(NotPermittedError, match="does not serve"):
                async with ctx.permitted(INTENT):
                    pytest.fail("it was done")

    @pytest.mark.parametrize("source", ["import nothing_of_that_name", "x = 1", "raise SystemExit"])
    async def test_an_act_is_allowed_as_governance_cannot_be_loaded(self, tmp_path: Path, source: str) -> None:
        """A plugin ``governance`` whose code cannot even be read permits nothing, from the start on."""
        (tmp_path / "governance.py").write_text(source)
        async with host(governance=PluginConfig(source=str(tmp_path / "governance.py"))) as kernel:
            ctx = await gardener_of(kernel)
            peeked = await ctx.peek_permission(INTENT)
            assert (peeked.allowed, peeked.code) == (False, "refused")
            with pytest.raises(NotPermittedError, match="does not serve"):
                async with ctx.permitted(INTENT):
                    pytest.fail("it was done")

    async def test_an_act_is_allowed_while_governance_loads(self, tmp_path: Path) -> None:
        """A plugin that starts before the code of ``governance`` was read is told to wait, not that nobody governs."""
        sys.early = early = threading.Event()  # type: ignore[attr-defined]
        (tmp_path / "governance.py").write_text("import sys\nsys.early.wait(10)\n")
        (tmp_path / "early.py").write_text(
            "import sys\nfrom aetherra.plugins import Intent, Plugin\n"
            "class Early(Plugin):\n    name = 'early'\n    version = '0'\n"
            "    async def start(self, ctx):\n"
            "        seen = await ctx.peek_permission(Intent(kind='knob', component='a', summary='b'))\n"
            "        type(self).version = seen.code\n"
            "        sys.early.set()\n"
        )
        sources = {name: PluginConfig(source=str(tmp_path / f"{name}.py")) for name in ("early", "governance")}
        async with host(**sources) as kernel:
            versions = {info.name: info.version for info in kernel.plugins()}
            assert versions["early"] == "refused"
        assert early.is_set()
        del sys.early  # type: ignore[attr-defined]

    async def test_a_lost_report_breaks_the_act(self, caplog: pytest.LogCaptureFixture) -> None:
        """An act whose outcome cannot be told is done, and the log says which entry lacks it."""
        async with host() as kernel:
            ctx, judge = await gardener_of(kernel), await judge_of(kernel)
            async with ctx.permitted(INTENT):
                judge.fault = OSError("no space left")

            assert "entry 7 of the ledger" in caplog.text

    async def test_asking_needs_a_grant(self) -> None:
        """In ``prod`` a plugin without any grant may ask, as it must; it may not ask for the rest of governance."""
        async with host("prod") as kernel:
            ctx, judge = await gardener_of(kernel), await judge_of(kernel)
            async with ctx.permitted(INTENT):
                pass

            assert len(judge.told) == 1
            assert not kernel.registry.bus.capabilities.covers(ctx.identity, "call", "governance.approve")


class TestGrants:
    async def test_a_grant_is_told_wrongly(self) -> None:
        """The grants of the configuration are told of any name, also one without a plugin, and the clients it names."""
        kernel = Kernel(
            Config(
                kernel=KernelConfig(data_dir=None, discover=False, clients={"*": (), "desk": ("*:*",)}),
                plugins={"newcomer": PluginConfig(enabled=False, grants=("network:outbound",))},
            )
        )
        async with kernel:
            told = await kernel.call(GetGrants("newcomer"))
            assert (told.grants, told.clients) == (("network:outbound",), ("desk",))
            assert (await kernel.call(GetGrants("stranger"))).grants == ()
