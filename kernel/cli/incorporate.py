"""``aetherra incorporate``: what could come into the host, what is decided about it, and bringing it in and out."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import click
import msgspec

from aetherra.kernel.cli.incorporation import LONG, ask_incorporation, place_of, words
from aetherra.kernel.cli.moment import write_moment
from aetherra.kernel.cli.output import number, print_json, print_table
from aetherra.kernel.cli.project import host_options, json_option, person_option
from aetherra.kernel.votes import FileKindName

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

VERDICTS = ("approved", "needs_approval", "blocked", "quarantined")
"""What may be decided about an item."""
KINDS: tuple[FileKindName, ...] = get_args(FileKindName)
"""What a file may be."""
STAGES = {"open": "under way", "committed": "done", "going_back": "going back", "undone": "taken back"}
"""How far an integration may be, and what people are told of that."""
DIGEST = re.compile("[0-9a-f]{64}")
EXAMPLE = """'{"lamp": {"room": "hall"}}'"""
SETTLED = (
    "threat",
    "risk",
    "risk_moved",
    "capabilities_grew",
    "opaque",
    "ethics",
    "warnings",
    "approval",
    "actions",
    "lost",
    "rejected",
)
"""What speaks against an item and does no more once a person accepts it, by the codes of grounds."""


def _read_digest(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is not None and not DIGEST.fullmatch(value):
        raise click.BadParameter(f"expected a digest, 64 digits of 0-9 and a-f, as it was told; got {value!r}")
    return value


def item_options(function: FunctionT) -> FunctionT:
    """Add what a person's word on an item takes: which one, as it was looked at, and why."""
    text = "Of the item as you have looked at it; 'show' tells it."
    digest = click.option("--digest", required=True, callback=_read_digest, help=text)
    reason = click.option("--reason", required=True, help="Why, for those who read it later.")
    return click.argument("item")(digest(reason(function)))


def settings_option(function: FunctionT) -> FunctionT:
    """Add what plugins are to be loaded with; ``-`` is for what no list of processes may tell."""
    text = (
        f"What plugins are loaded with in place of what the configuration says, by their names: {EXAMPLE}; '-' reads "
        "it from standard input. '{}' for a plugin is what the configuration says; one that is not named keeps its own."
    )
    return click.option("--settings", metavar="JSON", default="{}", callback=_read_settings, help=text)(function)


def _read_settings(_: click.Context, __: click.Parameter, value: str) -> dict[str, dict[str, Any]]:
    text = sys.stdin.buffer.read() if value == "-" else os.fsencode(value)
    try:
        return msgspec.json.decode(text, type=dict[str, dict[str, Any]])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise click.BadParameter(f"expected settings by the names of plugins, as {EXAMPLE}: {exc}") from exc


@click.group()
def incorporate() -> None:
    """Bring code into the host, and take it out again. The plugin 'self_incorporation' does; without it, nothing is."""


@incorporate.command()
@host_options
@json_option
def status(path: Path, config_file: Path | None, as_json: bool) -> None:
    """Tell what there is, what was done, and what stands in the way."""
    found = ask_incorporation(path, config_file, "selfinc.status")
    if as_json:
        print_json(found)
        return
    decided = ", ".join(f"{count} {words(verdict)}" for verdict, count in sorted(found["items"].items()))
    rows: list[tuple[str, object]] = [
        *(("problem", problem) for problem in found["problems"]),
        *([("scanning", found["scanning"])] if found["scanning"] else []),
        ("index", f"{found['files']:,} files, {found['refusals']:,} refused, {found['findings']:,} findings"),
        *([("", f"one that could not be read is {found['set_aside']}")] if found["set_aside"] else []),
        ("scans", f"{found['scans']:,} since the start, {found['failed_scans']:,} failed"),
        *([("the last to fail", found["last_problem"])] if found["last_problem"] else []),
        ("items", decided or "nothing is decided yet"),
        ("brought in", ", ".join(found["registered"]) or "nothing"),
        *(("not serving", f"{name}: {why}") for name, why in sorted(found["not_serving"].items())),
        ("since the start", f"{found['integrations']} integrations, {found['rollbacks']} rolled back"),
        *([("failed", f"{found['failed_integrations']} integrations")] if found["failed_integrations"] else []),
        ("waiting", _waiting(found["waiting"])),
        ("quarantine", f"{found['quarantined']} kept"),
        ("night", words(found["night"])),
    ]
    print_table("Self-incorporation", ("what", "is"), rows)


