"""A host's contract as an AsyncAPI 3.0 document, for tools that draw, document or generate from one."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import quote

from aetherra.registry.schema import Schema, component_name, with_refs

REPLY = "..reply"
"""What follows a tag to name its reply; no tag holds two dots together, so it is nobody's name."""


def asyncapi_document(contract: dict[str, Any], *, title: str, version: str) -> dict[str, Any]:
    """Return the AsyncAPI document of a contract.

    Requests are operations that the host receives, with a reply; events are sent by it, or received where a plugin only
    hears them. Each tag is a channel.

    Args:
        contract: As ``contract_document`` makes it.
        title: What the application is called.
        version: Its version.
    """
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    for tag, told in contract["messages"].items():
        channels[tag] = _channel(tag, tag, told["summary"])
        messages[tag] = _message(tag, told, told["schema"])
        action = "send" if told["role"] == "tells" else "receive"
        operations[tag] = {"action": action, "summary": told["summary"], **_use(tag), "x-plugin": told["plugin"]}
        if told["kind"] == "request":
            reply = tag + REPLY
            channels[reply] = _channel(reply, None, f"Replies to {tag}")
            messages[reply] = {"name": reply, "payload": _payload(told["reply"])}
            operations[tag]["reply"] = _use(reply)
    return {
        "asyncapi": "3.0.0",
        "info": {"title": title, "version": version},
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": messages,
            "schemas": {name: _payload(schema) for name, schema in contract["$defs"].items()},
        },
    }


def _channel(name: str, address: str | None, summary: str) -> dict[str, Any]:
    return {"address": address, "summary": summary, "messages": {name: _ref("components", "messages", name)}}


def _use(name: str) -> dict[str, Any]:
    return {"channel": _ref("channels", name), "messages": [_ref("channels", name, "messages", name)]}


def _message(tag: str, told: dict[str, Any], schema: Schema) -> dict[str, Any]:
    return {"name": tag, "summary": told["summary"], "payload": _payload(schema), "x-hash": told["hash"]}


def _ref(*steps: str) -> dict[str, str]:
    return {"$ref": "#/" + "/".join(quote(step) for step in steps)}


def _payload(schema: Any) -> Any:
    """Write a schema as AsyncAPI takes it: draft 7, in which arrays with places are said in another way."""
    return _older(with_refs(schema, lambda reference: _ref("components", "schemas", component_name(reference))["$ref"]))


def _older(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_older(part) for part in cast("list[object]", schema)]
    if not isinstance(schema, dict):
        return schema
    older = {key: _older(part) for key, part in cast("Schema", schema).items()}
    if isinstance(older.get("prefixItems"), list):
        end = {"additionalItems": False} if older.pop("items", None) is False else {}
        older = {**older, "items": older.pop("prefixItems"), **end}
    if isinstance(older.get("$ref"), str) and len(older) > 1:  # what stands beside a reference was not read then
        older = {"allOf": [{"$ref": older.pop("$ref")}], **older}
    return older
