"""A public checkpoint for a run of the project."""

from __future__ import annotations

from pathlib import Path

from mimflow.errors import PlanError
from mimflow.project.workspace import Workspace
from mimflow.system.spec import Shapes


def import_checkpoint(
    file: Path, layout: str, workspace: Workspace, run_name: str, out: Path, part: str | None = None
) -> str:
    """Write an artifact of a public checkpoint to `out`; returns how a spec refers to it.

    `part` names the state of a file that has several: model, ema. Raises PlanError for an unknown layout or run and
    ArtifactError for a file that can't be read or does not fit.
    """
    from mimflow.weights.importing import require_layout, write_artifact  # imports torch

    run = workspace.get("run", run_name).spec
    dataset = workspace.get("dataset", run.dataset).spec
    require_layout(layout, run.prior, run_name)
    if run.tokenizer is None:
        raise PlanError(f"--spec {run_name}: it has no tokenizer")
    latent = run.tokenizer.latent_shape(dataset.image)
    system = {"shapes": Shapes.of(dataset).identity(), "system": run.system.identity()}
    return write_artifact(file, layout, run_name, run.prior, latent, dataset.num_classes, system, out, part)
