"""State on its way between generations: by bytes, with a version, read by the class of the new code."""

from __future__ import annotations

import datetime as dt
from typing import Any, ClassVar

import msgspec
import pytest

from aetherra.kernel.state import Parcel, State, StateError


class First(State):
    count: int


class Second(State):
    version: ClassVar[int] = 2
    total: int
    since: dt.datetime | None = None

    @classmethod
    def migrate(cls, version: int, fields: dict[str, Any]) -> dict[str, Any]:
        if version > 2:
            raise ValueError("from a time to come")
        return {"total": fields["count"] * 10}


class Unread(State):
    version: ClassVar[int] = 3
    total: int


class Plain(msgspec.Struct):
    count: int


class PlainOther(msgspec.Struct):
    total: int


class Listed(msgspec.Struct, array_like=True):
    count: int


class TestParcel:
    def test_an_object_of_the_old_code_comes_along(self) -> None:
        """What is unpacked is the new code's own, made of bytes."""
        state = First(3)
        unpacked = Parcel.pack(state).unpack(First)
        assert (unpacked, unpacked is state) == (First(3), False)

    def test_an_older_version_is_not_migrated(self) -> None:
        """The new class reads it by ``migrate``."""
        assert Parcel.pack(First(3)).unpack(Second) == Second(30)

    def test_the_same_version_is_migrated(self) -> None:
        """Then the fields are what they are."""
        now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
        assert Parcel.pack(Second(3, now)).unpack(Second) == Second(3, now)

    def test_a_plain_struct_cannot_become_a_state(self) -> None:
        """It is of version 1."""
        assert Parcel.pack(Plain(3)).unpack(Second) == Second(30)
        assert Parcel.pack(Plain(3)).unpack(First) == First(3)

    def test_a_version_without_migrate_is_guessed_at(self) -> None:
        """A class that counts its version up without saying how to read the ones before refuses, and says so."""
        with pytest.raises(StateError, match=r"Unread is of version 3 and has no migrate\(\) for version 1"):
            Parcel.pack(First(3)).unpack(Unread)

    def test_going_back_needs_foresight(self) -> None:
        """A newer state is read by an older class as far as the fields agree."""
        assert Parcel.pack(Second(3)).unpack(PlainOther) == PlainOther(3)
        with pytest.raises(StateError, match=r"Second of version 2 is no Plain of version 1: .*missing.*`count`"):
            Parcel.pack(Second(3)).unpack(Plain)

    def test_an_older_class_that_migrates_is_not_asked_about_newer_state(self) -> None:
        """It has its say, and what it raises comes out."""
        with pytest.raises(ValueError, match="from a time to come"):
            Parcel.pack(Unread(3)).unpack(Second)

    @pytest.mark.parametrize(
        ("state", "said"),
        [
            ({"count": 3}, "returned a dict; expected a msgspec.Struct, or None"),
            (msgspec.defstruct("Odd", ["it"])(object()), "a Odd that cannot be encoded"),
            (First(2**70), "a First that cannot be encoded"),
        ],
    )
    def test_what_cannot_be_packed_is_lost_in_silence(self, state: object, said: str) -> None:
        """The text says what it was, and what was expected."""
        with pytest.raises(StateError, match=said):
            Parcel.pack(state)

    def test_fields_without_names_are_migrated(self) -> None:
        """A list has no names to migrate by."""
        with pytest.raises(StateError, match="Listed is encoded as a list"):
            Parcel.pack(Listed(3)).unpack(Second)

    def test_a_migration_that_leaves_a_field_out_is_taken(self) -> None:
        """What ``migrate`` returned is checked like anything else."""

        class Forgetful(State):
            version: ClassVar[int] = 2
            total: int

            @classmethod
            def migrate(cls, version: int, fields: dict[str, Any]) -> dict[str, Any]:
                return {}

        with pytest.raises(StateError, match=r"First of version 1 is no .*Forgetful of version 2: .*`total`"):
            Parcel.pack(First(3)).unpack(Forgetful)
