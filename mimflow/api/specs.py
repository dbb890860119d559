"""Specs in Python."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mimflow.errors import SpecError
from mimflow.products.registry import open_workspace
from mimflow.project.locate import find_project
from mimflow.project.run import RunSpec
from mimflow.project.workspace import Workspace
from mimflow.spec.compose import override
from mimflow.spec.reader import Mark, Node, ReadError

ARGUMENT = "overrides"
"""The file that messages name for a value that was given in Python."""


def compose(run: str, overrides: Mapping[str, Any] | None = None, *, project: Path | str | None = None) -> RunSpec:
    """The spec of a run with values at dotted paths replaced: `compose("tarflow-mnist5k", {"prior.width": 64})`.

    Such a path names fields, and numbers of list items, as `overrides` in a spec do. `project` is the folder that holds
    `specs`; by default the one that the working folder lies in. Raises PlanError for a run that no spec describes, and
    SpecError with every problem of one that is wrong.
    """
    return composed(open_workspace(find_project(project)), run, overrides or {})


def composed(workspace: Workspace, run: str, overrides: Mapping[str, Any]) -> RunSpec:
    """The same in a workspace."""
    loaded = workspace.get("run", run)
    node = loaded.node
    try:
        for dotted, value in overrides.items():
            node = override(node, dotted, _node(value))
    except ReadError as error:
        raise SpecError(str(error)) from error
    return workspace.build_run(node)


def _node(value: Any) -> Node:
    if isinstance(value, Mapping):
        return Node({str(key): _node(item) for key, item in value.items()}, Mark(ARGUMENT))
    if isinstance(value, (list, tuple)):
        return Node([_node(item) for item in value], Mark(ARGUMENT))
    return Node(value, Mark(ARGUMENT))
