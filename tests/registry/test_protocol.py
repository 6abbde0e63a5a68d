"""The frames of the control protocol."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.registry import (
    AetherraError,
    CallTimeoutError,
    HandlerError,
    MessageValidationError,
    NoHandlerError,
    ProtocolError,
    RemoteError,
    protocol,
)
from aetherra.registry.faults import MAX_TEXT, error_of, fault_of
from aetherra.registry.protocol import (
    AnyFrame,
    Call,
    Cancel,
    Event,
    Fault,
    Hello,
    Listen,
    Reply,
    decode,
    encode,
)

numbers = st.integers(-(2**63), 2**63 - 1)
ids = st.integers(1, 2**53)
names = st.text(max_size=protocol.MAX_NAME)
json: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | numbers | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
raw = json.map(msgspec.json.encode).map(msgspec.Raw)
frames: st.SearchStrategy[AnyFrame] = st.one_of(
    st.builds(Hello, version=numbers, name=names, pid=numbers),
    st.builds(Call, id=ids, tag=names, body=raw, timeout=st.none() | st.floats(allow_nan=False, allow_infinity=False)),
    st.builds(Reply, id=numbers, body=raw),
    st.builds(Fault, id=numbers, error=st.text(), message=st.text(), args=st.lists(json, max_size=3).map(tuple)),
    st.builds(Listen, id=ids, pattern=names),
    st.builds(Event, id=numbers, tag=st.text(), body=raw, dropped=numbers),
    st.builds(Cancel, id=ids),
)

KNOWN = [
    NoHandlerError("a.b", ["a.c"], "stopped"),
    MessageValidationError("a.b", "Expected `int` - at `$.x`"),
    CallTimeoutError("a.b", 2.0, "still at work"),
    ProtocolError("id 3 is in use"),
]


class TestFrames:
    @given(frames)
    def test_a_frame_is_one_line_that_reads_back(self, frame: AnyFrame) -> None:
        """Whatever texts and bodies a frame holds."""
        line = encode(frame)
        assert line.endswith(b"\n")
        assert line.count(b"\n") == 1
        assert decode(line[:-1]) == frame

    @given(st.binary())
    def test_garbage_is_a_protocol_error_or_a_frame(self, line: bytes) -> None:
        """Nothing that can come over a socket raises anything else."""
        with contextlib.suppress(ProtocolError):
            decode(line)

    @pytest.mark.parametrize(
        "line",
        [
            b"",
            b"{",
            b"[]",
            b'{"op":"dance"}',
            b'{"op":"call","id":"x","tag":"a"}',
            b'{"op":"call"}',
            b"\xff",
            b"[" * 9999,
        ],
    )
    def test_what_is_no_frame_is_quoted(self, line: bytes) -> None:
        """The error shows the beginning of what came."""
        with pytest.raises(ProtocolError, match="expected one frame") as caught:
            decode(line)
        assert repr(line[:80]) in str(caught.value)


class TestFaults:
    @pytest.mark.parametrize("error", KNOWN, ids=lambda error: type(error).__name__)
    def test_an_error_of_the_registry_keeps_class_and_fields(self, error: AetherraError) -> None:
        """The client catches what a caller in the host would."""
        again = error_of(decode(encode(fault_of(1, error))))  # type: ignore[arg-type]
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert vars(again) == vars(error)

    def test_a_handlers_fault_has_a_cause(self) -> None:
        """Its cause is a text of what the handler raised in the other process."""
        error = HandlerError("greeter", 2, "a.b", "ValueError: no zone")
        again = error_of(fault_of(1, error))
        assert isinstance(again.__cause__, RemoteError)
        assert "ValueError: no zone" in str(again.__cause__)

    def test_any_other_error_is_told_by_name(self) -> None:
        """Class and text survive; nothing of the host is imported at the client."""
        again = error_of(fault_of(1, KeyError("zone")))
        assert isinstance(again, RemoteError)
        assert (again.kind, again.message) == ("KeyError", "'zone'")

    def test_args_that_are_no_json_are_left_out(self) -> None:
        """The text is told all the same."""
        again = error_of(fault_of(1, AetherraError(object())))
        assert isinstance(again, RemoteError)
        assert again.kind == "AetherraError"

    @pytest.mark.parametrize("args", [("x",), ("a.b", "soon", "state"), (1, 2, 3, 4)])
    def test_fields_that_do_not_fit_here_become_a_remote_error(self, args: tuple[Any, ...]) -> None:
        """Another version of the host may have other fields."""
        again = error_of(Fault(1, "CallTimeoutError", "no reply", args))
        assert isinstance(again, RemoteError)
        assert str(again) == "CallTimeoutError: no reply"

    @pytest.mark.parametrize("name", ["is_signal", "asyncio", "nothing", "Exception", "_text"])
    def test_only_errors_of_the_registry_are_rebuilt(self, name: str) -> None:
        """A fault names a class, and calls nothing else."""
        assert isinstance(error_of(Fault(1, name, "text", ("x",))), RemoteError)

    def test_an_endless_text_is_cut(self) -> None:
        """A fault always fits into a frame."""
        frame = fault_of(1, HandlerError("greeter", 1, "a.b", "x" * 10 * MAX_TEXT))
        assert len(encode(frame)) < protocol.MIN_FRAME
        again = error_of(frame)
        assert isinstance(again, HandlerError)
        assert len(again.cause) == MAX_TEXT
