"""Samples from elsewhere, measured as the project's own are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas

from mimflow.products.registry import open_plan
from mimflow.project.locate import find_project
from mimflow.stages.asked import measure_given


def evaluate(
    samples: np.ndarray | str | Path,
    protocol: str,
    *,
    labels: Sequence[int] | np.ndarray | str | Path | None = None,
    project: Path | str | None = None,
) -> pandas.DataFrame:
    """What a protocol measures of samples, whoever made them: a line for each metric.

    `samples` are images, uint8 (N, H, W, C), or their file: `.npz` with `arr_0`, or a folder of images. `labels` are
    their classes, or a file of them, where the protocol asks for such. Columns: `metric`; `value` in full precision,
    NaN where there is none, and then `reason` says why; `std` where the metric has parts; `count` (images that were
    measured); `protocol`; `key` (the evaluate job). `project` is the folder that holds `specs`; by default the one that
    the working folder lies in.

    The same samples are measured once. Raises PlanError for a protocol that is not there, or whose classifier is not
    trained yet, and ArtifactError for samples that are not what the protocol asks for.
    """
    plan = open_plan(find_project(project))
    with TemporaryDirectory(prefix="mimflow-") as folder:
        file = _file(samples, Path(folder) / "samples.npz")
        classes = None if labels is None else _file(labels, Path(folder) / "labels.npz")
        measured = measure_given(plan, file, protocol, classes)
    rows = [
        {
            "metric": name,
            "value": np.nan if found.value is None else found.value,
            "std": np.nan if found.std is None else found.std,
            "count": measured.count,
            "protocol": protocol,
            "key": measured.job.key,
            "reason": found.reason or "",
        }
        for name, found in measured.values.items()
    ]
    return pandas.DataFrame(rows)


def _file(given: Sequence[int] | np.ndarray | str | Path, path: Path) -> Path:
    """The file that is given, or one at `path` of the array that is."""
    if isinstance(given, (str, Path)):
        return Path(given)
    np.savez(path, np.asarray(given))
    return path
