"""A small project with hand-made results in its store, for tests of tables."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from artifacts import data_facts, train_facts
from specs_project import CLASSIFIER, FLOW, write

from mimflow.artifacts.facts import plain
from mimflow.artifacts.manifest import MANIFEST, Manifest, record_files
from mimflow.artifacts.metrics import EvaluateFacts
from mimflow.artifacts.samples import SamplesFacts, write_samples
from mimflow.plan.build import Plan
from mimflow.plan.jobs import Job
from mimflow.products.registry import open_plan
from mimflow.products.render import render_product

GOLDEN = Path(__file__).parents[1] / "recordings" / "tables"
DATASET = """\
label: Digits 8×8
source: {kind: digits}
transform: {size: 8}
split: {kind: stratified, val: 297}
channels: 1
num_classes: 10
"""
GAUSSIAN = """\
label: "Gaussian & 100 % _simple_ #1"
dataset: digits
tokenizer: {kind: pixel, patch_size: 2}
prior: {kind: class_gaussian}
phases: {main: {objective: {kind: moments}}}
outputs:
  unguided: {kind: inverse, ema: false}
"""
TARFLOW = (
    "label: TARFlow\n"
    + FLOW
    + """\
  tune:
    objective: {kind: nll, noise: {kind: gaussian, std: 0.1}}
    epochs: 2
    batch_size: 8
    optimizer: {kind: adamw, lr: 1e-4}
    ema: 0.99
outputs:
  unguided: {kind: inverse, denoise: {kind: score, std: 0.2}}
  guided: {kind: inverse, guidance: {kind: linear, weight: 3.0}, denoise: {kind: score, std: 0.2}}
seeds: [0, 1, 2]
twin_of: whole
deviations:
  prior.width: seconds on one thread
  phases.tune: "the first phase is short & 50 % of it noise"
"""
)
WHOLE = """\
label: TARFlow at the paper's scale
dataset: digits
tokenizer: {kind: pixel, patch_size: 2}
prior: {kind: tarflow, width: 64, head_width: 8, blocks: [1, 1]}
phases:
  main:
    objective: {kind: nll, noise: {kind: gaussian, std: 0.2}}
    steps: 10
    batch_size: 16
    optimizer: {kind: adamw, lr: 1e-3}
"""
PROTOCOL = """\
label: in the features of a small classifier
dataset: digits
samples: {count: 1500}
extractor: {kind: classifier, weights: {run: classifier}}
metrics: [{kind: fid}, {kind: is, splits: 5}, {kind: class_accuracy}]
"""
PUBLISHED = """\
source: A paper of ours, Table 1
protocol: ImageNet 256×256, 50,000 samples
entries:
  ours:
    label: Ours
    primary: true
    source: Table 1
    parameters: 1.4B
    epochs: 160
    values:
      unguided: {fid: 13.72, is: 105.2}
      guided: {fid: 2.5}
  smaller:
    label: Ours, smaller
    primary: true
    source: Table 2
    values:
      guided: {fid: 2.15}
  theirs:
    label: Theirs
    primary: false
    source: Table 1, quoting another
    values:
      guided: {fid: 4.69}
"""
TABLE = """\
title: "Digits & 100 % of #1"
protocol: small
published: [{file: paper, entries: [ours, smaller]}]
rows: [{run: gaussian}, {run: tarflow}]
columns:
  - parameters
  - epochs
  - {output: unguided, metrics: [fid, is, class_accuracy]}
  - guided.fid
