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
    from mimflow.weights.importing import layout_of, write_artifact  # imports torch

    run = workspace.get("run", run_name).spec
    dataset = workspace.get("dataset", run.dataset).spec
    shapes = Shapes.of(dataset)
    chosen = layout_of(layout, {module: getattr(run, module).kind for module in run.modules}, run_name)
    identity = {"shapes": shapes.identity(), "system": run.system.identity()}
    spec = getattr(run, chosen.module)
    if chosen.module == "tokenizer":
        return write_artifact(file, layout, run_name, spec, (shapes.image,), identity, out, part)
    if run.tokenizer is None:
        raise PlanError(f"--spec {run_name}: it has no tokenizer")
    built_for = (run.tokenizer.latent_shape(shapes.image), shapes.num_classes)
    return write_artifact(file, layout, run_name, spec, built_for, identity, out, part)
