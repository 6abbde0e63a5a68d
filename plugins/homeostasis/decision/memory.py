"""The controller's memory: what outlives it, and how that becomes bytes."""

from __future__ import annotations

import zlib

import msgspec

from aetherra.plugins.homeostasis.decision.case import CaseMemory
from aetherra.plugins.homeostasis.decision.changes import ChangesMemory
from aetherra.plugins.homeostasis.decision.damping import DampingMemory
from aetherra.plugins.homeostasis.decision.desk import DeskMemory
from aetherra.plugins.homeostasis.decision.errors import StateError
from aetherra.plugins.homeostasis.decision.lift import LiftsMemory
from aetherra.plugins.homeostasis.decision.limits import LimitsMemory
from aetherra.plugins.homeostasis.decision.regulator import RegulatorMemory
from aetherra.plugins.homeostasis.decision.trust import TrustMemory

__all__ = ["Memory", "decode", "encode"]

VERSION = 1
_MARK = b"decision"


class Memory(msgspec.Struct):
    """All of it. Times are the controller's own, which begins at 0 and goes on where it stood.

    Attributes:
        time: The controller's time.
        cases: By symptom and target.
        knobs: By name and target.
    """

    time: float = 0.0
    desk: DeskMemory = msgspec.field(default_factory=DeskMemory)
    cases: dict[str, dict[str, CaseMemory]] = {}
    knobs: dict[str, dict[str, RegulatorMemory]] = {}
    limits: LimitsMemory = msgspec.field(default_factory=LimitsMemory)
    lifts: LiftsMemory = msgspec.field(default_factory=LiftsMemory)
    trust: TrustMemory = msgspec.field(default_factory=TrustMemory)
    damping: DampingMemory = msgspec.field(default_factory=DampingMemory)
    changes: ChangesMemory = msgspec.field(default_factory=ChangesMemory)


def encode(memory: Memory) -> bytes:
    """Return a memory as bytes: mark, version, checksum, and the rest as MessagePack."""
    body = msgspec.msgpack.encode(memory)
    return _MARK + VERSION.to_bytes(2, "big") + zlib.crc32(body).to_bytes(4, "big") + body


def decode(state: bytes) -> Memory:
    """Return the memory that was saved.

    Raises:
        StateError: It is not whole, not ours, or of another version.
    """
    head = len(_MARK)
    if state[:head] != _MARK or len(state) < head + 6:
        raise StateError(f"expected a state of a controller, got {len(state)} bytes that begin with {state[:8]!r}")
    version = int.from_bytes(state[head : head + 2], "big")
    if version != VERSION:
        raise StateError(f"expected version {VERSION}, got {version}")
    body = state[head + 6 :]
    if zlib.crc32(body) != int.from_bytes(state[head + 2 : head + 6], "big"):
        raise StateError(f"its checksum is wrong: {len(body)} bytes, some of which have changed or are missing")
    try:
        return msgspec.msgpack.decode(body, type=Memory)
    except msgspec.MsgspecError as exc:
        raise StateError(str(exc)) from exc
