"""``aetherra config``: is it right, what does it amount to, and what may stand in it."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from aetherra.kernel.cli.output import print_json, stdout_kept_clean
from aetherra.kernel.cli.project import PROJECT, config_option, load_config
from aetherra.kernel.config import LATER, Config, schema
from aetherra.kernel.sources import FileSource, installed_plugins
from aetherra.kernel.spec import PluginSpec
from aetherra.registry import AetherraError


@click.group()
def config() -> None:
    """The configuration of the project at PATH, or the file that --config names."""


@config.command()
@click.argument("path", type=PROJECT, default=".")
@config_option
def check(path: Path, config_file: Path | None) -> int:
    """Check every key and value, those of the plugins' sections too; imports the plugins."""
    loaded = load_config(path, config_file)
    specs, problems = _specs(loaded)
    for name, spec in specs.items():
        try:
            loaded.plugin_settings(name, spec.settings_type)
        except AetherraError as exc:
            problems.append(str(exc))
    _tell(problems)
    if not problems:
        click.echo(f"{loaded.path or 'the defaults'}: all right, with {len(specs)} plugins: {', '.join(sorted(specs))}")
    return int(bool(problems))


@config.command("schema")
@click.argument("path", type=PROJECT, default=".")
@config_option
def print_schema(path: Path, config_file: Path | None) -> None:
    """Print the JSON Schema of the file, with the settings of the plugins that are there."""
    specs, problems = _specs(load_config(path, config_file))
    _tell(problems)
    print_json(schema({name: spec.settings_type for name, spec in specs.items()}))


@config.command()
@click.argument("path", type=PROJECT, default=".")
@config_option
def show(path: Path, config_file: Path | None) -> None:
    """Print what the configuration amounts to, defaults included."""
    loaded = load_config(path, config_file)
    specs, problems = _specs(loaded)
    _tell(problems)
    plugins: dict[str, object] = {}
    for name, spec in specs.items():
        reserved = loaded.plugins.get(name)
        settings = msgspec.to_builtins(loaded.plugin_settings(name, spec.settings_type))
        plugins[name] = {
            "enabled": True if reserved is None else reserved.enabled,
            "source": None if reserved is None else reserved.source,
            "grants": [] if reserved is None else list(reserved.grants),
            **settings,
        }
    print_json({"profile": loaded.profile, "kernel": msgspec.to_builtins(loaded.kernel), "plugins": plugins})


def _specs(loaded: Config) -> tuple[dict[str, PluginSpec], list[str]]:
    """Import each plugin that the configuration means, and say which could not be."""
    found = {source.name: source for source in installed_plugins()} if loaded.kernel.discover else {}
    specs: dict[str, PluginSpec] = {}
    problems: list[str] = []
    for name in sorted({*found, *loaded.plugins}):
        location = loaded.plugin_source(name)
        source = FileSource(name, location) if location is not None else found.get(name)
        if source is None and name in loaded.plugins and loaded.plugins[name].source == LATER:
            continue
        if source is None:
            problems.append(f"{loaded.path}: `$.plugins.{name}`: no installed package offers it, and it has no source")
            continue
        try:
            with stdout_kept_clean():
                spec = PluginSpec.of(source.load(1).plugin_type)
        except (Exception, SystemExit) as exc:  # noqa: BLE001  # a plugin's import may raise anything
            problems.append(f"plugin {name!r} from {source}: {type(exc).__name__}: {exc}")
            continue
        if spec.name == name:
            specs[name] = spec
        else:
            problems.append(f"{loaded.path}: `$.plugins.{name}`: {source} calls itself {spec.name!r}; use one name")
    return specs, problems


def _tell(problems: list[str]) -> None:
    for problem in problems:
        click.echo(f"aetherra: {problem}", err=True)
