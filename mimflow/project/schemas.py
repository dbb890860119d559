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
from mimflow.project.ablation import AblationSpec
from mimflow.project.kinds import Kind
from mimflow.project.run import RunSpec
from mimflow.project.sweep import SWEEP
from mimflow.project.workspace import KINDS
from mimflow.spec.base import Spec
from mimflow.spec.decided import decided, path_names
from mimflow.spec.ties import TIE

DEFINITIONS = "#/$defs/"
"""What references to definitions of the same schema begin with."""


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
    may be left out too. A part is told from the others by its kind alone, so that whoever checks a file by the schema
    is told of the field that is wrong, and not that no part fits.
    """
    cls = kind.spec
    full, definitions = described(cls)
    overrides = path_names(full, definitions)
    if cls is AblationSpec:
        _check_paths(full, definitions)
    if cls is RunSpec:
        _allow_sweeps(full["properties"], definitions)
    partial = {f"partial-{name}": decided(definition, definitions, True) for name, definition in definitions.items()}
    extra = {
        "extends": {
            "type": "string",
            "description": "Another spec of this kind: its file, relative to this one, or its name.",
        },
        "overrides": {"type": "object", "description": "Dotted paths and values: `prior.width: 64`."},
    }
    whole = decided(full, definitions, False)
    part = decided(full, definitions, True)
    extra["overrides"] |= overrides
    for each in (whole, part):
        each["properties"] |= extra
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"mimflow {kind.name}",
        "type": "object",
        "if": {"required": ["extends"]},
        "then": part,
        "else": whole,
        "$defs": {name: decided(definition, definitions, False) for name, definition in definitions.items()}
        | partial
        | {"tie": {"type": "string", "pattern": f"^{TIE.pattern}$".replace("?P<path>", "")}},
    }


def described(cls: type[Spec]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Pydantic's schema of a class, with what its fields' docstrings say; the definitions of its parts, by name."""
    full = cls.model_json_schema()
    definitions: dict[str, Any] = full.pop("$defs", {})
    _describe_fields(cls, definitions, full)
    return full, definitions


def _check_paths(full: dict[str, Any], definitions: dict[str, Any]) -> None:
    """Let an ablation set the fields alone that a run has."""
    run = RunSpec.model_json_schema()
    names = path_names(run, run.pop("$defs"))
    for axes in (full["properties"]["grid"], full["properties"]["zip"]):
        axes["anyOf"][0] |= names
        axes["anyOf"][0].pop("patternProperties", None)
    overrides = definitions["Variant"]["properties"]["overrides"]
    overrides.pop("patternProperties", None)
    overrides |= names


def _allow_sweeps(properties: dict[str, Any], definitions: dict[str, Any]) -> None:
    """Let fields inside of a run's outputs take lists of values, in copies of their definitions."""
    properties["outputs"] = _renamed(properties["outputs"], "swept-")
    ahead, done = _references(properties["outputs"]), set()
    while ahead:
        name = min(ahead)  # in the same order every time
        ahead.remove(name)
        if name in done:
            continue
        done.add(name)
        origin = name.removeprefix("swept-")
        definition = _renamed(definitions[origin], "swept-")
        ahead |= _references(definition)
        definition["properties"] = {
            key: item if key == "kind" else _swept(item, f"{DEFINITIONS}{origin}/properties/{key}")
            for key, item in definition.get("properties", {}).items()
        }
        definitions[name] = definition


def _swept(field: dict[str, Any], value: str) -> dict[str, Any]:
    """A field that may be a sweep over what it may be; which of the two it is, the one name decides.

    `value`: where the schema of one value is, which no sweep is in.
    """
    about: dict[str, Any] = {key: field[key] for key in ("title", "description", "default") if key in field}
    one = {key: item for key, item in field.items() if key not in about}
    many = {
        "type": "object",
        "properties": {SWEEP: {"type": "array", "items": {"$ref": value}, "minItems": 1}},
        "additionalProperties": False,
    }
    # `required` would say it too, but is left out of what another spec may complete.
    named = {"not": {"propertyNames": {"not": {"const": SWEEP}}}}
    return {"if": {"type": "object", **named}, "then": many, "else": one, **about}


def _references(value: Any) -> set[str]:
    """The names of the definitions that a schema refers to."""
    if isinstance(value, dict):
        return {name for item in value.values() for name in _references(item)}
    if isinstance(value, list):
        return {name for item in value for name in _references(item)}
    return {value.removeprefix(DEFINITIONS)} if isinstance(value, str) and value.startswith(DEFINITIONS) else set()


def _renamed(value: Any, prefix: str) -> Any:
    """The same schema, its references to copies whose names begin with `prefix`."""
    if isinstance(value, dict):
        return {key: _renamed(item, prefix) for key, item in value.items()}
    if isinstance(value, list):
        return [_renamed(item, prefix) for item in value]
    if isinstance(value, str) and value.startswith(DEFINITIONS):
        return DEFINITIONS + prefix + value.removeprefix(DEFINITIONS)
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
            for name, text in field_docs(base):
                written = model.written_names().get(name, name)
                if written in properties:
                    properties[written]["description"] = text


def _subclasses(cls: type[Spec]) -> Iterator[type[Spec]]:
    yield cls
    for subclass in cls.__subclasses__():
        yield from _subclasses(subclass)


def field_docs(cls: type) -> Iterator[tuple[str, str]]:
    """The fields of a spec class itself that have a docstring under them, with that."""
    if not issubclass(cls, Spec):
        return
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(body, ast.ClassDef)
    for statement, following in zip(body.body, body.body[1:], strict=False):
        if not (isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)):
            continue
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            yield statement.target.id, inspect.cleandoc(str(following.value.value))
