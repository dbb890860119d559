"""JSON Schemas that name the field that is wrong, in place of «fits none of the alternatives».

Pydantic writes `oneOf` with a `discriminator`, which is OpenAPI's: whoever knows JSON Schema alone tries every member
and can say of none why it does not fit. Here the member is chosen by its `kind` first, and a null by being one.
"""

from __future__ import annotations

import json
from typing import Any

NAME = "[a-z0-9][a-z0-9_-]{0,63}"
ANNOTATIONS = ("title", "description", "default")
LEAVES = ("number", "integer", "boolean")
"""The types of fields that a tie, which is a text, may stand in for."""


def decided(value: Any, definitions: dict[str, Any], partial: bool) -> Any:
    """The same schema with alternatives decided; `partial`: nothing is required, and a part may leave out its kind."""
    if isinstance(value, list):
        return [decided(item, definitions, partial) for item in value]
    if not isinstance(value, dict):
        return value
    notes = {key: value[key] for key in ANNOTATIONS if key in value}
    if "discriminator" in value:
        return notes | _by_kind(value["discriminator"]["mapping"], definitions, partial)
    if {"type": "null"} in value.get("anyOf", ()):
        others = [item for item in value["anyOf"] if item != {"type": "null"}]
        inner = decided(others[0] if len(others) == 1 else {"anyOf": others}, definitions, partial)
        return notes | _unless_null(inner)
    if value.get("type") in LEAVES:
        inner = {key: item for key, item in value.items() if key not in ANNOTATIONS}
        return notes | {"if": {"$ref": "#/$defs/tie"}, "else": inner}
    if "$ref" in value:
        return value | {"$ref": _reference(value["$ref"], partial)}
    dropped = ("required",) if partial else ()
    kept = {
        key: _properties(item, definitions, partial)
        if key in ("properties", "patternProperties")
        else item
        if key in ("default", "required", "enum")
        else decided(item, definitions, partial)
        for key, item in value.items()
        if key not in dropped
    }
    if partial and "patternProperties" in kept:  # by name: a null drops what the other spec has, one or all
        names = {pattern: _unless_null(item) for pattern, item in kept["patternProperties"].items()}
        inner = {key: item for key, item in kept.items() if key not in ANNOTATIONS} | {"patternProperties": names}
        return notes | _unless_null(inner)
    return kept


def _properties(fields: dict[str, Any], definitions: dict[str, Any], partial: bool) -> dict[str, Any]:
    return {name: decided(field, definitions, partial) for name, field in fields.items()}


def _unless_null(inner: dict[str, Any]) -> dict[str, Any]:
    return {"if": {"not": {"type": "null"}}, "then": inner}


def _reference(target: str, partial: bool) -> str:
    return target.replace("#/$defs/", "#/$defs/partial-") if partial else target


def _by_kind(mapping: dict[str, str], definitions: dict[str, Any], partial: bool) -> dict[str, Any]:
    """One of several parts: which, its `kind` says."""
    cases = [
        {
            "if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]},
            "then": {"$ref": _reference(target, partial)},
        }
        for kind, target in mapping.items()
    ]
    found: dict[str, Any] = {"type": "object", "properties": {"kind": {"enum": list(mapping)}}, "allOf": cases}
    if not partial:
        return found | {"required": ["kind"]}
    members = [target.rpartition("/")[2] for target in mapping.values()]
    # Of the kind that the other spec names: fields that any of them has.
    without = {"if": {"not": {"required": ["kind"]}}, "then": _any_of(members, definitions)}
    return found | {"allOf": [*cases, without]}


def _any_of(members: list[str], definitions: dict[str, Any]) -> dict[str, Any]:
    """A mapping with fields of any of these parts, each as one of them has it."""
    fields: dict[str, dict[str, str]] = {}
    for member in members:
        for name, field in definitions[member].get("properties", {}).items():
            said = json.dumps({key: item for key, item in field.items() if key not in ANNOTATIONS}, sort_keys=True)
            fields.setdefault(name, {}).setdefault(said, f"#/$defs/partial-{member}/properties/{name}")
    found = {name: [{"$ref": target} for target in known.values()] for name, known in fields.items()}
    properties = {name: known[0] if len(known) == 1 else {"anyOf": known} for name, known in found.items()}
    return {"properties": properties, "additionalProperties": False}


def path_names(full: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """What restricts the keys of a mapping to dotted paths that lead to fields: `phases.main.optimizer.lr`."""
    return {"propertyNames": {"pattern": f"^{_paths(full, definitions)}$"}}


def _paths(value: dict[str, Any], definitions: dict[str, Any]) -> str:
    """A regular expression of the paths inside a value; empty if it has no inside."""
    inside: dict[str, list[str]] = {}
    for name, field in _fields(value, definitions):
        rest = _paths(field, definitions)
        if rest not in (known := inside.setdefault(name, [])):
            known.append(rest)
    by_rest: dict[str, list[str]] = {}
    for name, rests in inside.items():
        after = [rest for rest in rests if rest]
        joined = "" if not after else after[0] if len(after) == 1 else f"(?:{'|'.join(after)})"
        by_rest.setdefault(joined, []).append(name)
    parts = [f"{_either(names)}(?:\\.{rest})?" if rest else _either(names) for rest, names in by_rest.items()]
    return _either(parts) if parts else ""


def _either(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"(?:{'|'.join(parts)})"


def _fields(value: dict[str, Any], definitions: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """What a value of this schema can hold: fields, items by name, items of a list, of every alternative."""
    if "$ref" in value:
        return _fields(definitions[value["$ref"].rpartition("/")[2]], definitions)
    found = list(value.get("properties", {}).items())
    found += [(NAME, item) for item in value.get("patternProperties", {}).values()]
    if isinstance(value.get("additionalProperties"), dict):
        found.append((r"[A-Za-z0-9_.-]+", value["additionalProperties"]))
    if isinstance(value.get("items"), dict):
        found.append((r"(?:\d+|\*)", value["items"]))
    for alternative in (*value.get("anyOf", ()), *value.get("oneOf", ())):
        found += _fields(alternative, definitions)
    return found
