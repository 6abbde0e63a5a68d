"""``aetherra plugin``: make one, and change those of the running host."""

from __future__ import annotations

import datetime as dt
import keyword
import re
from pathlib import Path
from string import Template
from typing import Any, cast

import click

from aetherra.kernel.cli.output import print_json, seconds
from aetherra.kernel.cli.project import ask, host_options, json_option
from aetherra.kernel.retired import CHANCES

SWAPS_SHOWN = 10
"""Of a plugin's last swaps."""


@click.group()
def plugin() -> None:
    """Make a plugin, or swap, restart, quarantine, remove or describe one of the running host."""


@plugin.command()
@click.argument("name")
@click.option("--at", type=click.Path(path_type=Path), help="The new project's folder; default is NAME here.")
def new(name: str, at: Path | None) -> None:
    """Write a plugin project NAME: the plugin, its test, and a pyproject.toml that offers it to hosts."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise click.UsageError(f"a plugin's name is snake_case and no keyword, got {name!r}")
    folder = at or Path(name)
    words = {"name": name, "class_name": _class_name(name)}
    files = {path.format(**words): Template(text).substitute(words) for path, text in _FILES.items()}
    taken = next((folder / path for path in files if (folder / path).exists()), None)
    if taken is not None:
        raise click.ClickException(f"{taken} is there already; nothing was written")
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
        click.echo(f"wrote {folder / path}")
    click.echo(f"next: pip install -e '{folder}[dev]' && pytest {folder}, then 'aetherra run --watch' and edit it")


@plugin.command()
@click.argument("name")
@click.option("--force", is_flag=True, help="Swap even if it breaks what the plugin promised to others.")
@host_options
@json_option
def reload(name: str, force: bool, path: Path, config_file: Path | None, as_json: bool) -> None:
    """Swap in a plugin's code from disk; what serves stays if the new code is not fit."""
    _swap("hmr.reload", {"plugin": name, "force": force}, path, config_file, as_json)


@plugin.command()
@click.argument("name")
@click.option("--force", is_flag=True, help="Take the state as it was when that code was replaced, if it must.")
@click.option("--reason", default="", help="For the history.")
@host_options
@json_option
def rollback(name: str, force: bool, reason: str, path: Path, config_file: Path | None, as_json: bool) -> None:
    """Go back to the code that served before, from memory, whatever is on disk."""
    _swap("hmr.rollback", {"plugin": name, "force": force, "reason": reason}, path, config_file, as_json)


@plugin.command()
@click.argument("name")
@click.option("--reason", default="", help="For the log.")
@host_options
@json_option
def restart(name: str, reason: str, path: Path, config_file: Path | None, as_json: bool) -> None:
    """Bring up a plugin's code afresh, from memory and without its state; what serves stays if it does not start."""
    done = ask(path, config_file, "kernel.restart_plugin", {"plugin": name, "reason": reason}, timeout=90.0)
    if as_json:
        print_json(done)
    else:
        click.echo(f"{name}: generation {done['old_generation']} -> {done['generation']}")


@plugin.command()
@click.argument("name")
@click.option("--reason", default="", help="For its callers, and the log.")
@host_options
@json_option
def disable(name: str, reason: str, path: Path, config_file: Path | None, as_json: bool) -> None:
    """Stop a plugin, and keep it in quarantine until it is enabled, reloaded, rolled back, or the host ends."""
    done = ask(path, config_file, "kernel.disable_plugin", {"plugin": name, "reason": reason}, timeout=60.0)
    if as_json:
        print_json(done)
    else:
        click.echo(f"{name} is quarantined; 'aetherra plugin enable {name}' brings it back")


@plugin.command()
@click.argument("name")
@host_options
@json_option
def enable(name: str, path: Path, config_file: Path | None, as_json: bool) -> None:
    """Bring the code of a quarantined plugin back, without its state."""
    done = ask(path, config_file, "kernel.enable_plugin", {"plugin": name}, timeout=90.0)
    if as_json:
        print_json(done)
    else:
        click.echo(f"{name} serves again, as generation {done['generation']}")


@plugin.command()
@click.argument("name")
@host_options
@json_option
def remove(name: str, path: Path, config_file: Path | None, as_json: bool) -> None:
    """Stop a plugin and forget it until the host's next start; those that require it are stopped first."""
    done = ask(path, config_file, "kernel.remove_plugin", {"plugin": name}, timeout=60.0)
    if as_json:
        print_json(done)
    else:
        click.echo(f"{name} was stopped and removed")


