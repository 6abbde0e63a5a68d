"""No secrets in the ledger: what looks like one is taken out before it is written, and what is long is cut."""

from __future__ import annotations

import itertools
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Self

import msgspec

from aetherra.kernel.ledger.chain import Draft
from aetherra.kernel.ledger.entry import Fact

MARK = "[redacted]"
LONGEST_TEXT = 1000
"""Characters of a summary or a fact that are kept."""
MOST_FACTS = 64
LONGEST_NAME = 100
"""Characters of a kind, an actor, a component, a code or a fact's name that are kept."""
SEARCHED = 4
"""How many times as much as is kept is searched; what is behind that is cut off first, so that none waits for it."""
MOST_NAMES = 1000
"""Names, and facts no longer than one, that are cleaned once and for all."""
SHORTEST_KNOWN = 8
"""Characters from which on a value of the environment is looked for."""
SHORTEST_TOKEN = 20
"""Characters from which on a run of letters and digits is weighed."""
FOLDERS = frozenset({"PWD", "OLDPWD"})
"""Variables that every shell sets, to folders: here the first is no password."""
MOST_INTEGER = 2**63 - 1

_NAMES = (
    r"pass(?:word|wd|phrase|code)?|pwd|secret|token|api[_-]?key|apikey|access[_-]?key|private[_-]?key|signing[_-]?key"
    r"|auth|authorization|credentials?|cookie|bearer|session[_-]?id|client[_-]?secret|pin|otp|dsn|seed"
)
_NAME = re.compile(rf"(?:^|[_.\-\s])(?:{_NAMES})s?(?:$|[_.\-\s])", re.IGNORECASE)
_COUNTED = re.compile(r"(?:count|length|size|bytes|limit|seconds|used|left|ttl|age)$", re.IGNORECASE)
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_PEM = re.compile(r"-----BEGIN [A-Z0-9 ]+-----.*?(?:-----END [A-Z0-9 ]+-----|\Z)", re.DOTALL)
_USERINFO = re.compile(r"(?<=://)[^/\s@\"'<>]+(?=@)")
_ASSIGNED = re.compile(r"(?<![\w.\-])(?P<name>[\w.\-]++)[\"']?+\s*+(?:=>|[:=])\s*+")
_ASSIGNED_NAME = re.compile(rf"(?:{_NAMES})s?(?:$|[_.\-])", re.IGNORECASE)
_ASSIGNED_VALUE = re.compile(
    r"(?:(?:bearer|basic|digest|token)\s+)?(?:\"[^\"]*\"|'[^']*'|[^\s,;&\"'})\]]+)", re.IGNORECASE
)
_OPTION = re.compile(r"(?<![\w\-])-(?P<name>-?[\w\-]++)\s++")
_OPTION_NAME = re.compile(rf"(?:^|-)(?:{_NAMES})$", re.IGNORECASE)
_OPTION_VALUE = re.compile(r"[^\s\-]\S*")
_SCHEME = re.compile(r"\b(?P<name>(?:bearer|basic)\s+)[\w.~+/\-]{8,}=*", re.IGNORECASE)
_KNOWN_FORMS = re.compile(
    r"\b(?:gh[pousr]_\w{16,}|github_pat_\w{16,}|glpat-[\w\-]{16,}|sk-[\w\-]{16,}|(?:sk|pk|rk)_(?:live|test)_\w{10,}"
    r"|xox[abeoprs]-[\w\-]{10,}|A(?:KIA|SIA)[A-Z0-9]{12,}|AIza[\w\-]{30,}|ya29\.[\w\-]{20,}|npm_\w{30,}|pypi-[\w\-]{16,}"
    r"|hf_\w{20,}|eyJ[\w\-]{8,1000}+\.[\w\-]{8,}(?:\.[\w\-]*)?)"
)
_RUN = re.compile(rf"[A-Za-z0-9+/_\-]{{{SHORTEST_TOKEN},}}={{0,2}}")
_HEX = re.compile(r"(?<![0-9A-Za-z])[0-9a-fA-F]{32,}(?![0-9A-Za-z])")
_DIGEST = re.compile(r"[0-9a-f]{32,128}")
_DIGEST_NAME = re.compile(r"(?:digest|hash|sha\d*|checksum|before|ledger)$", re.IGNORECASE)
_SUSPICIOUS = re.compile(r"[:=>@]|--|-\w|\w{16}|[A-Za-z0-9+/_\-]{20}|bearer|basic|eyJ", re.IGNORECASE)
"""What any text has that one of the others finds something in."""
_WORD = re.compile(r"[a-z]{3,}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class Redactor:
    """Takes secrets out of texts.

    By name (``password=...``, a fact called ``api_key``), by form (PEM, the password of a URL, tokens of well-known
    services), by value (what variables of the environment with such names hold), and by chance: a run of mixed letters
    and digits too disordered to be a name. Long hex is cut to its first eight digits, but for the digest of a fact that
    is named as one: enough to tell two apart, and no key.

    Args:
        known: Values that are secret.
    """

    def __init__(self, known: Iterable[str] = ()) -> None:
        values = sorted({value for value in known if len(value) >= SHORTEST_KNOWN}, key=len, reverse=True)
        self._cleaned: dict[tuple[str, int], str] = {}
        self._known = re.compile("|".join(map(re.escape, values))) if values else None

    @classmethod
    def of_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Return one that knows the values of variables whose names are those of secrets."""
        return cls(value for name, value in environ.items() if is_secret_name(name) and name not in FOLDERS)

    def clean(self, draft: Draft) -> Draft:
        """Return a draft without secrets, and no longer than an entry may be."""
        return msgspec.structs.replace(
            draft,
            kind=self._name(draft.kind),
            actor=self._name(draft.actor),
            component=self._name(draft.component),
            summary=self.text(draft.summary),
            code=self._name(draft.code),
            digest=draft.digest if re.fullmatch(r"[0-9a-f]{0,128}", draft.digest) else self._name(draft.digest),
            facts=self.facts(draft.facts),
        )

    def text(self, text: str, limit: int = LONGEST_TEXT) -> str:
        """Return a text without secrets, cut if it is too long; how long it is costs no time."""
        searched = text[: SEARCHED * limit].encode("utf-8", "backslashreplace").decode("utf-8")
        cleaned = searched if self._known is None else self._known.sub(MARK, searched)
        if not cleaned.isascii() or _SUSPICIOUS.search(cleaned) is not None:
            cleaned = without_secrets(cleaned)
        more = len(text) - SEARCHED * limit
        if more > 0 and len(cleaned) < limit and not cleaned.endswith(MARK):  # what was cut may be half a secret
            half = re.split(r"\s", cleaned)[-1]
            cleaned, more = cleaned.removesuffix(half).rstrip(), more + len(half)
        left_out = max(0, more) + max(0, len(cleaned) - limit)
        return f"{cleaned[:limit]}... ({left_out} characters more)" if left_out else cleaned

    def facts(self, facts: Mapping[str, Fact]) -> dict[str, Fact]:
        """Return facts without secrets, as many as an entry may have; names tell that some were left out."""
        kept: dict[str, Fact] = {}
        for name, value in itertools.islice(facts.items(), MOST_FACTS):
            kept[self._name(name)] = self._fact(name, value)
        if len(facts) > MOST_FACTS:
            kept["facts_left_out"] = len(facts) - MOST_FACTS
        return kept

    def _name(self, text: str) -> str:
        return self._once(text, LONGEST_NAME)

    def _once(self, text: str, limit: int) -> str:
        """Clean what may come again and again."""
        if len(text) > LONGEST_NAME:
            return self.text(text, limit)
        cleaned = self._cleaned.get((text, limit))
        if cleaned is None:
            cleaned = self.text(text, limit)
            if len(self._cleaned) < MOST_NAMES:
                self._cleaned[text, limit] = cleaned
        return cleaned

    def _fact(self, name: str, value: Fact) -> Fact:
        if isinstance(value, bool):
            return value
        if is_secret_name(name) and not (isinstance(value, (int, float)) and _COUNTED.search(name)):
            return MARK
        if isinstance(value, float):
            return value if math.isfinite(value) else str(value)
        if isinstance(value, int):
            return value if abs(value) <= MOST_INTEGER else _written(value)
        if _DIGEST.fullmatch(value) and _DIGEST_NAME.search(name):
            return value
        return self._once(value, LONGEST_TEXT)


def without_secrets(text: str) -> str:
    """Return a text without what names, forms and disorder give away, in time that grows with its length alone."""
    text = _PEM.sub(MARK, text)
    text = _USERINFO.sub(MARK, text)
    text = _without_values(text, _ASSIGNED, _ASSIGNED_NAME, _ASSIGNED_VALUE)
    text = _without_values(text, _OPTION, _OPTION_NAME, _OPTION_VALUE)
    text = _SCHEME.sub(lambda found: f"{found['name']}{MARK}", text)
    text = _KNOWN_FORMS.sub(MARK, text)
    text = _HEX.sub(lambda found: f"{found[0][:8]}...", text)
    return _RUN.sub(lambda found: MARK if is_disordered(found[0]) else found[0], text)


def _written(number: int) -> str:
    bits = number.bit_length()
    return str(number) if bits <= 8 * LONGEST_NAME else f"a number of {bits} bits"


def _without_values(text: str, named: re.Pattern[str], name: re.Pattern[str], value: re.Pattern[str]) -> str:
    """Take out the values behind names: what is behind one that is none is looked at for names again."""
    parts: list[str] = []
    end = 0
    for found in named.finditer(text):
        if found.start() < end or name.search(found["name"]) is None:
            continue
        secret = value.match(text, found.end())
        if secret is not None:
            parts += text[end : found.end()], MARK
            end = secret.end()
    return "".join([*parts, text[end:]])


@lru_cache(MOST_NAMES)
def is_secret_name(name: str) -> bool:
    """Whether what is called so is likely to be a secret: ``API_KEY``, ``dbPassword``."""
    return _NAME.search(_HUMP.sub("_", name[: SEARCHED * LONGEST_NAME])) is not None


def is_disordered(run: str) -> bool:
    """Whether a run of letters and digits is likely to be a token rather than words.

    Words repeat letters, and go on in small ones for a while; small letters alone are told by the digits among them.
    Of tokens with 128 bits or more, at least 96 of 100 are found; of the names in the standard library and its sources'
    data, one of several hundred is taken for one.
    """
    if _UUID.fullmatch(run):
        return False
    kinds = ["d" if c.isdigit() else "u" if c.isupper() else "l" if c.islower() else "" for c in run]
    changes = sum(1 for before, after in itertools.pairwise(kinds) if before and after and before != after)
    entropy = -sum(n / len(run) * math.log2(n / len(run)) for n in Counter(run).values())
    in_words = sum(len(word) for word in _WORD.findall(run)) if "u" in kinds else 0
    return changes >= len(run) / 5 and entropy >= 3.2 and in_words < len(run) / 2
