"""Helpers: whatever way a plugin comes by one, a save of it is a save of those who use it, and of nobody else."""

from __future__ import annotations

import sys

import pytest

from aetherra.hmr import Swapped

from .hot_swap_project import editor_fixture, plugin, project_fixture

editor, project = editor_fixture, project_fixture

CACHED = """
import functools
import itertools

calls = itertools.count(1)


@functools.lru_cache
def number():
    return {number} + next(calls)
"""
DECORATING = """
import functools


def adding(function):
    @functools.wraps(function)
    async def added(self, request):
        answer = await function(self, request)
        return type(answer)(answer.value + {number})

    return added
"""
ENCLOSING = """
def make_adder():
    number = {number}

    def add(value):
        return value + number

    return add
"""
BASE = """
from aetherra.plugins import Plugin


class Base(Plugin):
    name = "counter"

    def number(self):
        return {number}
"""


class TestFiles:
    async def test_a_changed_helper_is_not_seen_by_who_imports_from_it(self, project):
        """A name that was imported from a helper is of the helper's new code after a save of it."""
        project.write("helper.py", "NUMBER = 1\n")
        project.write("counter.py", plugin("NUMBER", top="from helper import NUMBER"))
        async with project.host("counter") as host:
            for number in (2, 3):
                await project.save("helper.py", f"NUMBER = {number}\n")
                changed = (await host.outcomes_until(number))[-1].changed
                assert changed == (str(project.root / "helper.py"),)

    async def test_a_changed_helper_of_a_helper_is_not_seen(self, project):
        """A name that came by way of two other modules is new after a save of the one that it is from."""
        project.write("deepest.py", "NUMBER = 1\n")
        project.write("deeper.py", "from deepest import NUMBER\n")
        project.write("deep.py", "from deeper import NUMBER\n")
        project.write("counter.py", plugin("NUMBER", top="from deep import NUMBER"))
        async with project.host("counter") as host:
            for number in (2, 3):
                await project.save("deepest.py", f"NUMBER = {number}\n", "atomically")
                await host.outcomes_until(number)

    async def test_a_helper_of_two_plugins_swaps_one_or_three(self, project):
        """A helper that two of three plugins use swaps exactly these two."""
        project.write("shared.py", "NUMBER = 1\n")
        for name in ("one", "two"):
            project.write(f"{name}.py", plugin("NUMBER", name=name, top="from shared import NUMBER"))
        project.write("three.py", plugin(1, name="three"))
        async with project.host("one", "two", "three") as host:
            await project.save("shared.py", "NUMBER = 2\n")

            swapped = [await host.outcome(), await host.outcome()]
            assert {type(outcome) for outcome in swapped} == {Swapped}
            assert {outcome.plugin for outcome in swapped} == {"one", "two"}
            await host.nothing_else()
            assert [await host.answer(name) for name in ("one", "two", "three")] == [2, 2, 1]
            assert [host.generation(name) for name in ("one", "two", "three")] == [2, 2, 1]

    async def test_a_base_class_in_a_helper_stays_the_old_one(self, project):
        """A plugin inherits from the new code of a base class in a helper."""
        project.write("base.py", BASE.format(number=1))
        derived = plugin("self.number()", top="from base import Base").replace("Counter(Plugin)", "Counter(Base)")
        project.write("counter.py", derived)
        async with project.host("counter") as host:
            for number in (2, 3):
                await project.save("base.py", BASE.format(number=number))
                await host.outcomes_until(number)

    async def test_a_decorator_in_a_helper_stays_the_old_one(self, project):
        """What a decorator from a helper has made of a handler is made anew."""
        project.write("decorating.py", DECORATING.format(number=1))
        decorated = plugin(0, top="from decorating import adding").replace("@handler", "@handler\n    @adding")
        project.write("counter.py", decorated)
        async with project.host("counter") as host:
            assert await host.answer() == 1
            for number in (2, 3):
                await project.save("decorating.py", DECORATING.format(number=number))
                await host.outcomes_until(number)

    async def test_a_closure_from_a_helper_stays_the_old_one(self, project):
        """A function that a helper's function made is made anew, with what it encloses."""
        project.write("enclosing.py", ENCLOSING.format(number=1))
        project.write("counter.py", plugin("add(0)", top="from enclosing import make_adder\nadd = make_adder()"))
        async with project.host("counter") as host:
            for number in (2, 3):
                await project.save("enclosing.py", ENCLOSING.format(number=number))
                await host.outcomes_until(number)

    async def test_a_cache_in_a_helper_gives_the_old_value(self, project):
        """What a helper's function has cached is not there for the new code, which caches for itself."""
        project.write("cached.py", CACHED.format(number=10))
        project.write("counter.py", plugin("number()", top="from cached import number"))
        async with project.host("counter") as host:
            assert [await host.answer() for _ in range(3)] == [11, 11, 11]
            for number in (20, 30):
                await project.save("cached.py", CACHED.format(number=number))
                await host.outcomes_until(number + 1)
                assert [await host.answer() for _ in range(3)] == [number + 1] * 3

    async def test_an_import_inside_a_function_finds_old_code(self, project):
        """A helper that is imported when a call needs it is watched from then on, and new in the new generation."""
        body = "def number(self):\n    from helper import NUMBER\n    return NUMBER\n"
        project.write("helper.py", "NUMBER = 1\n")
        project.write("counter.py", plugin("self.number()", body=body))
        async with project.host("counter") as host:
            assert await host.answer() == 1
            for number in (2, 3):
                await project.save("helper.py", f"NUMBER = {number}\n")
                await host.outcomes_until(number)


