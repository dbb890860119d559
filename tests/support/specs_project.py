"""A project of a few small specs on scikit-learn's digits, for tests of what validation says."""

from __future__ import annotations

from pathlib import Path

from mimflow.project.workspace import Workspace

DATASET = """\
source: {kind: digits}
transform: {size: 8}
split: {kind: stratified, val: 297}
channels: 1
num_classes: 10
"""
FLOW = """\
dataset: digits
tokenizer: {kind: pixel, patch_size: 2}
prior: {kind: tarflow, width: 16, head_width: 8, blocks: [1, 1]}
phases:
  main:
    objective: {kind: nll, noise: {kind: gaussian, std: 0.2}}
    steps: 10
    batch_size: 8
    optimizer: {kind: adamw, lr: 1e-3}
"""
"""A run of one phase, but for its outputs."""

RUN = (
    FLOW
    + """\
  tune:
    objective: {kind: nll, noise: {kind: gaussian, std: 0.1}}
    steps: 5
    batch_size: 8
    optimizer: {kind: adamw, lr: 1e-4}
outputs:
  unguided: {kind: inverse, ema: false}
"""
)
CLASSIFIER = """\
dataset: digits
classifier: {kind: convnet, widths: [8]}
phases:
  main:
    objective: {kind: cross_entropy}
    steps: 10
    batch_size: 8
    optimizer: {kind: adamw, lr: 1e-3}
"""
KL_VAE = (
    "{kind: kl_vae, channels: 2, width: 4, multipliers: [1, 2], blocks: 1, groups: 2, variance: {kind: fixed}, "
    "weights: WEIGHTS}"
)


def write(root: Path, name: str, text: str | bytes) -> Path:
    """A spec of a project, whose path is returned."""
    path = root / "specs" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def make_specs(root: Path) -> Path:
    """The project: a data set, a run of two phases, a classifier."""
    write(root, "datasets/digits", DATASET)
    write(root, "mini/tarflow", RUN)
    write(root, "mini/classifier", CLASSIFIER)
    return root


def problems(root: Path) -> list[str]:
    return Workspace(root).problems
