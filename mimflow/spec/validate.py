"""Nodes to specs, and everything that is wrong with them as lines for people."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, get_args, get_origin

from pydantic import ValidationError

from mimflow.spec.base import Problem, Spec, all_problems
from mimflow.spec.compose import field_name, locate, nearest, shown
from mimflow.spec.forms import MAPPING, WORD
from mimflow.spec.reader import Mark, Node
from mimflow.spec.registry import Registry
from mimflow.spec.ties import resolved
from mimflow.spec.weights import UNRESOLVED, FileWeights, RunWeights

S = TypeVar("S", bound=Spec)

NAME_HINT = "a name is lower-case letters, digits, - and _, starts with a letter or digit, and has at most 64"
_WANTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


def build(cls: type[S], node: Node, weights: Mapping[str, FileWeights]) -> tuple[S | None, list[str]]:
    """The spec that `node` describes, or None, and every problem as `file:line:column: field: problem (hint)`.

    `weights` is what the names of files of weights stand for.
    """
    loose: list[Problem] = []
    if cls.ties:
        node, loose = resolved(node)
    lost = [(_place(node, problem), describe(node, problem)) for problem in (*loose, *_lost_drops(cls, node))]
    if loose:  # what they should stand for is not known
        return None, [line for _, line in sorted(lost)]
    node = _without_dropped(cls, node)
    try:
        spec = cls.model_validate(node.plain(), context={"weights": weights})
    except ValidationError as error:
        told = dict.fromkeys(_describe(cls, node, item) for item in error.errors(include_url=False))
        kept = _without_echoes({line for _, line in told})
        return None, [line for _, line in sorted({*lost, *(one for one in told if one[1] in kept)})]
    found = [line for _, line in lost] + [describe(node, problem) for problem in all_problems(spec)]
    return (None if found else spec), found


def _named_items(cls: type[Spec], node: Node) -> Iterator[tuple[str, Node]]:
    """The fields of a spec that hold specs or texts by name, as far as they are written out: a null there drops one."""
    for name, field in cls.model_fields.items():
        if get_origin(field.annotation) is not dict or not isinstance(node.value, dict):
            continue
        of = get_args(field.annotation)[1]
        holds = of is str or any(isinstance(option, type) for option in _options(of))
        if holds and name in node.value and isinstance(node.value[name].value, dict):
            yield name, node.value[name]


def _lost_drops(cls: type[Spec], node: Node) -> Iterator[Problem]:
    for field, items in _named_items(cls, node):
        known = [name for name, item in items.value.items() if item.value is not None]
        for name, item in items.value.items():
            if item.value is None and not item.drops:
                yield Problem((field, name), f"no {_one(field)} '{name}' to drop", nearest(name, known))


def _one(field: str) -> str:
    """What an item of a field of many is called."""
    return field.removesuffix("s").removesuffix("ie") + "y" * field.endswith("ies")


def _without_dropped(cls: type[Spec], node: Node) -> Node:
    """The same node without the items that a null has dropped, or the whole field of many."""
    many = [name for name, field in cls.model_fields.items() if get_origin(field.annotation) is dict]
    fields = {name: item for name, item in node.value.items() if not (name in many and item.drops)}
    for field, items in _named_items(cls, node):
        kept = {name: item for name, item in items.value.items() if item.value is not None}
        fields[field] = Node(kept, items.mark, items.key_mark)
    return Node(fields, node.mark, node.key_mark)


def _without_echoes(lines: set[str]) -> set[str]:
    """Without «x.std: missing» where «x.sdt: unknown field (did you mean 'std'?)» says it already."""
    misspelt = {
        f": {parent}{meant}: missing"
        for parent, meant in re.findall(
            r": ((?:[^:]*\.)?)[^.:]+: unknown field \(did you mean '(.*)'\?\)", "\n".join(lines)
        )
    }
    return {line for line in lines if not any(echo in line for echo in misspelt)}


def describe(root: Node, problem: Problem) -> str:
    """A problem as a line, at the place of the field, or of the nearest one that is written out."""
    return _format(_place(root, problem), field_name(problem.path), problem.message, problem.hint)


def _place(root: Node, problem: Problem) -> Mark:
    node, walked, _ = locate(root, problem.path)
    return node.mark if walked or not problem.path else root.mark


def _format(mark: Mark, field: str, message: str, hint: str) -> str:
    where = f"{mark}: {field}: " if field else f"{mark}: "
    return where + message + (f" ({hint})" if hint else "")


def _describe(cls: type[Spec], root: Node, error: Any) -> tuple[Mark, str]:
    """What Pydantic found as a line, and the place that it names."""
    path, holders, options = _untagged(cls, error["loc"])
    node, _, left = locate(root, path)
    kind, value = error["type"], error["input"]
    mark, message, hint = node.mark, "", ""
    if kind == "extra_forbidden":
        known = sorted({name for model in holders for name in model.written_names().values()})
        mark = node.key_mark or node.mark
        message, hint = "unknown field", nearest(str(path[-1]), known)
        refused = {name: reason for model in holders for name, reason in model.refused.items()}
        if path[-1] in refused:
            message, hint = refused[str(path[-1])], "remove it"
    elif kind == "missing":
        message, hint = "missing", f"add it beside {_beside(node)}" if not left[1:] else ""
        if close := _close_item(cls, root, path):
            hint = "; or ".join(filter(None, (hint, f"did you mean '{close}'?")))
    elif kind in ("union_tag_invalid", "union_tag_not_found"):
        path, message, hint, mark = _tag_problem(path, node, [str(_tag(option)) for option in options])
        if (close := _close_item(cls, root, path)) and path[-1] != "kind":
            hint = "; or ".join(filter(None, (hint, f"did you mean '{close}'?")))
    elif kind == "literal_error":
        options = [option.strip("'") for option in error["ctx"]["expected"].replace(" or ", ", ").split(", ")]
        message, hint = (
            f"got {_brief(value)}, wanted one of {', '.join(options)}",
            nearest(str(value), options).partition("known")[0],
        )
    elif kind == "string_pattern_mismatch":
        message = f"got {_brief(value)}, which does not look like {error['ctx']['pattern']}"
        if "{0,63}" in error["ctx"]["pattern"]:
            message, hint = f"{_brief(value)} can't be a name", NAME_HINT
    elif kind == UNRESOLVED:
        message, hint = error["msg"], error["ctx"]["hint"]
    elif kind in _WANTED:
        message, hint = f"got {shown(value)}, wanted {_WANTED[kind]}", _type_hint(kind, value)
    else:
        text = error["msg"][:1].lower() + error["msg"][1:]
        message = f"got {shown(value)}, {text.replace('input should', 'which should')}"
    if kind in ("missing", "union_tag_not_found") and (item := _invented(cls, root, path)):
        path, message, hint, mark = item
    return mark, _format(mark, field_name(path), message, hint)


def _items_beside(cls: type[Spec], root: Node, path: list[str | int]) -> dict[str, Node]:
    """The items of a field of many, where `path` leads to one of them or into it."""
    return next((items.value for field, items in _named_items(cls, root) if path[1:] and field == path[0]), {})


def _close_item(cls: type[Spec], root: Node, path: list[str | int]) -> str:
    """The item that may be meant by the name of one that lacks fields; empty if none has a name like it."""
    items = _items_beside(cls, root, path)
    hint = nearest(str(path[1]), [name for name in items if name != path[1]]) if items else ""
    return hint.removeprefix("did you mean '").removesuffix("'?") if hint.startswith("did you") else ""


def _invented(cls: type[Spec], root: Node, path: list[str | int]) -> tuple[list[str | int], str, str, Mark] | None:
    """That an override reaches into an item that there is not: its path, what to say, a hint and the place."""
    items = _items_beside(cls, root, path)
    item = items.get(str(path[1])) if items else None
    if item is None or not item.invented:
        return None
    hint = nearest(str(path[1]), [name for name in items if name != path[1]])
    return path[:2], f"there is no {_one(str(path[0]))} '{path[1]}' to override", hint, item.key_mark or item.mark


def _brief(value: Any) -> str:
    """A value as Python writes it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "…"


