"""One spec out of several files: `extends`, then the file's own fields, then `overrides`; places are kept.

Mappings merge field by field: what the base has first, then what is new. A mapping of another `kind` replaces the
whole, and a list replaces a list. A base that names no `kind` is of whatever kind stands on top of it.
"""

from __future__ import annotations

import difflib
import os
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mimflow.spec.base import SLUG
from mimflow.spec.reader import Mark, Node, ReadError, read
from mimflow.spec.shipped import SPECS


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint: the known name nearest to `word`, or all of them if they are few, or nothing."""
    names = list(known)
    same = [name for name in names if name != word and _composed(name) == _composed(word)]
    if same:
        return f"'{same[0]}' is written in other Unicode characters that look the same: {same[0]!a}"
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"known: {', '.join(names)}" if 0 < len(names) <= 12 else ""


def _composed(word: str) -> str:
    return unicodedata.normalize("NFC", word)


OUTSIDE = "MIMFLOW_OUTSIDE"
"""The environment variable that names folders, besides the project, that specs may extend files and take templates
from; joined like PATH."""


EVERY = "*"
"""The step of an override's path that stands for every item of a list, however many there are."""

EXTENDS_LIMIT = 20
"""Files that extend one another in a row."""


def load(path: Path, root: Path, folders: Sequence[str] = ()) -> Node:
    """Read a spec file with all that it extends, overrides applied. ReadError if a file or a circle is in the way.

    `folders` of `specs` are where specs that are extended by name lie, in the project or among those that come along.
    """
    return _load(path, root, folders, ())


def _load(path: Path, root: Path, folders: Sequence[str], chain: tuple[Path, ...]) -> Node:
    whole = read(path, shown_path(path, root))
    fields: dict[str, Node] = dict(whole.value)
    base_node = fields.pop("extends", None)
    overrides = fields.pop("overrides", None)
    node = replace(whole, value=fields)
    if base_node is not None:
        node = merge(_base(base_node, path, root, folders, (*chain, path.resolve())), node)
    if overrides is not None:
        if not isinstance(overrides.value, dict):
            raise ReadError(overrides.mark, "overrides: not a mapping", "dotted paths and values: `prior.width: 64`")
        for dotted, value in overrides.value.items():
            node = override(node, dotted, value)
    return node


def _base(reference: Node, path: Path, root: Path, folders: Sequence[str], chain: tuple[Path, ...]) -> Node:
    if not isinstance(reference.value, str) or not reference.value:
        one = "one file, which may itself extend another" if isinstance(reference.value, list) else "extends: base.yaml"
        wanted = "wanted a path relative to this file"
        raise ReadError(reference.mark, f"extends: got {shown(reference.plain())}, {wanted}", one)
    base = path.parent / reference.value
    if folders and SLUG.fullmatch(reference.value):
        base = _by_name(reference, path, root, folders, chain)
    try:
        real = base.resolve()
        there = base.is_file()
    except (OSError, RuntimeError) as error:  # a RuntimeError is a link that leads to itself
        why = error.strerror if isinstance(error, OSError) else "a link that leads to itself"
        raise ReadError(reference.mark, f"extends: {reference.value[:60]!r} can't be read: {why}") from None
    if real in chain:
        circle = [shown_path(file, root) for file in (*chain[chain.index(real) :], real)]
        raise ReadError(reference.mark, f"extends: runs in a circle: {' → '.join(circle)}", "remove one link")
    if len(chain) >= EXTENDS_LIMIT:
        raise ReadError(reference.mark, f"extends: more than {EXTENDS_LIMIT} files in a row", "fewer")
    if not within(base, root):
        raise ReadError(
            reference.mark,
            f"extends: {reference.value} lies outside of the project",
            f"copy it into specs, or name its folder in {OUTSIDE}",
        )
    if not there:
        known = [file.name for file in sorted(base.parent.glob("*.yaml"))] if base.parent.is_dir() else []
        raise ReadError(reference.mark, f"extends: no file {shown_path(base, root)}", nearest(base.name, known))
    return _load(base, root, folders, chain)


