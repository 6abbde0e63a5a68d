"""No secrets: by name, by form, by value, and by chance; what is no secret stays readable."""

from __future__ import annotations

import base64
import json
import math
import random
import secrets
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.kernel.ledger import redaction
from aetherra.kernel.ledger.chain import Draft
from aetherra.kernel.ledger.redaction import (
    LONGEST_NAME,
    LONGEST_TEXT,
    MARK,
    MOST_FACTS,
    SEARCHED,
    Redactor,
    is_disordered,
    is_secret_name,
    without_secrets,
)
from tests.kernel.ledger.conftest import Place

REDACTOR = Redactor()
PEM = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIG\nabc\n-----END PRIVATE KEY-----"
SECRETS = [
    ("password=hunter2", "hunter2"),
    ("password: hunter2, then", "hunter2"),
    ('{"api_key": "correct horse"}', "correct horse"),
    ("DB_PASSWORD='a b'", "a b"),
    ("--token abc", "abc"),
    ("--api-key=abc", "abc"),
    ("Authorization: Bearer abc.def", "abc.def"),
    ("authorization=Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
    ("sent Bearer abcdefgh1", "abcdefgh1"),
    ("cookie: sid=12", "sid=12"),
    ("client_secret => xyz", "xyz"),
    ("https://me:pw@example.org/x", "me:pw"),
    ("postgres://me:p%40w@db:5432/x", "p%40w"),
    ("https://tokenonly@example.org", "tokenonly"),
    (PEM, "MC4CAQ"),
    (PEM[:60], "MC4CAQ"),
    ("ghp_" + "a1B2" * 9, "a1B2"),
    ("AKIAIOSFODNN7EXAMPLE", "IOSFODNN"),
    ("sk-proj-abcdefghijklmnop", "abcdefghijklmnop"),
    ("xoxb-1234567890-abc", "1234567890"),
    ("eyJhbGciOiJI.eyJzdWIiOiIx.c2ln", "eyJzdWIi"),
    ("key wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "K7MDENG"),
    ("8f14e45fceea167a5a36dedd4bea25438f14e45fceea167a5a36dedd4bea2543", "ceea167a5a36"),
]
FRAGMENTS = [
    *"aZ0 _-.:=>@/\"',",
    *("pin", "auth", "token", "--", "://", "bearer ", "Basic ", "eyJ", "sk-", "ghp_", "AKIA", "xoxb-", "abcdefgh"),
    *("-----BEGIN ", "-----", "1b2c3d4e5f6a7b8c"),
]
WORST = [
    *("a_", "a-", "a.", "aA0+/", "token_", "token.token=", 'token="', "pin='\" ", "-", "--pin", "--pin ", "--a-", "a "),
    *(
        "://",
        "://a",
        "eyJ-",
        "eyJ0000000000-",
        "sk-",
        "-----BEGIN A",
        "-----END A",
        "bearer ",
        "bearer\t",
        "0f",
        "sha1",
    ),
    *("1b2c3d4e5f6a7b8c", "pin:", "pin: ", "pin =", " ", "@", "é_", "ghp_"),
]
PLAIN = [
    "turned the knob plant.pool from 1 to 2, as latency is above its setpoint",
    "loaded plugins/self_incorporation/integration/core_integrator.py by canary",
    "aetherra.plugins.self_incorporation.SelfIncorporationService",
    "3f2b1c9e-5d0a-4c56-9a3e-0123456789ab",
    "MAX_ACTIONS_PER_COMPONENT_PER_MINUTE",
    "ThePluginThatIsCalledVeryLongIndeed2",
    "https://example.org/a/very/long/path/that/nobody/needs?x=1",
    "2026-11-27T02:17:42+00:00",
    "ed25519:77de326a445460d0",
    "the secretary keeps tokens of passing interest",
]


class TestText:
    @pytest.mark.parametrize(("text", "secret"), SECRETS)
    def test_a_secret_is_written(self, text: str, secret: str) -> None:
        """What names, forms and disorder give away is not in what is left."""
        left = REDACTOR.text(text)

        assert secret not in left
        assert MARK in left or "..." in left

    @pytest.mark.parametrize("text", PLAIN)
    def test_what_is_no_secret_is_taken_out(self, text: str) -> None:
        """Names, paths, times and identifiers stay."""
        assert REDACTOR.text(text) == text

    def test_a_value_of_the_environment_is_written(self) -> None:
        """What a variable with the name of a secret holds is taken out wherever it stands, short values apart."""
        redactor = Redactor.of_environment({"DB_PASSWORD": "not random", "PIN": "1234", "HOME": "/home/somebody"})

        assert (
            redactor.text("opened with not random at /home/somebody, 1234")
            == f"opened with {MARK} at /home/somebody, 1234"
        )

    def test_the_working_directory_is_a_secret(self) -> None:
        """Shells call it by a name that elsewhere is a password's."""
        redactor = Redactor.of_environment({"PWD": "/srv/plant", "OLDPWD": "/srv/plant/old", "DB_PWD": "not random"})

        assert redactor.text("/srv/plant/old and /srv/plant, not random") == f"/srv/plant/old and /srv/plant, {MARK}"

    def test_a_digest_in_a_text_is_written_whole(self) -> None:
        """Eight digits tell it apart; a key of the same form is none any more."""
        assert REDACTOR.text("file " + "ab" * 32) == "file abababab..."

    def test_a_long_text_is_written_whole(self) -> None:
        """It is cut, and says by how much."""
        assert REDACTOR.text("a b" * 1000) == ("a b" * 334)[:1000] + "... (2000 characters more)"

    @pytest.mark.parametrize("worst", WORST)
    def test_a_text_holds_up_whoever_writes_it(self, worst: str) -> None:
        """A megabyte of the worst is searched in time that grows with its length: with its square it never ends."""
        assert without_secrets(worst * (1_000_000 // len(worst)))

    @pytest.mark.parametrize("worst", WORST)
    def test_what_is_cut_off_is_searched_first(self, worst: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of a megabyte, a few times as much is looked at as is kept, in every field."""
        text = worst * (1_000_000 // len(worst))
        searched = [0]
        monkeypatch.setattr(redaction, "without_secrets", lambda text: searched.append(len(text)) or text)

        cleaned = REDACTOR.clean(
            Draft(kind=text, actor=text, component=text, summary=text, code=text, digest=text, facts={text: text})
        )

        assert max(searched) <= SEARCHED * LONGEST_TEXT * 4  # UTF-8 that is none is written in more
        assert len(cleaned.summary) <= LONGEST_TEXT + 50
        assert "characters more)" in cleaned.summary

    def test_half_a_secret_is_written_where_a_text_is_cut(self) -> None:
        """What the cut goes through is none that the search knows, and is left out, however short the rest became."""
        secret = "hunter22-as-the-environment-has-it"
        pem = f"-----BEGIN KEY-----{'ab ' * 2000}"[: SEARCHED * LONGEST_TEXT - 35] + "-----END KEY-----"

        assert Redactor([secret]).text(f"{pem} said {secret}") == f"{MARK} said... (34 characters more)"

    @pytest.mark.parametrize(
        ("text", "left"),
        [
            ("url=password=abc", f"url=password={MARK}"),
            ('-f "--password abc"', f'-f "--password {MARK}'),
            ("-x --token abc -y", f"-x --token {MARK} -y"),
            ("mytoken=abc", f"mytoken={MARK}"),
            ("author=somebody", "author=somebody"),
        ],
    )
    def test_a_name_before_it_hides_a_secret(self, text: str, left: str) -> None:
        """What stands behind a name that is no secret's is looked at as well."""
        assert REDACTOR.text(text) == left

    @given(st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join))
    def test_a_look_beforehand_lets_a_secret_pass(self, text: str) -> None:
        """The quick look that most texts end with sees all that the thorough one finds."""
        assert REDACTOR.text(text) == without_secrets(text)

    @given(st.text(max_size=200))
    def test_a_text_cannot_be_written_at_all(self, text: str) -> None:
        """Whatever it is, it becomes UTF-8."""
        REDACTOR.text(text + "\udcff").encode("utf-8")


class TestDisorder:
    @pytest.mark.parametrize(
        "token",
        [
            lambda: base64.b64encode(secrets.token_bytes(32)).decode(),
            lambda: secrets.token_urlsafe(24),
            lambda: "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(32)),
            lambda: "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(32)),
        ],
    )
    def test_random_tokens_pass_for_words(self, token) -> None:
        """Nine of ten, at the least; measured are 96 of 100 and more."""
        assert sum(is_disordered(token()) for _ in range(500)) >= 450

    def test_words_pass_for_tokens(self) -> None:
        """Names put together of words, as programs have them, are none."""
        words = [
            "load",
            "plugin",
            "Homeostasis",
            "actuator",
            "config",
            "Index",
            "classify",
            "rollback",
            "night",
            "cycle",
        ]
        chance = random.Random(5)
        names = [sep.join(chance.choices(words, k=5)) for sep in ("_", "-", "", "/") for _ in range(100)]

        assert [name for name in names if is_disordered(name)] == []


class TestFacts:
    @pytest.mark.parametrize(
        "name", ["password", "API_KEY", "dbPassword", "auth.token", "clientSecret", "session-id", "tokens"]
    )
    def test_a_fact_with_the_name_of_a_secret_is_written(self, name: str) -> None:
        """Its value is taken out, text or number."""
        assert is_secret_name(name)
        assert REDACTOR.facts({name: "x"}) == {name: MARK}
        assert REDACTOR.facts({name: 1234}) == {name: MARK}

    @pytest.mark.parametrize(
        ("name", "value"), [("token_count", 5), ("tokens_used", 7), ("secret", True), ("compass", "n")]
    )
    def test_a_fact_that_only_sounds_so_is_taken_out(self, name: str, value: str | int) -> None:
        """Counts of them, flags, and other words."""
        assert REDACTOR.facts({name: value}) == {name: value}

    def test_a_digest_is_cut_where_it_is_one(self) -> None:
        """A fact named as a digest keeps it whole."""
        assert REDACTOR.facts({"sha256": "ab" * 32, "file": "ab" * 32}) == {"sha256": "ab" * 32, "file": "abababab..."}

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 2**80, -(2**80)])
    def test_a_number_that_no_json_has_stops_an_entry(self, value: float, place: Place) -> None:
        """It becomes a text."""
        with place.open() as ledger:
            entry = ledger.append(kind="a", actor="b", facts={"n": value})

        assert entry.facts == {"n": str(value)}
        assert place.verify().ok

    def test_a_number_of_many_digits_stops_an_entry(self) -> None:
        """It is told by its length, as Python writes none of more than some thousand."""
        assert REDACTOR.facts({"n": 10**5000}) == {"n": "a number of 16610 bits"}

    def test_more_facts_than_there_is_room_for_vanish_unsaid(self) -> None:
        """So many are kept, and how many were not."""
        kept = REDACTOR.facts({f"n{number}": number for number in range(MOST_FACTS + 3)})

        assert len(kept) == MOST_FACTS + 1
        assert kept["facts_left_out"] == 3


class TestDraft:
    def test_a_field_is_left_as_it_came(self) -> None:
        """Each text of an entry passes, names and codes too."""
        secret = "password=hunter2"
        draft = Draft(
            kind=secret,
            actor=secret,
            component=secret,
            summary=secret,
            code=secret,
            digest=secret,
            facts={secret: secret},
        )

        assert "hunter2" not in json.dumps([str(draft) for draft in [REDACTOR.clean(draft)]])

    def test_a_name_is_as_long_as_it_likes(self) -> None:
        """Names are bounded as texts are, and mean the same each time."""
        draft = REDACTOR.clean(Draft(kind="a b " * 100, actor="c"))

        assert draft.kind.startswith(("a b " * 25)[:LONGEST_NAME])
        assert len(draft.kind) < LONGEST_NAME + 30
        assert REDACTOR.clean(Draft(kind="a b " * 100, actor="c")) == draft

    def test_the_disk_has_a_secret_all_the_same(self, place: Place) -> None:
        """Not one byte of it is in any file."""
        with place.open() as ledger:
            for text, secret in SECRETS:
                ledger.append(kind="a", actor="b", summary=text, facts={"note": text, "password": secret})
        written = b"".join(
            path.read_bytes() for path in place.root.rglob("*") if path.is_file() and path.parent != place.heads
        )

        assert [secret for _, secret in SECRETS if len(secret) > 5 and secret.encode() in written] == []
