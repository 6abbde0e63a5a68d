"""The vocabulary: messages with a tag, requests with a typed reply, and their decoding."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterable
from typing import Any, ForwardRef, Generic, TypeVar, Union, cast, dataclass_transform, get_args, get_origin

import msgspec

from aetherra.registry.errors import MessageDefinitionError, MessageValidationError

TAG_FIELD = "$tag"
"""The key that carries the tag in an encoded message; it is no valid field name, so none can collide."""

ReplyT_co = TypeVar("ReplyT_co", covariant=True)
MessageT = TypeVar("MessageT", bound="Message")


def _is_tagged(cls: type) -> bool:
    config: msgspec.structs.StructConfig | None = getattr(cls, "__struct_config__", None)
    return config is not None and config.tag is not None


def _check_tag(name: str, tag: object) -> None:
    parts = tag.split(".") if isinstance(tag, str) else [""]
    if not all(part and part.replace("_", "").replace("-", "").isalnum() for part in parts):
        raise MessageDefinitionError(
            f"message {name!r} has tag {tag!r}; expected words of letters, digits, '_' and '-' joined by dots, "
            f"such as 'thermostat.reading'"
        )


class MessageMeta(msgspec.StructMeta):
    """Makes every subclass frozen, for type checkers too, and gives it the tag that it names."""

    def __new__(
        mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], *, tag: str | None = None, **config: Any
    ) -> Any:
        """Create a message class; without ``tag`` it is a base for others and cannot be sent."""
        if config.get("frozen") is False:
            raise MessageDefinitionError(f"message {name!r} is not frozen; it is passed by reference, so it must be")
        if tag is not None:
            _check_tag(name, tag)
            config.update(tag=tag, tag_field=TAG_FIELD)
        elif any(_is_tagged(base) for base in bases):
            config["tag"] = False
        return super().__new__(mcls, name, bases, namespace, **config)


@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class Message(msgspec.Struct, metaclass=MessageMeta, frozen=True):
    """What plugins say to one another: an *event*, published, heard by any number.

    Subclass with a tag, ``class Hello(Message, tag="greeter.hello")``. The tag is the name on the wire
    and what routes go by, so that another generation's class, or another plugin's own declaration with
    the same tag and the fields it reads, hears the same messages.
    """


class Request(Message, Generic[ReplyT_co]):
    """A message that exactly one handler answers, with a reply of the type in the brackets.

    ``class Greet(Request["Greeting"], tag="greeter.greet")``. What can be called can be submitted as an action.
    """


def tag_of(message_type: type[Message]) -> str:
    """Return the tag of a message class.

    Raises:
        MessageDefinitionError: The class names no tag, or is no message.
    """
    if not (isinstance(message_type, type) and issubclass(message_type, Message)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise MessageDefinitionError(f"{message_type!r} is no message class: subclass Message or Request")
    config = message_type.__struct_config__
    if not config.tag:
        raise MessageDefinitionError(
            f'message {message_type.__qualname__!r} has no tag; write class {message_type.__name__}(..., tag="...")'
        )
    return cast("str", config.tag)


def reply_annotation(request_type: type[Request[Any]]) -> Any:
    """Return what stands in ``Request[...]``: a type, a union, ``None``, or ``Any`` if it names nothing known here.

    A forward reference is looked up in the module that defines the class. One to a class local to a
    function cannot be found from there; the handler's return annotation then stands in for it.
    """
    for base in request_type.__mro__:
        for generic in getattr(base, "__orig_bases__", ()):
            if get_origin(generic) is Request:
                (reply,) = get_args(generic)
                return _resolve(reply, base.__module__)
    return Any


def _resolve(annotation: Any, module: str) -> Any:
    if isinstance(annotation, ForwardRef):
        annotation = annotation.__forward_arg__
    if isinstance(annotation, str):
        try:
            return eval(annotation, vars(sys.modules[module]))  # noqa: S307  # the author's own source text
        except (NameError, AttributeError, KeyError):
            return Any
    return Any if isinstance(annotation, TypeVar) else annotation


def message_classes(annotation: Any) -> tuple[type, ...]:
    """Return the classes that a reply annotation admits; empty for ``Any``."""
    if annotation is None or annotation is type(None):
        return (type(None),)
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(cls for part in get_args(annotation) for cls in message_classes(part))
    return (annotation,) if isinstance(annotation, type) and issubclass(annotation, Message) else ()


def from_builtins(body: Any, message_type: type[MessageT]) -> MessageT:
    """Decode builtins (as from JSON) into a message.

    Raises:
        MessageValidationError: A field is missing, unknown or of the wrong type; the text holds its path.
    """
    tag = tag_of(message_type)
    if isinstance(body, dict):
        keys = {str(key) for key in cast("Iterable[object]", body)}
        fields = {field.encode_name for field in msgspec.structs.fields(message_type)}
        unknown = sorted(keys - fields - {TAG_FIELD})
        if unknown:
            raise MessageValidationError(
                tag, f"unknown field {unknown[0]!r} - at `$`; expected {', '.join(sorted(fields)) or 'no fields'}"
            )
    return cast("MessageT", _convert(body, message_type, tag))


def read_reply(request_type: type[Request[Any]], body: Any) -> Any:
    """Decode builtins into what a request is answered with; fields that its class does not name are dropped.

    Raises:
        MessageValidationError: A field is missing or of the wrong type; the text holds its path.
    """
    return _convert(body, reply_annotation(request_type), tag_of(request_type))


def _convert(body: Any, wanted: Any, tag: str) -> Any:
    try:
        return msgspec.convert(body, wanted, str_keys=True)  # JSON has no other keys
    except msgspec.ValidationError as exc:
        raise MessageValidationError(tag, str(exc)) from exc


def to_builtins(message: Message | None, *, tagged: bool = False) -> Any:
    """Encode a message to builtins; ``tagged`` keeps the tag, for a reader that must tell several types apart."""
    body: Any = msgspec.to_builtins(message)
    if tagged or not isinstance(body, dict):
        return body
    return {key: value for key, value in cast("dict[str, Any]", body).items() if key != TAG_FIELD}


def adapt(message: Message | None, classes: tuple[type, ...]) -> Any:
    """Return ``message`` as one of ``classes``: itself if it is one already, else converted by tag.

    This is what lets two generations, or two plugins with their own declarations, understand each other:
    fields that the wanted class does not name are dropped, missing ones take their defaults.

    Raises:
        MessageValidationError: No class has its tag, or a field does not fit; the text holds its path.
    """
    if not classes or isinstance(message, classes):
        return message
    tag = tag_of(type(message)) if isinstance(message, Message) else None
    for wanted in classes:
        if tag is not None and issubclass(wanted, Message) and wanted.__struct_config__.tag == tag:
            try:
                return msgspec.convert(msgspec.to_builtins(message), wanted)
            except (msgspec.ValidationError, TypeError) as exc:  # TypeError: a field holds what msgspec cannot encode
                raise MessageValidationError(tag, str(exc)) from exc
    expected = " or ".join(repr(wanted.__name__) for wanted in classes)
    raise MessageValidationError(tag or "(no message)", f"expected {expected}, got {type(message).__name__!r}")
