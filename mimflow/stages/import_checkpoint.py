"""Public checkpoints as artifacts: weights in our layout, with a manifest that names where they came from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from mimflow.artifacts.manifest import MANIFEST, Manifest, canonical, record_files, sha256_of, write_text
from mimflow.artifacts.provenance import describe_process
from mimflow.errors import PlanError
from mimflow.interop import ml_itarflow_state, ml_tarflow_state
from mimflow.plan.build import system_of
from mimflow.plan.tasks import Shapes
from mimflow.priors.itarflow.spec import ItarflowSpec
from mimflow.priors.tarflow.spec import TarflowSpec
from mimflow.spec.compose import nearest
from mimflow.spec.workspace import Workspace
from mimflow.system import save_state
from mimflow.tensors import read_tensors

LAYOUTS: dict[str, tuple[type, Callable[..., dict[str, Tensor]]]] = {
    "ml-tarflow": (TarflowSpec, ml_tarflow_state),
    "ml-itarflow": (ItarflowSpec, ml_itarflow_state),
}
"""By layout: the prior that it holds, and what maps its state to ours."""


def import_checkpoint(file: Path, layout: str, workspace: Workspace, run_name: str, out: Path) -> str:
    """Write an artifact of a public checkpoint to `out`; returns how a spec refers to it.

    Raises PlanError for an unknown layout or run and ArtifactError for a file that can't be read or does not fit.
    """
    workspace.raise_problems()
    if layout not in LAYOUTS:
        raise PlanError(f"--from {layout}: no such layout ({nearest(layout, LAYOUTS)})")
    run = workspace.get("run", run_name).spec
    dataset = workspace.get("dataset", run.dataset).spec
    prior, convert = LAYOUTS[layout]
    if run.tokenizer is None or not isinstance(run.prior, prior):
        raise PlanError(f"--spec {run_name}: its prior is not what {layout} holds")
    latent = run.tokenizer.latent_shape(dataset.image)
    state = convert(read_tensors(file), run.prior, latent, dataset.num_classes)
    save_state({f"prior.{name}": tensor for name, tensor in state.items()}, out / "weights.safetensors")
    digest = sha256_of(file)
    system = {"shapes": Shapes.of(dataset).identity(), "system": system_of(run).identity()}
    manifest = Manifest(
        stage="import",
        name=run_name,
        key=digest,
        task=system,
        inputs={},
        files=record_files(out),
        facts={"layout": layout, "file": file.name, "sha256": digest, "tensors": len(state)},
        made=describe_process(workspace.root),
    )
    write_text(out / MANIFEST, manifest.to_json())
    weights = manifest.files["weights.safetensors"]
    reference = canonical({"file": f"{out.as_posix()}/weights.safetensors", "sha256": weights.sha256})
    return f"{out}: {len(state)} tensors. In a spec: start: [{reference}]"
