"""What outputs hold and metrics measure: which job gets which metrics and inputs, what specs may ask, what tables say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tables_project import (
    FACTS,
    cells,
    edit,
    make_project,
    plan_of,
    put,
    put_metrics,
    put_samples,
    put_weights,
    render,
    write,
)

from mimflow.artifacts.metrics import EvaluateFacts
from mimflow.artifacts.representation import write_representation
from mimflow.artifacts.samples import PAIRS, write_samples
from mimflow.metrics.reference.spec import SplitReferenceSpec
from mimflow.plan.jobs import Job
from mimflow.products.registry import open_workspace
from mimflow.products.table.collect import collect
from mimflow.products.table.why import why
from mimflow.tasks import EvaluateTask, InferTask

pytestmark = pytest.mark.slow

RECONSTRUCTION = "  reconstruction: {kind: reconstruction}\n"
PROBE = "  probe: {kind: representation, where: {kind: tokenizer, what: latents}}\n"
METRICS = "metrics: [{kind: fid}, {kind: is, splits: 5}, {kind: class_accuracy}]"
MORE = "metrics: [{kind: fid}, {kind: is, splits: 5}, {kind: class_accuracy}, {kind: psnr}, {kind: ssim}, {kind: linear_probe, epochs: 5}]"
COLUMNS = """\
  - {output: reconstruction, metrics: [fid, psnr, class_accuracy]}
  - probe.probe_last