@plugin.command()
@click.argument("name")
@click.option("--why", is_flag=True, help="Find out what keeps retired generations in memory; slows the host down.")
@host_options
@json_option
def info(name: str, why: bool, path: Path, config_file: Path | None, as_json: bool) -> None:
    """Describe one plugin: state, generation, source, tags, faults, why it failed, and who is still in memory."""
    listed = ask(path, config_file, "kernel.plugins")["plugins"]
    found = next((described for described in listed if described["name"] == name), None)
    if found is None:
        names = ", ".join(described["name"] for described in listed) or "none"
        raise click.ClickException(f"there is no plugin {name!r} here; there are: {names}")
    retired = ask(path, config_file, "kernel.retired", {"plugin": name, "why": why}, timeout=90.0)["generations"]
    hot_swap = any(described["name"] == "hmr" for described in listed)
    swaps: list[dict[str, Any]] = []
    if hot_swap:
        swaps = ask(path, config_file, "hmr.status", {"plugin": name})["swaps"]
    if as_json:
        print_json({**found, "retired": retired, "swaps": swaps})
        return
    for key, value in found.items():
        text = ", ".join(cast("list[str]", value)) if isinstance(value, list) else str(value)
        if text:
            click.echo(f"{key:11} {text}")
    for swap in swaps[-SWAPS_SHOWN:]:
        click.echo(f"{'swap':11} {_describe_swap(swap)}")
    for old in retired:
        click.echo(f"{'retired':11} {_describe_retired(old)}")


def _describe_swap(swap: dict[str, Any]) -> str:
    when = dt.datetime.fromtimestamp(swap["ts"]).astimezone().isoformat(sep=" ", timespec="seconds")
    source = f", source {swap['source'][:12]}" if swap["source"] else ""
    match swap["outcome"]:
        case "failed":
            what = f"generation {swap['generation']} kept{source}"
        case outcome:
            done = f"{swap['old_generation']} -> {swap['generation']} in {seconds(swap['seconds'])}"
            what = f"{str(outcome).replace('_', ' ')}, generation {done}{source}"
    return f"{when} {what}" + (f": {swap['problem']}" if swap["problem"] else "")


def _describe_retired(old: dict[str, Any]) -> str:
    what = f"generation {old['generation']} ended {seconds(old['seconds'])} ago; still in memory: "
    what += ", ".join(cast("list[str]", old["alive"]))
    if old["kept"] and "object" not in old["alive"]:
        return f"{what}, kept as the way back"
    if old["holder"]:
        return f"{what}, by\n{'':11} {old['holder']}"
    return what + (", perhaps not collected yet" if old["collections"] <= CHANCES else "; ask with --why")


def _class_name(name: str) -> str:
    joined = "".join(part.capitalize() for part in name.split("_"))
    return f"{joined}Plugin" if joined in ("Greet", "Greeting", "Plugin", "Settings") else joined


def _swap(tag: str, request: dict[str, Any], path: Path, config_file: Path | None, as_json: bool) -> None:
    done = ask(path, config_file, tag, request, timeout=90.0)
    if as_json:
        print_json(done)
        return
    changed = f" ({', '.join(Path(file).name for file in done['changed'])} changed)" if done["changed"] else ""
    generations = f"generation {done['old_generation']} -> {done['generation']}"
    click.echo(f"{done['plugin']}: {generations} in {seconds(done['seconds'])}{changed}")


_FILES = {
    "pyproject.toml": """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "aetherra-$name"
version = "0.1.0"
description = "The $name plugin for Aetherra hosts."
requires-python = ">=3.11"
dependencies = ["aetherra"]

[project.optional-dependencies]
dev = ["aetherra[trio]", "pytest"]

[project.entry-points."aetherra.plugins"]
$name = "aetherra_$name.plugin:$class_name"

[tool.setuptools]
packages = ["aetherra_$name"]

[tool.pytest.ini_options]
anyio_mode = "auto"
""",
    "aetherra_{name}/__init__.py": '''\
"""The $name plugin."""

from aetherra_$name.plugin import $class_name

__all__ = ["$class_name"]
''',
    "aetherra_{name}/messages.py": '''\
"""What $name says: the only file that other plugins import."""

from aetherra.plugins import Message, Request


class Greeting(Message, tag="$name.greeting"):
    """The reply to ``Greet``."""

    text: str


class Greet(Request[Greeting], tag="$name.greet"):
    """Ask for a greeting."""

    name: str
''',
    "aetherra_{name}/plugin.py": '''\
"""$class_name: greets, in the words of its settings."""

from aetherra.plugins import Plugin, Settings, handler

from aetherra_$name.messages import Greet, Greeting


class ${class_name}Settings(Settings):
    greeting: str = "Hello"


class $class_name(Plugin[${class_name}Settings]):
    name = "$name"
    requires = ("aetherra-api>=1,<2",)

    @handler
    async def greet(self, request: Greet) -> Greeting:
        return Greeting(text=f"{self.settings.greeting}, {request.name}")
''',
    "tests/test_{name}.py": '''\
"""The $name plugin, alone and in a host."""

from aetherra.kernel.testing import run_plugin
from aetherra_$name.messages import Greet, Greeting
from aetherra_$name.plugin import $class_name


async def test_it_greets_in_a_host() -> None:
    async with run_plugin($class_name, {"greeting": "Hi"}) as kernel:
        assert await kernel.call(Greet(name="Ada")) == Greeting(text="Hi, Ada")
''',
}
