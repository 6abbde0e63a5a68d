"""Explanations: what the ledger holds of one decision, joined into a text to read and facts to work with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from aetherra.plugins.homeostasis.decision import Decision, Effect, Evidence
from aetherra.plugins.homeostasis.ledger import Concluded, Decided, Entry, Froze, Ledger, Settled
from aetherra.plugins.homeostasis.messages import Explain, Explanation

__all__ = ["answer", "explain", "explanations"]


def answer(ledger: Ledger, request: Explain) -> list[Explanation]:
    """Return why something was done, or was not; reads files, so it is for worker threads."""
    if request.decision:
        found = explain(ledger, request.decision)
        return [] if found is None else [found]
    entries = ledger.scan(symptom=request.symptom, target=request.target, since=request.since)
    return explanations(entries, request.limit)


def explain(ledger: Ledger, decision: str) -> Explanation | None:
    """Return all that is known of one decision; ``None`` if the ledger holds nothing of it.

    Of a decision that has left the ledger, what is left of it is told.
    """
    entries = ledger.entries(decision=decision)
    for found in explanations(entries):
        if found.decision == decision:
            return found
    own = [entry for entry in reversed(entries) if entry.subject[0] == decision]
    if not own:
        return None
    text = "\n".join([f"decision {decision}: it is no longer kept itself", *_after(own[0].ts, own, [])])
    return Explanation(decision, own[0].ts, text, _facts(None, own, []))


def explanations(entries: Iterable[Entry], limit: int | None = None) -> list[Explanation]:
    """Return what is known of each decision among some entries, and what else bears on them, which is no decision's.

    Args:
        entries: Newest first, as ``Ledger.entries`` returns them.
        limit: How many, at most.
    """
    later: defaultdict[str, list[Entry]] = defaultdict(list)
    undone: defaultdict[str, list[Decided]] = defaultdict(list)
    found: list[Explanation] = []
    for entry in entries:
        if limit is not None and len(found) >= limit:
            break
        if isinstance(entry, Decided):
            decision = entry.decision
            if decision.undoes:
                undone[decision.undoes].append(entry)
            own, undoings = later.pop(decision.id, [])[::-1], undone.pop(decision.id, [])[::-1]
            text = "\n".join([*_before(entry.ts, decision), *_after(entry.ts, own, undoings)])
            found.append(Explanation(decision.id, entry.ts, text, _facts(decision, own, undoings)))
        elif isinstance(entry, (Concluded, Settled)):
            later[entry.subject[0]].append(entry)
        else:
            text = entry.frozen.sentence if isinstance(entry, Froze) else f"{entry.what}: {entry.text}"
            found.append(Explanation("", entry.ts, f"{_when(entry.ts)}: {text}", msgspec.to_builtins(entry)))
    return found


def _when(ts: float) -> str:
    return datetime.fromtimestamp(ts, UTC).isoformat(" ", "seconds").removesuffix("+00:00") + " UTC"


def _before(ts: float, decision: Decision) -> Iterator[str]:
    """What led to a decision, and what it was."""
    yield f"decision {decision.id}, {_when(ts)}: {_deed(decision)}"
    yield f"  why       {decision.reason}"
    yield f"  seen      {_seen(decision.evidence)}"
    yield f"  rule      {decision.symptom}"
    for other in decision.considered:
        yield f"  not       {other.action}: {other.why_not}"
    if decision.kind in ("act", "set"):
        cost = "; disruptive" if decision.disruptive else ""
        within = f" within {decision.settle:g} s"
        expected = (decision.expects or "that the symptom leaves").removesuffix(within).rstrip(",")
        yield f"  expected  {expected},{within}{cost}"


def _after(ts: float, entries: Iterable[Entry], undoings: Iterable[Decided]) -> Iterator[str]:
    """What came of a decision, the oldest first."""
    lines: list[str] = []
    for entry in entries:
        after = f" ({entry.ts - ts:.1f} s later)"
        if isinstance(entry, Concluded):
            detail = f": {entry.outcome.detail}" if entry.outcome.detail else ""
            lines.append(f"  outcome   {entry.outcome.status}{detail}{after}")
        elif isinstance(entry, Settled):
            lines.append(f"  effect    {_changed(entry.effect)}{after}")
    lines += [f"  undone    by decision {entry.decision.id} ({entry.ts - ts:.1f} s later)" for entry in undoings]
    yield from lines or ["  outcome   nothing has been heard of it yet"]


def _deed(decision: Decision) -> str:
    where = f" of {decision.target!r}" if decision.target else ""
    if decision.kind == "give_up":
        return f"give up on {decision.symptom!r}{where}"
    if decision.kind == "undo":
        return f"take back {decision.action!r}{where}, done by decision {decision.undoes}"
    if decision.kind == "set":
        return f"set {decision.action!r}{where} to {decision.value}"
    arguments = ", ".join(f"{name}={value!r}" for name, value in decision.arguments.items())
    return f"{decision.action!r}{where}" + (f" with {arguments}" if arguments else "")


def _seen(evidence: Evidence) -> str:
    value = "unknown" if evidence.value is None else f"{evidence.value:.4g}"
    votes = f"{evidence.votes} of {evidence.of} samples, {evidence.needed} were needed"
    agreeing = f"; {' and '.join(evidence.agreeing)} agreed" if evidence.agreeing else ""
    return f"{evidence.metric} {value}, {evidence.bound}: {votes}, for {evidence.since:.3g} s{agreeing}"


def _changed(effect: Effect) -> str:
    if effect.sentence:
        return effect.sentence
    verdict = {True: "it helped", False: "it did not help", None: "nobody can tell whether it helped"}[effect.helped]
    return f"{effect.metric}: {verdict}"


def _facts(decision: Decision | None, entries: Iterable[Entry], undoings: Iterable[Decided]) -> dict[str, Any]:
    own = list(entries)
    return {
        "decision": msgspec.to_builtins(decision),
        "outcomes": [
            {"ts": entry.ts, **msgspec.to_builtins(entry.outcome)} for entry in own if isinstance(entry, Concluded)
        ],
        "effects": [
            {"ts": entry.ts, **msgspec.to_builtins(entry.effect)} for entry in own if isinstance(entry, Settled)
        ],
        "undone_by": [entry.decision.id for entry in undoings],
    }
