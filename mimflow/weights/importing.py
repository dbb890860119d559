"""Public checkpoints as artifacts: weights in our layout, with a manifest that names where they came from."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from mimflow.artifacts.checkpoint import WEIGHTS, ImportFacts
from mimflow.artifacts.facts import plain
from mimflow.artifacts.manifest import MANIFEST, Manifest, canonical, record_files, sha256_of, write_text
from mimflow.artifacts.provenance import describe_process
from mimflow.errors import ArtifactError, PlanError
from mimflow.spec.base import Spec
from mimflow.spec.compose import nearest
from mimflow.spec.shapes import LatentShape
from mimflow.weights.tensors import read_tensors, save_state

LAYOUTS = {
    "ml-tarflow": ("tarflow", "mimflow.priors.tarflow.ml_tarflow:ml_tarflow_state"),
    "ml-itarflow": ("itarflow", "mimflow.priors.itarflow.ml_itarflow:ml_itarflow_state"),
    "ml-starflow": ("starflow", "mimflow.priors.starflow.ml_starflow:ml_starflow_state"),
    "sit": ("sit", "mimflow.priors.sit.release:sit_state"),
}
"""By layout: the kind of prior that it holds, and what maps its state to ours, beside the prior's model."""


def require_layout(layout: str, prior: Any, run: str) -> None:
    """PlanError for a layout that is not known, or is not that of a run's prior."""
    if layout not in LAYOUTS:
        raise PlanError(f"--from {layout}: no such layout ({nearest(layout, LAYOUTS)})")
    if prior is None or prior.kind != LAYOUTS[layout][0]:
        raise PlanError(f"--spec {run}: its prior is not what {layout} holds")


def write_artifact(
    file: Path,
    layout: str,
    run: str,
    prior: Spec,
    latent: LatentShape,
    num_classes: int,
    system: dict[str, Any],
    out: Path,
    part: str | None,
) -> str:
    """Write an artifact of a public checkpoint of `prior` to `out`; returns how a spec refers to it.

    `system` is the identity of what the weights belong to, for the manifest; `part` names the state of a file that has
    several. ArtifactError for a file that can't be read, does not fit, or holds a NaN or an infinity.
    """
    module, _, function = LAYOUTS[layout][1].partition(":")
    state = getattr(import_module(module), function)(read_tensors(file, part), prior, latent, num_classes)
    bad = [name for name, tensor in state.items() if not tensor.isfinite().all()]
    if bad:
        more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
        raise ArtifactError(f"{file}: {bad[0]}{more} is not finite (NaN or infinite: another checkpoint)")
    save_state({f"prior.{name}": tensor for name, tensor in state.items()}, out / WEIGHTS)
    digest = sha256_of(file)
    manifest = Manifest(
        stage="import",
        name=run,
        key=digest,
        task=system,
        inputs={},
        files=record_files(out),
        facts=plain(ImportFacts(layout=layout, file=file.name, sha256=digest, tensors=len(state))),
        made=describe_process(Path()),
    )
    write_text(out / MANIFEST, manifest.to_json())
    weights = manifest.files[WEIGHTS]
    reference = canonical({"file": f"{out.as_posix()}/{WEIGHTS}", "sha256": weights.sha256})
    return f"{out}: {len(state)} tensors. In a spec: start: [{reference}]"
