"""A plugin's state on its way to the next generation: as bytes, so that no object of the old code comes along."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from aetherra.registry import AetherraError


class StateError(AetherraError, ValueError):
    """State could not be handed over or taken over; the text says what did not fit, and where."""


class State(msgspec.Struct):
    """Base of what ``hand_over()`` returns and ``take_over()`` takes, where its fields change over time.

    Count ``version`` up when the fields change in a way that a default cannot bridge, and say in ``migrate`` how to
    read the versions before. A plain ``msgspec.Struct`` does as well: it is of version 1.
    """

    version: ClassVar[int] = 1

    @classmethod
    def migrate(cls, version: int, fields: dict[str, Any]) -> dict[str, Any]:
        """Return this version's fields, made of those of another, older or newer; called only if they differ.

        Args:
            version: Of the state as it was handed over.
            fields: Its fields by name, as msgpack has them: structs within are dictionaries.

        Raises:
            Exception: It cannot be read; the swap is undone, and the old generation goes on with its state.
        """
        del fields
        raise StateError(f"{cls.__qualname__} is of version {cls.version} and has no migrate() for version {version}")


class Parcel(msgspec.Struct, frozen=True):
    """State that was handed over, as bytes, with the version of the class that wrote it."""

    kind: str
    version: int
    data: bytes

    @classmethod
    def pack(cls, state: object) -> Parcel:
        """Encode what ``hand_over()`` returned.

        Raises:
            StateError: It is no Struct, or has something in it that msgpack cannot hold.
        """
        kind = type(state).__qualname__
        if not isinstance(state, msgspec.Struct):
            raise StateError(f"hand_over() returned a {kind}; expected a msgspec.Struct, or None")
        try:
            return cls(kind, _version(type(state)), msgspec.msgpack.encode(state))
        except (TypeError, ValueError, OverflowError, RecursionError) as exc:
            raise StateError(f"hand_over() returned a {kind} that cannot be encoded: {exc}") from exc

    def unpack(self, wanted: Any) -> Any:
        """Decode it as a class of the new code, by its ``migrate`` if that is of another version.

        State of a newer version is read by a class that has no ``migrate`` for it as far as the fields agree, so that
        going back needs no foresight.

        Raises:
            StateError: It does not fit; says where.
            Exception: What ``migrate`` raised.
        """
        version = _version(wanted)
        try:
            if version == self.version or (version < self.version and not _migrates(wanted)):
                return msgspec.msgpack.decode(self.data, type=wanted)
            return msgspec.convert(self._migrated(wanted), wanted)
        except msgspec.ValidationError as exc:
            name = getattr(wanted, "__qualname__", str(wanted))
            raise StateError(f"{self.kind} of version {self.version} is no {name} of version {version}: {exc}") from exc

    def _migrated(self, wanted: type[State]) -> dict[str, Any]:
        fields: dict[str, Any] | list[Any] = msgspec.msgpack.decode(self.data)
        if isinstance(fields, list):
            raise StateError(f"{self.kind} is encoded as a list, which migrate() cannot read by name")
        return wanted.migrate(self.version, fields)


def _version(kind: Any) -> int:
    return kind.version if isinstance(kind, type) and issubclass(kind, State) else 1


def _migrates(kind: Any) -> bool:
    """Whether its authors say how to read other versions."""
    return isinstance(kind, type) and issubclass(kind, State) and _migration(kind) is not _migration(State)


def _migration(kind: type[State]) -> object:
    return getattr(kind.migrate, "__func__", kind.migrate)
