"""In which fields two plain values differ."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

_ABSENT = object()


def differences(old: Any, new: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The fields in which two plain values differ: dotted path, old, new."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            path = f"{prefix}.{key}" if prefix else key
            yield from differences(old.get(key, _ABSENT), new.get(key, _ABSENT), path)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (left, right) in enumerate(zip(old, new, strict=True)):
            yield from differences(left, right, f"{prefix}.{index}")
    elif old is _ABSENT or new is _ABSENT or _differ(old, new):
        yield prefix, old, new


def _differ(old: Any, new: Any) -> bool:
    # As a key sees it: 1 and 1.0 differ, and so do true and 1.
    return json.dumps(old, sort_keys=True) != json.dumps(new, sort_keys=True)


def show(value: Any) -> str:
    """A plain value in a line of text."""
    if value is _ABSENT:
        return "nothing"
    return (
        json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list, bool)) or value is None else str(value)
    )
