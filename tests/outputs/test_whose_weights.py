"""Whose weights an output is made with: those of the last phase's end, of a snapshot, or given ones without training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from projects import new_project
from specs_project import KL_VAE, make_specs, problems, write

from mimflow.artifacts.facts import read_facts
from mimflow.artifacts.manifest import Artifact, sha256_of
from mimflow.artifacts.samples import SamplesFacts, read_samples
from mimflow.errors import ArtifactError
from mimflow.plan.handover import hand_over, handed_over
from mimflow.plan.jobs import Job
from mimflow.products.registry import open_plan
from mimflow.products.table.collect import collect
from mimflow.products.table.product import TableProduct
from mimflow.project.workspace import Workspace
from mimflow.stages.runner import run_job

GIVEN = """\
dataset: digits
tokenizer: {kind: pixel, patch_size: 2}
prior: {kind: tarflow, width: 16, head_width: 8, blocks: [1, 1]}
phases: {}
weights: [{file: weights/flow.safetensors, sha256: null}]
outputs: {unguided: {kind: inverse}}
"""


@pytest.fixture
def specs(tmp_path: Path) -> Path:
    return make_specs(tmp_path)


def lines(specs: Path, text: str) -> list[str]:
    write(specs, "mini/tarflow", (specs / "specs/mini/tarflow.yaml").read_text() + text)
    return [line.partition("mini/tarflow.yaml:")[2] for line in problems(specs)]


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("{kind: inverse, ema: false, snapshot: 0.25}", []),
        (
            "{kind: inverse, ema: false, snapshot: 0.3}",
            [
                "17:47: outputs.more.snapshot: the last phase makes no snapshot at 0.3 (it makes them at: 0.25, 0.5, 0.75)",
            ],
        ),
        (
            "{kind: inverse, snapshot: 0.25}",
            [
                "17:9: outputs.more.ema: the last phase keeps no averaged weights (ema: false, or give the phase an ema)",
            ],
        ),
    ],
)
def test_a_snapshot_has_to_be_one_that_is_made(specs: Path, output: str, expected: list[str]) -> None:
    assert lines(specs, f"  more: {output}\n") == expected


def test_snapshots_of_a_phase_with_averages_hold_nothing_else(specs: Path) -> None:
    write(
        specs, "mini/child", "extends: tarflow.yaml\nphases: {tune: {ema: 0.9}}\noutputs: {unguided: {snapshot: 0.5}}\n"
    )
    (found,) = problems(specs)
    assert found.endswith(
        "outputs.unguided.ema: snapshots of a phase with an ema hold averaged weights alone (ema: true)"
    )


def test_a_key_does_not_change_by_what_nobody_said(specs: Path) -> None:
    """Results that were there before an output could ask for a snapshot are still found."""
    output = Workspace(specs).runs["tarflow"].spec.outputs["unguided"]
    assert "snapshot" not in output.identity()
    assert output.model_copy(update={"snapshot": 0.5}).identity()["snapshot"] == 0.5


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("phases: {}", "phases: {}", []),
        (
            "weights: [{file: weights/flow.safetensors, sha256: null}]\n",
            "",
            [
                "4:9: phases: no phase that trains it, and no weights that are given "
                "(phases: {main: {objective: …}}, or weights: [{file: …, sha256: …}])"
            ],
        ),
        (
            "{file: weights/flow.safetensors, sha256: null}",
            "{phase: main}",
            ["5:11: weights.0.run: names no run, and this one trains nothing (run: the one that does)"],
        ),
        (
            "{file: weights/flow.safetensors, sha256: null}",
            "{run: tarflw}",
            ["5:17: weights.0.run: there is no run 'tarflw' (did you mean 'tarflow'?)"],
        ),
        (
            "{kind: inverse}",
            "{kind: inverse, snapshot: 0.5}",
            ["6:47: outputs.unguided.snapshot: the run trains nothing, and has no snapshots (leave it out)"],
        ),
    ],
)
def test_a_run_without_training(specs: Path, old: str, new: str, expected: list[str]) -> None:
    assert old in GIVEN
    write(specs, "mini/given", GIVEN.replace(old, new))
    assert [line.partition("mini/given.yaml:")[2] for line in problems(specs)] == expected


def test_a_run_that_is_trained_is_given_nothing(specs: Path) -> None:
    assert lines(specs, "weights: [{run: classifier}]\n") == [
        "17:10: weights: the run is trained, and its weights are those of its last phase "
        "(phases.main.start to start from them, or phases: {})"
    ]


def test_nobody_starts_from_a_run_without_training(specs: Path) -> None:
    write(specs, "mini/given", GIVEN)
    write(specs, "mini/other", "extends: tarflow.yaml\nphases: {main: {start: [{run: given}]}}\n")
    (found,) = problems(specs)
    assert found.endswith("start.0.run: run 'given' trains nothing (the files that its own `weights` name)")


# -- what is drawn ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny project with TARFlow trained, whose table also shows an output of a snapshot."""
    project = new_project(tmp_path_factory.mktemp("trained") / "project")
    flow = project / "specs/mini/tarflow.yaml"
    flow.write_text(flow.read_text() + "  half: {kind: inverse, snapshot: 0.5, denoise: {kind: score, std: 0.2}}\n")
    table = project / "specs/tables/table1.yaml"
    table.write_text(
        table.read_text()
        .replace("- guided.fid", "- guided.fid\n  - half.fid")
        .replace("{run: tarflow}", "{run: tarflow}, {run: given}")
    )
    given_spec(project, None)
    finish(project, "tarflow.s0.half")
    return project