"""


def extend(root: Path) -> None:
    """Give TARFlow a reconstruction and a probe, and the protocol metrics for them."""
    edit(root, "mini/tarflow", "seeds: [0, 1, 2]", f"{RECONSTRUCTION}{PROBE}seeds: [0, 1, 2]")
    edit(root, "protocols/small", METRICS, MORE)
    edit(root, "tables/t", "notes:", f"{COLUMNS}notes:")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    make_project(tmp_path)
    return tmp_path


def keys(root: Path) -> dict[str, str]:
    return {job.name: job.key for job in plan_of(root).jobs.values()}


# -- the plan --------------------------------------------------------------------------------------------------------


def measured_by(job: Job) -> list[str]:
    assert isinstance(job.task, EvaluateTask)
    return [metric.kind for metric in job.task.metrics]


def test_an_output_is_measured_by_the_metrics_that_fit_it(project: Path) -> None:
    extend(project)
    plan = plan_of(project)
    assert measured_by(plan.job("tarflow.s0.guided.small")) == ["fid", "is", "class_accuracy"]
    assert measured_by(plan.job("tarflow.s0.reconstruction.small")) == ["fid", "is", "class_accuracy", "psnr", "ssim"]
    assert measured_by(plan.job("tarflow.s0.probe.small")) == ["linear_probe"]


def test_jobs_read_what_their_output_and_metrics_need(project: Path) -> None:
    extend(project)
    plan = plan_of(project)
    inputs = {name: sorted(plan.job(name).inputs) for name in keys(project)}
    assert inputs["tarflow.s0.guided"] == ["weights"]
    assert inputs["tarflow.s0.reconstruction"] == inputs["tarflow.s0.probe"] == ["data", "weights"]
    assert inputs["tarflow.s0.guided.small"] == ["extractor", "output", "reference"]
    assert inputs["tarflow.s0.reconstruction.small"] == ["data", "extractor", "output", "reference"]
    assert inputs["tarflow.s0.probe.small"] == ["output"]


def test_the_reference_of_reconstructions_is_their_split_and_a_representation_has_none(project: Path) -> None:
    extend(project)
    edit(project, "protocols/small", "extractor:", "reference: {split: train, count: 100}\nextractor:")
    tasks = {
        name: plan_of(project).job(f"tarflow.s0.{name}.small").task for name in ("guided", "reconstruction", "probe")
    }
    assert tasks["guided"].reference.identity() == {
        "kind": "split",
        "split": "train",
        "count": 100,
        "mirror": False,
    }
    assert tasks["reconstruction"].reference == SplitReferenceSpec(split="val")
    assert (tasks["probe"].reference, tasks["probe"].extractor) == (None, None)
    edit(project, "mini/tarflow", "{kind: reconstruction}", "{kind: reconstruction, split: train}")
    assert plan_of(project).job("tarflow.s0.reconstruction.small").task.reference.split == "train"


def test_metrics_and_outputs_of_another_content_change_no_key(project: Path) -> None:
    before = keys(project)
    extend(project)
    after = keys(project)
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 2 * 2 * 3 + 1, "and the reference of reconstructions"


def test_reconstructions_depend_on_how_a_protocol_draws_not_on_how_many(project: Path) -> None:
    extend(project)
    before = keys(project)
    edit(project, "protocols/small", "samples: {count: 1500}", "samples: {count: 700, labels: uniform}")
    after = keys(project)
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {name for name in before if "guided" in name}
    edit(project, "protocols/small", "labels: uniform", "quantisation: truncate")
    assert keys(project)["tarflow.s0.reconstruction"] != before["tarflow.s0.reconstruction"]


def test_fields_of_an_output_enter_its_key(project: Path) -> None:
    extend(project)
    before = keys(project)
    edit(project, "mini/tarflow", "{kind: reconstruction}", "{kind: reconstruction, noise: {kind: additive, std: 0.3}}")
    after = keys(project)
    assert {name for name in before if after[name] != before[name]} == {
        f"tarflow.s{seed}.reconstruction{end}" for seed in range(3) for end in ("", ".small")
    }
    task = plan_of(project).job("tarflow.s1.reconstruction").task
    assert isinstance(task, InferTask) and task.seed == 1


# -- what specs may ask ----------------------------------------------------------------------------------------------


def problems(root: Path) -> list[str]:
    return open_workspace(root).problems


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            ("- probe.probe_last", "- guided.psnr"),
            "columns.5: 'psnr' measures reconstructions, output 'guided' gives samples "
            "(outputs that fit: reconstruction; metrics that fit 'guided': fid, is, class_accuracy)",
        ),
        (
            ("- probe.probe_last", "- {output: probe, metrics: [{metric: fid, digits: 0}]}"),
            "columns.5.metrics.0.metric: 'fid' measures samples and reconstructions, output 'probe' gives representation "
            "(outputs that fit: unguided, guided, reconstruction; metrics that fit 'probe': probe_last, probe_best)",
        ),
        (
            ("[fid, psnr,", "[fid, psrn,"),
            "columns.4.metrics.1: protocol 'small' reports no 'psrn' (did you mean 'psnr'?)",
        ),
    ],
)
def test_a_column_asks_for_what_its_output_can_be_measured_by(
    project: Path, change: tuple[str, str], expected: str
) -> None:
    extend(project)
    assert problems(project) == []
    edit(project, "tables/t", *change)
    (line,) = problems(project)
    assert line.startswith("specs/tables/t.yaml:") and line.endswith(expected), line


def test_metrics_that_no_output_of_a_table_gives_are_fine(project: Path) -> None:
    edit(project, "protocols/small", METRICS, MORE)
    assert problems(project) == []


def test_a_column_shows_one_content(project: Path) -> None:
    extend(project)
    edit(project, "mini/gaussian", "outputs:", "outputs:\n  reconstruction: {kind: inverse, ema: false}")
    (line,) = [line for line in problems(project) if ": rows: " in line]
    assert line.endswith(
        "output 'reconstruction' gives samples in one run and reconstructions in 'tarflow' "
        "(a column shows one of them: rename one)"
    )


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (
            "{kind: representation, ema: false}",
            "outputs.probe.where.what: tokenizer 'pixel' has no representation 'before_projection' (it has: latents)",
        ),
        (
            "{kind: representation, where: {kind: prior, tap: {block: 2, layer: 0}}}",
            "outputs.probe.where.tap.block: there is no block 2 among 2",
        ),
        (
            "{kind: representation, where: {kind: tokeniser}}",
            "outputs.probe.where.kind: got 'tokeniser', wanted one of tokenizer, encoder, prior "
            "(did you mean 'tokenizer'?)",
        ),
        (
            "{kind: representation, where: {kind: encoder, layer: 0}}",
            "outputs.probe.where.layer: there is no layer 0 among the 0 of the tokenizer's encoder "
            "(where: {kind: tokenizer})",
        ),
        (
            "{kind: reconstruction, split: test}",
            "outputs.probe.split: got 'test', wanted one of train, val",
        ),
    ],
)
def test_mistake_in_an_output(project: Path, output: str, expected: str) -> None:
    edit(project, "mini/tarflow", "seeds: [0, 1, 2]", f"  probe: {output}\nseeds: [0, 1, 2]")
    assert any(expected in line for line in problems(project)), problems(project)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("{kind: inverse, ema: false}", "'inverse' draws from a prior, and the system has none"),
        ("{kind: reconstruction, ema: false}", "a system without a tokenizer reconstructs nothing"),
        ("{kind: representation, ema: false}", "a system without a tokenizer represents nothing"),
    ],
)
def test_a_classifier_alone_gives_nothing(project: Path, output: str, expected: str) -> None:
    text = (project / "specs/mini/classifier.yaml").read_text(encoding="utf-8")
    write(project, "mini/classifier", f"{text}outputs:\n  s: {output}\n")
    assert any(f"outputs.s.kind: {expected}" in line for line in problems(project)), problems(project)


# -- tables ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def filled(project: Path) -> Path:
    """A table with hand-made results of all three contents."""
    extend(project)
    for job in plan_of(project).jobs.values():
        if job.done(project):
            continue
        if job.name.endswith("reconstruction.small"):
            seed = int(job.name.split(".")[1][1:])
            values = {"fid": 3.0 + seed, "psnr": 21.5, "class_accuracy": 0.9}
            put_metrics(project, job, values, count=297)
        elif job.name.endswith("probe.small"):
            put_metrics(project, job, {"probe_last": 0.8, "probe_best": 0.85}, count=297)
            put(project, job, EvaluateFacts(297, train_count=1500, features=4))
        elif job.name.endswith("reconstruction"):
            put_samples(project, job)
            pairs = np.repeat(np.arange(20, dtype=np.uint8), 64).reshape(20, 8, 8, 1)
            write_samples(project / job.folder / PAIRS, [pairs], np.arange(20) // 2, (8, 8, 1))
            put(project, job)
        elif job.stage == "reference":
            put(project, job)
        elif job.name.endswith("probe"):
            (project / job.folder).mkdir(parents=True)
            write_representation(project / job.folder / "features.npz", {})
            put(project, job)
        else:
            assert job.name in FACTS
            put_weights(project, job)
    return project


def test_a_table_heads_reconstructions_and_representations_as_what_they_are(filled: Path) -> None:
    text = render(filled)
    plan = plan_of(filled)
    groups = {group.output: group for group in collect(plan.product("t")).measured.groups}
    assert groups["reconstruction"].heading == "Reconstruction"
    assert [column.heading for column in groups["reconstruction"].columns] == ["rFID-297", "PSNR", "Accuracy"]
    assert groups["probe"].heading == "Representation"
    assert [column.heading for column in groups["probe"].columns] == ["Probe, last epoch"]
    assert groups["unguided"].columns[0].heading == "FID-1.5k"
    assert cells(text, "TARFlow")[-4:] == ["4.0 ± 1.0", "21.50 ± 0.00", "0.900 ± 0.000", "0.800 ± 0.000"]
    assert cells(text, r"Gaussian & 100 % \_simple\_ #1")[-4:] == ["—"] * 4


def test_the_protocol_says_what_each_was_measured_against(filled: Path) -> None:
    text = render(filled)
    assert (
        "- **Reconstructions**: of every image of the output's split, rounded to 8 bits, against these same images\n"
    ) in text
    assert (
        "- **Representation**: of every image of both splits: probes are trained on train and measured on val\n" in text
    )
    assert "; PSNR and PSNR, pooled; SSIM; Probe, last epoch and Probe, best epoch (epochs 5, " in text
    assert "- **Output reconstruction**: reconstruction; averaged weights\n" in text


def test_a_table_of_reconstructions_alone_says_nothing_of_samples(filled: Path) -> None:
    write(
        filled,
        "tables/t",
        "title: R\nprotocol: small\nrows: [{run: tarflow}]\ncolumns: [reconstruction.psnr]\n",
    )
    text = render(filled)
    assert "**Samples**" not in text and "**Reference**" not in text and "Probe" not in text
    assert "- **Extractor**: classifier of run classifier" in text


def test_rfid_of_a_number_not_known_yet_has_none_in_its_name(filled: Path) -> None:
    for job in plan_of(filled).jobs.values():
        if job.name.endswith("reconstruction.small"):
            (filled / job.manifest).unlink()
    assert "rFID ↓" in render(filled, partial=True)


def test_numbers_and_rows_name_the_output(filled: Path) -> None:
    render(filled)
    numbers = json.loads((filled / "results/metrics/t/tarflow.json").read_text())
    assert (numbers["reconstruction.fid"], numbers["probe.probe_last"]) == (4.0, 0.8)
    csv = (filled / "results/t.csv").read_text(encoding="utf-8")
    assert "TARFlow,tarflow,reconstruction,fid,4.0,1.0,3,297,small," in csv


def test_why_goes_back_to_what_was_measured(filled: Path) -> None:
    plan = plan_of(filled)
    text = why(plan.product("t"), "tarflow", "reconstruction.fid")
    assert text.startswith("rFID-297, reconstruction, of TARFlow: 4 ± 1\n")
    assert "small: of every image of the output's split, rounded to 8 bits, against these same images\n" in text
    assert "297 reconstructions against 1,500 images\n" in text
    assert "  metric      the Fréchet distance between Gaussians fitted to features " in text
    text = why(plan.product("t"), "tarflow", "reconstruction.psnr")
    assert text.startswith("PSNR, reconstruction, of TARFlow: 21.5 ± 0 dB\n")
    text = why(plan.product("t"), "tarflow", "probe_last")
    assert "trained on 1,500 images, measured on 297\n" in text
    assert "extractor" not in text


def test_the_picture_shows_pairs_and_no_features(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []
    monkeypatch.setattr("mimflow.products.table.render.picture", lambda strips, others: shown.extend(strips) or b"")
    render(filled)
    titles = [strip.title for strip in shown]
    assert titles[-1] == "TARFlow · Reconstruction: originals, then reconstructions"
    assert len(titles) == 4
    assert [int(image[0, 0, 0]) for image in shown[-1].images] == [*range(0, 20, 2), *range(1, 20, 2)]