def _by_name(reference: Node, path: Path, root: Path, folders: Sequence[str], chain: tuple[Path, ...]) -> Path:
    """The file of a spec that is extended by name: the project's, or of those that come along.

    One of the project may have the name of the one that it extends.
    """
    files = {file: None for specs in (root / "specs", SPECS) for file in _named(specs, folders, reference.value)}
    found = next((file for file in files if file.resolve() not in chain), next(iter(files), None))
    if found is not None:
        return found
    known = {file.stem for specs in (root / "specs", SPECS) for file in _named(specs, folders, "*")} - {path.stem}
    hint = nearest(reference.value, sorted(known))
    raise ReadError(reference.mark, f"extends: no spec '{reference.value}', here or among those that come along", hint)


def _named(specs: Path, folders: Sequence[str], name: str) -> Iterator[Path]:
    return (file for folder in folders for file in sorted((specs / folder).rglob(f"{name}.yaml")))


def within(path: Path, root: Path) -> bool:
    """Whether a file lies in the project, links followed, or in a folder that the user has named in `OUTSIDE`.

    The folders of `specs` may themselves be links to elsewhere.
    """
    try:
        real = path.resolve()
        if real.is_relative_to(root.resolve()):
            return True
        named = [Path(folder).expanduser() for folder in os.environ.get(OUTSIDE, "").split(os.pathsep) if folder]
        specs = (root / "specs").resolve()
        # A link in place of `specs` leads to where a project lies.
        folders = [*named, specs.parent, *specs.glob("*/"), SPECS]
        return any(real.is_relative_to(folder.resolve()) for folder in folders)
    except (OSError, RuntimeError, ValueError):  # a name too long, a link to itself, a character that paths can't have
        return False


def shown(value: Any) -> str:
    """A value as messages show it: in YAML's words, with what it is, cut where it is long."""
    names = {str: "the text ", list: "the list ", dict: "the mapping ", type(None): "nothing: "}
    text = {"True": "true", "False": "false", "None": "null"}.get(repr(value), repr(value))
    return names.get(type(value), "") + (text if len(text) <= 60 else text[:57] + "…")


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
        if None not in (_kind(over), _kind(base)) and _kind(over) != _kind(base):
            return over
        merged = dict(base.value)
        for key, node in over.value.items():
            merged[key] = merge(merged[key], node) if key in merged else node
        return Node(merged, over.mark, over.key_mark)
    if over.value is None:
        return Node(None, over.mark, over.key_mark, drops=base.value is not None)
    return over


def _kind(node: Node) -> str | None:
    """The kind that a mapping names; None also for an item that happens to have that name."""
    kind = node.value.get("kind")
    return kind.value if kind is not None and isinstance(kind.value, str) else None


def override(root: Node, dotted: str, value: Node) -> Node:
    """A copy of `root` with the value at `dotted` (fields, numbers of list items, or `*` for all of them) replaced.

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
        inner = node.value.get(part) or Node(
            {} if rest else None, value.mark, value.key_mark, invented=bool(rest and node.value)
        )
        return replace(node, value={**node.value, part: _override(inner, rest, value, dotted)})
    if isinstance(node.value, list) and part == EVERY:
        return replace(node, value=[_override(item, rest, value, dotted) for item in node.value])
    if isinstance(node.value, list):
        index = _index(node.value, part, dotted, mark)
        items = list(node.value)
        items[index] = _override(items[index], rest, value, dotted)
        return Node(items, node.mark, node.key_mark)
    if node.value is None:
        return _override(Node({}, node.mark, node.key_mark), parts, value, dotted)
    raise ReadError(mark, f"override {dotted}: no such path: '{part}' would be inside {shown(node.value)}")


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