@incorporate.command()
@person_option
@host_options
@json_option
def scan(name: str, path: Path, config_file: Path | None, as_json: bool) -> int:
    """Look at all roots now, as is done by itself from time to time, and bring in what may come in.

    Exit status 1 if something that lies in an incoming folder stays out, or a folder could not be looked at.
    """
    found = ask_incorporation(path, config_file, "selfinc.look", name=name, timeout=LONG)
    stays = [*found["kept_out"], *(each for each in found["brought_in"] if not each["token"])]
    problems = found.get("problems", ())
    status = int(bool(stays or problems))
    if as_json:
        print_json(found)
        return status
    news = ", ".join(
        f"{found[f'files_{what}']:,} {what}"
        for what in ("new", "changed", "removed", "refused")
        if found[f"files_{what}"]
    )
    click.echo(f"{found['files_found']:,} files: {news or 'nothing new'}")
    decided = ", ".join(f"{count} {words(verdict)}" for verdict, count in sorted(found["verdicts"].items()))
    click.echo(f"items: {decided or 'none that holds code, or lies in an incoming folder'}")
    for item in found["quarantined"]:
        click.echo(f"set aside: {item}")
    for item, why in found["held"].items():
        click.echo(f"not set aside: {item}: {why}")
    for each in found["brought_in"]:
        _say_integrated(each)
    for item, why in found["kept_out"].items():
        click.echo(f"not brought in: {item}: {why}")
    for problem in problems:
        click.echo(f"a problem: {problem}")
    return status


@incorporate.command()
@click.option("--verdict", type=click.Choice(VERDICTS), help="Only those that were decided so.")
@click.option("--kind", type=click.Choice(KINDS), help="Only those of this kind.")
@click.option("--all", "every", is_flag=True, help="Also what nothing was decided about, as documents and data.")
@click.option("--limit", type=click.IntRange(min=1, max=10_000), default=100, show_default=True)
@host_options
@json_option
def items(
    path: Path,
    config_file: Path | None,
    as_json: bool,
    verdict: str | None,
    kind: str | None,
    every: bool,
    limit: int,
) -> None:
    """List what could be brought in, and what is decided about it."""
    body = {"verdict": verdict, "kind": kind, "judged": not every, "limit": limit}
    found = ask_incorporation(path, config_file, "selfinc.items", body, timeout=LONG)
    if as_json:
        print_json(found)
        return
    rows = [_listed(each) for each in found["items"]]
    columns = ("item", "kind", "verdict", "tier", "risk", "registered", "path", "why")
    print_table("Items", columns, rows)
    if found["total"] > len(rows):
        click.echo(f"these are {len(rows)} of {found['total']:,}; --limit shows more")


@incorporate.command()
@click.argument("item")
@host_options
@json_option
def show(item: str, path: Path, config_file: Path | None, as_json: bool) -> None:
    """Tell all about one item, by its name or path: what it is, can do, and on what grounds it was decided."""
    found = ask_incorporation(path, config_file, "selfinc.items", {"name": place_of(item)}, timeout=LONG)["items"]
    if not found:
        raise click.ClickException(
            f"no item is called {item!r}, nor lies there; 'aetherra incorporate items --all' lists what there is, "
            "and 'aetherra incorporate scan' looks for what is new"
        )
    if len(found) > 1:
        paths = ", ".join(each["item"]["path"] for each in found)
        raise click.ClickException(f"several items are called {item!r}: give a path, one of {paths}")
    if as_json:
        print_json(found[0])
    else:
        _show(found[0])


