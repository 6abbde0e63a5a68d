"""The configuration: one JSON file, read into frozen structs that know their path in it."""

from __future__ import annotations

import difflib
import enum
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Never, TypeVar, cast, get_args, get_origin

import msgspec

from aetherra.kernel.errors import ConfigError
from aetherra.kernel.permission import ANYBODY
from aetherra.registry import Capabilities, Identity
from aetherra.registry.capabilities import UNDECLARED, check_grant

Profile = Literal["dev", "test", "standard", "prod"]
Durability = Literal["none", "process", "power"]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=31_536_000)]
"""A duration: more than nothing, and a year at most, so that no wait is for ever."""
LATER = "later"
"""The source of a plugin that the host does not start: another plugin adds it, as self-incorporation does."""
MOST_WORKERS = 1000
"""Actions that may run at a time, whatever is asked for."""
StructT = TypeVar("StructT", bound=msgspec.Struct)
OUR_KEYS = ("profile", "kernel", "plugins")
_PLACE = re.compile(r" - at (`key` in )?`\$(.*)`$")
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]")


def convert(document: Any, wanted: Any, where: str, below: str = "") -> Any:
    """Check builtins against a type.

    Raises:
        ConfigError: With ``where``, the path from the top of the document, and the nearest key to an unknown one.
    """
    try:
        return msgspec.convert(document, wanted)
    except msgspec.ValidationError as exc:
        text = str(exc)
        found = _PLACE.search(text)
        key, inner = (found.group(1) or "", found.group(2)) if found else ("", "")
        problem = text[: found.start()] if found else text
        prefix = f".{below}" if below else ""
        place, there = _place(document, wanted, inner)
        raise ConfigError(where, f"{key}`${prefix}{place}`: {_with_hint(problem, there)}") from exc


def _place(document: Any, wanted: Any, path: str) -> tuple[str, Any]:
    """Return a path with the key in place of ``[...]``, which msgspec says of a mapping, and the type that is there."""
    before, mapping, _ = path.partition("[...]")
    there = _type_at(wanted, before)
    values = document
    for name, number in _STEP.findall(before) if mapping else ():
        values = values[int(number) if number else name]
    inner = _values_of(there)
    named = cast("dict[str, object]", values) if mapping and isinstance(values, dict) else {}
    for key, value in named.items():
        try:
            msgspec.convert(value, inner)
        except msgspec.ValidationError as exc:
            found = _PLACE.search(str(exc))
            deeper, there = _place(value, inner, found.group(2) if found else "")
            return f"{before}.{key}{deeper}", there
    return path, there


def _values_of(annotation: Any) -> Any:
    """Return what the values of the first mapping in an annotation are."""
    if get_origin(annotation) is dict:
        return get_args(annotation)[1]
    parts = () if get_origin(annotation) is Literal else get_args(annotation)
    return next((found for part in parts if (found := _values_of(part)) is not Any), Any)


def _with_hint(problem: str, wanted: Any) -> str:
    unknown = re.fullmatch(r"Object contains unknown field `(.*)`", problem)
    if unknown is not None:
        known = [field.encode_name for section in _sections(wanted) for field in msgspec.structs.fields(section)]
        near = difflib.get_close_matches(unknown.group(1), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(known) or 'no keys'}"
        return f"unknown key {unknown.group(1)!r}; {hint}"
    problem = problem[:1].lower() + problem[1:]
    choices = ", ".join(repr(choice) for leaf in _leaves(wanted) for choice in _choices(leaf))
    return f"{problem}; expected one of {choices}" if problem.startswith("invalid enum value") and choices else problem


def _type_at(wanted: Any, path: str) -> Any:
    """Return what a type says of a place in it, or ``None`` where that cannot be told."""
    for step in filter(None, path.split(".")):
        name = step.partition("[")[0]
        fields = [field for section in _sections(wanted) for field in msgspec.structs.fields(section)]
        wanted = next((field.type for field in fields if field.encode_name == name), wanted if not name else None)
    return wanted


def _leaves(annotation: Any) -> Iterator[Any]:
    """Yield the plain types in an annotation such as ``list[Zone] | None``."""
    parts = () if get_origin(annotation) is Literal else get_args(annotation)
    if not parts:
        yield annotation
    for part in parts:
        yield from _leaves(part)


def _sections(annotation: Any) -> Iterator[type[msgspec.Struct]]:
    return (leaf for leaf in _leaves(annotation) if isinstance(leaf, type) and issubclass(leaf, msgspec.Struct))


def _choices(leaf: Any) -> tuple[Any, ...]:
    if isinstance(leaf, type) and issubclass(leaf, enum.Enum):
        return tuple(member.value for member in leaf)
    return get_args(leaf)


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    def __post_init__(self) -> None:
        """Hold what a host builds in code to the bounds that a file is held to."""
        for field in msgspec.structs.fields(self):
            convert(getattr(self, field.name), field.type, type(self).__name__, field.name)


class LaneConfig(_Section, frozen=True, kw_only=True):
    """One lane: actions that may wait in it, and its share of turns."""

    capacity: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1000
    weight: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1


