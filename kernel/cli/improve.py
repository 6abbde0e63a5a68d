"""``aetherra improve``: what the host proposes to change of itself, what came of it, and a word in it for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from aetherra.kernel.cli.moment import read_span, write_moment
from aetherra.kernel.cli.output import number, print_json, print_table, seconds
from aetherra.kernel.cli.project import ask, host_options, json_option
from aetherra.registry import NoHandlerError

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

STATES = (
    "proposed",
    "waiting_approval",
    "approved",
    "applied",
    "kept",
    "undone",
    "rejected",
    "expired",
    "failed",
    "superseded",
    "inconclusive",
)
"""How far a proposal may have got."""
UNDECIDED = ("proposed", "waiting_approval", "approved")
"""States in which it matters why something is proposed; later, what became of it."""
SHOWN = 5
"""Reasons against a proposal that people are shown."""
REPLAY_TIMEOUT = 600.0
"""Seconds that a replay of a long history may take."""


def verdict_options(function: FunctionT) -> FunctionT:
    """Add what a verdict on a proposal takes: which one, and why."""
    reason = click.option("--reason", default="", help="Why, for those who read it later.")
    return click.argument("proposal_id", metavar="ID")(reason(function))


@click.group()
def improve() -> None:
    """What the host proposes to change of itself. The plugin 'self_improvement' does; without it, nothing is."""


@improve.command()
@host_options
@json_option
def status(path: Path, config_file: Path | None, as_json: bool) -> None:
    """Tell what is in the history, and what came of it."""
    found = _ask(path, config_file, "selfimprovement.status")
    if as_json:
        print_json(found)
        return
    proposals = ", ".join(f"{count} {_words(state)}" for state, count in sorted(found["proposals"].items()) if count)
    last = found["last_analysis"]
    rows: list[tuple[str, object]] = [
        ("mode", found["mode"]),
        *([("problem", found["problem"])] if found["problem"] else []),
        ("history", f"{found['points']:,} rows of {found['metrics']} metrics, {found['size'] / 2**20:.1f} MiB"),
        *([("", f"one that could not be read is {found['set_aside']}")] if found["set_aside"] else []),
        ("since the start", f"{found['recorded']:,} points recorded, {found['refused']:,} refused"),
        ("analyses", found["analyses"]),
        *([("last", f"{write_moment(last)}, in {seconds(found['last_analysis_seconds'])}")] if last else []),
        ("proposals", proposals or "none"),
        ("on trial", found["on_trial"] or "none"),
        *(("left alone", why) for why in found["left_alone"].values()),
        ("confidence", _calibration(found["calibration"])),
    ]
    print_table("Self-improvement", ("what", "is"), rows)


@improve.command()
@click.option("--state", type=click.Choice(STATES), help="Only those in this state.")
@click.option("--limit", type=click.IntRange(min=1, max=100_000), default=20, show_default=True)
@host_options
@json_option
def proposals(path: Path, config_file: Path | None, as_json: bool, state: str | None, limit: int) -> None:
    """List proposals, the newest first, and what was passed over at the last analysis."""
    found = _ask(path, config_file, "selfimprovement.proposals", {"state": state, "limit": limit})
    if as_json:
        print_json(found)
        return
    rows = [
        (
            each["id"],
            _words(each["state"]),
            _change(each),
            each["metric"],
            f"{each['confidence']:.0%}",
            f"{each['priority']:.2f}",
            each["impact"],
            each["rationale"] if each["state"] in UNDECIDED else each["reason"],
        )
        for each in found["proposals"]
    ]
    columns = ("proposal", "state", "change", "for", "confidence", "priority", "impact", "why")
    print_table("Proposals", columns, rows)
    if state is None:
        _say_passed([(each, "") for each in found["passed"]])


@improve.command()
@click.argument("proposal_id", metavar="ID")
@host_options
@json_option
def explain(proposal_id: str, path: Path, config_file: Path | None, as_json: bool) -> None:
    """Tell why something was proposed, what was done, and what it did."""
    found = _ask(path, config_file, "selfimprovement.explain", {"proposal_id": proposal_id})
    if as_json:
        print_json(found)
    else:
        click.echo(found["text"].rstrip("\n"))


@improve.command()
@verdict_options
@host_options
@json_option
def approve(proposal_id: str, reason: str, path: Path, config_file: Path | None, as_json: bool) -> None:
    """Let a proposal that waits for approval be carried out."""
    _judge("selfimprovement.approve", proposal_id, reason, path, config_file, as_json=as_json)


@improve.command()
@verdict_options
@host_options
@json_option
def reject(proposal_id: str, reason: str, path: Path, config_file: Path | None, as_json: bool) -> None:
    """Have a proposal not carried out."""
    _judge("selfimprovement.reject", proposal_id, reason, path, config_file, as_json=as_json)


@improve.command()
@verdict_options
@host_options
@json_option
def undo(proposal_id: str, reason: str, path: Path, config_file: Path | None, as_json: bool) -> None:
    """Take back what a proposal changed, also while it is on trial."""
    _judge("selfimprovement.undo", proposal_id, reason, path, config_file, as_json=as_json)


@improve.command()
@click.option("--metric", default="", help="Only what is known to work for this metric.")
@host_options
@json_option
def strategies(metric: str, path: Path, config_file: Path | None, as_json: bool) -> None:
    """List what is known to work, and what is not, by what came of earlier proposals."""
    found = _ask(path, config_file, "selfimprovement.strategies", {"metric": metric})["strategies"]
    if as_json:
        print_json(found)
        return
    rows = [
        (
            each["knob"],
            each["direction"],
            f"{each['worked']} of {each['tried']}",
            each["worse"],
            "" if each["effect"] is None else f"{each['effect']['lift']:+.0%}",
            f"{each['confidence']:.0%}",
            each["text"],
        )
        for each in found
    ]
    columns = ("knob", "direction", "worked", "worse", "lift", "confidence", "in words")
    print_table("Strategies", columns, rows)


@improve.command()
@click.option(
    "--window",
    metavar="SPAN",
    callback=read_span,
    default="24h",
    show_default=True,
    help="How far to look back: seconds, or a span as 30m, 24h or 7d.",
)
@click.option("--step", metavar="SPAN", callback=read_span, default="1h", show_default=True, help="Between two looks.")
@host_options
@json_option
def simulate(window: float, step: float, path: Path, config_file: Path | None, as_json: bool) -> None:
    """Tell what would have been proposed over the recorded history. It changes nothing."""
    body = {"window": window, "step": step}
    found = _ask(path, config_file, "selfimprovement.simulate", body, timeout=REPLAY_TIMEOUT)["simulation"]
    if as_json:
        print_json(found)
        return
    cut = "" if found["complete"] else "; there was more than one replay tells, so take longer steps"
    since, until = write_moment(found["since"]), write_moment(found["until"])
    click.echo(f"{found['looks']} looks, one each {seconds(found['step'])}, from {since} to {until}{cut}")
    rows = [_simulated(each) for each in found["proposals"]]
    columns = ("first", "looks", "change", "for", "confidence", "lift", "why")
    print_table("Would have been proposed", columns, rows)
    _say_passed([(each, f" in {looks} looks") for each, looks in found["passed"]])


@improve.command()
@click.option("--limit", type=click.IntRange(min=1, max=100_000), default=20, show_default=True)
@host_options
@json_option
def cycles(limit: int, path: Path, config_file: Path | None, as_json: bool) -> None:
    """Tell what the latest analyses found, and how long they took."""
    found = _ask(path, config_file, "selfimprovement.cycles", {"limit": limit})["cycles"]
    if as_json:
        print_json(found)
        return
    rows = [
        (
            each["number"],
            write_moment(each["ts"]),
            seconds(each["seconds"]),
            each["metrics"],
            f"{each['points']:,}",
            each["problem"] or "; ".join(map(_finding, each["found"][:3])) or "nothing",
            len(each["found"]),
            len(each["proposed"]),
        )
        for each in found
    ]
    columns = ("cycle", "when", "took", "metrics", "points", "found", "findings", "proposed")
    print_table("Analyses", columns, rows)


def _judge(tag: str, proposal_id: str, reason: str, path: Path, config_file: Path | None, *, as_json: bool) -> None:
    """Give a verdict on a proposal and tell how it stands now."""
    found = _ask(path, config_file, tag, {"proposal_id": proposal_id, "reason": reason})["proposal"]
    if as_json:
        print_json(found)
        return
    said = f": {found['reason']}" if found["reason"] else ""
    click.echo(f"{found['id']}: {_words(found['state'])}{said}")


def _finding(found: Mapping[str, Any]) -> str:
    """Return what was found, with the metric before it if it does not say which."""
    text: str = found["text"]
    return text if text.startswith(found["metric"]) else f"{found['metric']}: {text}"


def _simulated(found: Mapping[str, Any]) -> tuple[object, ...]:
    """Return the line of what would have been proposed."""
    proposal = found["proposal"]
    return (
        write_moment(found["first"]),
        found["times"],
        _change(proposal),
        proposal["metric"],
        f"{found['confidence']:.0%}",
        "" if found["expected_lift"] is None else f"{found['expected_lift']:+.0%}",
        proposal["rationale"],
    )


def _change(proposal: Mapping[str, Any]) -> str:
    """Write which knob goes from what to what."""
    values = (_value(proposal[key]) for key in ("before", "after"))
    return f"{proposal['knob']} {' -> '.join(values)} {proposal['unit']}".rstrip()


def _value(value: float | str) -> str:
    return value if isinstance(value, str) else number(value)


def _words(state: str) -> str:
    return state.replace("_", " ")


def _calibration(found: Mapping[str, Any]) -> str:
    if not found["count"]:
        return "nothing is concluded yet, so it is all by the stated priors"
    brier, rate = found["brier"], found["base_rate"]
    return f"{rate:.0%} of {found['count']} came true, Brier score {brier:.3f} (0 is perfect, a coin has 0.25)"


def _say_passed(passed: Sequence[tuple[Mapping[str, Any], str]]) -> None:
    """Tell why the first of many were not proposed; those of which too little is known yet come last."""
    for each, when in sorted(passed, key=lambda one: one[0]["why"].startswith("UNKNOWN"))[:SHOWN]:
        click.echo(f"passed over{when}: {each['knob'] or 'no knob'} for {each['metric']}: {each['why']}")
    if len(passed) > SHOWN:
        click.echo(f"  and {len(passed) - SHOWN} more; --json lists them all")


def _ask(
    path: Path, config_file: Path | None, tag: str, body: Mapping[str, Any] | None = None, *, timeout: float = 30.0
) -> Any:
    try:
        return ask(path, config_file, tag, dict(body or {}), timeout=timeout)
    except NoHandlerError as exc:
        raise click.ClickException(f"this host does not improve itself: nothing answers {tag!r}") from exc
