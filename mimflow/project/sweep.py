"""Sweeps: an output whose fields take lists, `weight: {sweep: [0, 0.5, 1]}`, is an output for each of their values.

They are told apart before anything else looks at a run: a point is an output like any other, under a name that says
its values, and shares the run's weights with the others. Several lists are a grid, as an ablation's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from math import prod
from typing import Any

from mimflow.project.ablation import GRID_LIMIT, named
from mimflow.spec.base import SLUG
from mimflow.spec.base import Path as FieldPath
from mimflow.spec.compose import field_name, shown
from mimflow.spec.reader import Mark, Node, ReadError
from mimflow.spec.words import plain

SWEEP = "sweep"
"""What a mapping in a field's place is known by."""


@dataclass(frozen=True)
class Point:
    """One output of a sweep."""

    name: str
    """What the output is called: `guided-weight-0-5`."""
    label: str
    """Its values in words: `weight 0.5`."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """Them as the spec has them, by the output's fields: `guidance.weight`."""


@dataclass(frozen=True)
class Sweep:
    """The outputs that one that takes lists stands for, in their order."""

    points: tuple[Point, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """What they are called."""
        return tuple(point.name for point in self.points)

    def label(self, name: str) -> str:
        """The values of the output of that name, in words."""
        return next(point.label for point in self.points if point.name == name)


def expand_sweeps(run: Node) -> tuple[Node, dict[str, Sweep]]:
    """A run with its sweeps as outputs of their own, and these by the name that the run gives them.

    ReadError for a sweep that is empty, too large, or whose outputs can't have their names.
    """
    outputs = run.value.get("outputs") if isinstance(run.value, dict) else None
    if outputs is None or not isinstance(outputs.value, dict):
        return run, {}
    expanded: dict[str, Node] = {}
    sweeps: dict[str, Sweep] = {}
    for name, output in outputs.value.items():
        axes = dict(_axes(output, (), f"outputs.{name}"))
        points = {name: output} if not axes else {}
        if axes:
            sweeps[name], points = _points(name, output, axes)
        for point, node in points.items():
            if point in expanded or (point != name and point in outputs.value):
                raise _refused(output.key_mark or output.mark, f"outputs.{name}", f"'{point}' is another output's name")
            expanded[point] = node
    return replace(run, value={**run.value, "outputs": replace(outputs, value=expanded)}), sweeps


def _axes(node: Node, path: FieldPath, output: str) -> Iterator[tuple[FieldPath, list[Node]]]:
    """The values of every field of an output that takes a list, by its path."""
    if isinstance(node.value, list):
        for index, item in enumerate(node.value):
            yield from _axes(item, (*path, index), output)
    if not isinstance(node.value, dict):
        return
    if SWEEP not in node.value:
        for key, item in node.value.items():
            yield from _axes(item, (*path, key), output)
        return
    values, where = node.value[SWEEP], field_name((output, *path))
    if not path:
        raise _refused(values.mark, where, "a field of an output is swept, not an output", "weight: {sweep: [1, 2]}")
    if len(node.value) > 1:
        others = ", ".join(key for key in node.value if key != SWEEP)
        raise _refused(node.mark, where, f"a sweep beside {others}", "the sweep alone, of whole values")
    if not isinstance(values.value, list) or not values.value:
        raise _refused(values.mark, where, f"a sweep of {shown(values.plain())}", "a list of values: {sweep: [1, 2]}")
    yield path, values.value


def _points(name: str, output: Node, axes: dict[FieldPath, list[Node]]) -> tuple[Sweep, dict[str, Node]]:
    where, mark = f"outputs.{name}", output.key_mark or output.mark
    if (size := prod(map(len, axes.values()))) > GRID_LIMIT:
        raise _refused(mark, where, f"a sweep of {size} points, more than {GRID_LIMIT}", "fewer values, or two outputs")
    points, nodes = [], {}
    for row in product(*axes.values()):
        given = {field_name(path): node.plain() for path, node in zip(axes, row, strict=True)}
        values = {path: _text(value) for path, value in given.items()}
        point = Point(f"{name}-{named(values).name}", ", ".join(_worded(axes, row)), given)
        if point.name in nodes:
            raise _refused(mark, where, f"two points of the sweep would be called '{point.name}'", "each value once")
        if not SLUG.fullmatch(point.name):
            raise _refused(mark, where, f"its point's name '{point.name}' can't be a name", "a shorter name")
        points.append(point)
        node = output
        for path, value in zip(axes, row, strict=True):
            node = _with(node, path, value)
        nodes[point.name] = node
    return Sweep(tuple(points)), nodes


def _with(node: Node, path: FieldPath, value: Node) -> Node:
    """A node with the value at a path, which is there, replaced by another."""
    if not path:
        return replace(value, key_mark=node.key_mark)
    step, *rest = path
    inner = _with(node.value[step], tuple(rest), value)
    if isinstance(node.value, dict):
        return replace(node, value={**node.value, step: inner})
    return replace(node, value=[inner if index == step else item for index, item in enumerate(node.value)])


def _worded(axes: dict[FieldPath, list[Node]], row: tuple[Node, ...]) -> Iterator[str]:
    for path, node in zip(axes, row, strict=True):
        value = node.plain()
        text = plain(value) if isinstance(value, float) else _text(value)
        yield f"{str(path[-1]).replace('_', ' ')} {text}"


def _text(value: Any) -> str:
    """A value of a spec as names and labels say it: of a mapping its kind and what is said of it."""
    if isinstance(value, dict):
        return " ".join(_text(item) if key == "kind" else f"{key} {_text(item)}" for key, item in value.items())
    if isinstance(value, list):
        return " ".join(map(_text, value))
    return {"None": "none", "True": "true", "False": "false"}.get(str(value), str(value))


def _refused(mark: Mark, where: str, message: str, hint: str = "") -> ReadError:
    return ReadError(mark, f"{where}: {message}", hint)
