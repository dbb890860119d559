"""Metrics on disk: `metrics.json`, the numbers of one evaluation and how many images they are of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

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


@dataclass(frozen=True)
class EvaluateFacts:
    """What was measured, by which extractor, against what; fields of other kinds of evaluation are None."""

    count: int
    """Images that were measured."""
    extractor: str | None = None
    """Its name, which hashes all that its features depend on."""
    extractor_run: str | None = None
    extractor_key: str | None = None
    extractor_accuracy: float | None = None
    """On the validation split, of a classifier that was trained here."""
    extractor_file: str | None = None
    extractor_sha256: str | None = None
    extractor_input: str | None = None
    """How it sees images, in words."""
    reference_split: str | None = None
    reference_count: int | None = None
    """Images; None where statistics are given that do not say it."""
    own_reference_counts: dict[str, int | None] = field(default_factory=dict)
    """The same of the references that metrics have of their own, by the metric's kind."""
    torch_fidelity: str | None = None
    """The version that measured."""
    train_count: int | None = None
    """Images that probes were trained on, of a representation."""
    features: int | None = None
    """Of an image, of a representation; dimensions of an image's latents."""


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
        if not isinstance(count, int):
            raise TypeError(f"count is a {type(count).__name__}")
        adapter = TypeAdapter(dict[str, MetricValue])
        return adapter.validate_json(json.dumps(data), strict=True), count
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = next(iter(str(error).splitlines()), "")
        raise ArtifactError(f"{path}: not metrics: {reason} (delete {artifact.folder} and run again)") from error
