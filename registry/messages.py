"""The vocabulary: messages with a tag, requests with a typed reply, and their decoding."""

from __future__ import annotations

import difflib
import sys
import types
from collections.abc import Callable
from typing import Any, ClassVar, ForwardRef, Generic, TypeVar, Union, cast, dataclass_transform, get_args, get_origin

import msgspec

from aetherra.registry.codec import FAULTS, TAG_FIELD, Codec
from aetherra.registry.errors import MessageDefinitionError, MessageValidationError
from aetherra.registry.renames import renamed_from

__all__ = [
    "TAG_FIELD",
    "Message",
    "MessageMeta",
    "Request",
    "adapt",
    "from_builtins",
    "from_json",
    "message_classes",
    "read_reply",
    "renamed_from",
    "reply_annotation",
    "reply_from_json",
    "tag_of",
    "to_builtins",
    "to_json",
]

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
        message_type: Any = super().__new__(mcls, name, bases, namespace, **config)
        message_type.__codec__ = Codec(message_type)
        return message_type


@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class Message(msgspec.Struct, metaclass=MessageMeta, frozen=True):
    """What plugins say to one another: an *event*, published, heard by any number.

    Subclass with a tag, ``class Hello(Message, tag="greeter.hello")``. The tag is the name on the wire
    and what routes go by, so that another generation's class, or another plugin's own declaration with
    the same tag and the fields it reads, hears the same messages.
    """

    __codec__: ClassVar[Codec]


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
    """Decode builtins (as from JSON) into a message; old names of renamed fields are taken.

    Raises:
        MessageValidationError: A field is missing, unknown or of the wrong type; the text holds its path.
    """
    codec = message_type.__codec__
    tag = codec.tag or tag_of(message_type)
    try:
        if isinstance(body, dict) and not body.keys() <= codec.names:
            _refuse_unknown({str(key) for key in cast("dict[object, Any]", body)}, codec, tag)
        message: MessageT = codec.read(body)
    except FAULTS as exc:
        raise _misfit(tag, exc) from exc
    return message


def _refuse_unknown(names: set[str], codec: Codec, tag: str) -> None:
    old_names = codec.renames.at_top if codec.renames is not None else frozenset[str]()
    unknown = sorted(names - codec.names - old_names - {TAG_FIELD})
    if unknown:
        fields = ", ".join(sorted(codec.names)) or "no fields"
        near = difflib.get_close_matches(unknown[0], codec.names, n=1)
        meant = f" (did you mean {near[0]!r}?)" if near else ""
        raise MessageValidationError(tag, f"unknown field {unknown[0]!r} - at `$`; expected {fields}{meant}")


def from_json(raw: bytes | msgspec.Raw, message_type: type[MessageT]) -> MessageT:
    """Decode JSON into a message, with the promises of ``from_builtins``.

    Raises:
        MessageValidationError: It is not JSON, or a field is missing, unknown or of the wrong type.
    """
    decode = message_type.__codec__.decode
    if decode is not None:
        try:
            message: MessageT = decode(raw)
        except FAULTS:  # by way of builtins, which takes old names too and tells every fault in the same words
            pass
        else:
            return message
    return from_builtins(_decoded(raw, tag_of(message_type)), message_type)


def _decoded(raw: bytes | msgspec.Raw, tag: str) -> Any:
    try:
        return msgspec.json.decode(raw)
    except FAULTS as exc:
        raise _misfit(tag, exc) from exc


def read_reply(request_type: type[Request[Any]], body: Any) -> Any:
    """Decode builtins into what a request is answered with; fields that its class does not name are dropped.

    Raises:
        MessageValidationError: A field is missing or of the wrong type; the text holds its path.
    """
    annotation, tag = reply_annotation(request_type), tag_of(request_type)
    try:
        codec = _codec_for(body, annotation)
        return msgspec.convert(body, annotation, str_keys=True) if codec is None else codec.read(body)
    except FAULTS as exc:
        raise _misfit(tag, exc) from exc


