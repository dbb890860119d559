"""Fields tied to one another: `std: ${phases.main.objective.noise.std}` is what stands there, whatever it comes to be.

A tie is resolved once a spec is whole, after `extends`, `overrides` and an ablation's values: what is varied moves all
that is tied to it. Specs without ties are as they were, and a spec with one has the key of one that says the value.
"""

from __future__ import annotations

import re
from dataclasses import replace

from mimflow.spec.base import Path, Problem
from mimflow.spec.compose import field_name, locate, nearest
from mimflow.spec.reader import Node

TIE = re.compile(r"\$\{(?P<path>[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*)\}")
"""A value that is a tie as a whole; text that merely holds one is text."""


def resolved(root: Node) -> tuple[Node, list[Problem]]:
    """A spec with what its ties stand for, and a problem for each that stands for nothing."""
    problems: list[Problem] = []
    if not _has_ties(root):
        return root, problems
    return _resolved(root, root, (), problems), problems


def is_tie(value: object) -> bool:
    """Whether a value stands for another field's."""
    return isinstance(value, str) and TIE.fullmatch(value) is not None


def _has_ties(node: Node) -> bool:
    value = node.value
    if isinstance(value, str):
        return value.startswith("$") and is_tie(value)
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(map(_has_ties, children))


def _children(node: Node) -> list[tuple[str | int, Node]]:
    if isinstance(node.value, dict):
        return list(node.value.items())
    return list(enumerate(node.value)) if isinstance(node.value, list) else []


def _resolved(node: Node, root: Node, path: Path, problems: list[Problem]) -> Node:
    if is_tie(node.value):
        return _followed(node, root, path, problems)
    items = [(step, _resolved(child, root, (*path, step), problems)) for step, child in _children(node)]
    if isinstance(node.value, dict):
        return replace(node, value=dict(items))
    return replace(node, value=[item for _, item in items]) if isinstance(node.value, list) else node


def _followed(node: Node, root: Node, path: Path, problems: list[Problem]) -> Node:
    """What a tie stands for, at the tie's place; ties lead on to ties."""
    seen = [path]
    found = node
    while is_tie(found.value):
        target = _steps(found.value)
        if any(target[: len(each)] == each or each[: len(target)] == target for each in seen):
            circle = " → ".join(field_name(each) for each in (*seen, target))
            problems.append(Problem(path, f"is tied in a circle: {circle}", "write one value out"))
            return replace(node, value=None)
        seen.append(target)
        found, walked, left = locate(root, target)
        if left:
            problems.append(Problem(path, _nothing(target, walked), _hint(found, walked, left)))
            return replace(node, value=None)
    if _has_ties(found):
        problems.append(Problem(path, f"'{field_name(seen[-1])}' holds ties itself", "tie single values"))
        return replace(node, value=None)
    return replace(node, value=found.value)


def _steps(tie: str) -> Path:
    match = TIE.fullmatch(tie)
    assert match is not None
    return tuple(int(step) if step.isdigit() else step for step in match["path"].split("."))


def _nothing(target: Path, walked: list[str | int]) -> str:
    where = f" in '{field_name(walked)}'" if walked else ""
    return f"tied to '{field_name(target)}', and no '{target[len(walked)]}' is written out{where}"


def _hint(found: Node, walked: list[str | int], left: list[str | int]) -> str:
    if not isinstance(found.value, dict):
        return "name a field that has a value of its own"
    return nearest(str(left[0]), found.value) or "write it out, where it has its default"
