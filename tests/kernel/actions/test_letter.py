"""A dead letter: what it tells, that it can always be written, and the envelope that sends its action again."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.kernel import ActionEnvelope, ActionPriority, DeadLetter, RetryPolicy
from aetherra.kernel.actions.letter import LetterFilter, is_strange_letter, read_letter, write_letter
from aetherra.registry import HandlerError, Identity, MessageValidationError, Request


class Water(Request[None], tag="letter.water"):
    zone: str
    extra: Any = None


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError("not me")


def letter(**fields: Any) -> DeadLetter:
    return msgspec.structs.replace(
        DeadLetter.of(ActionEnvelope(Water("north")), "failed", ts=1.0, attempts=1, error=None), **fields
    )


def round_trip(written: DeadLetter) -> DeadLetter:
    line = write_letter(written)
    assert b"\n" not in line
    found = read_letter(line)
    assert found is not None
    return found


class TestDeadLetter:
    def test_it_tells_what_the_handler_raised_and_who_the_handler_was(self) -> None:
        """Type, text, traceback, plugin and generation of the cause, not of its wrapping."""
        try:
            try:
                raise KeyError("valve")
            except KeyError as exc:
                raise HandlerError.of(Identity("plugin", "garden", 4), "letter.water", exc) from exc
        except HandlerError as exc:
            envelope = ActionEnvelope(Water("north"), priority=ActionPriority.HIGH, timeout=5.0)
            found = DeadLetter.of(envelope, "failed", ts=7.0, attempts=2, error=exc)

        assert (found.error_type, found.plugin, found.generation) == ("KeyError", "garden", 4)
        assert "valve" in found.message
        assert "test_letter.py" in found.traceback
        assert 'raise KeyError("valve")' in found.traceback
        assert (found.ts, found.attempts, found.timeout, found.priority) == (7.0, 2, 5.0, ActionPriority.HIGH)
        assert (found.action_type, found.params) == ("letter.water", {"zone": "north", "extra": None})

    @pytest.mark.parametrize("extra", [object(), {(1, 2): 3}, "\ud800", 2**70, {1, 2}, b"\xff"])
    def test_a_request_that_json_cannot_hold_still_gets_its_letter(self, extra: Any) -> None:
        """Whatever a field holds, the letter is written and can be read."""
        error = OSError("no such file: '\udcff'")
        found = round_trip(
            DeadLetter.of(ActionEnvelope(Water("north", extra)), "failed", ts=1.0, attempts=1, error=error)
        )

        assert "north" in json.dumps(found.params)
        assert found.message == r"no such file: '\udcff'"

    def test_nor_does_a_repr_that_raises_keep_it_from_being_written(self) -> None:
        """What an object does when it is looked at is its own affair."""
        envelope = ActionEnvelope(Water("north", Unshowable()))
        found = round_trip(DeadLetter.of(envelope, "failed", ts=1.0, attempts=1, error=None))
        assert "RuntimeError" in json.dumps(found.params)

    @pytest.mark.parametrize("field", ["target", "idempotency_key", "correlation_id", "causation_id"])
    def test_a_name_that_utf8_cannot_hold_is_written_as_near_as_can_be(self, field: str) -> None:
        """Half a character in a name that a program chose loses no letter."""
        envelope = ActionEnvelope(Water("north"), **{field: "a\udcff"})
        found = round_trip(DeadLetter.of(envelope, "failed", ts=1.0, attempts=1, error=None))
        assert getattr(found, field) == r"a\udcff"

    def test_params_that_cannot_be_written_stand_there_as_text(self) -> None:
        """The letter is there, for people to read."""
        found = round_trip(letter(params={"zone": "\ud800", "object": object()}))
        assert list(found.params) == ["unreadable"]
        assert "object" in found.params["unreadable"]

    @given(depth=st.integers(1, 400))
    def test_params_however_deep_are_read_again_or_shown(self, depth: int) -> None:
        """There is no depth at which a request can be written, and its letter cannot be read."""
        nested: Any = None
        for _ in range(depth):
            nested = [nested]
        found = round_trip(DeadLetter.of(ActionEnvelope(Water("n", nested)), "failed", ts=1.0, attempts=1, error=None))
        assert found.params.keys() in ({"zone", "extra"}, {"unreadable"})


class TestEnvelope:
    def test_it_sends_the_action_again_as_a_new_one(self) -> None:
        """All its attempts, no deadline, its lane, its target and its conversation; a name of its own."""
        old = ActionEnvelope(
            Water("north"),
            priority=ActionPriority.LOW,
            timeout=7.0,
            deadline=5.0,
            retry=RetryPolicy(5),
            target="garden",
        )
        written = DeadLetter.of(old, "expired", ts=9.0, attempts=5, error=None)
        new = written.envelope(Water)

        assert new.request == Water("north")
        assert (new.priority, new.timeout, new.retry, new.target) == (ActionPriority.LOW, 7.0, RetryPolicy(5), "garden")
        assert new.deadline is None
        assert new.trace_id != old.trace_id
        assert (new.correlation_id, new.causation_id) == (old.trace_id, old.trace_id)

    def test_sent_twice_it_is_the_same_action(self) -> None:
        """Its idempotency key is its own, or made from its trace id, and there is room for the longest."""
        keyed = DeadLetter.of(ActionEnvelope(Water("n"), idempotency_key="k"), "failed", ts=1.0, attempts=1, error=None)
        plain = letter(trace_id="t" * 128)
        assert keyed.envelope(Water).idempotency_key == "k"
        assert (
            plain.envelope(Water).idempotency_key == plain.envelope(Water).idempotency_key == f"redrive of {'t' * 128}"
        )

    def test_a_class_that_has_other_fields_today_is_told(self) -> None:
        """Before anything is sent."""

        class Other(Request[None], tag="letter.other"):
            litres: int

        with pytest.raises(MessageValidationError, match="unknown field"):
            letter().envelope(Other)


class TestLines:
    @pytest.mark.parametrize(
        "line", [b"", b"hello", b"{}", b"[]", b"\xff", b"[" * 100_000, b'{"ts": 1, "reason": "failed"}', b"\0" * 9]
    )
    def test_what_is_no_letter_of_any_version(self, line: bytes) -> None:
        """It is read as none, and kept aside."""
        assert read_letter(line) is None
        assert not is_strange_letter(line)

    def test_a_letter_of_another_version(self) -> None:
        """With fields more it is read; with a reason that is new it is known for what it is."""
        line = write_letter(letter())
        more = read_letter(line[:-1] + b',"colour":"red"}')
        assert more == letter(trace_id=more.trace_id if more is not None else "")
        newer = line.replace(b'"failed"', b'"eaten"')
        assert read_letter(newer) is None
        assert is_strange_letter(newer)

    @given(cut=st.integers(0, 10**6))
    def test_no_part_of_a_letter_is_taken_for_one(self, cut: int) -> None:
        """Torn anywhere, it is told from a whole one."""
        line = write_letter(letter())
        torn = line[: cut % len(line)]
        assert read_letter(torn) is None
        assert not is_strange_letter(torn)


class TestLetterFilter:
    def test_all_that_is_given_is_to_fit(self) -> None:
        """Nothing given means all; ``since`` is the first moment, ``before`` the first that is not meant."""
        written = letter(trace_id="t", ts=5.0, reason="failed")
        assert LetterFilter().fits(written)
        assert LetterFilter(
            trace_ids=frozenset("t"),
            reason="failed",
            action_type="letter.water",
            since=5.0,
            before=math.nextafter(5, 6),
        ).fits(written)
        for wrong in (
            LetterFilter(trace_ids=frozenset()),
            LetterFilter(reason="timeout"),
            LetterFilter(action_type="letter"),
            LetterFilter(since=math.nextafter(5, 6)),
            LetterFilter(before=5.0),
        ):
            assert not wrong.fits(written)
