"""What changed between two plain values, in words: `column guided.fid added`, `prior: tarflow → starflow`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mimflow.spec.differences import differences, show

NAMED_BY = ("name", "run", "ablation", "file", "output", "metric", "kind")
"""The fields that an item of a list is called by, the first that it has."""
LONG = 60
"""Characters of a value that are shown."""


def changes(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Every change as a phrase. A part of another kind is one change, and items of lists are called by their names."""
    if isinstance(old, dict) and isinstance(new, dict):
        if old.get("kind") != new.get("kind") and None not in (old.get("kind"), new.get("kind")):
            yield f"{path}: {old['kind']} → {new['kind']}"
            return
        for key in [*old, *(key for key in new if key not in old)]:
            inner = f"{path}.{key}" if path else str(key)
            if key in old and key in new:
                yield from changes(old[key], new[key], inner)
            else:
                yield _came_or_went(inner, old.get(key), new.get(key), key in new)
    elif isinstance(old, list) and isinstance(new, list) and _named(old + new):
        yield from _of_list(old, new, path)
    else:
        yield from (f"{path}: {_brief(before)} → {_brief(after)}" for _, before, after in _whole(old, new))


def _whole(old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    """The two as a difference, if they differ as a key sees it."""
    if any(differences(old, new)):
        yield "", old, new


def _came_or_went(path: str, old: Any, new: Any, came: bool) -> str:
    return f"{path}: nothing → {_brief(new)}" if came else f"{path}: {_brief(old)} → nothing"


def _named(items: list[Any]) -> bool:
    """Whether the items of a list have names: mappings, or words that are no numbers."""
    return bool(items) and all(isinstance(item, (dict, str)) for item in items)


def _of_list(old: list[Any], new: list[Any], path: str) -> Iterator[str]:
    found = list(_among(_by_name(old), _by_name(new), path))
    yield from found
    if not found and any(differences(old, new)):
        yield f"{path.rpartition('.')[2]} written otherwise"


def _among(before: dict[str, Any], after: dict[str, Any], path: str) -> Iterator[str]:
    one = _one(path)
    yield from (f"{one} {name} removed" for name in before if name not in after)
    yield from (f"{one} {name} added" for name in after if name not in before)
    for name in before:
        if name in after:
            yield from changes(before[name], after[name], f"{one} {name}")
    stayed = [name for name in before if name in after]
    if stayed != [name for name in after if name in before]:
        yield f"{path.rpartition('.')[2]} in another order"


def _by_name(items: list[Any]) -> dict[str, Any]:
    """Items by their names; a second of a name is numbered. Columns of one output are a column each."""
    found: dict[str, Any] = {}
    for item in items:
        for name, each in _columns(item):
            number = sum(known == name or known.startswith(f"{name} (") for known in found)
            found[f"{name} ({number + 1})" if number else name] = each
    return found


def _columns(item: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(item, dict):
        yield item, item
    elif "output" in item and isinstance(item.get("metrics"), list):
        for metric in item["metrics"]:
            name = metric.get("metric") if isinstance(metric, dict) else metric
            yield f"{item['output']}.{name}", metric if isinstance(metric, dict) else f"{item['output']}.{name}"
    else:
        yield next((str(item[field]) for field in NAMED_BY if item.get(field)), "without a name"), item


def _one(path: str) -> str:
    """What an item of a list is called: `rows` → `row`, `entries` → `entry`."""
    field = path.rpartition(".")[2]
    return field[:-3] + "y" if field.endswith("ies") else field.removesuffix("s")


def _brief(value: Any) -> str:
    text = show(value)
    if len(text) <= LONG:
        return text
    if isinstance(value, dict) and isinstance(value.get("kind"), str):
        return str(value["kind"])
    return f"{text[: LONG - 1]}…"
