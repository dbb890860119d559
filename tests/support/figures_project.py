"""A small project with hand-made results in its store, for tests of figures: what is drawn is known without them."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from artifacts import data_facts, train_facts
from specs_project import CLASSIFIER, DATASET, write
from tables_project import put, put_metrics

from mimflow.artifacts.curves import Curve, write_curves
from mimflow.artifacts.log import write_log
from mimflow.artifacts.samples import SamplesFacts, write_samples
from mimflow.plan.jobs import Job
from mimflow.products.figure import style
from mimflow.products.figure.product import FigureProduct
from mimflow.products.figure.render import values_text
from mimflow.products.registry import open_plan

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FLOW = """\
label: Flow
dataset: digits
tokenizer: {kind: pixel, patch_size: 2}
prior: {kind: tarflow, width: 24, head_width: 8, blocks: [1, 1]}
phases:
  main:
    objective: {kind: nll, noise: {kind: gaussian, std: 0.2}}
    steps: 8
    batch_size: 8
    snapshots: [0.25, 0.5]
    optimizer: {kind: adamw, lr: 1e-3}
    ema: 0.9
outputs:
  unguided: {kind: inverse}
  guided: {kind: inverse, guidance: {kind: linear, weight: {sweep: [2, 0, 1]}}}
  early: {kind: inverse, snapshot: {sweep: [0.25, 0.5, null]}}
  reconstruction: {kind: reconstruction}
  interpolation: {kind: interpolation, steps: 3}
  latents: {kind: latents}
seeds: [0, 1]
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
WIDTHS = """\
label: widths
run: flow
grid: {prior.width: [32, 16]}
"""
PROTOCOL = """\
dataset: digits
samples: {count: 1500}
extractor: {kind: classifier, weights: {run: classifier}}
metrics: [{kind: fid}, {kind: is, splits: 5}, {kind: precision_recall}, {kind: image_spectrum}]
"""
METRICS: dict[str, dict[str, float | str]] = {
    "widths-width-16.s0.unguided": {"fid": 10.0, "is": 2.0},
    "widths-width-16.s1.unguided": {"fid": 14.0, "is": 4.0},
    "widths-width-32.s0.unguided": {"fid": 8.0, "is": 5.0},
    "widths-width-32.s1.unguided": {"fid": 9.0, "is": "the features are not finite"},
    "gaussian.s0.unguided": {"fid": 40.0, "is": 1.5},
    "flow.s0.guided-weight-0": {"fid": 6.0, "recall": 0.75, "precision": 0.5},
    "flow.s1.guided-weight-0": {"fid": 8.0, "recall": 0.75, "precision": 0.75},
    "flow.s0.guided-weight-1": {"fid": 3.0, "recall": 0.5, "precision": 0.75},
    "flow.s1.guided-weight-1": {"fid": 5.0, "recall": 0.25, "precision": 1.0},
    "flow.s0.guided-weight-2": {"fid": 5.0, "recall": 0.25, "precision": 1.0},
    "flow.s1.guided-weight-2": {"fid": 5.0, "recall": 0.25, "precision": 1.0},
    "flow.s0.early-snapshot-0-25": {"fid": 30.0},
    "flow.s1.early-snapshot-0-25": {"fid": 34.0},
    "flow.s0.early-snapshot-0-5": {"fid": 20.0},
    "flow.s1.early-snapshot-0-5": {"fid": 20.0},
    "flow.s0.early-snapshot-none": {"fid": 10.0},
    "flow.s1.early-snapshot-none": {"fid": 11.0},
}
"""By run, seed and output: a number, or the reason why there is none."""
LOGS = {
    0: [{"step": 4.0, "epoch": 0.5, "loss": 2.0}, {"step": 8.0, "epoch": 1.0, "loss": 1.0, "aligned": 0.5}],
    1: [{"step": 4.0, "epoch": 0.5, "loss": 4.0}, {"step": 8.0, "epoch": 1.0, "loss": 1.0}],
}
"""Rows of a training's log by seed."""
PLACES = np.array([0.125, 0.25, 0.5])
SPECTRUM = np.array([4.0, 2.0, 1.0])
REFERENCE = np.array([8.0, 2.0, 0.5])