notes: ["A note with 50 % & more."]
"""
METRICS = {
    "gaussian.s0.unguided.small": {"fid": 40.26, "is": 2.5, "class_accuracy": "the samples were drawn without a class"},
    "tarflow.s0.unguided.small": {"fid": 20.0, "is": 2.4989, "class_accuracy": 0.75},
    "tarflow.s1.unguided.small": {"fid": 22.0, "is": 2.5041, "class_accuracy": 0.75},
    "tarflow.s2.unguided.small": {"fid": 24.0, "is": 2.4970, "class_accuracy": 0.75},
    "tarflow.s0.guided.small": {"fid": 10.123456789, "is": 3.0, "class_accuracy": 0.9},
    "tarflow.s1.guided.small": {"fid": 11.0, "is": 3.0, "class_accuracy": 0.9},
    "tarflow.s2.guided.small": {
        "fid": "features of 3 of 1500 samples are not finite",
        "is": 3.0,
        "class_accuracy": 0.9,
    },
}
"""Hand-made: a number, or the reason why there is none."""
FACTS = {
    "classifier.main.s0": replace(train_facts(), system_parameters=900, steps=10, epochs=0.0533),
    "whole.main.s0": replace(train_facts(), system_parameters=45678, steps=10, epochs=0.1067),
    "gaussian.main.s0": replace(train_facts(), system_parameters=0, steps=0, epochs=1.0),
} | {
    f"tarflow.{phase}.s{seed}": replace(
        train_facts(), system_parameters=12345, prior_parameters=12000, steps=steps, epochs=epochs
    )
    for phase, steps, epochs in (("main", 10, 0.0533), ("tune", 375, 2.0))
    for seed in range(3)
}
MADE = {"git": {"commit": "0123456789abcdef", "clean": True}, "packages": {"mimflow": "0.1.0", "torch": "2.6.0"}}


def edit(root: Path, name: str, old: str, new: str) -> None:
    path = root / "specs" / f"{name}.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def plan_of(root: Path) -> Plan:
    return open_plan(root)


def put(root: Path, job: Job, facts: object = None) -> None:
    """The manifest of a job over the files that lie in its folder."""
    folder = root / job.folder
    folder.mkdir(parents=True, exist_ok=True)
    inputs = {role: upstream.key for role, upstream in job.inputs.items()}
    data = {} if facts is None else plain(facts)
    manifest = Manifest(job.stage, job.name, job.key, job.task.identity(), inputs, record_files(folder), data, MADE)
    (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")


def put_metrics(root: Path, job: Job, values: dict[str, float | str], count: int = 1500) -> None:
    metrics: dict[str, Any] = {
        name: {"value": None, "std": None, "reason": value}
        if isinstance(value, str)
        else {"value": value, "std": None, "reason": None}
        for name, value in values.items()
    }
    folder = root / job.folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.json").write_text(json.dumps({**metrics, "count": count}), encoding="utf-8")
    facts = EvaluateFacts(count, extractor_accuracy=0.9731, reference_split="train", reference_count=1500)
    put(root, job, facts)


def put_samples(root: Path, job: Job) -> None:
    labels = np.arange(40) % 10
    images = np.broadcast_to(labels[:, None, None, None] * 25, (40, 8, 8, 1)).astype(np.uint8)
    write_samples(root / job.folder / "samples.npz", [images], labels, (8, 8, 1))
    put(root, job, SamplesFacts(len(labels), "ema.safetensors", "cpu", 1.0))


def put_weights(root: Path, job: Job) -> None:
    folder = root / job.folder
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("weights", "ema"):
        (folder / f"{name}.safetensors").write_bytes(f"{name} of {job.name}".encode())
    put(root, job, FACTS[job.name])


def fill(root: Path) -> None:
    for job in plan_of(root).jobs.values():
        if job.stage == "evaluate":
            put_metrics(root, job, METRICS[job.name])
        elif job.stage == "infer":
            put_samples(root, job)
        elif job.stage == "train":
            put_weights(root, job)
        else:
            put(root, job, replace(data_facts("0123456789"), skipped=2))


def make_project(root: Path) -> None:
    """Specs and hand-made results of a table `t`."""
    write(root, "datasets/digits", DATASET)
    write(root, "mini/gaussian", GAUSSIAN)
    write(root, "systems/whole", WHOLE)
    write(root, "mini/tarflow", TARFLOW)
    write(root, "mini/classifier", CLASSIFIER)
    write(root, "protocols/small", PROTOCOL)
    write(root, "published/paper", PUBLISHED)
    write(root, "tables/t", TABLE)
    fill(root)


def render(root: Path, partial: bool = False) -> str:
    plan = plan_of(root)
    render_product(plan.product("t"), partial)
    return (root / "results" / "t.md").read_text(encoding="utf-8")


def cells(text: str, label: str) -> list[str]:
    """The cells of the Markdown line that begins with a label."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {label} ")]
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def drop(root: Path, name: str) -> None:
    shutil.rmtree(root / plan_of(root).job(name).folder)


def masked(text: str) -> str:
    """Without the digits of keys: they change with any field of any spec."""
    return re.sub(r"(?<![.0-9a-f])[0-9a-f]{16}\b", "KEY", text)


def use_template(root: Path, text: str) -> None:
    edit(root, "tables/t", "notes:", "template: templates/mine.md.j2\nnotes:")
    (root / "templates").mkdir()
    (root / "templates/mine.md.j2").write_text(text, encoding="utf-8")
