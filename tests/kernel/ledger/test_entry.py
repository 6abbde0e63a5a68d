"""An entry: what its hash is of, and that a line is it to the last byte."""

from __future__ import annotations

import json
import subprocess

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.kernel.ledger.chain import Draft, Tip
from aetherra.kernel.ledger.entry import Entry, hash_of, is_sealed, read_line

SECRET = b"s" * 32
TIP = Tip(ledger="l" * 32)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
FACTS = st.dictionaries(
    TEXT,
    st.one_of(TEXT, st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False), st.booleans()),
)


def entry(**fields: object) -> Entry:
    return TIP.next_entry(Draft(**{"kind": "knob", "actor": "plugin:a", **fields}), 1.5, SECRET)  # type: ignore[arg-type]


class TestHash:
    def test_the_hash_is_of_something_else_than_a_reader_finds(self) -> None:
        """SHA-256 of the line without the hash: two tools of any system are enough."""
        trap = '"entry_hash":"x",'
        written = entry(summary=f"ünïcode ✓ \x07 {trap}", code=trap, facts={"entry_hash": "x", "a": 2.5, trap: 1e300})
        cut = subprocess.run(
            ["sed", 's/"entry_hash":"[0-9a-f]*",//'], input=written.line, capture_output=True, check=True
        )
        told = subprocess.run(["sha256sum"], input=cut.stdout.rstrip(b"\n"), capture_output=True, check=True).stdout

        assert told.split()[0].decode() == json.loads(written.line)["entry_hash"] == hash_of(written)

    @pytest.mark.parametrize("field", [name for name in Entry.__struct_fields__ if name != "entry_hash"])
    def test_a_field_is_not_covered(self, field: str) -> None:
        """The hash is of every field."""
        written = entry(facts={"a": 1})
        value = getattr(written, field)
        other = {**value, "b": 1} if isinstance(value, dict) else value + type(value)(1)

        assert hash_of(msgspec.structs.replace(written, **{field: other})) != hash_of(written)

    def test_a_seal_fits_another_ledger_or_key(self) -> None:
        """A seal is of one entry, in one ledger, by one key."""
        written = entry()

        assert is_sealed(written, TIP.ledger, SECRET)
        assert not is_sealed(written, "another", SECRET)
        assert not is_sealed(written, TIP.ledger, b"t" * 32)
        assert not is_sealed(msgspec.structs.replace(written, code="allowed"), TIP.ledger, SECRET)
        assert not is_sealed(msgspec.structs.replace(written, seal="é"), TIP.ledger, SECRET)


class TestLine:
    @given(summary=TEXT, facts=FACTS)
    def test_an_entry_is_not_read_as_it_was_written(self, summary: str, facts: dict[str, str]) -> None:
        """Whatever texts and facts: one line, and the same entry again."""
        written = entry(summary=summary, facts=facts)

        assert b"\n" not in written.line
        assert read_line(written.line) == written

    @given(data=st.data())
    def test_a_changed_byte_is_not_seen(self, data: st.DataObject) -> None:
        """No byte of a line can be another one, not even a blank more."""
        line = bytearray(entry(summary="a", facts={"n": 1.0, "s": "x"}).line)
        at = data.draw(st.integers(0, len(line) - 1))
        if data.draw(st.booleans()):
            line[at] ^= data.draw(st.integers(1, 255))
        else:
            line.insert(at, data.draw(st.integers(0, 255)))

        assert read_line(bytes(line)) in ("edited", "unreadable")

    def test_a_line_is_taken_that_says_the_same_in_another_way(self) -> None:
        """Keys in another order, a blank, a default left out, an escape: none is what was written."""
        document = json.loads(entry(summary="é").line)
        for other in (
            json.dumps(dict(reversed(document.items())), separators=(",", ":"), ensure_ascii=False),
            json.dumps(document, sort_keys=True, ensure_ascii=False),
            json.dumps(document, sort_keys=True, separators=(",", ":")),
            entry(summary="é")
            .line.decode()
            .replace('"entry_hash":"', f'"entry_hash":"\\u00{ord(document["entry_hash"][0]):x}')
            .replace(document["entry_hash"], document["entry_hash"][1:]),
            json.dumps({k: v for k, v in document.items() if k != "refers_to"}, sort_keys=True, separators=(",", ":")),
        ):
            assert read_line(other.encode()) == "edited"

    @pytest.mark.parametrize("line", [b"", b"\0" * 50, b"{", b'{"sequence":1}', b"\xff\xfe", b"[" * 100_000, b"null"])
    def test_something_that_is_no_entry_is_no_answer(self, line: bytes) -> None:
        """It is said to be unreadable, whatever it is."""
        assert read_line(line) == "unreadable"
