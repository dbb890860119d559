"""Metrics on disk: `metrics.json`, the numbers of one evaluation and how many images they are of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from mimflow.artifacts.manifest import Artifact, write_text
from mimflow.errors import ArtifactError

METRICS = "metrics.json"


@dataclass(frozen=True)
class MetricValue:
    """One number of a metric, or the reason why there is none."""

    value: float | None
    std: float | None = None
    """Spread over the metric's own splits or subsets."""
    reason: str | None = None


def write_metrics(folder: Path, values: Mapping[str, MetricValue], count: int) -> None:
    """Write the values by metric, and the number of samples that they were measured on, below `folder`.

    Raises ValueError for a number that is not finite: such a metric has no value, and a reason.
    """
    data = {**{name: asdict(value) for name, value in values.items()}, "count": count}
    write_text(folder / METRICS, json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_metrics(artifact: Artifact) -> tuple[dict[str, MetricValue], int]:
    """The values by metric and the number of samples, the file verified; ArtifactError if it holds something else."""
    path = artifact.file(METRICS)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        count = data.pop("count")
        return {name: MetricValue(**value) for name, value in data.items()}, count
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{path}: not metrics: {error} (delete {artifact.folder} and run again)") from error
