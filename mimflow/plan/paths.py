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


def folder(stage: str, job: str) -> str:
    """The folder of a finished job."""
    return f"{STORE}/{FOLDERS[stage]}/{job}"


def manifest(stage: str, job: str) -> str:
    """The file that is there when a job is finished: what Snakemake asks for."""
    return f"{folder(stage, job)}/{MANIFEST}"


def table_file(table: str, suffix: str) -> str:
    """A rendered file of a table."""
    return f"results/{table}.{suffix}"


def table_record(table: str) -> str:
    """What the rendered files of a table were made from."""
    return f"results/{table}.manifest.json"


def metrics_file(table: str, run: str) -> str:
    """The numbers of one run in one table, for `dvc metrics`."""
    return f"results/metrics/{table}/{run}.json"


def marker(table: str) -> str:
    """An input of the render rule that is new when the table is not what its specs ask for."""
    return f".mimflow/markers/{table}"


def work(root: Path, job: str) -> Path:
    """Scratch of a job in progress: it survives an interruption."""
    return root / ".mimflow" / "work" / job


def cache(root: Path) -> Path:
    """What can be computed again, shared by jobs."""
    return root / ".mimflow" / "cache"