@incorporate.command()
@click.argument("items", nargs=-1, metavar="[ITEM]...")
@settings_option
@host_options
@json_option
def plan(
    items: tuple[str, ...], settings: Mapping[str, Any], path: Path, config_file: Path | None, as_json: bool
) -> None:
    """Tell exactly what bringing items in would do, by name or path; for none, of what lies in the incoming folders."""
    _plan(items, settings, path, config_file, as_json=as_json)


@incorporate.command()
@click.argument("items", nargs=-1, metavar="[ITEM]...")
@click.option("--dry-run", is_flag=True, help="Tell what would be done, and do nothing.")
@click.option(
    "--digest", callback=_read_digest, help="Of the plan that you have looked at: it is done if it is that still."
)
@settings_option
@person_option
@host_options
@json_option
def integrate(
    items: tuple[str, ...],
    dry_run: bool,
    digest: str | None,
    settings: Mapping[str, Any],
    name: str,
    path: Path,
    config_file: Path | None,
    as_json: bool,
) -> int:
    """Bring items in, all or none; for no ITEM, all that may come in of the incoming folders.

    Exit status 1 if it was not done: it waits for an approval, was refused, or failed. With --dry-run, if it would not.
    """
    if dry_run:
        planned = _plan(items, settings, path, config_file, as_json=as_json)
        found = planned["plan"]
        if digest is not None and found["digest"] != digest:
            raise click.ClickException(f"expected the plan {digest}, and what would be done now is {found['digest']}")
        return int(not found["steps"] or bool(planned["problem"]) or bool(items and found["left_out"]))
    if sys.stderr.isatty():
        click.echo("what comes in is watched for a while before it counts as done; Ctrl-C takes it back", err=True)
    body = {"items": _places(items), "digest": digest, "settings": settings}
    done = ask_incorporation(path, config_file, "selfinc.integrate", body, name=name, timeout=LONG)
    if as_json:
        print_json(done)
    else:
        _say_integrated(done)
    return int(not done["token"])


@incorporate.command()
@click.argument("token")
@click.option("--reason", default="somebody asked for it", show_default=True, help="For those who read it later.")
@person_option
@host_options
@json_option
def rollback(token: str, reason: str, name: str, path: Path, config_file: Path | None, as_json: bool) -> int:
    """Put everything back to what it was before the integration of this TOKEN.

    Exit status 1 if it was refused, or something could not be undone.
    """
    body = {"token": token, "reason": reason}
    found = ask_incorporation(path, config_file, "selfinc.rollback", body, name=name, timeout=LONG)
    if as_json:
        print_json(found)
        return int(bool(found["left"]))
    click.echo(f"{token}: taken out: {', '.join(found['names'])}")
    for left in found["left"]:
        click.echo(f"could not be undone: {left}")
    return int(bool(found["left"]))


@incorporate.command("list")
@click.option("--limit", type=click.IntRange(min=1, max=10_000), default=20, show_default=True)
@host_options
@json_option
def list_integrations(limit: int, path: Path, config_file: Path | None, as_json: bool) -> None:
    """List what was brought in and taken out, the latest first, and what waits."""
    found = ask_incorporation(path, config_file, "selfinc.integrations", {"limit": limit})
    if as_json:
        print_json(found)
        return
    rows = [
        (
            each["token"],
            write_moment(each["at"]),
            STAGES[each["stage"]],
            ", ".join(sorted(name for name, one in found["registered"].items() if one["token"] == each["token"])),
            each["summary"],
            "; ".join(filter(None, (each["reason"], *each["left"]))),
        )
        for each in found["integrations"]
    ]
    print_table("Integrations", ("token", "when", "stage", "there now", "what", "why"), rows)
    for approval, waiting in sorted(found["waiting"].items()):
        click.echo(f"waits: {', '.join(waiting) or 'all of the incoming folders'}: {_to_approve(approval)}")
    for problem in found["problems"]:
        click.echo(f"a problem: {problem}")


@incorporate.command()
@item_options
@person_option
@host_options
@json_option
def accept(item: str, digest: str, reason: str, name: str, path: Path, config_file: Path | None, as_json: bool) -> int:
    """Say that an item may come in as it is now. What the configuration must say, as grants, it must say all the same.

    Exit status 1 if it is kept out nevertheless.
    """
    return _decide(item, digest, reason, name, path, config_file, accept=True, as_json=as_json)


