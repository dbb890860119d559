"""Where things lie in a project: the only place that spells a path."""

from __future__ import annotations

from pathlib import Path

from mimflow.artifacts.manifest import MANIFEST

STORE = "results/store"
FOLDERS = {
    "prepare": "data",
    "features": "features",
    "train": "checkpoints",
    "infer": "outputs",
    "evaluate": "evaluations",
}
"""The folder of the store that each stage writes to."""
BY_NAME = "results/by-name"
METRICS = "results/metrics"
"""The numbers of products, for `dvc metrics`."""

FAILURE = "failure.txt"
"""The file of an attempt's folder that says why the last process that worked on it gave up; absent otherwise."""


def project_of(start: Path) -> Path:
    """The project that a folder is, or lies in: the first, from there upwards, that holds specs; else the folder."""
    above = start.resolve()
    return next((found for found in (start, *above.parents) if (found / "specs").is_dir()), start)


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
    """The product that a name or one of its files means: `table1`, `results/table1.md`."""
    return Path(target).name.partition(".")[0]


def metrics_file(product: str, run: str) -> str:
    """The numbers of one run in one product, for `dvc metrics`."""
    return f"{METRICS}/{product}/{run}.json"


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


def cache(root: Path) -> Path:
    """What can be computed again, shared by jobs."""
    return root / ".mimflow" / "cache"
