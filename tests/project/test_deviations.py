"""What differs between a twin and its paper's run is derived; stale reasons are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from specs_project import RUN, make_specs, problems, write

from mimflow.project.deviations import deviation_lines
from mimflow.project.workspace import Workspace


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A twin of `tarflow` that differs in width, learning rate, noise and an output."""
    make_specs(tmp_path)
    twin(tmp_path, '{prior: "seconds", phases.main.optimizer.lr: "few steps"}')
    return tmp_path


def twin(root: Path, deviations: str, of: str = "twin_of: tarflow\n") -> None:
    text = RUN.replace("width: 16", "width: 8").replace("lr: 1e-3", "lr: 2e-3").replace("std: 0.2", "std: 0.4")
    text = text.replace("blocks: [1, 1]", "blocks: [1]").replace("unguided", "own")
    write(root, "mini/twin", f"{text}{of}deviations: {deviations}\n")


def lines(root: Path, name: str = "twin") -> tuple[str, ...]:
    workspace = Workspace(root)
    assert workspace.problems == []
    return deviation_lines(workspace, workspace.runs[name].spec)


def test_lines_say_both_values_and_the_reason(project: Path) -> None:
    assert lines(project) == (
        "prior.width 8 instead of 16, prior.blocks [1] instead of [1, 1]: seconds",
        "phases.main.optimizer.lr 0.002 instead of 0.001: few steps",
        "2 other fields differ from tarflow",  # the noise, and an output of its own: one that is left out is none
    )


def test_the_closest_reason_is_given(project: Path) -> None:
    twin(project, "{prior: size, prior.blocks: one is enough, phases: less, outputs: its own}")
    assert lines(project) == (
        "prior.width 8 instead of 16: size",
        "prior.blocks [1] instead of [1, 1]: one is enough",
        "phases.main.objective.noise.std 0.4 instead of 0.2, phases.main.optimizer.lr 0.002 instead of 0.001: less",
        "outputs.unguided nothing instead of inverse, outputs.own inverse instead of nothing: its own",
    )


def test_a_part_of_another_kind_is_one_difference(project: Path) -> None:
    text = "extends: tarflow.yaml\ntwin_of: tarflow\nprior: {kind: sit, width: 8, layers: 1, head_width: 4}\n"
    text += "phases: {tune: null, main: {objective: {kind: velocity}}}\noutputs: {unguided: {kind: ode, steps: 2, ema: false}}"
    write(project, "mini/other", text + "\ndeviations: {prior: another family}\n")
    assert lines(project, "other") == (
        "prior sit instead of tarflow: another family",
        "3 other fields differ from tarflow",
    )


def test_a_run_that_is_no_twin_has_no_lines(project: Path) -> None:
    assert lines(project, "tarflow") == ()


@pytest.mark.parametrize(
    ("deviations", "of", "expected"),
    [
        (
            "{phases.tune: x}",
            "twin_of: tarflow\n",
            "deviations.phases.tune: does not differ from 'tarflow' (remove it)",
        ),
        (
            "{prior.widht: x}",
            "twin_of: tarflow\n",
            "deviations.prior.widht: neither the run nor 'tarflow' has such a field (did you mean 'prior.width'?)",
        ),
        ("{prior: x}", "", "deviations: from which run is not said (twin_of: the run of the paper's scale)"),
        ("{}", "twin_of: tarflwo\n", "twin_of: there is no run 'tarflwo' (did you mean 'tarflow'?)"),
        ("{}", "twin_of: twin\n", "twin_of: a run is no twin of itself"),
        ("[prior]", "twin_of: tarflow\n", "deviations: got the list ['prior'], wanted a mapping"),
    ],
)
def test_deviations_that_are_none(project: Path, deviations: str, of: str, expected: str) -> None:
    twin(project, deviations, of)
    (problem,) = problems(project)
    assert expected in problem


def test_a_reason_is_inherited_and_dropped(project: Path) -> None:
    write(project, "mini/wide", "extends: twin.yaml\nprior: {width: 16, blocks: [1, 1]}\ndeviations: {prior: null}\n")
    assert lines(project, "wide") == (
        "phases.main.optimizer.lr 0.002 instead of 0.001: few steps",
        "2 other fields differ from tarflow",
    )


def test_variants_of_a_twin_with_a_stale_reason_tell_it_once(project: Path) -> None:
    write(project, "ablations/size", "run: twin\ngrid: {phases.tune.steps: [5, 6]}\n")
    twin(project, "{dataset: x}")
    (problem,) = problems(project)
    assert "deviations.dataset" in problem