def _codec_for(body: Any, annotation: Any) -> Codec | None:
    """The codec of the one class that a reply can be, by its tag if there are several."""
    if not isinstance(body, dict):
        return None
    classes = [cls for cls in message_classes(annotation) if issubclass(cls, Message)]
    if len(classes) > 1:
        tag = cast("dict[str, Any]", body).get(TAG_FIELD)
        classes = [cls for cls in classes if cls.__codec__.tag == tag]
    return classes[0].__codec__ if len(classes) == 1 else None


def reply_from_json(request_type: type[Request[Any]], raw: bytes | msgspec.Raw) -> Any:
    """Decode JSON into what a request is answered with, with the promises of ``read_reply``.

    Raises:
        MessageValidationError: It is not JSON, or a field is missing or of the wrong type.
    """
    decode = request_type.__codec__.decode_reply or _reply_decoder(request_type)
    if decode is not None:
        try:
            return decode(raw)
        except FAULTS:  # by way of builtins, which tells every fault in the same words
            pass
    return read_reply(request_type, _decoded(raw, tag_of(request_type)))


def _reply_decoder(request_type: type[Request[Any]]) -> Callable[[bytes | msgspec.Raw], Any] | None:
    """Make what reads a reply from JSON at once, and keep it; ``None`` if it has old names, or may be anything yet."""
    annotation = reply_annotation(request_type)
    classes = message_classes(annotation)
    if not classes or any(cls.__codec__.renames is not None for cls in classes if issubclass(cls, Message)):
        return None
    request_type.__codec__.decode_reply = decode = msgspec.json.Decoder(annotation).decode
    return decode


def to_builtins(message: Message | None, *, tagged: bool = False) -> Any:
    """Encode a message to builtins; ``tagged`` keeps the tag, for a reader that must tell several types apart.

    Raises:
        MessageValidationError: A field holds what JSON has no form for.
    """
    try:
        body: Any = msgspec.to_builtins(message)
    except FAULTS as exc:
        raise _misfit(_name(message), exc) from exc
    if tagged or not isinstance(body, dict):
        return body
    cast("dict[str, Any]", body).pop(TAG_FIELD, None)
    return cast("dict[str, Any]", body)


def to_json(message: Message | None, *, tagged: bool = False) -> bytes:
    """Encode a message to JSON; ``tagged`` as in ``to_builtins``.

    Raises:
        MessageValidationError: A field holds what JSON has no form for, such as NaN; the text holds its path.
    """
    if message is None:
        return b"null"
    try:
        return message.__codec__.encode(message, tagged=tagged)
    except FAULTS as exc:
        raise _misfit(_name(message), exc) from exc


def adapt(message: Message | None, classes: tuple[type, ...]) -> Any:
    """Return ``message`` as one of ``classes``: itself if it is one already, else converted by tag.

    This is what lets two generations, or two plugins with their own declarations, understand each other:
    fields that the wanted class does not name are dropped, missing ones take their old names or their defaults.

    Raises:
        MessageValidationError: No class has its tag, or a field does not fit; the text holds its path.
    """
    if not classes or isinstance(message, classes):
        return message
    if isinstance(message, Message):
        codec = message.__codec__
        tag = codec.tag or tag_of(type(message))
        for wanted in classes:
            own: Codec | None = getattr(wanted, "__codec__", None)
            if own is not None and own.tag == tag:
                try:
                    return own.read_message(message, codec)
                except FAULTS as exc:
                    raise _misfit(tag, exc) from exc
    expected = " or ".join(repr(wanted.__name__) for wanted in classes)
    raise MessageValidationError(_name(message), f"expected {expected}, got {type(message).__name__!r}")


def _name(message: Any) -> str:
    return (isinstance(message, Message) and message.__codec__.tag) or "(no message)"


def _misfit(tag: str, fault: Exception) -> MessageValidationError:
    if isinstance(fault, MessageValidationError):  # which is a ValueError
        return fault
    return MessageValidationError(tag, "it is nested too deeply" if isinstance(fault, RecursionError) else str(fault))
