"""``aetherra status``, ``services``, ``plugins`` and ``actions``: what the running host says of itself."""

from __future__ import annotations

import difflib
import importlib.metadata
from pathlib import Path
from typing import Any

import click

from aetherra.kernel.cli.output import print_file, print_json, print_table, seconds
from aetherra.kernel.cli.project import ask, host_options, json_option
from aetherra.registry import HandlerError, NoHandlerError

EVERY_TAG = "*"
"""What ``--schema`` means without a tag."""


CALL_COUNTS = {
    "calls": "",
    "call_errors": "failed",
    "calls_in_flight": "in flight",
    "slow_calls": "slow",
    "refused": "refused",
}
"""What ``aetherra status`` tells of the calls, and in which words."""


@click.command()
@host_options
@json_option
def status(path: Path, config_file: Path | None, as_json: bool) -> None:
    """How the running host is."""
    host = ask(path, config_file, "kernel.status")
    try:
        governance = ask(path, config_file, "governance.status")
    except (NoHandlerError, HandlerError) as exc:
        governance = {"problem": str(exc)}
    if as_json:
        print_json({**host, "governance": governance})
        return
    health = host["health"]
    score = "unknown" if health["score"] is None else f"{health['score']:.2f}"
    plugins = ", ".join(f"{count} {state}" for state, count in sorted(host["plugins"].items())) or "none"
    rows: list[tuple[str, object]] = [
        ("health", f"{health['status']}, {score}"),
        *(("", reason) for reason in health["reasons"]),
        ("project", host["root"]),
        ("process", f"{host['pid']}, {host['backend']}, Python {host['python']}, profile {host['profile']}"),
        ("up", seconds(host["uptime"])),
        ("plugins", plugins),
        ("services", host["services"]),
        (
            "calls",
            ", ".join(f"{host[key]} {word}".rstrip() for key, word in CALL_COUNTS.items()),
        ),
        (
            "actions",
            f"{host['actions_running']} running, {host['actions_waiting']} waiting, {host['actions_done']} done",
        ),
        ("dead letters", host["dead_letters"]),
        ("loop lag", seconds(host["loop_lag"])),
        *(("", f"blocked {count} times by {who or 'unknown'}") for who, count in host["blocked_by"].items()),
        *(("by itself" if number == 0 else "", line) for number, line in enumerate(_governed(governance))),
    ]
    print_table("Aetherra host", ("what", "is"), rows)


def _governed(governance: dict[str, Any]) -> list[str]:
    """Say what holds what the host does by itself."""
    lines = [governance["problem"]] if governance["problem"] else []
    if stopped := governance.get("stopped"):
        lines.append(f"emergency stop by {stopped['who'] or 'somebody'}: {stopped['why'] or 'no reason was given'}")
    lines += [measure["reason"] for measure in governance.get("measures", ())]
    if waiting := governance.get("waiting"):
        lines.append(f"{waiting} waiting for approval: aetherra approvals list")
    if interrupted := governance.get("interrupted"):
        lines.append(f"cut off when an earlier run ended: {interrupted}, see aetherra audit tail")
    return lines or ["nothing holds it"]


@click.command()
@click.option(
    "--schema",
    "schema_of",
    metavar="[TAG]",
    is_flag=False,
    flag_value=EVERY_TAG,
    help="Print the JSON Schemas of all messages, or of TAG.",
)
@click.option("--asyncapi", is_flag=True, help="Print an AsyncAPI 3.0 document of the host.")
@click.option("--tags", is_flag=True, help="List tags: calls, errors, in flight, latency; and events.")
@host_options
@json_option
def services(
    path: Path, config_file: Path | None, as_json: bool, schema_of: str | None, asyncapi: bool, tags: bool
) -> None:
    """The running host's services, or what their messages look like."""
    if schema_of is not None or asyncapi:
        if schema_of is not None and (asyncapi or as_json):
            raise click.UsageError("--schema prints JSON of its own; give it without --asyncapi and --json")
        _print_contract(ask(path, config_file, "kernel.contracts")["document"], schema_of)
        return
    if tags:
        _print_tags(ask(path, config_file, "kernel.statistics")["bus"], as_json=as_json)
        return
    listed = ask(path, config_file, "kernel.services")["services"]
    if as_json:
        print_json(listed)
        return
    rows = [
        (s["name"], s["status"], s["generation"], s["calls"], s["errors"], " ".join(s["tags"]), s["reason"])
        for s in listed
    ]
    columns = ("service", "status", "gen", "calls", "errors", "tags", "reason")
    print_table("Services", columns, rows)