@incorporate.command()
@item_options
@person_option
@host_options
@json_option
def reject(item: str, digest: str, reason: str, name: str, path: Path, config_file: Path | None, as_json: bool) -> int:
    """Say that an item may not come in as it is now, whatever the policy says."""
    return _decide(item, digest, reason, name, path, config_file, accept=False, as_json=as_json)


@incorporate.command()
@click.argument("file", metavar="PATH")
@click.argument("kind", type=click.Choice(KINDS))
@person_option
@host_options
@json_option
def correct(file: str, kind: str, name: str, path: Path, config_file: Path | None, as_json: bool) -> None:
    """Say what the file at PATH, relative to its root, really is, for nights to learn from."""
    body = {"path": place_of(file), "kind": kind}
    found = ask_incorporation(path, config_file, "selfinc.correct", body, name=name)
    if as_json:
        print_json(found)
    else:
        click.echo(f"{found['path']} is of kind {found['kind']}, and was taken for {found['before']}")


def _decide(
    item: str,
    digest: str,
    reason: str,
    name: str,
    path: Path,
    config_file: Path | None,
    *,
    accept: bool,
    as_json: bool,
) -> int:
    """Give a person's word on an item, and tell what is decided about it now."""
    body = {"item": place_of(item), "digest": digest, "accept": accept, "reason": reason}
    decision = ask_incorporation(path, config_file, "selfinc.decide", body, name=name)["decision"]
    if as_json:
        print_json(decision)
    else:
        click.echo(f"{decision['path']}: {words(decision['verdict'])}")
        _say_grounds(decision)
    return int(accept and decision["verdict"] in ("blocked", "quarantined"))


def _plan(
    items: Sequence[str], settings: Mapping[str, Any], path: Path, config_file: Path | None, *, as_json: bool
) -> Any:
    """Tell what would be done, and return it."""
    body = {"items": _places(items), "settings": settings}
    found = ask_incorporation(path, config_file, "selfinc.plan", body, timeout=LONG)
    if as_json:
        print_json(found)
        return found
    planned, place = found["plan"], f"{path.resolve()}{os.sep}"
    would: list[dict[str, Any]] = found["would"]["effects"] if found["would"] else []
    effects = {effect["number"]: effect for effect in would}
    for step in planned["steps"]:
        version = f" {step['version']}" if step["version"] else ""
        risk = f"risk {number(step['risk'])}"
        click.echo(f"{step['number']}. {words(step['action'])} {step['name']}{version} from {step['path']}, {risk}")
        if step["after"]:
            click.echo(f"   after {', '.join(map(str, step['after']))}, which it needs")
        if step["number"] in effects:
            _say_effect(effects[step["number"]], place)
        if step["needs_approval"]:
            click.echo(f"   a person must agree: {step['needs_approval']}")
    of_no_concern = Counter(left["text"] for left in planned["left_out"] if left["code"] == "wrong_kind")
    for left in planned["left_out"]:
        if items or left["code"] != "wrong_kind":
            click.echo(f"left out: {left['item']}: {left['text']}")
    for text, count in of_no_concern.items() if not items else ():
        click.echo(f"left out: {count} other file{'s' * (count != 1)}: {text}")
    if found["problem"]:
        click.echo(f"it cannot be done: {found['problem']}")
    elif planned["steps"]:
        same = shlex.join(["aetherra", "incorporate", "integrate", *items, "--digest", planned["digest"]])
        click.echo(f"nothing was done; to do exactly this: {same}{' --settings ...' if settings else ''}")
    elif not planned["left_out"]:
        click.echo("there is nothing to bring in; 'aetherra incorporate scan' looks for what is new")
    return found


def _say_effect(effect: Mapping[str, Any], place: str) -> None:
    """Tell what one step would do; paths are told from a place on that they lie in."""
    for file in effect["files"]:
        size = f", {file['size']:,} bytes" if file["size"] else ""
        click.echo(f"   {file['what']}: {file['path'].removeprefix(place)}{size}")
    if effect["settings"]:
        click.echo(f"   with the settings {msgspec.json.encode(effect['settings']).decode()}")
    for text in (*effect["host"], *effect["undo"]):
        click.echo(f"   {text}")


