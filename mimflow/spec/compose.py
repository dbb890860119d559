"""One spec out of several files: `extends`, then the file's own fields, then `overrides`; places are kept.

Mappings merge field by field: what the base has first, then what is new. A mapping of another `kind` replaces the
whole, and a list replaces a list.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from mimflow.spec.reader import Mark, Node, ReadError, read


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint: the known name nearest to `word`, or all of them if they are few, or nothing."""
    names = list(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"known: {', '.join(names)}" if 0 < len(names) <= 12 else ""


def load(path: Path, root: Path) -> Node:
    """Read a spec file with all that it extends, overrides applied. ReadError if a file or a circle is in the way."""
    return _load(path, root, ())


def _load(path: Path, root: Path, chain: tuple[Path, ...]) -> Node:
    whole = read(path, shown_path(path, root))
    fields: dict[str, Node] = dict(whole.value)
    base_node = fields.pop("extends", None)
    overrides = fields.pop("overrides", None)
    node = replace(whole, value=fields)
    if base_node is not None:
        node = merge(_base(base_node, path, root, (*chain, path.resolve())), node)
    if overrides is not None:
        if not isinstance(overrides.value, dict):
            raise ReadError(overrides.mark, "overrides: not a mapping", "dotted paths and values: `prior.width: 64`")
        for dotted, value in overrides.value.items():
            node = override(node, dotted, value)
    return node


def _base(reference: Node, path: Path, root: Path, chain: tuple[Path, ...]) -> Node:
    if not isinstance(reference.value, str):
        raise ReadError(
            reference.mark, f"extends: got {reference.value!r}", "a path to a YAML file, relative to this one"
        )
    base = path.parent / reference.value
    if base.resolve() in chain:
        start = chain.index(base.resolve())
        circle = [shown_path(file, root) for file in (*chain[start:], base.resolve())]
        raise ReadError(reference.mark, f"extends: runs in a circle: {' → '.join(circle)}", "remove one link")
    if not base.is_file():
        known = [file.name for file in sorted(base.parent.glob("*.yaml"))] if base.parent.is_dir() else []
        raise ReadError(reference.mark, f"extends: no file {shown_path(base, root)}", nearest(base.name, known))
    return _load(base, root, chain)


def shown_path(path: Path, root: Path) -> str:
    """How messages name a file: relative to the project where it lies below it."""
    try:
        # Not `resolve`: a link is shown where the user put it.
        return _normal(path).relative_to(_normal(root)).as_posix()
    except ValueError:
        return path.as_posix()


def _normal(path: Path) -> Path:
    return Path(os.path.normpath(path.absolute()))


def merge(base: Node, over: Node) -> Node:
    """`over` on top of `base`."""
    if isinstance(base.value, dict) and isinstance(over.value, dict):
        if _kind(over) not in (None, _kind(base)):
            return over
        merged = dict(base.value)
        for key, node in over.value.items():
            merged[key] = merge(merged[key], node) if key in merged else node
        return Node(merged, over.mark, over.key_mark)
    if over.value is None:
        return Node(None, over.mark, over.key_mark, drops=base.value is not None)
    return over


def _kind(node: Node) -> Any:
    kind = node.value.get("kind")
    return kind.value if kind is not None else None


def override(root: Node, dotted: str, value: Node) -> Node:
    """A copy of `root` with the value at `dotted` (fields, and numbers of list items) replaced.

    A mapping that is not written out yet is made, so that a field left at its default can be set; whether such a
    field exists is for validation to say. ReadError if the path leads through something that can't be entered.
    """
    return _override(root, dotted.split("."), value, dotted)


def _override(node: Node, parts: list[str], value: Node, dotted: str) -> Node:
    if not parts:
        return merge(node, value)
    part, rest = parts[0], parts[1:]
    mark = value.key_mark or value.mark
    if isinstance(node.value, dict):
        inner = node.value.get(part, Node({} if rest else None, value.mark, value.key_mark))
        return Node({**node.value, part: _override(inner, rest, value, dotted)}, node.mark, node.key_mark)
    if isinstance(node.value, list):
        index = _index(node.value, part, dotted, mark)
        items = list(node.value)
        items[index] = _override(items[index], rest, value, dotted)
        return Node(items, node.mark, node.key_mark)
    if node.value is None:
        return _override(Node({}, node.mark, node.key_mark), parts, value, dotted)
    raise ReadError(mark, f"override {dotted}: no such path: '{part}' would be inside {node.value!r}")


def _index(items: list[Node], part: str, dotted: str, mark: Mark) -> int:
    if part.isdigit() and int(part) < len(items):
        return int(part)
    known = [str(index) for index in range(len(items))]
    raise ReadError(mark, f"override {dotted}: no such path: there is no item '{part}'", nearest(part, known))


def locate(node: Node, path: Iterable[str | int]) -> tuple[Node, list[str | int], list[str | int]]:
    """Walk as far along `path` as nodes go: the node, the path walked, and what is left of it."""
    walked: list[str | int] = []
    left = list(path)
    while left:
        inner = _child(node, left[0])
        if inner is None:
            break
        node = inner
        walked.append(left.pop(0))
    return node, walked, left


def _child(node: Node, step: str | int) -> Node | None:
    if isinstance(node.value, dict):
        return node.value.get(step)
    if isinstance(node.value, list) and isinstance(step, int) and step < len(node.value):
        item: Node = node.value[step]
        return item
    return None


def field_name(path: Iterable[str | int]) -> str:
    """`phases.main.start.0.run`: how messages name a field; items of lists count from 0."""
    return ".".join(map(str, path))
