"""What a spec does with what it inherits: items by name are merged in order, and a null drops one."""

from __future__ import annotations

from pathlib import Path

import pytest
from specs_project import make_specs, problems, write

from mimflow.project.workspace import Workspace


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_specs(tmp_path)


def child(project: Path, text: str) -> None:
    write(project, "mini/child", f"extends: tarflow.yaml\n{text}\n")


def test_new_phases_follow_those_of_the_base(project: Path) -> None:
    more = "{objective: {kind: nll, noise: {kind: none}}, steps: 1, optimizer: {lr: 1e-3}}"
    child(project, f"phases:\n  more: {more}\n  tune: {{steps: 7}}")
    phases = Workspace(project).runs["child"].spec.phases
    assert {name: phase.steps for name, phase in phases.items()} == {"main": 10, "tune": 7, "more": 1}
    assert list(phases) == ["main", "tune", "more"]


def test_a_null_drops_what_is_inherited(project: Path) -> None:
    child(project, "phases: {tune: null}\noutputs: {unguided: null}")
    run = Workspace(project).runs["child"].spec
    assert (list(run.phases), run.last_phase, run.outputs) == (["main"], "main", {})


def test_a_grandchild_keeps_a_phase_dropped_and_may_name_it_anew(project: Path) -> None:
    child(project, "phases: {tune: null}")
    write(project, "mini/kept", "extends: child.yaml\n")
    again = "{objective: {kind: nll, noise: {kind: none}}, steps: 3, optimizer: {lr: 1e-3}}"
    write(project, "mini/anew", f"extends: child.yaml\nphases:\n  tune: {again}\n")
    runs = Workspace(project).runs
    assert list(runs["kept"].spec.phases) == ["main"]
    assert runs["anew"].spec.phases["tune"].steps == 3


def test_an_ablation_drops_a_phase(project: Path) -> None:
    write(project, "ablations/short", "run: tarflow\nvariants: [{name: one, overrides: {phases.tune: null}}]\n")
    assert list(Workspace(project).runs["short-one"].spec.phases) == ["main"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "phases: {tnue: null}",
            "specs/mini/child.yaml:2:16: phases.tnue: no phase 'tnue' to drop (did you mean 'tune'?)",
        ),
        (
            "outputs: {guided: null}",
            "specs/mini/child.yaml:2:19: outputs.guided: no output 'guided' to drop (did you mean",
        ),
        (
            "overrides: {phases.tnue: null}",
            "specs/mini/child.yaml:2:26: phases.tnue: no phase 'tnue' to drop (did you mean 'tune'?)",
        ),
        ("deviations: {prior: null}", "specs/mini/child.yaml:2:21: deviations.prior: no deviation 'prior' to drop"),
    ],
)
def test_a_null_that_drops_nothing(project: Path, text: str, expected: str) -> None:
    child(project, text)
    (problem,) = problems(project)
    assert problem.startswith(expected)


def test_a_run_needs_a_phase_or_weights(project: Path) -> None:
    child(project, "phases: {main: null, tune: null}\noutputs: {unguided: null}")
    (problem,) = problems(project)
    assert problem.endswith(
        "phases: no phase that trains it, and no weights that are given "
        "(phases: {main: {objective: …}}, or weights: [{file: …, sha256: …}])"
    )


def test_a_list_replaces_a_list(project: Path) -> None:
    child(project, "prior: {blocks: [2]}")
    assert Workspace(project).runs["child"].spec.prior.blocks == [2]
