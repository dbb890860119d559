"""The fields of specs as Markdown, from their classes and docstrings: the reference that the documentation shows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from mimflow.project.kinds import Kind
from mimflow.project.schemas import described

LIMITS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def reference(kinds: Sequence[Kind]) -> Iterator[tuple[str, str]]:
    """A page for each kind of spec: its name, and its Markdown."""
    for kind in kinds:
        yield kind.name, page(kind)


def page(kind: Kind) -> str:
    """The fields of a kind of spec, then those of every part that it can hold, by the parts' names."""
    full, definitions = described(kind.spec)
    folders = " and ".join(f"`specs/{folder}/`" for folder in kind.folders)
    parts = [f"# {kind.name}", f"Specs of this kind lie in {folders}.", *_section(full)]
    for heading, name in sorted((_heading(name, definition), name) for name, definition in definitions.items()):
        part = _whole(definitions[name])
        if "properties" in part:
            parts += [f"## {heading} {{#{name.lower()}}}", *_section(part)]
    return "\n\n".join(parts) + "\n"


def _whole(definition: dict[str, Any]) -> dict[str, Any]:
    """A part as a mapping, where it may be a word instead."""
    return next((part for part in definition.get("anyOf", ()) if "properties" in part), definition)


def _heading(name: str, definition: dict[str, Any]) -> str:
    """`kind: tarflow` for a part that is told by its kind, or its class in words."""
    kind = _whole(definition).get("properties", {}).get("kind", {}).get("const")
    return f"kind: {kind} ({name})" if kind else name


def _section(definition: dict[str, Any]) -> Iterator[str]:
    if text := definition.get("description"):
        yield str(text)
    required = definition.get("required", ())
    rows = ["| field | type | default | |", "|---|---|---|---|"]
    for name, field in definition.get("properties", {}).items():
        if name != "kind":
            given = name not in required and "default" in field
            default = f"`{json.dumps(field['default'], ensure_ascii=False)}`" if given else "required"
            rows.append(f"| `{name}` | {_type(field)} | {_cell(default)} | {_cell(field.get('description', ''))} |")
    if len(rows) > 2:
        yield "\n".join(rows)


def _type(field: dict[str, Any]) -> str:
    """A field's type in words, with links to parts: `number > 0`, `list of integer`, `tarflow or sit`."""
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "discriminator" in field:
        mapping = field["discriminator"]["mapping"].items()
        return " or ".join(f"[{kind}](#{target.rpartition('/')[2].lower()})" for kind, target in mapping)
    alternatives = field.get("anyOf") or field.get("oneOf")
    if alternatives:
        return " or ".join(dict.fromkeys(_type(each) for each in alternatives if each != {"type": "null"}))
    if "enum" in field or "const" in field:
        return " or ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    if field.get("type") == "array":
        return f"list of {_type(field.get('items', {}))}"
    if field.get("type") == "object":
        inner = [*field.get("patternProperties", {}).values(), *(field.get("additionalProperties") or {},)]
        return f"by name: {_type(inner[0])}" if inner and inner[0] else "mapping"
    if "pattern" in field:
        return "string"
    limits = [f"{sign} {field[limit]:g}" for limit, sign in LIMITS.items() if limit in field]
    return " ".join([str(field.get("type", "anything")), *limits])


def _cell(text: str) -> str:
    """Text in a cell of a table: on one line."""
    return " ".join(text.split()).replace("|", "\\|")
