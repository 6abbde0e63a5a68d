"""A split: which of two generations answers a request, by a stable key, and how the calls of each side fared."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from hashlib import blake2b
from typing import Any

import msgspec

from aetherra.registry.codec import FAULTS
from aetherra.registry.errors import AetherraError
from aetherra.registry.identity import Identity
from aetherra.registry.latency import KEPT, Latency
from aetherra.registry.line import CallLine
from aetherra.registry.messages import Request, adapt
from aetherra.registry.route import Route

_encode = msgspec.json.Encoder(order="deterministic").encode
_HASH_BYTES = 8
_ALL = 1 << 8 * _HASH_BYTES


class SplitKeyError(AetherraError, LookupError):
    """Requests cannot be split by a field that some of them do not have."""

    def __init__(self, key: str, lacking: Iterable[str], having: Iterable[str]) -> None:
        super().__init__(key, tuple(lacking), tuple(having))
        self.key, self.lacking, self.having = key, tuple(lacking), tuple(having)

    def __str__(self) -> str:
        having = f"only {', '.join(map(repr, self.having))} can" if self.having else "no request can"
        return (
            f"{', '.join(map(repr, self.lacking))} cannot be split by {self.key!r}, which is no field there; {having}; "
            "name a field that all have, or none, to split by the whole request"
        )


class Figures(msgspec.Struct, frozen=True):
    """How the calls of one side fared since they are split.

    Attributes:
        calls: Those that reached the handler.
        refused: Those that did not: the handler's queue was full, or its class of the request has other fields.
        errors: How many of ``calls`` had no reply.
        error_types: These, by the class of what the handler raised, or of the bus's own error.
        in_hand: How many of ``calls`` are not finished.
        latency: Seconds that the last ones took, whether or not they brought a reply.
    """

    calls: int = 0
    refused: int = 0
    errors: int = 0
    error_types: dict[str, int] = {}
    in_hand: int = 0
    latency: Latency = Latency()


class Side:
    """One of the two routes of a tag, with what is counted of the calls that the split sent there."""

    def __init__(self, route: Route) -> None:
        self.route = route
        self.calls = self.refused = 0
        self.errors: Counter[str] = Counter()
        self.durations = _Durations(route.durations)

    def in_hand(self) -> int:
        """Return how many of its calls are not finished."""
        self.route.settle()
        return sum(isinstance(call.line, SideLine) and call.line.side is self for call in self.route.in_hand)


class _Durations(deque[float]):
    """Durations that are kept twice: by themselves, and among all those of a route."""

    def __init__(self, beside: deque[float]) -> None:
        super().__init__(maxlen=KEPT)
        self._beside = beside

    def append(self, seconds: float) -> None:
        super().append(seconds)
        self._beside.append(seconds)


class Pair:
    """The two sides of one tag, and how a request's key is read."""

    def __init__(self, control: Route, candidate: Route, key: str) -> None:
        self.control = Side(control)
        self.candidate = Side(candidate)
        self.tag = control.tag
        self._read: Callable[[Any], Any] | None = None
        with suppress(*FAULTS, NameError):  # types that msgspec cannot read, or cannot find
            fields = {field.name: field.type for field in msgspec.structs.fields(control.request_type)}
            self._read = msgspec.json.Decoder(fields[key] if key else control.request_type).decode

    def canonical(self, key: Any) -> bytes:
        """Write a key so that equal ones look the same, such as 1 and 1.0 in a field of floats."""
        raw = _encode(key)
        try:
            return raw if self._read is None else _encode(self._read(raw))
        except FAULTS:  # it was made in this process, with a value that its type does not have
            return raw


