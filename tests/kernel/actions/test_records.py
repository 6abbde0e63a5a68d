"""The journal's records: what is written of an action is read as it was."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aetherra.kernel import ActionEnvelope, ActionPriority, RetryPolicy
from aetherra.kernel.actions import records
from aetherra.kernel.actions.records import Accepted, Attempted, Finished
from aetherra.registry import Message, MessageValidationError, Request


class Struck(Message, tag="records.struck"):
    ore: str


class Strike(Request[Struck], tag="records.strike"):
    place: str
    extra: Any = None


class Shallow(Request[None], tag="records.strike"):
    place: str
    depth: int


moments = st.floats(0, 1e10)
builtins = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
names = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=32)
envelopes = st.builds(
    ActionEnvelope,
    st.builds(Strike, st.text(), builtins),
    priority=st.sampled_from(ActionPriority),
    timeout=st.floats(0.001, 1e6),
    deadline=st.none() | moments,
    retry=st.builds(RetryPolicy, st.integers(1, 9), st.floats(0, 5), st.floats(5, 9), st.floats(1, 9), st.booleans()),
    target=st.text(),
    idempotency_key=st.text(max_size=50),
    idempotency_window=st.floats(0.1, 1e6),
    trace_id=names,
    enqueued=moments,
    correlation_id=st.text(),
    causation_id=st.text(),
)


def read_back(record: bytes) -> Any:
    assert b"\n" not in record
    assert b"\t" not in record
    said = records.read(record)
    assert said is not None
    return said


class TestPlain:
    def test_a_reply_keeps_its_class(self) -> None:
        """The record of an end as it is read back holds builtins; and says if JSON cannot hold the reply."""
        end = Finished("a", ("x", "k"), 5.0, Strike("x"))
        plain = records.plain(end)
        assert (plain.trace_id, plain.key, plain.until, plain.lost) == ("a", ("x", "k"), 5.0, False)
        assert type(plain.reply) is dict
        assert records.done(plain) == records.done(end)
        assert records.plain(Finished("a", ("x", "k"), 5.0, object())).lost


class TestAccepted:
    @given(envelopes)
    @example(ActionEnvelope(Strike("x")))
    def test_an_envelope_is_read_as_it_was_written(self, envelope: ActionEnvelope) -> None:
        """Every field, whatever stands in it; and written once more it is the same."""
        said = read_back(records.accepted(envelope))

        assert isinstance(said, Accepted)
        assert said.envelope(Strike) == envelope
        assert (said.action_type, said.trace_id) == ("records.strike", envelope.trace_id)
        assert said.params == {"place": envelope.request.place, "extra": envelope.request.extra}  # type: ignore[attr-defined]
        assert read_back(records.accepted(said)) == said

    def test_what_an_envelope_leaves_out_is_read_as_its_default(self) -> None:
        """Both classes have the same fields with the same defaults; the record holds what differs alone."""
        own = {field.name: field for field in msgspec.structs.fields(Accepted)}
        theirs = {field.name: field for field in msgspec.structs.fields(ActionEnvelope)}

        assert own.keys() == theirs.keys()
        assert {name: field.default for name, field in own.items() if name != "trace_id"} == {
            name: field.default for name, field in theirs.items() if name != "trace_id"
        }
        assert records.accepted(ActionEnvelope(Strike("x"), trace_id="t")) == (
            b'A {"request":{"$tag":"records.strike","place":"x","extra":null},"trace_id":"t"}'
        )

    @pytest.mark.parametrize(
        "extra",
        [object(), {(1, 2): 3}, "\ud800", float("nan"), [{"deep": float("inf")}]],
        ids=["object", "key", "half", "nan", "inf"],
    )
    def test_a_request_that_json_cannot_hold_is_refused(self, extra: Any) -> None:
        """What could not be read back must not be accepted; the error names the type."""
        with pytest.raises(MessageValidationError, match=r"records\.strike.*cannot be kept in the journal"):
            records.accepted(ActionEnvelope(Strike("x", extra)))

    def test_a_request_that_is_nested_without_end_is_refused(self) -> None:
        """A list that holds itself."""
        extra: list[Any] = []
        extra.append(extra)
        with pytest.raises(MessageValidationError, match="cannot be kept in the journal"):
            records.accepted(ActionEnvelope(Strike("x", extra)))

    def test_json_that_somebody_else_has_written_ends_no_line(self) -> None:
        """Raw JSON is laid out as its writer liked; the record is one line all the same."""
        raw = msgspec.Raw(b'{\n\t"depth": [1,\n2]\n}')
        said = read_back(records.accepted(ActionEnvelope(Strike("x", raw), trace_id="t")))

        assert said.params["extra"] == {"depth": [1, 2]}
        kept = read_back(records.done(Finished("t", ("records.strike", "k"), 5.0, Strike("x", raw))))
        assert kept.reply["extra"] == {"depth": [1, 2]}

    def test_a_request_of_other_fields_today_cannot_be_taken_up(self) -> None:
        """The error names what does not fit."""
        said = read_back(records.accepted(ActionEnvelope(Strike("x"))))
        with pytest.raises(MessageValidationError, match=r"records\.strike"):
            said.envelope(Shallow)

    def test_an_envelope_that_would_be_refused_today_cannot_be_taken_up(self) -> None:
        """Bounds that have become tighter, or a file that somebody has edited."""
        for field in (b'"timeout":-1.0', b'"idempotency_key":"k","idempotency_window":0.0'):
            record = b'A {"request":{"$tag":"records.strike","place":"x"},"trace_id":"t",' + field + b"}"
            with pytest.raises(MessageValidationError, match=r"expected .* seconds"):
                read_back(record).envelope(Strike)


class TestOthers:
    @given(names, st.integers(0, 10**9))
    def test_attempts_and_ends_are_read_as_they_were_written(self, trace_id: str, attempts: int) -> None:
        """Of whatever name an action has."""
        assert read_back(records.attempted(trace_id, attempts)) == Attempted(trace_id, attempts)
        assert read_back(records.finished(trace_id)) == Finished(trace_id)

    @given(names, st.text(), moments, st.text())
    def test_work_done_under_a_key_is_read_as_it_was_written(
        self, trace_id: str, key: str, until: float, ore: str
    ) -> None:
        """With its reply, tag and all, as builtins."""
        end = Finished(trace_id, ("records.strike", key), until, Struck(ore))
        said = read_back(records.done(end))

        assert said == Finished(trace_id, end.key, until, {"$tag": "records.struck", "ore": ore})
        assert read_back(records.done(said)) == said

    @pytest.mark.parametrize("reply", [object(), "\ud800", Strike("x", float("nan"))], ids=["object", "half", "nan"])
    def test_a_reply_that_json_cannot_hold_is_lost_and_the_key_is_not(self, reply: Any) -> None:
        """The work is not done again for it."""
        end = Finished("t", ("records.strike", "k"), 5.0, reply)

        assert read_back(records.done(end)) == Finished("t", ("records.strike", "k"), 5.0, None, lost=True)


class TestAlien:
    @pytest.mark.parametrize(
        "record",
        [
            b"",
            b"A",
            b"A ",
            b"A {}",
            b"A null",
            b"A {",
            b'A {"request":{},"trace_id":3}',
            b"A " + b"[" * 100_000,
            b"A \xff",
            b"B",
            b"B x t",
            b"B 1.5 t",
            b"B  t",
            b"B 1 \xff",
            b"F \xff",
            b"K {}",
            b"K {",
            b"X t",
            b"a {}",
        ],
    )
    def test_what_is_no_record_is_said_to_be_none(self, record: bytes) -> None:
        """It stops nobody from reading the next."""
        assert records.read(record) is None

    @given(st.binary(max_size=60), st.sampled_from([b"", b"A ", b"B ", b"F ", b"K ", b'A {"request":{"$tag":']))
    def test_no_bytes_stop_the_reader(self, rest: bytes, letter: bytes) -> None:
        """Whatever they are, they are a record or none."""
        assert isinstance(records.read(letter + rest), Accepted | Attempted | Finished | None)
