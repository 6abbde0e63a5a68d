"""Hot swap keeps what the old code promised, unless it is told otherwise."""

from __future__ import annotations

import logging

import anyio
import pytest

from aetherra.hmr import Reload, Rollback, SwapError, SwapFailed, Swapped
from aetherra.hmr.promises import is_new_major
from aetherra.kernel.spec import PluginSpec
from aetherra.plugins import HandlerError, NoHandlerError, Plugin

NARROWER = ("    count: int\n\n\nclass Ask(", "    count: int\n    unit: str\n\n\nclass Ask(")
ASK = 'class Ask(Request[Answer], tag="counter.ask"):\n    '
RENAMED = (ASK + "pass", ASK + "who: str")
OPTIONAL = (RENAMED[0], RENAMED[1] + ' = ""')
GONE = ('tag="counter.ask_slowly"', 'tag="counter.ask_later"')
NO_STATE = ("self.count = state.count", "pass")


async def refusal(kernel, request):
    """Return the ``SwapError`` that a request raises."""
    with pytest.raises(HandlerError) as caught:
        await kernel.call(request)
    assert isinstance(caught.value.__cause__, SwapError)
    return caught.value.__cause__


class TestReload:
    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (RENAMED, "counter.ask: `$.who`: is new and required"),
            (NARROWER, "counter.ask: `$reply.unit`: is new and required"),
            (GONE, "counter.ask_slowly: `$`: the request is gone"),
        ],
    )
    async def test_a_broken_promise_goes_live(self, project, change, said):
        """The old code serves on, and the error names each breaking change and the ways out."""
        async with project.host() as kernel:
            project.write("counter.py", project.counter(change))

            error = await refusal(kernel, Reload("counter"))

            assert error.code == "contract_broken"
            assert said in str(error)
            assert "(swap with force, as aetherra plugin reload counter --force does, or count the" in str(error)
            assert (await kernel.call_tag("counter.ask"))["version"] == 1

    async def test_a_field_with_a_default_is_refused(self, project):
        """Who does not know it goes on as before."""
        async with project.host() as kernel:
            project.write("counter.py", project.counter(OPTIONAL, version=2))
            await kernel.call(Reload("counter"))
            assert (await kernel.call_tag("counter.ask"))["version"] == 2

    async def test_an_event_that_may_be_defined_later_is_missed(self, project):
        """Modules are imported when they are needed, so only what handlers return counts as gone."""
        told = 'class Told(Message, tag="counter.told"):\n    pass\n\n\nclass Ask('
        async with project.host() as kernel:
            project.write("counter.py", project.counter(("class Ask(", told)))
            await kernel.call(Reload("counter"))
            project.write("counter.py", project.counter(version=2))
            await kernel.call(Reload("counter"))
            assert (await kernel.call_tag("counter.ask"))["version"] == 2

    async def test_an_event_that_a_handler_told_goes_unheard(self, project):
        """Others may wait for what a handler returns."""
        told = 'class Told(Message, tag="counter.told"):\n    pass\n\n\nclass Ask('
        telling = (
            "    @hookimpl\n",
            "    @handler\n    async def tell(self, answer: Answer) -> Told: ...\n\n    @hookimpl\n",
        )
        async with project.host() as kernel:
            project.write("counter.py", project.counter(("class Ask(", told), telling))
            await kernel.call(Reload("counter"))
            project.write("counter.py", project.counter(version=2))
            assert "counter.told: `$`: the event is gone" in str(await refusal(kernel, Reload("counter")))

    async def test_candidate_code_starts_before_it_is_compared(self, project):
        """Code that breaks its promises is refused before any of it has an effect."""
        async with project.host() as kernel:
            start = "    async def start(self, ctx) -> None:\n"
            effect = "        open('started', 'w').close()\n"
            project.write("counter.py", project.counter(RENAMED, (start, start + effect)))
            await refusal(kernel, Reload("counter"))
            assert not (project.root / "started").exists()

    async def test_force_is_refused(self, project):
        """Whoever forces it has the new code, and the tags that are gone are gone."""
        async with project.host() as kernel:
            project.write("counter.py", project.counter(RENAMED, GONE, NO_STATE, version=2))
            await kernel.call(Reload("counter", force=True))
            assert (await kernel.call_tag("counter.ask", {"who": "Ada"}))["version"] == 2
            with pytest.raises(NoHandlerError):
                await kernel.call_tag("counter.ask_slowly")

    async def test_a_new_major_version_is_refused(self, project):
        """The first number of the version says that the contract is another."""
        async with project.host() as kernel:
            versioned = ('    name = "counter"\n', '    name = "counter"\n    version = "1.0"\n')
            project.write("counter.py", project.counter(RENAMED, GONE, versioned, version=2))
            await kernel.call(Reload("counter"))
            assert (await kernel.call_tag("counter.ask", {"who": "Ada"}))["version"] == 2

    async def test_the_way_back_is_barred(self, project):
        """What a swap brought can be taken back, though the old code knows less."""
        async with project.host() as kernel:
            project.write("counter.py", project.counter(OPTIONAL, version=2))
            await kernel.call(Reload("counter", force=True))
            await kernel.call(Rollback("counter"))
            assert (await kernel.call_tag("counter.ask"))["version"] == 1


class TestWatch:
    async def test_a_save_that_breaks_a_promise_is_swapped_in_or_says_nothing(self, project, caplog):
        """A save is refused in the same words, in the log and as an event, and the next good one goes in."""
        caplog.set_level(logging.WARNING)
        async with project.host(hmr={"watch": True}) as kernel:
            with kernel.subscribe(SwapFailed) as failures, kernel.subscribe(Swapped) as swaps, anyio.fail_after(20):
                project.write("counter.py", project.counter(RENAMED, version=2))
                failed = await anext(failures)
                assert failed.code == "contract_broken"
                assert "contract_broken: counter.ask: `$.who`: is new and required" in caplog.text
                assert (await kernel.call_tag("counter.ask"))["version"] == 1

                project.write("counter.py", project.counter(OPTIONAL, version=3))
                assert (await anext(swaps)).plugin == "counter"
                assert (await kernel.call_tag("counter.ask"))["version"] == 3


class TestMajor:
    @pytest.mark.parametrize(
        ("old", "new", "major"),
        [("0", "1", True), ("1.9", "2.0", True), ("9", "10", True), ("1.2", "1.3", False), ("2", "1", False),
         ("1", "", False), ("beta", "2", False), ("1", "1", False), ("1", "v2", False)],
    )  # fmt: skip
    def test_a_version_is_misread(self, old, new, major):
        """Only a first number that grew counts; what is no number never does."""
        specs = [PluginSpec.of(type("Thing", (Plugin,), {"version": version})) for version in (old, new)]
        assert is_new_major(*specs) is major
