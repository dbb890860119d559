"""Where things lie in a project: the only place that spells a path."""

from __future__ import annotations

from pathlib import Path

from mimflow.artifacts.manifest import MANIFEST
from mimflow.artifacts.shard import Shard
from mimflow.artifacts.verified import FOLDER

STORE = "results/store"
FOLDERS = {
    "prepare": "data",
    "features": "features",
    "latents": "latents",
    "train": "checkpoints",
    "infer": "outputs",
    "reference": "references",
    "evaluate": "evaluations",
}
"""The folder of the store that each stage writes to."""
SHARDED = ("features", "infer")
"""The stages whose results are made in pieces, which several jobs may share out between them."""
BY_NAME = "results/by-name"
METRICS = "results/metrics"
"""The numbers of products, for `dvc metrics`."""
PLOTS = "results/plots"
"""The logs of the trainings that products are rendered from, for `dvc plots`."""

FAILURE = "failure.txt"
"""The file of an attempt's folder that says why the last process that worked on it gave up; absent otherwise."""


def folder(stage: str, job: str) -> str:
    """The folder of a finished job."""
    return f"{STORE}/{FOLDERS[stage]}/{job}"


def manifest(stage: str, job: str) -> str:
    """The file that is there when a job is finished: what Snakemake asks for."""
    return f"{folder(stage, job)}/{MANIFEST}"


def link(stage: str, name: str) -> str:
    """A link to a job's folder under one of its names, for people."""
    return f"{BY_NAME}/{FOLDERS[stage]}/{name}"


def product_file(product: str, suffix: str) -> str:
    """A rendered file of a product."""
    return f"results/{product}.{suffix}"


def product_record(product: str) -> str:
    """What the rendered files of a product were made from."""
    return product_file(product, MANIFEST)


def product_name(target: str) -> str:
    """The product that a name or one of its files means: `table1`, `results/table1.md`, `results/runs/tarflow.md`."""
    path = Path(target).relative_to("results") if Path(target).is_relative_to("results") else Path(target)
    parts = [part for part in path.parts[-2:] if part not in ("", ".")]
    named = path.name.partition(".")[0]
    return f"{parts[0]}/{named}" if len(parts) == 2 and not path.is_absolute() else named


def metrics_file(product: str, run: str) -> str:
    """The numbers of one run in one product, for `dvc metrics`."""
    return f"{METRICS}/{product}/{run}.json"


def log_file(product: str, job: str) -> str:
    """The log of a training under a product's name for it, `tarflow.s0`, for `dvc plots`."""
    return f"{PLOTS}/{product}/{job}.csv"


def marker(product: str) -> str:
    """An input of the render rule that is new when the product is not what its specs ask for."""
    return f".mimflow/markers/{product}"


def task(root: Path, job: str) -> Path:
    """A job's task, handed over by the process that planned it."""
    return root / ".mimflow" / "tasks" / f"{job}.json"


def work(root: Path, job: str) -> Path:
    """Scratch of a job in progress: it survives an interruption."""
    return root / ".mimflow" / "work" / job


def checkpoints(attempt: Path) -> list[Path]:
    """The checkpoints of an attempt at training, the newest last: `step-000000100.safetensors`."""
    return sorted(attempt.glob("checkpoints/step-*.safetensors"))


def log(root: Path, name: str) -> Path:
    """What a job, or the rendering of a product, said under Snakemake."""
    return root / ".mimflow" / "logs" / f"{name}.log"


def work_lock(root: Path, job: str) -> Path:
    """The lock of whoever is at work on a job."""
    return work(root, job).with_name(f"{job}.lock")


def work_locks(root: Path, job: str) -> list[Path]:
    """The locks of all who may be at work on a job: the one on all of it, and those on its shards."""
    lock = work_lock(root, job)
    return [lock, *sorted(lock.parent.glob(f"{job}.*-of-*.lock"))]


def verified(root: Path) -> Path:
    """Digests of large files that have been computed already, by machine."""
    return root / FOLDER


def shard(stage: str, job: str, attempt: str, shard: Shard) -> str:
    """What Snakemake touches when a shard of a job is done. It goes with the attempt, once the job is done."""
    return f".mimflow/work/{job}/{attempt}/{stage}.{shard.slug}"


def shard_lock(root: Path, job: str, shard: Shard) -> Path:
    """The lock of whoever is at work on a shard of a job."""
    return work(root, job).with_name(f"{job}.{shard.slug}.lock")
