"""The images of a data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mimflow.data.prepared import Prepared
from mimflow.errors import ArtifactError
from mimflow.products.registry import open_plan
from mimflow.project.locate import find_project


def images(dataset: str, split: str = "val", *, project: Path | str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The images of a data set, uint8 (N, H, W, C), and their classes, int64 (N,), as runs are trained on them.

    `split` is `train` or `val`. Images are mapped from the file and read when they are indexed. `project` is the folder
    that holds `specs`; by default the one that the working folder lies in. Raises PlanError for a data set that no spec
    describes, and ArtifactError for one that is not prepared yet or corrupt.
    """
    plan = open_plan(find_project(project))
    plan.workspace.get("dataset", dataset)
    artifact = plan.prepare(dataset).result(plan.root)
    if artifact is None:
        raise ArtifactError(f"data set '{dataset}' is not prepared (mimflow prepare {dataset})")
    found = Prepared.open(artifact).split(split)
    return found.images, found.labels