def given_spec(project: Path, sha256: str | None) -> None:
    text = (
        "label: Released\nextends: tarflow.yaml\nphases: {main: null}\noutputs: {half: null}\n"
        f"weights: [{{file: weights/flow.safetensors, sha256: {sha256 or 'null'}}}]\n"
    )
    (project / "specs/mini/given.yaml").write_text(text)


def finish(project: Path, name: str) -> Artifact:
    """Run a job and all that it reads."""

    def made(job: Job) -> None:
        for upstream in job.inputs.values():
            made(upstream)
        run_job(plan, job)

    plan = open_plan(project)
    made(plan.job(name, "infer"))
    result = plan.job(name, "infer").result(project)
    assert result is not None
    return result


@pytest.mark.slow
def test_a_snapshot_and_the_same_weights_given_draw_the_same_samples(trained: Path) -> None:
    plan = open_plan(trained)
    of_snapshot = plan.job("tarflow.s0.half", "infer").result(trained)
    assert read_facts(of_snapshot, SamplesFacts).weights == "snapshots/0.5.safetensors"

    checkpoint = plan.job("tarflow.main.s0", "train").result(trained)
    given = trained / "weights/flow.safetensors"
    given.parent.mkdir(exist_ok=True)
    given.write_bytes(checkpoint.file("snapshots/0.5.safetensors").read_bytes())
    given_spec(trained, sha256_of(given))
    plan = open_plan(trained)
    job = plan.job("given.s0.unguided", "infer")
    assert job.inputs == {}, "no training, and no images"
    released = finish(trained, "given.s0.unguided")
    ended = finish(trained, "tarflow.s0.unguided")
    samples, others, last = (read_samples(each.file("samples.npz"))[0] for each in (of_snapshot, released, ended))
    assert np.array_equal(samples, others)
    assert not np.array_equal(samples, last)


@pytest.mark.fault("weights from outside")
@pytest.mark.slow
def test_given_weights_that_are_not_there_or_not_written_down(trained: Path) -> None:
    given_spec(trained, "a" * 64)
    file = trained / "weights/flow.safetensors"
    file.unlink(missing_ok=True)
    with pytest.raises(
        ArtifactError, match=r"flow\.safetensors: missing: put the weights of a run without training th"
    ):
        finish(trained, "given.s0.unguided")
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"something else")
    with pytest.raises(ArtifactError, match=r"flow\.safetensors: SHA-256 \S+, the spec says aaaa"):
        finish(trained, "given.s0.unguided")


@pytest.mark.slow
def test_a_table_says_that_nothing_was_trained(trained: Path) -> None:
    product = open_plan(trained).products["table1"]
    assert isinstance(product, TableProduct)
    assert not any(name.startswith("given.s0") and job.stage == "train" for name, job in product.jobs().items())
    table = collect(product)
    row = next(row for row in table.measured.rows if row.run == "given")
    assert (
        table.footnotes[row.cells[0].marks[0] - 1] == "Released is given its weights: nothing of it was trained here."
    )
    settings = dict(table.protocol)["Output unguided"]
    assert "Released: inverse, denoise (score, std 0.2); given weights" in settings
    assert "snapshot 0.5, denoise (score, std 0.2); averaged weights" in dict(table.protocol)["Output half"]


@pytest.mark.slow
def test_a_number_is_traced_back_to_the_weights_that_were_given(trained: Path) -> None:
    given_spec(trained, "a" * 64)
    product = open_plan(trained).products["table1"]
    traced = product.why("given", "unguided.fid")
    assert f"given       weights/flow.safetensors, SHA-256 {'a' * 64}" in traced and "checkpoint " not in traced
    assert "inverse, denoise (score, std 0.2); given weights" in traced
    assert "given       weights/flow.safetensors" in product.why("given", "parameters")
    assert "snapshots/0.5.safetensors, SHA-256 " in product.why("tarflow", "half.fid")


@pytest.mark.slow
def test_a_job_of_given_weights_is_handed_over(trained: Path) -> None:
    """Snakemake's jobs read no specs: their task is all that they know."""
    given_spec(trained, "a" * 64)
    plan = open_plan(trained)
    job = plan.job("given.s0.unguided", "infer")
    hand_over(plan, job)
    handed = handed_over(trained, job.id)
    assert handed is not None and handed.job.key == job.key


@pytest.mark.fault("weights from outside")
@pytest.mark.slow
def test_weights_that_leave_a_module_without_any(trained: Path, tmp_path: Path) -> None:
    """The flow is there, and the autoencoder that makes its images is not."""
    from safetensors.torch import load_file, save_file

    file = trained / "weights/prior.safetensors"
    file.parent.mkdir(exist_ok=True)
    tokenizer = KL_VAE.replace(", weights: WEIGHTS", "")
    (trained / "specs/mini/latents.yaml").write_text(
        f"dataset: digits\ntokenizer: {tokenizer}\nprior: {{kind: class_gaussian}}\n"
        "phases: {main: {objective: {kind: moments}}}\noutputs: {unguided: {kind: inverse, ema: false}}\n"
    )
    source = finish_train(trained, "latents.main.s0")
    tensors = load_file(source.file("weights.safetensors"))
    save_file({name: tensor for name, tensor in tensors.items() if name.startswith("prior.")}, file)
    (trained / "specs/mini/given.yaml").write_text(
        "extends: latents.yaml\nphases: {main: null}\n"
        f"weights: [{{file: weights/prior.safetensors, sha256: {sha256_of(file)}}}]\n"
    )
    with pytest.raises(ArtifactError, match=r"prior\.safetensors: no weights for tokenizer \(name them in `weights`\)"):
        finish(trained, "given.s0.unguided")


def finish_train(project: Path, name: str) -> Artifact:
    plan = open_plan(project)
    job = plan.job(name, "train")
    for upstream in job.inputs.values():
        run_job(plan, upstream)
    return run_job(plan, job)