def make_figures_project(root: Path) -> Path:
    """Specs with nothing computed; a figure is added by `add`."""
    write(root, "datasets/digits", DATASET)
    write(root, "mini/flow", FLOW)
    write(root, "mini/gaussian", GAUSSIAN)
    write(root, "mini/classifier", CLASSIFIER)
    write(root, "ablations/widths", WIDTHS)
    write(root, "protocols/small", PROTOCOL)
    return root


def add(root: Path, rows: str, draw: str, more: str = "", name: str = "f") -> FigureProduct:
    """A figure of the project."""
    text = f"title: A figure\nprotocol: small\nrows: {rows}\ndraw: {draw}\n{more}"
    write(root, f"figures/{name}", text)
    return figure_of(root, name)


def figure_of(root: Path, name: str = "f") -> FigureProduct:
    product = open_plan(root).product(name)
    assert isinstance(product, FigureProduct)
    return product


def fill(figure: FigureProduct, but: tuple[str, ...] = ()) -> FigureProduct:
    """The hand-made results of a figure's jobs, and of those that they are made from, but for some by name."""
    jobs = {each.id: each for job in figure.jobs().values() for each in (*job.upstream(), job)}
    for job in jobs.values():
        if job.name not in but:
            _put(figure.root, job)
    return figure


def _put(root: Path, job: Job) -> None:
    folder = root / job.folder
    folder.mkdir(parents=True, exist_ok=True)
    if job.stage == "evaluate":
        run, seed, output = job.name.split(".")[:3]
        known = METRICS.get(f"{run}.{seed}.{output}", {})
        if output == "unguided":
            factor = 3.0 if seed == "s1" else 1.0
            write_curves(
                folder,
                {
                    "image_spectrum": Curve(PLACES, factor * SPECTRUM),
                    "reference_spectrum": Curve(PLACES, REFERENCE),
                },
            )
        put_metrics(root, job, {"fid": 1.0, "is": 1.0, "precision": 0.5, "recall": 0.5, **known})
    elif job.stage == "infer":
        _put_images(root, job)
    elif job.stage == "train":
        for name in ("weights", "ema"):
            (folder / f"{name}.safetensors").write_bytes(f"{name} of {job.name}".encode())
        write_log(folder, LOGS.get(int(job.name[-1]), LOGS[0]))
        width = 1000 if "width-16" in job.name else 4000
        put(root, job, replace(train_facts(), system_parameters=width, steps=8, epochs=1.0))
    else:
        put(root, job, data_facts("0123456789"))


def _put_images(root: Path, job: Job) -> None:
    """Samples 0 to 39 of classes 0 to 9 in turn, each of one grey, 6 times its place; and what pictures show."""
    folder = root / job.folder
    for name, count, said in (
        ("samples", 40, np.arange(40) % 10),
        ("pairs", 8, np.repeat(np.arange(4), 2)),
        ("strip", 6, np.arange(6) % 3),
    ):
        greys = (6 * np.arange(count)).astype(np.uint8)
        images = np.broadcast_to(greys[:, None, None, None], (count, 8, 8, 1))
        write_samples(folder / f"{name}.npz", [images], said, (8, 8, 1))
    put(root, job, SamplesFacts(40, "ema.safetensors", "cpu", 1.0))


def drawn(figure: FigureProduct) -> tuple[Figure, list[dict[str, str]], tuple[str, ...]]:
    """A figure as its drawing leaves it, the lines of its file of values, and its remarks."""
    from matplotlib.figure import Figure

    with style.styled():
        canvas = Figure(figsize=(3.3, 2.1), layout="constrained")
        done = figure.drawing.draw(canvas)
        canvas.draw_without_rendering()
    return canvas, list(csv.DictReader(io.StringIO(values_text(done.values)))), done.remarks


def only(values: list[dict[str, str]], *names: str) -> list[tuple[str, ...]]:
    """Some columns of lines of values."""
    return [tuple(value[name] for name in names) for value in values]