def _print_tags(bus: dict[str, Any], *, as_json: bool) -> None:
    """Print how the calls of each tag fared, and the events."""
    if as_json:
        print_json({"calls": bus["routes"], "events": bus["topics"]})
        return
    calls = [
        (r["tag"], r["provider"]["name"], r["calls"], r["errors"], r["in_hand"], *map(seconds, r["latency"].values()))
        for r in bus["routes"]
    ]
    print_table("Calls", ("tag", "answered by", "calls", "errors", "in flight", "p50", "p95", "p99"), calls)
    events = [(t["tag"], t["published"], t["delivered"], t["subscribers"]) for t in bus["topics"]]
    print_table("Events", ("tag", "published", "delivered", "subscribers"), events)


def _print_contract(document: dict[str, Any], schema_of: str | None) -> None:
    """Print the host's contract: as AsyncAPI, or its schemas, all or those of one tag."""
    from aetherra.registry.asyncapi import asyncapi_document  # noqa: PLC0415  # for these two options only
    from aetherra.registry.document import part_of  # noqa: PLC0415

    if schema_of is None:
        print_file(asyncapi_document(document, title="Aetherra host", version=importlib.metadata.version("aetherra")))
    elif schema_of == EVERY_TAG:
        print_file(document)
    elif schema_of in document["messages"]:
        print_file(part_of(document, schema_of))
    else:
        near = difflib.get_close_matches(schema_of, list[str](document["messages"]), n=3)
        hint = f"; nearest tags: {', '.join(map(repr, near))}" if near else "; 'aetherra services --schema' has all"
        raise click.ClickException(f"nothing here answers or tells {schema_of!r}{hint}")


@click.command()
@host_options
@json_option
def plugins(path: Path, config_file: Path | None, as_json: bool) -> None:
    """The running host's plugins, failed ones too."""
    listed = ask(path, config_file, "kernel.plugins")["plugins"]
    if as_json:
        print_json(listed)
        return
    rows = [(p["name"], p["state"], p["generation"], p["version"], p["source"], p["reason"]) for p in listed]
    print_table("Plugins", ("plugin", "state", "gen", "version", "source", "reason"), rows)


@click.command()
@host_options
@json_option
def actions(path: Path, config_file: Path | None, as_json: bool) -> None:
    """The running host's action queue."""
    queue = ask(path, config_file, "kernel.actions")
    if as_json:
        print_json(queue)
        return
    heads = ("depth", "waiting", "running", "oldest", "done", "retried", "dead", "wait p50/p95/p99", "run p50/p95/p99")
    lanes = [(name, f"{s['capacity']}, {s['weight']}", s["refused"], *_counts(s)) for name, s in queue["lanes"].items()]
    print_table("Lanes", ("lane", "room, weight", "refused", *heads), lanes)
    print_table("Types", ("action type", *heads), [(tag, *_counts(s)) for tag, s in queue["types"].items()])
    dead = ", ".join(f"{count} {reason}" for reason, count in sorted(queue["dead"].items())) or "none"
    totals: list[tuple[str, object]] = [
        ("running", f"{queue['running']} of {queue['workers']} workers"),
        ("between attempts", queue["waiting"]),
        ("oldest", seconds(queue["oldest_age"])),
        ("accepted", queue["accepted"]),
        ("done", queue["done"]),
        ("retried", queue["retried"]),
        ("idempotency keys that count", queue["keys"]),
        ("submitted again under one", queue["duplicates"]),
        ("beyond their time limit", f"{queue['overruns']}, {queue['overrunning']} of them now"),
        ("dead since the start", dead),
        ("dead letters held", queue["dlq"]["depth"]),
    ]
    print_table("Actions", ("what", "is"), totals)


def _counts(numbers: dict[str, Any]) -> tuple[object, ...]:
    """Return the cells that lanes and types have in common."""
    return (
        numbers["depth"],
        numbers["waiting"],
        numbers["running"],
        seconds(numbers["oldest_age"]),
        numbers["done"],
        numbers["retried"],
        sum(numbers["dead"].values()),
        _quantiles(numbers["wait"]),
        _quantiles(numbers["run"]),
    )


def _quantiles(latency: dict[str, float | None]) -> str:
    return " ".join(seconds(latency[name]) for name in ("p50", "p95", "p99"))