def _say_integrated(done: Mapping[str, Any]) -> None:
    """Tell what came of an integration."""
    if done["token"]:
        click.echo(f"brought in: {', '.join(done['names'])}")
        for note in done["notes"]:
            click.echo(f"  {note}")
        click.echo(f"  the way back: aetherra incorporate rollback {done['token']}")
        return
    what = ", ".join(done["names"])
    click.echo(f"not brought in{f': {what}' if what else ''}: {done['why_not']}")
    if done["approval"] and done["approval"] not in done["why_not"]:
        click.echo(f"  it waits for a person: {_to_approve(done['approval'])}")


def _show(found: Mapping[str, Any]) -> None:
    """Print an item with what was decided about it."""
    item, decision = found["item"], found["decision"]
    factors = ", ".join(f"{factor['code']} {number(factor['weight'])}" for factor in item["factors"])
    rows: list[tuple[str, object]] = [
        ("path", f"{item['path']} below {item['root']}"),
        ("kind", f"{item['kind']}, {item['confidence']:.0%} sure"),
        *([("version", item["version"])] if item["version"] else []),
        *([("brought in as", found["registered"])] if found["registered"] else []),
        ("files", f"{len(item['files'])}, {sum(file['size'] for file in item['files']):,} bytes"),
        ("digest", item["digest"]),
        ("risk", f"{number(item['risk'])}{f': {factors}' if factors else ''}"),
        ("can do", ", ".join(item["capabilities"]) or "nothing that counts"),
    ]
    lists = ("declared", "handles", "requires", "dependencies", "hosts", "refused")
    rows += [(key, ", ".join(item[key])) for key in lists if item[key]]
    rows += [("needs Python", item["requires_python"])] if item["requires_python"] else []
    rows += [("project", item["project"]["path"])] if item["project"] is not None else []
    rows += [("unreadable", f"{file}: {problem}") for file, problem in item["unreadable"].items()]
    rows += [("not told", f"{file}: {', '.join(needs)}") for file, needs in item["left_open"].items()]
    if decision is None:
        rows.append(("verdict", "nothing is decided yet; planning it, or bringing it in, has it judged"))
    else:
        tier, mode = decision["tier"].lower(), decision["mode"]
        rows.append(("verdict", f"{words(decision['verdict'])}, in tier {tier} of a {mode} policy"))
    print_table(item["name"], ("what", "is"), rows)
    if decision is not None:
        _say_grounds(decision)
        against = [ground["code"] for ground in decision["rationale"] if ground["against"]]
        if decision["verdict"] != "approved" and all(code in SETTLED for code in against):
            word = f"--digest {item['digest']} --reason WHY"
            click.echo(f"to let it in as it is: aetherra incorporate accept {item['path']} {word}")


def _say_grounds(decision: Mapping[str, Any]) -> None:
    """Tell on what grounds something was decided."""
    for ground in decision["rationale"]:
        lines = ", ".join(f"{line['path']}:{line['line']}" for line in ground["lines"])
        click.echo(f"  {'against' if ground['against'] else 'for'}: {ground['text']}{f' ({lines})' if lines else ''}")


def _listed(each: Mapping[str, Any]) -> tuple[object, ...]:
    """Return the line of an item."""
    item, decision = each["item"], each["decision"]
    grounds: list[dict[str, Any]] = [] if decision is None else decision["rationale"]
    why: str = next((ground["text"] for ground in grounds if ground["against"]), "")
    verdict, tier = ("", "") if decision is None else (words(decision["verdict"]), decision["tier"].lower())
    risk = number(item["risk"])
    return item["name"], item["kind"], verdict, tier, risk, each["registered"], item["path"], why


def _to_approve(approval: str) -> str:
    return f"aetherra approvals approve {approval}"


def _waiting(count: int) -> str:
    return f"{count} for an approval; 'aetherra incorporate list' tells which" if count else "nothing"


def _places(items: Sequence[str]) -> list[str]:
    return [place_of(item) for item in items]
