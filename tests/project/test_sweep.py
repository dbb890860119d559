"""Sweeps: lists in an output's fields are outputs of their own, with one training."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
import yaml
from specs_project import RUN, make_specs, problems, write

from mimflow.plan.build import Plan
from mimflow.products.registry import open_workspace
from mimflow.project.kinds import Kind
from mimflow.project.run import RunSpec
from mimflow.project.schemas import schema
from mimflow.project.workspace import Workspace

GUIDED = "  guided: {kind: inverse, ema: false, guidance: {kind: linear, weight: {sweep: [0.0, 0.5, 1.5]}}}\n"
PROTOCOL = """\
dataset: digits
samples: {count: 20}
extractor: {kind: classifier, weights: {run: classifier}}
metrics: [{kind: fid}]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_specs(tmp_path)


def outputs_of(root: Path, outputs: str, run: str = "tarflow") -> dict[str, object]:
    write(root, "mini/tarflow", RUN + outputs)
    assert problems(root) == []
    return dict(Workspace(root).runs[run].spec.outputs)


def test_each_value_is_an_output_named_after_it_where_the_list_stood(project: Path) -> None:
    outputs = outputs_of(project, GUIDED + "  last: {kind: inverse, ema: false}\n")
    assert list(outputs) == ["unguided", "guided-weight-0-0", "guided-weight-0-5", "guided-weight-1-5", "last"]
    assert [outputs[name].guidance.weight for name in list(outputs)[1:4]] == [0.0, 0.5, 1.5]
    sweep = Workspace(project).runs["tarflow"].sweeps["guided"]
    assert sweep.names == tuple(list(outputs)[1:4])
    assert [point.label for point in sweep.points] == ["weight 0", "weight 0.5", "weight 1.5"]


def test_two_lists_are_a_grid_and_a_value_may_be_a_part(project: Path) -> None:
    outputs = outputs_of(
        project,
        "  s: {kind: inverse, ema: false, noise_temperature: {sweep: [0.9, 1.0]}, "
        "denoise: {sweep: [null, {kind: score, std: 0.2}]}}\n",
    )
    assert list(outputs)[1:] == [
        "s-noise_temperature-0-9-denoise-none",
        "s-noise_temperature-0-9-denoise-score-std-0-2",
        "s-noise_temperature-1-0-denoise-none",
        "s-noise_temperature-1-0-denoise-score-std-0-2",
    ]
    assert outputs["s-noise_temperature-1-0-denoise-score-std-0-2"].denoise.std == 0.2
    sweep = Workspace(project).runs["tarflow"].sweeps["s"]
    assert sweep.points[3].label == "noise temperature 1, denoise score std 0.2"


def test_points_share_the_training_and_a_point_is_the_output_written_out(project: Path) -> None:
    written_out = GUIDED.replace("guided:", "half:").replace("{sweep: [0.0, 0.5, 1.5]}", "0.5")
    outputs_of(project, GUIDED + written_out)
    write(project, "protocols/small", PROTOCOL)
    plan = Plan(open_workspace(project))
    protocol = plan.workspace.protocols["small"].spec
    names = plan.workspace.runs["tarflow"].sweeps["guided"].names
    jobs = [plan.infer("tarflow", name, protocol, 0) for name in names]
    assert len({job.id for job in jobs}) == 3
    assert len({job.inputs["weights"].id for job in jobs}) == 1
    assert plan.infer("tarflow", "half", protocol, 0).id == jobs[1].id


def test_another_file_may_sweep_what_it_extends_or_set_it(project: Path) -> None:
    outputs_of(project, GUIDED)
    write(project, "mini/one", "extends: tarflow.yaml\noutputs: {guided: {guidance: {weight: 2.0}}}\n")
    write(project, "mini/more", "extends: one.yaml\noverrides: {outputs.guided.guidance.weight: {sweep: [3.0, 4.0]}}\n")
    write(project, "ablations/a", "run: more\ngrid: {outputs.guided.guidance.weight: [5.0]}\n")
    assert problems(project) == []
    runs = Workspace(project).runs
    assert list(runs["one"].spec.outputs) == ["unguided", "guided"] and not runs["one"].sweeps
    assert list(runs["more"].spec.outputs) == ["unguided", "guided-weight-3-0", "guided-weight-4-0"]
    assert runs["a-weight-5-0"].spec.outputs["guided"].guidance.weight == 5.0


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("  g: {kind: inverse, steps: {sweep: []}}", "outputs.g.steps: a sweep of the list [] (a list of values"),
        ("  g: {kind: inverse, steps: {sweep: 3}}", "outputs.g.steps: a sweep of 3 (a list of values"),
        ("  g: {sweep: [1, 2]}", "outputs.g: a field of an output is swept, not an output (weight: {sweep: [1, 2]})"),
        ("  g: {kind: inverse, guidance: {kind: linear, sweep: [1]}}", "outputs.g.guidance: a sweep beside kind"),
        (
            "  g: {kind: inverse, noise_temperature: {sweep: [1.0, 1.0]}}",
            "outputs.g: two points of the sweep would be called 'g-noise_temperature-1-0' (each value once)",
        ),
        (
            "  g: {kind: inverse, ema: {sweep: [false]}}\n  g-ema-false: {kind: inverse, ema: false}",
            "outputs.g: 'g-ema-false' is another output's name",
        ),
        (
            "  g: {kind: inverse, ema: false, noise_temperature: {sweep: [1.0, -1.0]}}",
            "outputs.g: two points of the sweep would be called",
        ),
        (
            "  g: {kind: inverse, ema: false, noise_temperature: {sweep: [1.0, -2.0]}}",
            "17:67: outputs.g-noise_temperature-2-0.noise_temperature: got -2.0, which should be greater than 0",
        ),
        (
            "  g: {kind: inverse, ema: false, noise_temperature: {sweep: ["
            + ", ".join(map(str, range(1, 300)))
            + "]}}",
            "outputs.g: a sweep of 299 points, more than 256",
        ),
    ],
)
def test_a_sweep_that_is_none_is_told_with_its_place(project: Path, output: str, expected: str) -> None:
    write(project, "mini/tarflow", f"{RUN}{output}\n")
    lines = problems(project)
    assert any(expected in line and line.startswith("specs/mini/tarflow.yaml:") for line in lines), lines


def test_editors_know_sweeps_in_outputs_alone() -> None:
    checker = jsonschema.Draft202012Validator(schema(Kind("run", RunSpec, ())))
    run = RUN.replace("1e-3", "0.001").replace("1e-4", "0.0001")
    swept = yaml.safe_load(run + GUIDED)
    assert not list(checker.iter_errors(swept))
    swept["outputs"]["guided"]["guidance"]["weight"]["sweep"][0] = "much"
    assert list(checker.iter_errors(swept))
    elsewhere = yaml.safe_load(run)
    elsewhere["phases"]["main"]["steps"] = {"sweep": [1, 2]}
    assert list(checker.iter_errors(elsewhere))