class TestPackages:
    async def test_modules_that_import_each_other_mix_generations(self, project):
        """Modules of a circle are all of one generation, whichever of them was saved."""
        other = "from . import this\n\nNUMBER = {number}\n\n\ndef both():\n    return [this.NUMBER, NUMBER]\n"
        this = "from . import other\n\nNUMBER = {number}\n\n\ndef both():\n    return [NUMBER, other.NUMBER]\n"
        project.write("circle/__init__.py", plugin("[*this.both(), *other.both()]", top="from . import other, this"))
        project.write("circle/other.py", other.format(number=1))
        project.write("circle/this.py", this.format(number=1))
        async with project.host("counter=circle") as host:
            assert await host.answer() == [1, 1, 1, 1]
            await project.save("circle/this.py", this.format(number=2))
            await host.outcomes_until([2, 1, 2, 1])
            await project.save("circle/other.py", other.format(number=3))
            await host.outcomes_until([2, 3, 2, 3])

    async def test_an_absolute_import_of_its_own_module_finds_old_code(self, project):
        """A package that calls itself by its name gets its own generation, however it writes that."""
        tops = (
            "import pack.number\nfrom pack import number\nfrom pack.number import NUMBER\nfrom . import number as own"
        )
        value = "[pack.number.NUMBER, number.NUMBER, NUMBER, own.NUMBER, own is number is pack.number]"
        project.write("pack/__init__.py", plugin(value, top=tops))
        project.write("pack/number.py", "NUMBER = 1\n")
        async with project.host("counter=pack") as host:
            for number in (2, 3):
                await project.save("pack/number.py", f"NUMBER = {number}\n")
                await host.outcomes_until([number] * 4 + [True])
            assert "pack" not in sys.modules

    async def test_an_import_inside_a_function_is_of_another_generation(self, project):
        """A module that only a call imports is of the call's generation, whatever the disk says by then."""
        body = "def number(self):\n    from .late import NUMBER\n    return NUMBER\n"
        project.write("pack/__init__.py", plugin("[NUMBER, self.number()]", top="from .early import NUMBER", body=body))
        project.write("pack/early.py", "NUMBER = 1\n")
        project.write("pack/late.py", "NUMBER = 1\n")
        async with project.host("counter=pack") as host:
            await project.save_all({"pack/late.py": "NUMBER = 2\n", "pack/early.py": "oops oops\n"})
            await host.outcome()
            assert await host.answer() == [1, 1], "the first call, after the save that failed"
            await project.save("pack/early.py", "NUMBER = 2\n")
            await host.outcomes_until([2, 2])

    async def test_a_new_submodule_is_not_found(self, project):
        """A module that was not there before is found by the entry that imports it, and its edits are seen."""
        project.write("pack/__init__.py", plugin(1))
        async with project.host("counter=pack") as host:
            await project.save("pack/newcomer.py", "NUMBER = 2\n")
            await project.save("pack/__init__.py", plugin("NUMBER", top="from .newcomer import NUMBER"))
            await host.outcomes_until(2)
            for number in (3, 4):
                await project.save("pack/newcomer.py", f"NUMBER = {number}\n")
                await host.outcomes_until(number)

    async def test_an_edit_in_a_new_subpackage_is_not_seen(self, project):
        """A folder that was not there before is watched like those that were, at any depth."""
        project.write("pack/__init__.py", plugin(1))
        async with project.host("counter=pack") as host:
            await project.save("pack/new/__init__.py", "")
            await project.save("pack/new/deep/__init__.py", "from .number import NUMBER\n")
            await project.save("pack/new/deep/number.py", "NUMBER = 2\n")
            await project.save("pack/__init__.py", plugin("NUMBER", top="from .new.deep import NUMBER"))
            await host.outcomes_until(2)
            for number in (3, 4):
                await project.save("pack/new/deep/number.py", f"NUMBER = {number}\n", "atomically")
                await host.outcomes_until(number)


