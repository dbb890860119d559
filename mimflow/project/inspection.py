"""To look at specs: check them, print them resolved with the origin of each value, compare two."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mimflow.errors import PlanError, SpecError
from mimflow.project.workspace import Loaded, Workspace
from mimflow.spec.compose import locate, nearest, shown_path
from mimflow.spec.differences import differences, show


def check(workspace: Workspace, names: list[str]) -> str:
    """A sentence if the specs (all, or those named by name or file) are valid; SpecError with their problems if not."""
    if not names:
        workspace.raise_problems()
        counts = [(kind, sum(1 for _ in workspace.all(kind))) for kind in workspace.kinds]
        return "valid: " + ", ".join(
            f"{count} {kind}{'s' * (count != 1 and kind not in ('published', 'weights'))}" for kind, count in counts
        )
    files = [_file(workspace, name) for name in names]
    shown = {shown_path(file, workspace.root) for file in files}
    found = [problem for problem in workspace.problems if _concerns(problem, shown, workspace)]
    if found:
        raise SpecError("\n".join(found))
    return "valid: " + ", ".join(sorted(shown))


def _concerns(problem: str, shown: set[str], workspace: Workspace) -> bool:
    file = problem.split(":", 1)[0]
    if file in shown:
        return True
    # A problem may stand in a file that one of these extends.
    return any(file in _sources(workspace, name) for name in shown)


def _sources(workspace: Workspace, shown: str) -> set[str]:
    for kind in workspace.kinds:
        for loaded in workspace.all(kind):
            if shown_path(loaded.file, workspace.root) == shown:
                return set(_files(loaded.node))
    return set()


def _files(node: Any) -> Iterator[str]:
    yield node.mark.file
    children = (
        node.value.values() if isinstance(node.value, dict) else node.value if isinstance(node.value, list) else ()
    )
    for child in children:
        yield from _files(child)


def _file(workspace: Workspace, name: str) -> Path:
    if name.endswith((".yaml", ".yml")) or "/" in name:
        file = Path(name) if Path(name).is_absolute() or Path(name).exists() else workspace.root / name
        if not file.is_file():
            raise PlanError(f"{name}: no such file")
        if not file.resolve().is_relative_to((workspace.root / "specs").resolve()):
            raise PlanError(f"{name}: specs lie below {workspace.root / 'specs'}")
        return file
    matches = sorted((workspace.root / "specs").rglob(f"{name}.yaml"))
    if not matches:
        raise PlanError(f"no spec named '{name}'" + _hint(workspace, name))
    return matches[0]


def _hint(workspace: Workspace, name: str) -> str:
    hint = nearest(name, {loaded.name for kind in workspace.kinds for loaded in workspace.all(kind)})
    return f" ({hint})" if hint else ""


def find_spec(workspace: Workspace, name: str) -> tuple[str, Loaded[Any]]:
    """The spec of that name or file, and its kind; a run if several kinds have the name."""
    workspace.raise_problems()
    found = dict(workspace.find(Path(name).stem if name.endswith(".yaml") else name))
    if not found:
        raise PlanError(f"no spec named '{name}'" + _hint(workspace, name))
    kind = "run" if "run" in found else next(iter(found))
    return kind, found[kind]


def explain(workspace: Workspace, name: str) -> str:
    """A spec as YAML with every field, each value's file and line behind it, or `default`."""
    kind, loaded = find_spec(workspace, name)
    lines = list(_explained(loaded, loaded.spec.model_dump(mode="json"), ()))
    width = min(72, max(len(text) for text, _ in lines) + 2)
    head = f"# {kind} {loaded.name}, from {shown_path(loaded.file, workspace.root)}"
    return "\n".join([head, *(f"{text:{width}}{'# ' + origin if origin else ''}".rstrip() for text, origin in lines)])


def _explained(loaded: Loaded[Any], value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[str, str]]:
    indent = "  " * len(path)
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        inner = (*path, key)
        label = f"{indent}{key}:" if isinstance(value, dict) else f"{indent}-"
        if _nested(item):
            yield label, ""
            yield from _explained(loaded, item, inner)
        else:
            node, _, left = locate(loaded.node, inner)
            origin = "default" if left else f"{node.mark.file}:{node.mark.line}"
            yield f"{label} {json.dumps(item, ensure_ascii=False)}", origin


def _nested(item: Any) -> bool:
    if isinstance(item, dict):
        return bool(item)
    return isinstance(item, list) and any(isinstance(element, (dict, list)) for element in item)


def diff(workspace: Workspace, left: str, right: str) -> str:
    """The fields in which two specs of one kind differ, a line each."""
    (left_kind, a), (right_kind, b) = find_spec(workspace, left), find_spec(workspace, right)
    if left_kind != right_kind:
        raise PlanError(f"'{left}' is a {left_kind}, '{right}' a {right_kind}: compare two of one kind")
    found = list(differences(a.spec.model_dump(mode="json"), b.spec.model_dump(mode="json")))
    width = max((len(field) for field, _, _ in found), default=0)
    return "\n".join(f"{field:{width}}  {show(old)} → {show(new)}" for field, old, new in found) or "no field differs"
