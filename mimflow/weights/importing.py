"""Public checkpoints as artifacts: weights in our layout, with a manifest that names where they came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from mimflow.artifacts.checkpoint import WEIGHTS, ImportFacts
from mimflow.artifacts.facts import plain
from mimflow.artifacts.manifest import MANIFEST, Manifest, canonical, record_files, sha256_of, write_text
from mimflow.artifacts.provenance import describe_process
from mimflow.errors import ArtifactError, PlanError
from mimflow.spec.base import Spec
from mimflow.spec.compose import nearest
from mimflow.weights.tensors import read_tensors, save_state


@dataclass(frozen=True)
class Layout:
    """A public naming of tensors."""

    module: Literal["tokenizer", "prior"]
    """Which module of a system it holds."""
    kind: str
    """The module's kind."""
    function: str
    """`module:function` of what maps its state to ours, given the state, the module's spec and its shapes."""


LAYOUTS = {
    "ml-tarflow": Layout("prior", "tarflow", "mimflow.priors.tarflow.ml_tarflow:ml_tarflow_state"),
    "ml-itarflow": Layout("prior", "itarflow", "mimflow.priors.itarflow.ml_itarflow:ml_itarflow_state"),
    "ml-starflow": Layout("prior", "starflow", "mimflow.priors.starflow.ml_starflow:ml_starflow_state"),
    "sit": Layout("prior", "sit", "mimflow.priors.sit.release:sit_state"),
    "ldm": Layout("tokenizer", "kl_vae", "mimflow.tokenizers.kl_vae.public:ldm_state"),
    "mar": Layout("tokenizer", "kl_vae", "mimflow.tokenizers.kl_vae.public:ldm_state"),
    "diffusers": Layout("tokenizer", "kl_vae", "mimflow.tokenizers.kl_vae.public:diffusers_state"),
    "timm-vit": Layout("tokenizer", "masked_ae", "mimflow.tokenizers.masked_ae.public:timm_vit_state"),
}
"""By name; MAR's is LDM's."""


def layout_of(name: str, kinds: Mapping[str, str], run: str) -> Layout:
    """The layout of that name; PlanError if there is none, or if it is not that of a run's module.

    `kinds` are the kinds of the run's modules, by module.
    """
    if name not in LAYOUTS:
        raise PlanError(f"--from {name}: no such layout ({nearest(name, LAYOUTS)})")
    layout = LAYOUTS[name]
    if kinds.get(layout.module) != layout.kind:
        raise PlanError(f"--spec {run}: its {layout.module} is not what {name} holds")
    return layout


def write_artifact(
    file: Path,
    name: str,
    run: str,
    spec: Spec,
    shapes: tuple[Any, ...],
    system: dict[str, Any],
    out: Path,
    part: str | None,
) -> str:
    """Write an artifact of a public checkpoint of a layout, `name`, to `out`; returns how a spec refers to it.

    `spec` is the module's that it holds and `shapes` what it is built for besides; `system` is the identity of what the
    weights belong to, for the manifest; `part` names the state of a file that has several. ArtifactError for a file
    that can't be read, does not fit, or holds a NaN or an infinity.
    """
    layout = LAYOUTS[name]
    module, _, function = layout.function.partition(":")
    state = getattr(import_module(module), function)(read_tensors(file, part), spec, *shapes)
    bad = [key for key, tensor in state.items() if not tensor.isfinite().all()]
    if bad:
        more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
        raise ArtifactError(f"{file}: {bad[0]}{more} is not finite (NaN or infinite: another checkpoint)")
    save_state({f"{layout.module}.{key}": tensor for key, tensor in state.items()}, out / WEIGHTS)
    digest = sha256_of(file)
    manifest = Manifest(
        stage="import",
        name=run,
        key=digest,
        task=system,
        inputs={},
        files=record_files(out),
        facts=plain(ImportFacts(layout=name, file=file.name, sha256=digest, tensors=len(state))),
        made=describe_process(Path()),
    )
    write_text(out / MANIFEST, manifest.to_json())
    weights = manifest.files[WEIGHTS]
    reference = canonical({"file": f"{out.as_posix()}/{WEIGHTS}", "sha256": weights.sha256})
    return (
        f"{out}: {len(state)} tensors. In a spec: weights: [{reference}] of a run without training, "
        f"or start: [{reference}] of a phase"
    )
