"""JSON Schemas of the specs, for editors: what a YAML language server completes and checks."""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mimflow.artifacts.manifest import write_text
from mimflow.project.kinds import Kind
from mimflow.project.workspace import KINDS
from mimflow.spec.base import Spec


def write_schemas(folder: Path, products: Sequence[Kind]) -> list[Path]:
    """Write one schema a kind of spec, those of products included; the paths written."""
    written = []
    for kind in (*KINDS, *products):
        path = folder / f"{kind.name}.json"
        write_text(path, json.dumps(schema(kind), indent=1, ensure_ascii=False) + "\n")
        written.append(path)
    return written


def schema(kind: Kind) -> dict[str, Any]:
    """The JSON Schema of a kind of spec.

    A spec that extends another may leave out what the other has: then nothing is required, at any depth, and `kind`
    may be left out too.
    """
    cls = kind.spec
    full = cls.model_json_schema()
    definitions: dict[str, Any] = full.pop("$defs", {})
    _describe_fields(cls, definitions, full)
    partial = {f"partial-{name}": _partial(definition) for name, definition in definitions.items()}
    extra = {
        "extends": {
            "type": "string",
            "description": "Another spec of this kind: its file, relative to this one, or its name.",
        },
        "overrides": {"type": "object", "description": "Dotted paths and values: `prior.width: 64`."},
    }
    full["properties"] |= extra
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"mimflow {kind.name}",
        "type": "object",
        "if": {"required": ["extends"]},
        "then": _partial(full),
        "else": full,
        "$defs": definitions | partial,
    }


def _partial(value: Any) -> Any:
    """The same schema with nothing required, and members of unions told apart by their fields alone."""
    if isinstance(value, dict):
        kept = {key: _partial(item) for key, item in value.items() if key not in ("required", "discriminator")}
        if "patternProperties" in kept:  # by name: a null drops what the other spec has
            kept["patternProperties"] = {
                pattern: {"anyOf": [item, {"type": "null"}]} for pattern, item in kept["patternProperties"].items()
            }
        if "oneOf" in kept:
            kept["anyOf"] = kept.pop("oneOf")
        return kept
    if isinstance(value, list):
        return [_partial(item) for item in value]
    if isinstance(value, str) and value.startswith("#/$defs/"):
        return value.replace("#/$defs/", "#/$defs/partial-")
    return value


def _describe_fields(cls: type[Spec], definitions: dict[str, Any], full: dict[str, Any]) -> None:
    """Put the docstrings under fields into the schema. (Pydantic can, at 0.15 s for every start of the program.)"""
    for model in _subclasses(Spec):
        target = full if model is cls else definitions.get(model.__name__)
        if target is None:
            continue
        # A file of weights may be a name instead.
        parts = (target, *target.get("anyOf", ()))
        properties: dict[str, Any] = next((part["properties"] for part in parts if "properties" in part), {})
        for base in reversed(model.__mro__):
            for name, text in _field_docs(base):
                written = model.written_names().get(name, name)
                if written in properties:
                    properties[written]["description"] = text


def _subclasses(cls: type[Spec]) -> Iterator[type[Spec]]:
    yield cls
    for subclass in cls.__subclasses__():
        yield from _subclasses(subclass)


def _field_docs(cls: type) -> Iterator[tuple[str, str]]:
    if not issubclass(cls, Spec):
        return
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(body, ast.ClassDef)
    for statement, following in zip(body.body, body.body[1:], strict=False):
        if not (isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)):
            continue
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            yield statement.target.id, inspect.cleandoc(str(following.value.value))
