"""The evaluate stage: metrics of what an output gave."""

from __future__ import annotations

from pathlib import Path

import torch

from mimflow.artifacts.curves import Curve, write_curves
from mimflow.artifacts.manifest import Artifact
from mimflow.artifacts.metrics import EvaluateFacts, MetricValue, write_metrics
from mimflow.compute.devices import resolve
from mimflow.contents.base import Evaluation
from mimflow.contents.registry import CONTENTS
from mimflow.metrics.registry import METRICS
from mimflow.progress import Progress
from mimflow.tasks import REFERENCE_ROLE, EvaluateTask

OUT_OF_MEMORY = "a smaller samples.count in the protocol, or a smaller batch_size of a probe"
"""What to change where memory runs out."""


def run(task: EvaluateTask, inputs: dict[str, Artifact], work: Path, progress: Progress) -> EvaluateFacts:
    """Measure what an output gave by every metric of the task; the results are `metrics.json` and, of metrics
    that find functions, `curves.npz`.

    A metric that has no value says why and does not stop the others. Raises ArtifactError for images that are not of
    the task's shape.
    """
    torch.set_num_threads(task.compute.threads)
    opened = CONTENTS[task.content].open(
        Evaluation(
            shapes=task.shapes,
            reference=task.reference,
            extractor=task.extractor,
            extractor_system=task.extractor_system,
            output=inputs.get("output"),
            given=task.given,
            asked=task.asked,
            data=inputs.get("data"),
            compared=inputs.get(REFERENCE_ROLE),
            compared_by={
                role.removeprefix(f"{REFERENCE_ROLE}:"): artifact
                for role, artifact in inputs.items()
                if role.startswith(f"{REFERENCE_ROLE}:")
            },
            extractor_weights=inputs.get("extractor"),
            device=resolve(task.compute.device),
        )
    )
    measured: dict[str, MetricValue] = {}
    curves: dict[str, Curve] = {}
    progress.start(len(task.metrics), unit="metric")
    for index, metric in enumerate(task.metrics):
        for name, found in METRICS.build(metric, opened.own.get(metric.kind, opened.given)).items():
            if isinstance(found, Curve):
                curves[name] = found
            else:
                measured[name] = found
        progress.advance(index + 1)
    for name, number in measured.items():
        if number.value is None:
            progress.say(f"{name}: no value: {number.reason}")
    write_metrics(work / "out", measured, opened.facts.count)
    write_curves(work / "out", curves)
    return opened.facts
