"""Where a small twin departs from its paper's run: the fields that differ are derived, the reasons are written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mimflow.project.run import RunSpec
from mimflow.spec.base import Problem
from mimflow.spec.compose import nearest
from mimflow.spec.differences import show

if TYPE_CHECKING:
    from mimflow.project.workspace import Workspace

ASIDE = ("label", "dataset", "seeds", "compute", "twin_of", "deviations")
"""Fields of a run that say nothing of its recipe."""

_ABSENT = object()


@dataclass(frozen=True)
class Change:
    """One field in which a twin differs: a value, or a whole part of another kind or of one of the two alone."""

    field: str
    paper: Any
    twin: Any

    def __str__(self) -> str:
        return f"{self.field} {_shown(self.twin)} instead of {_shown(self.paper)}"


def changes(paper: RunSpec, twin: RunSpec) -> list[Change]:
    """The fields in which a twin differs from its paper's run, in the order of the paper's."""
    return list(_changes(_recipe(paper), _recipe(twin)))


def deviation_lines(workspace: Workspace, run: RunSpec) -> tuple[str, ...]:
    """What a twin's deviations are and why, a line each, and how many fields differ besides; none of other runs.

    An output that the twin does without, and gives no reason for, is no such field.
    """
    if run.twin_of is None:
        return ()
    of: dict[str, list[str]] = {field: [] for field in run.deviations}
    others = 0
    for change in changes(workspace.runs[run.twin_of].spec, run):
        covering = [field for field in of if _within(change.field, field) or _within(field, change.field)]
        if covering:
            of[max(covering, key=len)].append(str(change))
        elif not _output_left_out(change):
            others += 1
    lines = [f"{', '.join(of[field]) or field}: {reason}" for field, reason in run.deviations.items()]
    if others:
        lines.append(f"{others} other field{'s differ' if others > 1 else ' differs'} from {run.twin_of}")
    return tuple(lines)


def deviation_problems(paper: RunSpec, twin: RunSpec) -> Iterator[Problem]:
    """Deviations of fields that neither run has, or in which they do not differ. Paths are of the twin."""
    theirs, own = _recipe(paper), _recipe(twin)
    for field in twin.deviations:
        old, new = _at(theirs, field), _at(own, field)
        if old is new is _ABSENT:
            hint = nearest(field, [change.field for change in _changes(theirs, own)])
            yield Problem(
                ("deviations", field),
                f"neither the run nor '{twin.twin_of}' has such a field",
                hint if "did you" in hint else "",
            )
        elif not any(_changes(old, new)):
            yield Problem(("deviations", field), f"does not differ from '{twin.twin_of}'", "remove it")


def _output_left_out(change: Change) -> bool:
    """Whether a whole output is the paper's alone."""
    first, *rest = change.field.split(".")
    return first == "outputs" and len(rest) == 1 and change.twin is _ABSENT


def _recipe(run: RunSpec) -> dict[str, Any]:
    recipe = run.model_dump(mode="json", exclude=set(ASIDE))
    for phase in recipe["phases"].values():
        del phase["stored_latents"]  # the same training, read from another place
        del phase["accumulate"]  # how a batch is cut follows from a device's memory
    return recipe


def _changes(paper: Any, twin: Any, path: str = "") -> Iterator[Change]:
    if isinstance(paper, dict) and isinstance(twin, dict) and _comparable(paper, twin):
        for key in [*paper, *(key for key in twin if key not in paper)]:
            yield from _changes(paper.get(key, _ABSENT), twin.get(key, _ABSENT), f"{path}.{key}" if path else key)
    elif _items(paper) and _items(twin) and len(paper) == len(twin):
        for index, (left, right) in enumerate(zip(paper, twin, strict=True)):
            yield from _changes(left, right, f"{path}.{index}")
    elif paper is _ABSENT or twin is _ABSENT or paper != twin:
        yield Change(path, paper, twin)


def _comparable(paper: dict[str, Any], twin: dict[str, Any]) -> bool:
    """Whether two mappings are told apart field by field: not parts of two kinds, and not two files."""
    return paper.get("kind") == twin.get("kind") and not ("file" in paper or "file" in twin)


def _items(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(item, dict) for item in value)


def _at(recipe: Any, field: str) -> Any:
    for step in field.split("."):
        if isinstance(recipe, dict):
            recipe = recipe.get(step, _ABSENT)
        elif isinstance(recipe, list) and step.isdigit() and int(step) < len(recipe):
            recipe = recipe[int(step)]
        else:
            return _ABSENT
    return recipe


def _within(inner: str, outer: str) -> bool:
    return inner == outer or inner.startswith(f"{outer}.")


def _shown(value: Any) -> str:
    """A value in a few words: of a part what it is called, of a list of parts what they are."""
    if value is None or value is _ABSENT or value == []:
        return "nothing"
    if _items(value):
        return " and ".join(map(_shown, value))
    if isinstance(value, dict):
        named = next((value[key] for key in ("kind", "name", "file", "run", "phase") if value.get(key)), None)
        if named is None and "network" in value:
            return _shown(value["network"])
        if named is not None or not value:
            return _shown(named)
        first, inner = next(iter(value.items()))
        return f"{first} {_shown(inner)}, …"
    return f"{value:.12g}" if isinstance(value, float) else show(value)
