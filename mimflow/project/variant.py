"""A run with other settings, asked for on the command line: a spec of its own, never a change that leaves no trace."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from mimflow.artifacts.manifest import write_text
from mimflow.errors import PlanError, SpecError
from mimflow.project.ablation import variant_name
from mimflow.project.workspace import Workspace, run_name
from mimflow.spec.compose import shown_path

SETTING = re.compile(r"(?P<path>[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*)=(?P<value>.+)", re.DOTALL)


def write_variant(open_workspace: Callable[[], Workspace], run: str, settings: Sequence[str]) -> str:
    """Write the spec of a run with these settings, `prior.width=64`, beside that of the run; its name.

    The same settings are the same file. PlanError for what is no setting, or another file of that name; SpecError
    for a setting that can't be: then nothing is left.
    """
    workspace = open_workspace()
    base = workspace.get("run", run)
    files = workspace.files.get(("run", run))
    if not files:
        raise PlanError(f"run '{run}' is an ablation's: vary the run that it varies")
    values = dict(_parsed(setting) for setting in settings)
    name = run_name(run, variant_name({path: value.strip("'\"") for path, value in values.items()}))
    path = files[0].with_name(f"{name}.yaml")
    label = ", ".join(f"{dotted.rpartition('.')[2]} {value}" for dotted, value in values.items())
    schema = os.path.relpath(workspace.root / "specs/schemas/run.json", path.parent)
    text = "\n".join(
        [
            f"# yaml-language-server: $schema={schema}",
            f"# {run} with other settings, asked for on the command line.",
            f"extends: {files[0].name}",
            f"label: {json.dumps(f'{base.spec.label or run}, {label}', ensure_ascii=False)}",  # JSON is YAML
            "overrides:",
            *(f"  {dotted}: {value}" for dotted, value in values.items()),
            "",
        ]
    )
    if path.is_file():
        if path.read_text(encoding="utf-8") != text:
            raise PlanError(f"{shown_path(path, workspace.root)}: is there already and says otherwise (remove it)")
        return name
    write_text(path, text)
    if problems := _problems(open_workspace(), name, path):
        path.unlink()
        raise SpecError("\n".join(problems))
    return name


def _problems(workspace: Workspace, name: str, path: Path) -> list[str]:
    """What is wrong with a variant; its file is gone by the time that anybody reads it."""
    shown = shown_path(path, workspace.root)
    return [re.sub(rf"^{re.escape(shown)}:\d+:\d+: ", "-s: ", line) for line in workspace.problems_of(("run", name))]


def _parsed(setting: str) -> tuple[str, str]:
    found = SETTING.fullmatch(setting)
    if found is None:
        raise PlanError(f"-s {setting}: not a setting (prior.width=64)")
    return found["path"], found["value"]