class TestPlaces:
    async def test_an_edit_in_a_symlinked_plugin_folder_is_not_seen(self, project):
        """A package that is linked to from where it is configured is watched at its real place."""
        project.write("elsewhere/pack/__init__.py", plugin("NUMBER", top="from .number import NUMBER"))
        project.write("elsewhere/pack/number.py", "NUMBER = 1\n")
        (project.root / "linked").symlink_to(project.root / "elsewhere" / "pack")
        async with project.host("counter=linked") as host:
            for number in (2, 3):
                await project.save("elsewhere/pack/number.py", f"NUMBER = {number}\n", "atomically")
                await host.outcomes_until(number)

    async def test_an_edit_below_a_symlinked_folder_is_not_seen(self, project):
        """A single file below a folder that is linked to is watched there, its helper too."""
        project.write("elsewhere/counter.py", plugin("NUMBER", top="from helper import NUMBER"))
        project.write("elsewhere/helper.py", "NUMBER = 1\n")
        (project.root / "linked").symlink_to(project.root / "elsewhere")
        async with project.host("counter=linked/counter.py") as host:
            await project.save("elsewhere/helper.py", "NUMBER = 2\n", "atomically")
            await host.outcomes_until(2)
            await project.save("linked/counter.py", plugin(3))
            await host.outcomes_until(3)

    async def test_a_link_that_is_set_to_another_folder_is_not_seen(self, project):
        """A link that is set to another folder, as deployments do, is a change, and that folder is watched."""
        for number in (1, 2):
            project.write(f"release_{number}/__init__.py", plugin(number))
        (project.root / "current").symlink_to(project.root / "release_1")
        async with project.host("counter=current") as host:
            (project.root / "next").symlink_to(project.root / "release_2")
            await project.save("next", str(project.root / "current"), "rename")
            await host.outcomes_until(2)
            await host.watching()
            await project.save("release_2/__init__.py", plugin(3))
            await host.outcomes_until(3)

    async def test_an_edit_of_a_plugin_in_a_namespace_package_is_not_seen(self, project, monkeypatch):
        """A plugin below a folder without an ``__init__.py``, imported by the host, is reloaded like any other."""
        name = f"acme_{project.root.name}"
        package = f"{name}/counter"
        top = f"from {name}.counter.number import NUMBER"
        project.write(f"{package}/__init__.py", plugin("NUMBER", top=top))
        project.write(f"{package}/number.py", "NUMBER = 1\n")
        monkeypatch.syspath_prepend(project.root)
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        async with project.host() as host:
            module = pytest.importorskip(f"{name}.counter")
            await host.kernel.add_plugin(module.Counter)
            assert await host.answer() == 1
            await host.nothing_else()
            for number in (2, 3):
                await project.save(f"{package}/number.py", f"NUMBER = {number}\n")
                await host.outcomes_until(number)

    async def test_an_edit_of_a_symlinked_file_is_not_seen(self, project):
        """A file that is linked to is watched at its real place."""
        project.write("elsewhere/real.py", plugin(1))
        (project.root / "linked.py").symlink_to(project.root / "elsewhere" / "real.py")
        async with project.host("counter=linked.py") as host:
            for number, how in enumerate(("in_place", "atomically"), 2):
                await project.save("elsewhere/real.py", plugin(number), how)
                await host.outcomes_until(number)

    async def test_an_edit_in_a_namespace_package_of_a_package_is_not_seen(self, project, monkeypatch):
        """A folder without an ``__init__.py`` inside a package is of the package's generation, without bytecode."""
        project.write("pack/__init__.py", plugin("NUMBER", top="from .inner.number import NUMBER"))
        project.write("pack/inner/number.py", "NUMBER = 1\n")
        monkeypatch.setattr(sys, "dont_write_bytecode", False)
        at = "1700000000000000000"
        async with project.host("counter=pack") as host:
            for number in (2, 3):
                await project.save("pack/inner/number.py", f"NUMBER = {number}\n")
                await project.save("pack/inner/number.py", at, "touch")
                await host.outcomes_until(number)
            assert not list(project.root.rglob("*.pyc"))

    async def test_an_edit_in_a_namespace_package_beside_a_file_is_not_seen(self, project):
        """A folder of helpers without an ``__init__.py`` beside a single file is the plugin's."""
        project.write("inner/number.py", "NUMBER = 1\n")
        project.write("counter.py", plugin("NUMBER", top="from inner.number import NUMBER"))
        async with project.host("counter") as host:
            for number in (2, 3):
                await project.save("inner/number.py", f"NUMBER = {number}\n")
                await host.outcomes_until(number)
