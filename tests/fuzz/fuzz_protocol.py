"""Feed the control protocol bytes that a coverage-guided fuzzer thinks of.

``python tests/fuzz/fuzz_protocol.py -runs=100000``. Whatever comes, in whatever pieces, is cut into lines and read: a
frame, or a problem in words. Nothing else is raised, and no more is held than the limit. What is decoded as a call's
body is read by a message class, or refused with a path.
"""

import sys
import tempfile
from pathlib import Path

import atheris
from msgspec import Raw

with atheris.instrument_imports(include=["aetherra.registry"]):
    from aetherra.registry import Message, MessageValidationError, ProtocolError
    from aetherra.registry.connection import HEAD, Lines, TooLong
    from aetherra.registry.messages import from_json
    from aetherra.registry.protocol import Call, Cancel, Event, Hello, Listen, Publish, decode, encode

LIMIT = 4096


class Inner(Message, tag="fuzz.inner"):
    name: str
    numbers: list[float] = []
    more: "dict[str, Inner] | None" = None


def feed(data: bytes) -> None:
    """Read one stream of bytes, in pieces that the fuzzer chooses, too."""
    provider = atheris.FuzzedDataProvider(data)
    pieces = [provider.ConsumeInt(1) & 0xFF for _ in range(4)]
    stream = provider.ConsumeBytes(provider.remaining_bytes())
    lines = Lines(LIMIT)
    at = 0
    while at < len(stream):
        size = max(1, pieces[at % 4])
        for line in lines.feed(stream[at : at + size]):
            read(line)
        at += size


def read(line: bytes | TooLong) -> None:
    """Read one line as a peer would."""
    if isinstance(line, TooLong):
        assert len(line.head) <= HEAD
        return
    assert len(line) <= LIMIT
    try:
        frame = decode(line)
    except ProtocolError:
        return
    assert decode(encode(frame)[:-1]) == frame
    if isinstance(frame, Call):
        try:
            from_json(frame.body, Inner)
        except MessageValidationError:
            return


SEEDS = (
    Hello(2, "seed"),
    Call(1, "fuzz.inner", Raw(b'{"name":"a","numbers":[1,2.5],"more":{"b":{"name":"c"}}}'), 5.0),
    Call(2, "fuzz.inner", Raw(b'{"name":3}')),
    Listen(3, "fuzz.*"),
    Event(3, "fuzz.inner", Raw(b"{}"), 1),
    Publish(4, "fuzz.inner", Raw(b'{"name":"x"}')),
    Cancel(3),
)

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as corpus:
        for number, frame in enumerate(SEEDS):
            Path(corpus, str(number)).write_bytes(encode(frame) + b"\xff\x01\x07\x20")
        atheris.Setup([*sys.argv, corpus], feed)
        atheris.Fuzz()
