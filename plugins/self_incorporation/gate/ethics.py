"""What is right or wrong about taking an item in, by rules that each decide on facts of the item and say which."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal, TypeAlias

from msgspec import Struct

from aetherra.plugins.self_incorporation.code.classifier import FileKind
from aetherra.plugins.self_incorporation.code.findings import Capability
from aetherra.plugins.self_incorporation.gate.decision import Line
from aetherra.plugins.self_incorporation.gate.grants import missing_grants
from aetherra.plugins.self_incorporation.gate.item import Item

__all__ = ["RULES", "Assessment", "EthicsEngine", "EthicsFinding", "EthicsRule", "Framework", "Outcome", "Topic"]

Framework: TypeAlias = Literal["harm_and_benefit", "rules", "character", "care"]
Topic: TypeAlias = Literal["privacy", "security", "autonomy", "benefit"]
Outcome: TypeAlias = Literal["acceptable", "doubtful", "unacceptable"]

_CONCEALS = frozenset(
    (
        *("hidden-call", "code-out-of-sight", "lookalike-name", "bidi-control", "exec-of-decoded", "attribute-walk"),
        *("pickle-that-runs", "dns-tunnel", "interposed"),
    )
)
_STAYS = frozenset(["startup-write", "code-at-start"])
_PRIVATE = frozenset(
    (
        *("credential-read", "credential-sent", "environment-sent", "secret-sent", "memory-sent", "identity-sent"),
        *("files-sent", "keys-recorded", "screen-recorded"),
    )
)
_REACHES_OTHERS: tuple[Capability, ...] = ("process", "dynamic_code", "native_code")
_WATCHERS = ("governance.", "kernel.", "hmr.")


class EthicsFinding(Struct, frozen=True):
    """What one rule says of one item.

    Attributes:
        rule: Its name.
        framework: The way of thinking it stands for.
        topic: What it is about.
        outcome: Of this rule alone.
        fact: The fact of the item that decided.
        reason: Why that matters.
        lines: Where the fact shows.
    """

    rule: str
    framework: Framework
    topic: Topic
    outcome: Outcome
    fact: str
    reason: str
    lines: tuple[Line, ...] = ()


class Assessment(Struct, frozen=True):
    """What all rules together say: the worst of them, since no benefit outweighs a harm to somebody else.

    Attributes:
        outcome: The worst outcome.
        findings: Of every rule that has something to say, the worst first.
    """

    outcome: Outcome
    findings: tuple[EthicsFinding, ...]


Told: TypeAlias = tuple[Outcome, str, str, tuple[Line, ...]]


class EthicsRule(Struct, frozen=True):
    """A rule: under which framework, about what, and how it decides; None is nothing to say.

    Attributes:
        name: Of the rule.
        framework: The way of thinking it stands for.
        topic: What it is about.
        decide: Returns the outcome, the fact that decided, the reason, and the lines.
    """

    name: str
    framework: Framework
    topic: Topic
    decide: Callable[[Item], Told | None]


class EthicsEngine:
    """Holds an item against a list of rules. It is pure: the same item has the same assessment.

    Args:
        rules: In the order they are asked.
    """

    def __init__(self, rules: Sequence[EthicsRule] | None = None) -> None:
        self.rules = tuple(RULES if rules is None else rules)

    def assess(self, item: Item) -> Assessment:
        """Return what the rules say of an item, and by which of its facts."""
        findings = sorted(self._findings(item), key=lambda finding: -_ORDER[finding.outcome])
        worst = findings[0].outcome if findings else "acceptable"
        return Assessment(worst, tuple(findings))

    def _findings(self, item: Item) -> Iterator[EthicsFinding]:
        for rule in self.rules:
            told = rule.decide(item)
            if told is not None:
                outcome, fact, reason, lines = told
                yield EthicsFinding(rule.name, rule.framework, rule.topic, outcome, fact, reason, lines)


_ORDER: Mapping[Outcome, int] = {"acceptable": 0, "doubtful": 1, "unacceptable": 2}


def _harm(item: Item) -> Told | None:
    if not item.threats:
        return None
    codes = ", ".join(dict.fromkeys(finding.code for finding in item.threats))
    lines = tuple(Line(finding.path, finding.line) for finding in item.threats)
    return "unacceptable", f"threats: {codes}", "it would do harm to whoever runs it", lines


def _benefit(item: Item) -> Told | None:
    offers = [
        f"{len(item.handles)} requests answered" if item.handles else "",
        f"the service {item.service!r}" if item.service else "",
        f"{len(item.modules)} modules" if item.kind is FileKind.UTILITY and item.modules else "",
        f"it is a {item.kind.value}" if item.kind in (FileKind.DATASET, FileKind.DOCS, FileKind.WORKFLOW) else "",
        f"it is an {item.kind.value}" if item.kind in (FileKind.AGENT, FileKind.AETHER) else "",
        f"{len(item.tags)} messages" if item.tags and not item.handles else "",
    ]
    told = "; ".join(offer for offer in offers if offer)
    if told:
        return "acceptable", told, "it has something to offer", ()
    if item.capabilities:
        fact = f"no request answered, no service; it can {', '.join(item.capabilities)}"
        return "doubtful", fact, "a risk without a benefit that anybody can see", ()
    return None


def _private_data(item: Item) -> Told | None:
    lines = _lines(item, _PRIVATE)
    if lines:
        return "unacceptable", _codes(item, _PRIVATE), "what it reads is somebody's secret, and not its to send", lines
    if "network" in item.capabilities and {"environment", "fs_read"} & set(item.capabilities):
        reads = " and ".join(sorted({"environment", "fs_read"} & set(item.capabilities)))
        where = f"; hosts: {', '.join(item.hosts[:5])}" if item.hosts else "; it names no host"
        outcome: Outcome = "acceptable" if item.hosts else "doubtful"
        return outcome, f"network and {reads}{where}", "it could send what it reads", ()
    return None


def _says_what_it_does(item: Item) -> Told | None:
    """A plugin that declares some of what it does to the world, and not all, misleads who reads the list."""
    from_code = [
        grant for grant in item.declared if grant.partition(":")[0] in ("network", "fs", "process", "code", "env")
    ]
    if not from_code:
        return None
    undeclared = sorted(missing_grants(item.capabilities, from_code))
    if not undeclared:
        return "acceptable", f"declares {', '.join(from_code)}", "it says what its code does", ()
    return "doubtful", f"undeclared: {', '.join(undeclared)}", "its list of needs leaves out what its code can do", ()


def _judged_whole(item: Item) -> Told | None:
    if not item.refused:
        return None
    fact = f"not readable: {', '.join(item.refused[:5])}"
    return "unacceptable", fact, "nobody may vouch for what nobody has read", ()


def _conceals(item: Item) -> Told | None:
    lines = _lines(item, _CONCEALS)
    if lines:
        return (
            "unacceptable",
            _codes(item, _CONCEALS),
            "whoever hides what code does means to deceive its reader",
            lines,
        )
    signs = [factor for factor in item.factors if factor.code in {*_CONCEALS, "encoded-constant"}]
    if signs:
        fact = ", ".join(sorted(factor.code for factor in signs))
        return "doubtful", fact, "it is harder to read than it need be", ()
    return None


def _leaves_people_in_charge(item: Item) -> Told | None:
    taken = sorted(tag for tag in {*item.tags, *item.handles} if tag.startswith(_WATCHERS))
    if taken:
        return "unacceptable", f"answers {', '.join(taken[:5])}", "it would speak for what people keep watch with", ()
    lines = _lines(item, _STAYS)
    if lines:
        return "unacceptable", _codes(item, _STAYS), "it would stay where nobody asked it to", lines
    return None


def _does_not_reach_further(item: Item) -> Told | None:
    """What starts processes or makes code acts beyond what was judged; a person should know."""
    reaching = [capability for capability in _REACHES_OTHERS if capability in item.capabilities]
    if len(reaching) > 1 or (reaching and "network" in item.capabilities):
        fact = " and ".join([*reaching, *(["network"] if "network" in item.capabilities else [])])
        return "doubtful", fact, "what it can become cannot be told from what it is", ()
    return None


def _can_be_cared_for(item: Item) -> Told | None:
    if item.kind is FileKind.PLUGIN and not item.version:
        return "doubtful", "no version", "who looks after it later cannot tell which one they have", ()
    return None


def _lines(item: Item, codes: Iterable[str]) -> tuple[Line, ...]:
    wanted = frozenset(codes)
    return tuple(Line(finding.path, finding.line) for finding in item.threats if finding.code in wanted)


def _codes(item: Item, codes: Iterable[str]) -> str:
    wanted = frozenset(codes)
    return ", ".join(dict.fromkeys(finding.code for finding in item.threats if finding.code in wanted))


RULES: tuple[EthicsRule, ...] = (
    EthicsRule("no_harm", "harm_and_benefit", "security", _harm),
    EthicsRule("some_benefit", "harm_and_benefit", "benefit", _benefit),
    EthicsRule("judged_whole", "rules", "security", _judged_whole),
    EthicsRule("honest_needs", "rules", "autonomy", _says_what_it_does),
    EthicsRule("no_deceit", "character", "security", _conceals),
    EthicsRule("people_in_charge", "character", "autonomy", _leaves_people_in_charge),
    EthicsRule("keeps_secrets", "care", "privacy", _private_data),
    EthicsRule("stays_itself", "care", "autonomy", _does_not_reach_further),
    EthicsRule("can_be_looked_after", "care", "benefit", _can_be_cared_for),
)
"""The rules that are in force."""
