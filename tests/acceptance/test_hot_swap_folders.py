"""A folder of plugins: what is put into it is brought up, what is taken out is stopped."""

from __future__ import annotations

import shutil

import anyio.to_thread

from aetherra.plugins import NoHandlerError

from .hot_swap_project import editor_fixture, plugin, project_fixture, until

editor, project = editor_fixture, project_fixture


async def comes(host, name, value):
    async def answers():
        try:
            return await host.answer(name) == value
        except NoHandlerError:
            return False

    await until(answers, f"{name} answers {value!r}")


async def goes(host, name):
    def is_gone():
        return name not in {info.name for info in host.kernel.plugins()}

    await until(is_gone, f"{name} is gone")


class TestFolders:
    async def test_a_new_file_brings_no_plugin(self, project):
        """A plugin's file that is put into the folder serves, is watched, and is stopped when the file is deleted."""
        project.write("mine/first.py", plugin(1, name="first"))
        async with project.host("first=mine/first.py", sources=["mine/", "fence/"]) as host:
            await project.save("mine/second.py", plugin(1, name="second"))
            await comes(host, "second", 1)
            await project.save("mine/second.py", plugin(2, name="second"), "atomically")
            await comes(host, "second", 2)
            await project.save("mine/second.py", how="delete")
            await goes(host, "second")
            assert await host.answer("first") == 1
            await project.save("mine/second.py", plugin(3, name="second"))
            await comes(host, "second", 3)

    async def test_a_new_package_brings_no_plugin(self, project):
        """The same of a package, and of a folder that was not there yet."""
        async with project.host("counter", sources=["later/", "fence/"]) as host:
            await project.save("later/pack/number.py", "NUMBER = 1\n")
            await project.save(
                "later/pack/__init__.py", plugin("NUMBER", name="pack", top="from .number import NUMBER")
            )
            await comes(host, "pack", 1)
            await project.save("later/pack/number.py", "NUMBER = 2\n")
            await comes(host, "pack", 2)
            await anyio.to_thread.run_sync(shutil.rmtree, project.root / "later" / "pack")
            await goes(host, "pack")

    async def test_a_file_that_is_moved_leaves_its_plugin_behind(self, project):
        """A file that is moved into the folder brings its plugin, one that is moved out takes it along."""
        project.write("elsewhere/moved.py", plugin(1, name="moved"))
        (project.root / "mine").mkdir()
        async with project.host("counter", sources=["mine/", "fence/"]) as host:
            await project.save("elsewhere/moved.py", str(project.root / "mine/moved.py"), "rename")
            await comes(host, "moved", 1)
            await project.save("mine/moved.py", str(project.root / "elsewhere/moved.py"), "rename")
            await goes(host, "moved")

    async def test_a_file_that_is_no_plugin_harms_somebody(self, project):
        """Files without a plugin, and broken ones, are no plugins; a broken one is one once it is mended."""
        (project.root / "mine").mkdir()
        async with project.host("counter", sources=["mine/", "fence/"]) as host:
            await project.save("mine/notes.py", "NOTES = 1\n")
            await project.save("mine/broken.py", "oops oops\n")
            await host.nothing_else()
            assert {info.name for info in host.kernel.plugins()} == {"counter", "fence", "hmr"}
            await project.save("mine/broken.py", plugin(1, name="broken"))
            await comes(host, "broken", 1)
