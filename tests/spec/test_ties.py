"""Fields tied to one another, and the warning about what should be."""

from __future__ import annotations

from pathlib import Path

import pytest
from projects import edit, new_project
from specs_project import make_specs, problems, write

from mimflow.products.registry import open_plan, open_workspace
from mimflow.project.inspection import check, explain
from mimflow.project.workspace import Workspace

NOISE = "phases.main.objective.noise.std"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The tiny project, whose TARFlow says the noise of its training, 0.2, again where it is taken off."""
    root = new_project(tmp_path / "project")
    edit(
        root,
        "mini/tarflow",
        "guided: {kind: inverse, guidance: {kind: linear, weight: 1.0}, denoise: {kind: score, std: 0.2}}",
        f'guided: {{kind: inverse, denoise: {{kind: score, std: "${{{NOISE}}}"}}}}',
    )
    return root


def stds(root: Path, run: str) -> tuple[float, float]:
    spec = Workspace(root).runs[run].spec
    return spec.phases["main"].objective.noise.std, spec.outputs["guided"].denoise.std  # type: ignore[attr-defined, union-attr]


def test_a_tie_stands_for_the_other_field(project: Path) -> None:
    assert stds(project, "tarflow") == (0.2, 0.2)
    edit(project, "mini/tarflow", "noise: {kind: gaussian, std: 0.2}", "noise: {kind: gaussian, std: 0.25}")
    assert stds(project, "tarflow") == (0.25, 0.25)
    (line,) = [
        line
        for line in explain(open_workspace(project), "tarflow").splitlines()
        if "specs/mini/tarflow.yaml:16" in line and "std" in line
    ]
    assert line.split("#")[0].strip() == "std: 0.25"


def test_a_tied_field_has_the_key_of_one_that_is_written_out(project: Path) -> None:
    tied = open_plan(project).job("tarflow.s0.guided").key
    edit(project, "mini/tarflow", f'"${{{NOISE}}}"', "0.2")
    assert open_plan(project).job("tarflow.s0.guided").key == tied


def test_what_is_varied_moves_what_is_tied_to_it(project: Path) -> None:
    write(project, "ablations/noise", f"run: tarflow\ngrid: {{{NOISE}: [0.1, 0.3]}}\n")
    write(project, "mini/child", f"extends: tarflow.yaml\noverrides: {{{NOISE}: 0.4}}\n")
    assert [stds(project, run) for run in ("noise-std-0-1", "noise-std-0-3", "child")] == [
        (0.1, 0.1),
        (0.3, 0.3),
        (0.4, 0.4),
    ]


def test_an_ablation_ties_fields_of_its_run(project: Path) -> None:
    edit(project, "mini/tarflow", f'"${{{NOISE}}}"', "0.2")
    write(
        project,
        "ablations/noise",
        f"run: tarflow\ngrid:\n  {NOISE}: [0.1, 0.3]\n  outputs.guided.denoise.std: ['${{{NOISE}}}']\n",
    )
    assert [stds(project, run) for run in ("noise-std-0-1", "noise-std-0-3")] == [(0.1, 0.1), (0.3, 0.3)]
    assert Workspace(project).runs["noise-std-0-1"].spec.label == "TARFlow, std 0.1"


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        ("${prior.head_widht}", "prior.width: tied to 'prior.head_widht', and no 'head_widht' is written out in 'prior' (did you mean 'head_width'?)"),
        ("${colour.width}", "prior.width: tied to 'colour.width', and no 'colour' is written out"),
        ("${prior.width}", "prior.width: is tied in a circle: prior.width → prior.width (write one value out)"),
        ("${prior}", "prior.width: is tied in a circle: prior.width → prior"),
        ("${prior.kind}", "prior.width: got the text 'tarflow', wanted a whole number"),
        ("${prior.blocks.2}", "prior.width: tied to 'prior.blocks.2', and no '2' is written out in 'prior.blocks'"),
    ],
)  # fmt: skip
def test_a_tie_to_nothing_is_a_line(tmp_path: Path, width: str, expected: str) -> None:
    root = make_specs(tmp_path)
    edit(root, "mini/tarflow", "width: 16", f'width: "{width}"')
    found = [line for line in problems(root) if "specs/mini/tarflow.yaml" in line]
    assert any(expected in line and line.startswith("specs/mini/tarflow.yaml:3:") for line in found), found


def test_text_that_merely_holds_a_tie_is_text(project: Path) -> None:
    edit(project, "mini/tarflow", "label: TARFlow", 'label: "TARFlow ${prior.width}"')
    assert Workspace(project).runs["tarflow"].spec.label == "TARFlow ${prior.width}"


def test_a_denoiser_of_other_noise_than_training_is_warned_of(project: Path) -> None:
    assert "warning" not in check(open_workspace(project), [])
    edit(project, "mini/tarflow", f'"${{{NOISE}}}"', "0.3")
    expected = (
        "warning: specs/mini/tarflow.yaml:16:55: outputs.guided.denoise.std: 0.3 is taken off, and the prior is trained "
        "with noise of 0.2 (the same, or tie it: ${phases.…noise.std})"
    )
    assert check(open_workspace(project), ["tarflow"]).splitlines() == ["valid: specs/mini/tarflow.yaml", expected]
    assert check(open_workspace(project), []).splitlines()[1:] == [expected]