class Split:
    """Parts the calls of some tags between the routes of two generations.

    A key is always on the same side, for all tags and however it is called, until ``share`` is changed; a greater
    share moves keys to the candidate and none back. What cannot be encoded is on the control's side.

    Args:
        pairs: The control's and the candidate's route of each tag.
        share: The part of all keys that goes to the candidate, 0 to 1.
        key: The field of the requests that is their key; without one, all that a request says.
        salt: What makes this split choose other keys than another.

    Raises:
        SplitKeyError: A request has no such field.
        ValueError: There is no such share.
    """

    def __init__(self, pairs: Iterable[tuple[Route, Route]], *, share: float, key: str = "", salt: str = "") -> None:
        routes = list(pairs)
        having = [control.tag for control, _ in routes if key in control.request_type.__struct_fields__]
        lacking = [control.tag for control, _ in routes if control.tag not in having]
        if key and lacking:
            raise SplitKeyError(key, lacking, having)
        self.key = key
        self.share = share
        self._hash = blake2b(digest_size=_HASH_BYTES, key=salt.encode()[: blake2b.MAX_KEY_SIZE])
        self._pairs = {control: Pair(control, candidate, key) for control, candidate in routes}

    @property
    def share(self) -> float:
        """The part of all keys that goes to the candidate."""
        return self._share

    @share.setter
    def share(self, share: float) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f"expected a share from 0 to 1, got {share!r}")
        self._share = share
        self._below = int(share * _ALL)

    @property
    def pairs(self) -> Iterator[Pair]:
        """The two sides of each tag."""
        return iter(self._pairs.values())

    def concerns(self, route: Route) -> bool:
        """Whether a route is one of its sides."""
        return any(route in (pair.control.route, pair.candidate.route) for pair in self.pairs)

    def chooses(self, pair: Pair, request: Request[Any]) -> bool:
        """Whether a request, of the control's class, goes to the candidate."""
        try:
            data = pair.canonical(getattr(request, self.key) if self.key else request)
        except FAULTS:
            return False
        hashed = self._hash.copy()
        hashed.update(data)
        return int.from_bytes(hashed.digest()) < self._below

    def fork(
        self, route: Route, request_type: type[Request[Any]], caller: Identity, *, observed: bool, slow: float
    ) -> CallLine:
        """Return the line of a caller's class of request to the two sides of a control's route."""
        return Fork(self, self._pairs[route], request_type, caller, observed=observed, slow=slow)

    # Insight

    @property
    def seen_share(self) -> float | None:
        """The part of all calls so far that went to the candidate; ``None`` before the first."""
        control, candidate = (
            sum(side.calls + side.refused for side in sides)
            for sides in ([pair.control for pair in self.pairs], [pair.candidate for pair in self.pairs])
        )
        return candidate / (control + candidate) if control + candidate else None


def figures(sides: Iterable[Side]) -> Figures:
    """Add up how the calls of some sides fared."""
    all_sides = list(sides)
    errors = sum((side.errors for side in all_sides), Counter[str]())
    return Figures(
        calls=sum(side.calls for side in all_sides),
        refused=sum(side.refused for side in all_sides),
        errors=errors.total(),
        error_types=dict(sorted(errors.items())),
        in_hand=sum(side.in_hand() for side in all_sides),
        latency=Latency.of(duration for side in all_sides for duration in side.durations),
    )


class SideLine(CallLine):
    """A line to one side of a split: what becomes of its calls is counted there, too."""

    __slots__ = ("side",)

    def __init__(
        self, side: Side, request_type: type[Request[Any]], caller: Identity, *, observed: bool, slow: float
    ) -> None:
        super().__init__(side.route, request_type, caller, observed=observed, slow=slow)
        self.side = side
        self.durations = side.durations

    def enter(self, request: Request[Any]) -> tuple[CallLine, Request[Any]]:
        """Count a call, and return the request as the handler takes it."""
        try:
            request = adapt(request, (self.route.request_type,))
        except BaseException:
            self.side.refused += 1
            raise
        self.side.calls += 1
        return self, request

    def count_error(self, cause: BaseException) -> None:
        """Count a call that had no reply."""
        super().count_error(cause)
        self.side.errors[type(cause).__name__] += 1

    def count_turned_away(self) -> None:
        """Count a call that never reached the handler after all."""
        super().count_turned_away()
        self.side.calls -= 1
        self.side.refused += 1


class Fork(CallLine):
    """A line that parts: each call goes on by the line to one side or the other."""

    __slots__ = ("_candidate", "_control", "_pair", "_split")

    def __init__(
        self,
        split: Split,
        pair: Pair,
        request_type: type[Request[Any]],
        caller: Identity,
        *,
        observed: bool,
        slow: float,
    ) -> None:
        super().__init__(pair.control.route, request_type, caller, observed=observed, slow=slow)
        self.foreign = True  # so that each call asks where it goes
        self._split, self._pair = split, pair
        self._control = SideLine(pair.control, request_type, caller, observed=observed, slow=slow)
        self._candidate = SideLine(pair.candidate, request_type, caller, observed=observed, slow=slow)

    def enter(self, request: Request[Any]) -> tuple[CallLine, Request[Any]]:
        """Return the line of the side that the request belongs to, and the request as that takes it."""
        read = adapt(request, (self.route.request_type,))
        if self._split.chooses(self._pair, read):
            return self._candidate.enter(request)
        return self._control.enter(read)
