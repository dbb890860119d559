"""Specs in words: the settings of a part in a line."""

from __future__ import annotations

import json
from typing import Any

from mimflow.spec.base import Spec


def settings(spec: Spec, every: bool = False) -> str:
    """A part in a line: its kind and the fields that are not their defaults, or every field."""
    fields = type(spec).model_fields
    values = {name: getattr(spec, name) for name in fields if name != "kind"}
    shown = [
        _field(name, value)
        for name, value in values.items()
        if every or value != fields[name].get_default(call_default_factory=True)
    ]
    kind = getattr(spec, "kind", None)
    return ", ".join(([kind] if kind is not None else []) + shown)


def _field(name: str, value: Any) -> str:
    words = name.replace("_", " ")
    if isinstance(value, bool):
        return words if value else f"no {words}"
    if value is None:
        return f"no {words}"
    if isinstance(value, Spec):
        return f"{words} ({settings(value)})"
    return f"{words} {plain(value)}"


def plain(value: Any) -> str:
    """A number, a text or a list of a spec, as a person would write it."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return " ".join(plain(item) for item in value)
    if isinstance(value, Spec):
        return f"({settings(value)})"
    return json.dumps(value) if isinstance(value, dict) else str(value)
