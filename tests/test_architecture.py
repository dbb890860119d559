"""The two halves: what reads specs imports no torch."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from projects import REPOSITORY

PACKAGE = REPOSITORY / "mimflow"
FREE = [
    *(PACKAGE / name for name in ("errors.py", "progress.py", "seeds.py", "tasks.py", "verbs.py", "cli.py")),
    *sorted(
        path
        for folder in ("spec", "project", "plan", "artifacts", "products")
        for path in (PACKAGE / folder).rglob("*.py")
    ),
    *(
        PACKAGE / "contents" / f"{name}.py"
        for name in (
            "base",
            "samples",
            "reconstructions",
            "representation",
            "latents",
            "interpolations",
            "bands",
            "likelihood",
        )
    ),
    PACKAGE / "metrics" / "number.py",
    *sorted(PACKAGE.rglob("spec.py")),
    *sorted(PACKAGE.rglob("registry.py")),
]
HEAVY = {"torch", "torchvision", "timm", "torch_fidelity", "safetensors", "skimage", "sklearn", "mlxtend"}


@pytest.mark.parametrize("path", FREE, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_the_torch_free_half_names_no_heavy_import_at_its_top(path: Path) -> None:
    tops = [
        node
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, (ast.Import, ast.ImportFrom))
    ]
    named = {alias.name for node in tops if isinstance(node, ast.Import) for alias in node.names}
    named |= {node.module or "" for node in tops if isinstance(node, ast.ImportFrom)}
    assert not {name.split(".")[0] for name in named} & HEAVY


@pytest.mark.parametrize(
    "module",
    [
        "mimflow.cli",
        "mimflow.project.workspace",
        "mimflow.plan.build",
        "mimflow.workflow",
        "mimflow.products.table.render",
    ],
)
@pytest.mark.slow
def test_importing_it_leaves_torch_alone(module: str) -> None:
    code = f"import {module}, sys; print(sorted(set(sys.modules) & {HEAVY}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


ROOMS = """
    errors seeds progress forking
    spec
    artifacts
    weights
    nn
    compute
    data
    tokenizers
    priors
    classifiers
    system
    features
    objectives
    training
    outputs
    metrics
    contents
    tasks
    project
    plan
    products
    stages
    executor
    terminal workflow
    api
    verbs
    cli __main__
"""
"""The rooms of the package, lowest first: a module imports from its own floor and from those below it."""
FLOORS = {room: floor for floor, rooms in enumerate(ROOMS.strip().splitlines()) for room in rooms.split()}


def room_of(module: str) -> str:
    return module.split(".")[1]


def imported(path: Path) -> set[str]:
    """The modules of the package that a file imports anywhere, those for types alone included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "mimflow":
            found |= {f"mimflow.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return {name for name in found if name.startswith("mimflow.")}


def test_every_room_has_its_floor() -> None:
    there = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert there - {"__init__"} == set(FLOORS)


def test_no_import_runs_up() -> None:
    up = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path != PACKAGE / "__init__.py"
        for name in sorted(imported(path))
        if FLOORS[room_of(name)] > FLOORS[path.relative_to(PACKAGE).with_suffix("").parts[0]]
    ]
    assert up == []


def test_the_document_shows_the_same_floors() -> None:
    shown = re.search(
        r"```text\n(.*?)```", (REPOSITORY / "docs/architecture.md").read_text(encoding="utf-8"), re.DOTALL
    )
    assert shown is not None
    floors = [line.split("│")[1].split() for line in shown[1].splitlines() if "│" in line]
    assert list(reversed(floors)) == [line.split() for line in ROOMS.strip().splitlines()]


def test_no_file_is_much_over_400_lines() -> None:
    long = {path.name: count for path in PACKAGE.rglob("*.py") if (count := len(path.read_text().splitlines())) > 420}
    assert not long


def test_the_snakefile_is_short() -> None:
    assert len((REPOSITORY / "Snakefile").read_text().splitlines()) < 40


def test_the_environment_of_rules_has_all_dependencies_at_the_tested_versions() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {re.split(r"[=><~]", requirement)[0] for requirement in project["dependencies"]}
    constraints = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    environment = yaml.safe_load((REPOSITORY / "rules/environment.yaml").read_text(encoding="utf-8"))
    installed = environment["dependencies"][-1]["pip"]
    assert {pin.split("==")[0] for pin in installed} == names
    assert set(installed) <= set(constraints)
