"""To look at specs: check them, print them resolved with the origin of each value."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mimflow.errors import PlanError, SpecError
from mimflow.project.workspace import Loaded, Owner, Workspace
from mimflow.spec.compose import locate, nearest, shown_path
from mimflow.spec.shipped import SHIPPED

IN_WORDS = {
    "weights": ("file of weights", "files of weights"),
    "published": ("source of published numbers", "sources of published numbers"),
    "claims": ("page of claims", "pages of claims"),
}
"""What kinds are called, one and several, where that is not their name and an s."""


def check(workspace: Workspace, names: list[str]) -> str:
    """A sentence if the specs (all, or those named by name or file) are valid; SpecError with their problems if not.

    A spec is valid if nothing is wrong in what it extends, in what it names, and in what that names. Every spec of a
    name is checked.
    """
    if not names:
        workspace.raise_problems()
        counts = [(kind, sum(1 for _ in workspace.all(kind))) for kind in workspace.kinds]
        found = ", ".join(_counted(kind, count) for kind, count in counts if count) or "there is no spec yet"
        unread = workspace.unread()
        left = [f"not read, because {_where(workspace)}: {', '.join(unread)}"] if unread else []
        return "\n".join([f"valid: {found}", *left, *_warned(workspace, [("run", name) for name in workspace.runs])])
    owners = [owner for name in names for owner in _owners(workspace, name)]
    problems = workspace.problems_of(*owners)
    if problems:
        raise SpecError("\n".join(problems))
    valid = "valid: " + ", ".join(sorted({_shown(workspace, owner) for owner in owners}))
    return "\n".join([valid, *_warned(workspace, owners)])


def _counted(kind: str, count: int) -> str:
    """`2 runs`, in words for kinds whose names are plurals."""
    one, several = IN_WORDS.get(kind, (kind, f"{kind}s"))
    return f"{count} {one if count == 1 else several}"


def _warned(workspace: Workspace, owners: list[Owner]) -> list[str]:
    return [f"warning: {line}" for line in workspace.warnings_of(*owners)]


def _shown(workspace: Workspace, owner: Owner) -> str:
    """The file of a spec, or the name of one that has none of its own: a run of an ablation."""
    files = workspace.files.get(owner)
    return shown_path(files[0], workspace.root) if files else owner[1]


def _where(workspace: Workspace) -> str:
    folders = ", ".join(folder for kind in workspace.kinds.values() for folder in kind.folders)
    return f"specs end in .yaml and lie in the folders {folders} of specs"


def _owners(workspace: Workspace, name: str) -> list[Owner]:
    """The specs of a name, of whatever kind, or of a file. PlanError if there is none."""
    if name.endswith((".yaml", ".yml")) or "/" in name:
        return [spec_of_file(workspace, name)]
    known = {*workspace.files, *workspace.wrong, *(("run", run) for run in workspace.runs)}
    owners = [owner for owner in sorted(known) if owner[1] == name]
    if not owners:
        raise PlanError(f"no spec named '{name}'" + _hint(workspace, name))
    return owners


def spec_of_file(workspace: Workspace, name: str) -> Owner:
    """The spec that lies in a file, given as it is seen from here or from the project. PlanError if none does."""
    try:
        # As it is given, from here or from the project's folder; a link is the spec that it stands for.
        files = [file for file in (Path(name), workspace.root / name) if file.is_file()]
        meant = {file.resolve() for file in files} | {Path(os.path.normpath(file.absolute())) for file in files}
    except (OSError, RuntimeError, ValueError) as error:
        raise PlanError(f"{name[:60]!a}: can't be read: {error}") from error
    if not files:
        raise PlanError(f"{name}: no such file")
    for owner, own in workspace.files.items():
        if any(Path(os.path.normpath(file.absolute())) in meant for file in own):
            return owner
    raise PlanError(f"{name}: not read as a spec ({_where(workspace)})")


def _hint(workspace: Workspace, name: str) -> str:
    hint = nearest(name, {loaded.name for kind in workspace.kinds for loaded in workspace.all(kind)})
    return f" ({hint})" if hint else ""


def find_spec(workspace: Workspace, name: str) -> tuple[str, Loaded[Any]]:
    """The valid spec of that name or file, and its kind; a run if several kinds have the name.

    SpecError if something is wrong with it or with what it names.
    """
    owners = _owners(workspace, name)
    kind, own = next((owner for owner in owners if owner[0] == "run"), owners[0])
    problems = workspace.problems_of((kind, own))
    if problems:
        raise SpecError("\n".join(problems))
    return kind, workspace.get(kind, own)


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
            origin = "default" if left else f"{_named(node.mark.file)}:{node.mark.line}"
            yield f"{label} {json.dumps(item, ensure_ascii=False)}", origin


def _named(file: str) -> str:
    """A file of the project as messages name it; one that comes along is the same wherever mimflow is installed."""
    path = Path(os.path.normpath(file))
    return path.relative_to(SHIPPED.parents[1]).as_posix() if path.is_relative_to(SHIPPED) else file


def _nested(item: Any) -> bool:
    if isinstance(item, dict):
        return bool(item)
    return isinstance(item, list) and any(isinstance(element, (dict, list)) for element in item)