class LanesConfig(_Section, frozen=True, kw_only=True):
    """The three lanes."""

    high: LaneConfig = LaneConfig(weight=5)
    normal: LaneConfig = LaneConfig(weight=3)
    background: LaneConfig = LaneConfig(weight=1)


class DlqConfig(_Section, frozen=True, kw_only=True):
    """Bounds of the dead letter queue on disk; what leaves at its end is counted and logged.

    Attributes:
        max_bytes: How large one file grows before the next one begins.
        files: Files that are kept, the one that is written to among them.
        max_age: Seconds after which letters leave, a file at a time.
    """

    max_bytes: Annotated[int, msgspec.Meta(ge=1024, le=2**30)] = 16 * 2**20
    files: Annotated[int, msgspec.Meta(ge=2, le=1000)] = 5
    max_age: Seconds = 30 * 86_400.0


class KernelConfig(_Section, frozen=True, kw_only=True):
    """The kernel's own settings; durations are seconds.

    Attributes:
        data_dir: Where state lives, relative to the hosted project; ``None`` keeps everything in memory.
        control_socket: Whether other processes may call over ``control.sock`` in the data directory.
        discover: Whether plugins of installed packages are found by their entry points.
        durability: What an accepted action survives: nothing, the death of the process, or a power cut.
        workers: Actions that run at a time.
        default_timeout: For calls and attempts that name none.
        import_timeout: For importing a plugin's code.
        start_timeout: For a plugin's ``start()``, ``self_test()``, ``hand_over()`` and ``take_over()``, each.
        stop_timeout: For a plugin's ``stop()``, for the calls in its hands, and for giving back what it took, each.
        shutdown_timeout: For the whole host's stop.
        block_threshold: How long the event loop may stand still before the watchdog names who holds it.
        slow_call: From which time on a call is logged as slow.
        telemetry: Whether calls and events become OpenTelemetry spans; needs ``aetherra[otel]``.
        clients: What programs on the control socket may do, by the name that they give; ``"*"`` for all others.
        limiter: How many of ``workers`` may run at a time: all of them, or as many as latency allows (``gradient``).
        lanes: The action queue.
        dlq: The dead letter queue.
    """

    data_dir: Annotated[str, msgspec.Meta(min_length=1)] | None = ".aetherra"
    control_socket: bool = True
    discover: bool = True
    durability: Durability = "process"
    workers: Annotated[int, msgspec.Meta(ge=1, le=MOST_WORKERS)] = 8
    default_timeout: Seconds = 30.0
    import_timeout: Seconds = 15.0
    start_timeout: Seconds = 10.0
    stop_timeout: Seconds = 5.0
    shutdown_timeout: Seconds = 10.0
    block_threshold: Seconds = 1.0
    slow_call: Seconds = 1.0
    telemetry: Literal["none", "opentelemetry"] = "none"
    clients: dict[str, tuple[str, ...]] = msgspec.field(default_factory=lambda: {"*": ("*:*",)})
    limiter: Literal["none", "gradient"] = "none"
    lanes: LanesConfig = LanesConfig()
    dlq: DlqConfig = DlqConfig()


class PluginConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What the configuration says of one plugin; ``settings`` is the plugin's own part.

    A ``source`` of ``later`` means that the plugin is not started with the host: another one adds it.
    """

    enabled: bool = True
    source: str | None = None
    grants: tuple[str, ...] = ()
    settings: dict[str, Any] = {}


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """A whole configuration.

    Attributes:
        profile: ``dev``, ``test``, ``standard`` or ``prod``.
        kernel: The kernel's settings.
        plugins: By name; installed plugins that are not named here run with their defaults.
        root: The hosted project; ``data_dir`` is relative to it.
        path: The file this was read from, which plugin sources are relative to; ``None`` if there is none.
    """

    profile: Profile = "standard"
    kernel: KernelConfig = KernelConfig()
    plugins: dict[str, PluginConfig] = {}
    root: Path = Path()
    path: Path | None = None

    @classmethod
    def load(cls, path: str | Path, *, root: str | Path | None = None, profile: str | None = None) -> Config:
        """Read a file.

        Args:
            path: The JSON file.
            root: The hosted project; default is the file's folder.
            profile: Overrides the file's, as ``AETHERRA_PROFILE`` does for the command line.

        Raises:
            ConfigError: It cannot be read, is no JSON, or a key or value is wrong; names the file, the path
                in it, and what was expected.
        """
        file = Path(path)
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            raise ConfigError(str(file), f"cannot be read: {getattr(exc, 'strerror', None) or exc}") from exc
        return cls.parse(_load_json(text, str(file)), where=str(file), path=file, root=root, profile=profile)

    @classmethod
    def parse(
        cls,
        document: Any,
        *,
        where: str = "config",
        path: Path | None = None,
        root: str | Path | None = None,
        profile: str | None = None,
    ) -> Config:
        """Check a configuration given as builtins; see ``load``."""
        raw = convert(document, _File, where)
        for client, grants in raw.kernel.clients.items():
            _check_grants(grants, where, f"kernel.clients.{client}")
        plugins = {name: _plugin_config(name, body, where) for name, body in raw.plugins.items()}
        chosen = convert(profile, Profile, "AETHERRA_PROFILE") if profile else raw.profile
        folder = Path(root) if root is not None else (path.parent if path is not None else Path())
        return cls(profile=chosen, kernel=raw.kernel, plugins=plugins, root=folder.absolute(), path=path)

    @classmethod
    def in_memory(cls) -> Config:
        """A configuration with no plugins and nothing on disk: what ``Kernel()`` alone runs with."""
        return cls(kernel=KernelConfig(data_dir=None, discover=False, durability="none"), root=Path().absolute())

    @property
    def data_dir(self) -> Path | None:
        """Where state lives, if anywhere."""
        return None if self.kernel.data_dir is None else self.root / self.kernel.data_dir

    def capabilities(self) -> Capabilities:
        """Return who may do what, by the profile and the grants for clients; plugins come with their own grants."""
        capabilities = Capabilities(UNDECLARED[self.profile], anybody=ANYBODY)
        for client, grants in self.kernel.clients.items():
            capabilities.grant(Identity("remote", client), grants)
        return capabilities

    def section(self, name: str) -> PluginConfig:
        """Return what it says of a plugin; the defaults, if it says nothing."""
        return self.plugins.get(name, PluginConfig())

    def plugin_source(self, name: str) -> str | None:
        """Return the ``source`` of a plugin as an absolute path, with its ``:Class`` if it names one; or ``None``."""
        source = self.plugins[name].source if name in self.plugins else None
        if source is None or source == LATER:
            return None
        return str((self.path.parent if self.path is not None else self.root).absolute() / source)

    def plugin_settings(self, name: str, settings_type: type[StructT]) -> StructT:
        """Read a plugin's own part.

        Raises:
            ConfigError: A key or a value is wrong; names file, path, and what was expected.
        """
        body = self.plugins[name].settings if name in self.plugins else {}
        return cast("StructT", convert(body, settings_type, str(self.path or "config"), f"plugins.{name}"))


class _File(_Section, frozen=True, kw_only=True):
    """The file as it is written."""

    profile: Profile = "standard"
    kernel: KernelConfig = KernelConfig()
    plugins: dict[str, Any] = {}


class _Reserved(_Section, frozen=True, kw_only=True):
    enabled: bool = True
    source: str | None = None
    grants: tuple[str, ...] = ()


RESERVED_KEYS = _Reserved.__struct_fields__
"""What stands beside a plugin's own settings in its section, and can be no setting's name."""


def _plugin_config(name: str, section: Any, where: str) -> PluginConfig:
    body: dict[str, Any] = convert(section, dict[str, Any], where, f"plugins.{name}")
    reserved = {key: value for key, value in body.items() if key in RESERVED_KEYS}
    settings = {key: value for key, value in body.items() if key not in reserved}
    checked = convert(reserved, _Reserved, where, f"plugins.{name}")
    _check_grants(checked.grants, where, f"plugins.{name}.grants")
    return PluginConfig(enabled=checked.enabled, source=checked.source, grants=checked.grants, settings=settings)


def _check_grants(grants: tuple[str, ...], where: str, below: str) -> None:
    for i, grant in enumerate(grants):
        try:
            check_grant(grant)
        except ValueError as exc:
            raise ConfigError(where, f"`$.{below}[{i}]`: {exc}") from exc


def _load_json(text: str, where: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant, object_pairs_hook=_without_twins)
    except json.JSONDecodeError as exc:
        raise ConfigError(where, f"is not JSON: line {exc.lineno} column {exc.colno}: {exc.msg}") from exc
    except (ValueError, RecursionError) as exc:
        raise ConfigError(where, f"is not JSON that can be used: {exc}") from exc


def _no_constant(name: str) -> Never:
    raise ValueError(f"{name} is no number there")


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key {next(key for key in keys if keys.count(key) > 1)!r} stands twice in one object")
    return found


def schema(plugins: dict[str, type[msgspec.Struct]]) -> dict[str, Any]:
    """Return the JSON Schema of a configuration file for these plugins' settings."""
    prefix = "#/$defs/"
    refs, components = msgspec.json.schema_components(
        [_File, _Reserved, *plugins.values()], ref_template=prefix + "{name}"
    )
    document, reserved, *settings = (dict(components[ref["$ref"].removeprefix(prefix)]) for ref in refs)
    for ref in refs[:2]:
        del components[ref["$ref"].removeprefix(prefix)]
    sections: dict[str, Any] = {}
    for name, shape in zip(plugins, settings, strict=True):
        sections[name] = {**shape, "properties": {**reserved["properties"], **shape.get("properties", {})}}
    other = {"type": "object", "properties": reserved["properties"]}
    plugins_schema = {"type": "object", "properties": sections, "additionalProperties": other, "default": {}}
    document["properties"] = {**document["properties"], "plugins": plugins_schema}
    document["title"] = "Aetherra configuration"
    document["description"] = "One file, one rule: a plugin's settings stand under its name."
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **document, "$defs": components}
