"""What a plugin author writes: the ``Plugin`` class, its settings, and the marks on its methods."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Generic, cast, dataclass_transform, overload

import msgspec

from aetherra.kernel.errors import PluginDefinitionError
from aetherra.registry import Overflow

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    from aetherra.kernel.context import PluginContext
else:
    from typing import TypeVar

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


class SettingsMeta(msgspec.StructMeta):
    """Makes every subclass frozen, keyword-only and strict about unknown keys."""

    def __new__(mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **config: Any) -> Any:
        """Create a settings class."""
        config = {"frozen": True, "kw_only": True, "forbid_unknown_fields": True, **config}
        return super().__new__(mcls, name, bases, namespace, **config)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class Settings(msgspec.Struct, metaclass=SettingsMeta, frozen=True, kw_only=True):
    """A plugin's settings: fields with types and defaults, read from its section of the configuration."""


if TYPE_CHECKING:
    SettingsT = TypeVar("SettingsT", bound=Settings, default=Settings)
else:  # a default needs Python 3.13 at run time; only type checkers use it
    SettingsT = TypeVar("SettingsT", bound=Settings)


class HandlerMark(msgspec.Struct, frozen=True):
    """What ``@handler`` says of a method."""

    blocking: bool
    timeout: float | None
    limit: int | None
    queue: int
    fallback: bool
    capacity: int
    overflow: Overflow


class EveryMark(msgspec.Struct, frozen=True):
    """What ``@every`` says of a method: seconds, or the setting that holds them."""

    interval: float | str
    at_start: bool


HANDLER_ATTRIBUTE = "__aetherra_handler__"
EVERY_ATTRIBUTE = "__aetherra_every__"


@overload
def handler(function: FunctionT, /) -> FunctionT: ...
@overload
def handler(
    *,
    blocking: bool = ...,
    timeout: float | None = ...,
    limit: int | None = ...,
    queue: int = ...,
    fallback: bool = ...,
    capacity: int = ...,
    overflow: Overflow = ...,
) -> Callable[[FunctionT], FunctionT]: ...
def handler(
    function: Any = None,
    /,
    *,
    blocking: bool = False,
    timeout: float | None = None,
    limit: int | None = None,
    queue: int = 1000,
    fallback: bool = False,
    capacity: int = 1000,
    overflow: Overflow = "drop_oldest",
) -> Any:
    """Mark a method that takes one message: it answers a request, or hears an event.

    The annotation of its parameter says which message; a request's handler returns the reply. What an
    event's handler returns is published, unless it is ``None``. An event's handler takes one event at a time.

    Args:
        function: The method.
        blocking: For a plain function that computes or waits: run it in a worker thread.
        timeout: Seconds at most for one message, whatever a request's caller allows.
        limit: For requests: how many calls may be inside at a time; ``None`` for no bound.
        queue: For requests with a limit: how many calls may wait, within their own deadlines; one more gets
            ``HandlerBusyError``.
        fallback: For requests: answer only while no other plugin does.
        capacity: For events: how many may wait.
        overflow: For events: what happens to the next one when that many do.
    """
    if timeout is not None and not timeout > 0:
        raise ValueError(f"expected a timeout of more than 0 seconds, got {timeout!r}")
    if limit is not None and limit < 1:
        raise ValueError(f"expected a limit of at least 1, or None for none, got {limit!r}")
    if queue < 0:
        raise ValueError(f"expected a queue of at least 0, got {queue!r}")
    if capacity < 1:
        raise ValueError(f"expected a capacity of at least 1, got {capacity!r}")

    def mark(marked: Any) -> Any:
        setattr(marked, HANDLER_ATTRIBUTE, HandlerMark(blocking, timeout, limit, queue, fallback, capacity, overflow))
        return marked

    return mark if function is None else mark(function)


def every(interval: float | str, *, at_start: bool = False) -> Callable[[FunctionT], FunctionT]:
    """Mark a method to run again and again while the plugin serves.

    Args:
        interval: Seconds from one start to the next, or the name of the setting that holds them. A run that takes
            longer delays the next; none overlap.
        at_start: Whether the first run comes at once rather than after one interval.

    A run that raises is logged and counted, makes the plugin ``degraded``, and does not end the series.
    """
    if isinstance(interval, (int, float)) and not interval > 0:
        raise ValueError(f"expected an interval of more than 0 seconds, got {interval!r}")

    def mark(marked: FunctionT) -> FunctionT:
        setattr(marked, EVERY_ATTRIBUTE, EveryMark(interval, at_start))
        return marked

    return mark