def _beside(node: Node) -> str:
    return ", ".join(node.value) if isinstance(node.value, dict) and node.value else "nothing yet"


def _type_hint(kind: str, value: Any) -> str:
    if kind in ("int_type", "float_type") and isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return ""
        return "remove the quotes"
    if kind == "int_type" and isinstance(value, float) and value.is_integer():
        return f"write {int(value)}"
    if kind == "string_type" and isinstance(value, (bool, int, float)):
        return "quote it"
    return ""


def _tag_problem(path: list[str | int], node: Node, expected: list[str]) -> tuple[list[str | int], str, str, Mark]:
    kind = node.value.get("kind") if isinstance(node.value, dict) else None
    if kind is None:
        what = (
            "kind is missing"
            if isinstance(node.value, dict)
            else f"got {shown(node.plain())}, wanted a mapping with a kind"
        )
        return path, what, f"kinds: {', '.join(expected)}", node.mark
    hint = nearest(str(kind.plain()), expected)
    return (
        [*path, "kind"],
        f"got {_brief(kind.plain())}, wanted one of {', '.join(expected)}",
        hint if "did" in hint else "",
        kind.mark,
    )


def _untagged(cls: type[Spec], loc: tuple[str | int, ...]) -> tuple[list[str | int], list[type[Spec]], list[Any]]:
    """Pydantic's location without the tags of unions, the spec that holds its last field, and what that can be."""
    path: list[str | int] = []
    holders: list[type[Spec]] = [cls]
    options: list[Any] = [cls]
    for step in loc:
        if step in (WORD, MAPPING):
            continue
        if not options:  # what follows the name of a scalar is a member of its union
            break
        specs: list[type[Spec]] = [option for option in options if isinstance(option, type)]
        if len(specs) > 1:
            options = [spec for spec in specs if _tag(spec) == step]
            continue
        if step == "[key]":
            break
        path.append(step)
        if specs and isinstance(step, str):
            holders = specs
            field = specs[0].model_fields.get(step)
            options = _options((field.annotation, *field.metadata)) if field is not None else []
        else:
            options = [inner for option in options for inner in _options(get_args(option)[-1])]
    return path, holders, options


def _tag(model: type[Spec]) -> Any:
    """What stands for this member of a union in Pydantic's locations."""
    if model in (RunWeights, FileWeights):
        return model.__name__.removesuffix("Weights").lower()
    return model.model_fields["kind"].default if "kind" in model.model_fields else None


def _options(annotation: Any) -> list[Any]:
    """What a value of this type can be: spec classes, lists and dicts; anything else holds no fields."""
    if isinstance(annotation, tuple):
        registries = [part for part in annotation if isinstance(part, Registry)]
        if registries:
            return [registries[0].spec(kind) for kind in registries[0]]
        return [option for part in annotation for option in _options(part)]
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        return [annotation]
    if get_origin(annotation) in (list, dict):
        return [annotation]
    if hasattr(annotation, "__metadata__"):
        return _options((annotation.__origin__, *annotation.__metadata__))
    return [option for part in get_args(annotation) for option in _options(part)]