class Plugin(Generic[SettingsT]):
    """Base of every plugin. ``Plugin[MySettings]`` names its settings; a bare ``Plugin`` has none.

    Class attributes, all optional:

    Attributes:
        name: What configuration and logs call it; default is the class name in snake_case.
        service: What its service is registered as; default is ``name``.
        version: Of its own; a text.
        requires: What must be there first: names of plugins, and the plugin API it was made for, as in
            ``("aetherra-api>=1,<2", "self_improvement")``.
        capabilities: What it wants to say to others, such as ``("call:selfimprovement.*",)``; its own tags need none.
        heartbeat: Seconds after which its service is ``degraded`` if it did not call ``ctx.heartbeat()``; ``None`` for
            a service that sends none.
        privileges: What it asks of the host beyond messages; see ``docs/plugins.md``.
        exclusive: Whether it owns something that two generations cannot hold at once, such as a port: hot swap then
            stops the old one before the new one starts, and starts the old code again if the new one fails.
        data_files: Files that it reads beside its code, as glob patterns from the folder of its module, such as
            ``("templates/**/*.html",)``: hot swap takes their change for a change of the code.
    """

    name: ClassVar[str] = ""
    service: ClassVar[str] = ""
    version: ClassVar[str] = "0"
    requires: ClassVar[tuple[str, ...]] = ()
    capabilities: ClassVar[tuple[str, ...]] = ()
    heartbeat: ClassVar[float | None] = None
    privileges: ClassVar[tuple[str, ...]] = ()
    exclusive: ClassVar[bool] = False
    data_files: ClassVar[tuple[str, ...]] = ()

    _context: PluginContext | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = name_of_class(cls.__name__)

    def __init__(self, settings: SettingsT | None = None) -> None:
        self.settings: SettingsT = settings if settings is not None else cast("SettingsT", settings_type(type(self))())

    @property
    def ctx(self) -> PluginContext:
        """The plugin's way to the host, from just before ``start()`` on.

        Raises:
            RuntimeError: The plugin is not hosted, as in a unit test of one method.
        """
        if self._context is None:
            raise RuntimeError(f"plugin {self.name!r} is not hosted: its context is there from start() on")
        return self._context

    def bind(self, context: PluginContext) -> None:
        """Give the plugin its context; the host's part."""
        self._context = context

    async def start(self, ctx: PluginContext) -> None:
        """Take what is needed, through ``ctx``, which gives all of it back in reverse. Bounded by ``start_timeout``."""

    async def stop(self) -> None:
        """Say good-bye, with the context still whole and no call in hand. Bounded by ``stop_timeout``."""

    async def self_test(self) -> None:
        """Raise to refuse promotion: called on a candidate before it takes over."""

    async def hand_over(self) -> msgspec.Struct | None:
        """Return the state for the next generation, or ``None``; called with no call in hand. See ``State``."""
        return None

    async def take_over(self, state: Any) -> None:
        """Take the state of the generation before, as the Struct that the parameter is annotated with."""


def name_of_class(class_name: str) -> str:
    """Return the name that a plugin of this class has if it does not give itself one."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", class_name).lower()


def settings_type(plugin_type: type[Plugin[Any]]) -> type[Settings]:
    """Return the settings class that stands in ``Plugin[...]``, or ``Settings`` if none does.

    Raises:
        PluginDefinitionError: What stands there is something else.
    """
    for base in plugin_type.__mro__:
        for generic in getattr(base, "__orig_bases__", ()):
            origin = getattr(generic, "__origin__", None)
            if isinstance(origin, type) and issubclass(origin, Plugin):
                (settings,) = generic.__args__
                if isinstance(settings, type) and issubclass(settings, Settings):
                    return settings
                if not isinstance(settings, TypeVar):
                    raise PluginDefinitionError(
                        f"{base.__qualname__} is a Plugin[{settings!r}]; expected a subclass of Settings"
                    )
    return Settings
