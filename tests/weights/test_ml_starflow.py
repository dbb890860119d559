"""Public checkpoints: what apple/ml-starflow computes, to the recorded digit, and errors that name tensors.

`recordings/ml_starflow_reference.npz` and `ml_starflow_variants_reference.npz` hold outputs of the public definition on
small random weights.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mimflow.errors import ArtifactError
from mimflow.objectives.nll import latent_norm
from mimflow.outputs.inverse.denoise import score_denoise
from mimflow.priors.base import NULL_CLASS, nll_per_dimension
from mimflow.priors.guidance.rules import GaussianProductRule
from mimflow.priors.guidance.spec import GaussianProductGuidance
from mimflow.priors.starflow.ml_starflow import load_ml_starflow, ml_starflow_state
from mimflow.priors.starflow.model import Starflow
from mimflow.priors.starflow.spec import StarflowSpec
from mimflow.spec.shapes import LatentShape

pytestmark = pytest.mark.slow

ATOL = 2e-5


def recorded(name: str) -> dict[str, Tensor]:
    file = Path(__file__).parents[1] / "recordings" / f"{name}.npz"
    return {key: torch.from_numpy(array) for key, array in np.load(file).items()}


def below(recording: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in recording.items() if name.startswith(prefix)}


VARIANTS = recorded("ml_starflow_variants_reference")
RECORDINGS = {
    "released": recorded("ml_starflow_reference"),
    **{name: below(VARIANTS, f"{name}/") for name in ("uncond", "r2l", "plain", "allcond")},
}
OPTIONS: dict[str, dict[str, Any]] = {
    "r2l": {"order": "forward"},
    "plain": {"order": "forward", "scale": "exp", "soft_clip": None},
}
LAYERS = {"released": [1, 1, 2], "uncond": [1, 0, 1], "r2l": [1, 2], "plain": [1, 1], "allcond": [1, 1]}

every = pytest.mark.parametrize("name", RECORDINGS)
conditional = pytest.mark.parametrize("name", ["released", "r2l", "allcond"])


def public(name: str = "released") -> dict[str, Tensor]:
    return below(RECORDINGS[name], "sd/")


def load(name: str = "released", state: dict[str, Tensor] | None = None) -> Starflow:
    rows, columns = RECORDINGS[name]["x"].shape[-2:]
    state = public(name) if state is None else state
    return load_ml_starflow(state, grid=(rows, columns), **OPTIONS.get(name, {})).eval()


def tokens(images: Tensor) -> Tensor:
    """(B, C, H, W) → (B, H W, C)."""
    return images.flatten(2).transpose(1, 2)


def labels(name: str, of: str) -> Tensor:
    """Our labels: the public null class is the last column, or there are no classes at all."""
    recording = RECORDINGS[name]
    if of not in recording:
        return torch.full((len(recording["x"]),), NULL_CLASS)
    (weight, *_) = [tensor for key, tensor in recording.items() if key.endswith("proj_txt.weight")]
    return recording[of].where(recording[of] < weight.shape[1] - 1, NULL_CLASS)


def assert_near(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=ATOL, rtol=0)


@every
def test_density_block_by_block(name: str) -> None:
    recording, prior = RECORDINGS[name], load(name)
    with torch.no_grad():
        outputs = list(prior.by_block(tokens(recording["x"]), labels(name, "y")))
    assert len(outputs) == len(LAYERS[name])
    before = torch.zeros(len(recording["x"]))
    for number, output in enumerate(outputs):
        assert_near(output.z, recording[f"outputs/{number + 1}"].flatten(1, 2))
        stretch = recording[f"logdets/{number}"].reshape(len(before), -1)  # one number where there are no layers
        assert_near((output.logdet - before) / prior.latent.dimensions, stretch.mean(1))
        before = output.logdet
    assert_near(outputs[-1].z, tokens(recording["z"]))
    assert_near(outputs[-1].logdet / prior.latent.dimensions, recording["logdet"])


@every
def test_log_scales_of_single_elements(name: str) -> None:
    recording, prior, labelled = RECORDINGS[name], load(name), labels(name, "y")
    for block in prior.blocks:
        u = recording[f"outputs/{block.index}"].flatten(1, 2)
        with torch.no_grad():
            affine, _ = block.predict(u.flip(1) if block.reverse else u, labelled)
        assert_near(-affine.log_scale, recording[f"logdets/{block.index}"])


@every
def test_losses(name: str) -> None:
    recording, prior = RECORDINGS[name], load(name)
    latents = tokens(recording["x"])
    with torch.no_grad():
        outputs = list(prior.by_block(latents, labels(name, "y")))
    loss, figures = nll_per_dimension(outputs[-1])
    regulariser = latent_norm(latents, outputs)
    assert_near(loss, recording["loss"])
    assert_near(figures["z2"] / 2, recording["loss_z"])
    assert_near(-figures["logdet"], recording["loss_logdet"])
    assert_near(regulariser, recording["latent_norm"])
    assert_near(loss + 1e-4 * regulariser, recording["loss_with_latent_norm"])


@every
def test_sampling(name: str) -> None:
    recording, prior = RECORDINGS[name], load(name)
    drawn = labels(name, "ysample")
    assert_near(prior.inverse(tokens(recording["noise"]), drawn), tokens(recording["rev"]))
    built = {block.index: block for block in prior.blocks}
    u = tokens(recording["noise"])
    for step, index in enumerate(reversed(range(len(LAYERS[name])))):
        if index in built:
            with torch.no_grad():
                u = built[index].inverse(u, drawn, None)
        assert_near(u, tokens(recording[f"rev_sequence/{step}"]))


@conditional
def test_guidance(name: str) -> None:
    recording, prior = RECORDINGS[name], load(name)
    noise, drawn = tokens(recording["noise"]), labels(name, "ysample")
    everywhere, deep = (
        GaussianProductRule(GaussianProductGuidance(weight=2.5, blocks=blocks)) for blocks in ("all", "deep")
    )
    # The public code guides the blocks that see the class.
    guided = everywhere if name == "allcond" else deep
    assert_near(prior.inverse(noise, drawn, guided), tokens(recording["rev_guided25"]))
    assert_near(prior.inverse(noise, drawn, deep), tokens(recording["rev_guided25_top"]))
    with torch.no_grad():
        assert_near(prior.blocks[-1].inverse(noise, drawn, deep), tokens(recording["rev_guided25_after_top"]))


@every
def test_denoising(name: str) -> None:
    recording, prior = RECORDINGS[name], load(name)
    denoised = score_denoise(prior, tokens(recording["rev"]), labels(name, "ysample"), 0.3)
    assert_near(denoised, tokens(recording["rev_denoised03"]))


@every
def test_what_is_read_off_the_tensors(name: str) -> None:
    prior = load(name)
    assert [(block.index, len(block.transformer.layers)) for block in prior.blocks] == [
        (index, layers) for index, layers in enumerate(LAYERS[name]) if layers
    ]
    seeing = {"uncond": [], "plain": [], "allcond": [0, 1], "r2l": [1], "released": [2]}[name]
    assert [block.index for block in prior.blocks if block.conditioning == "prefix"] == seeing
    classes = {"released": 10, "r2l": 5, "allcond": 5}.get(name)
    assert all(block.class_embed.shape[0] == classes + 1 for block in prior.blocks if block.index in seeing)
    assert prior.blocks[0].transformer.options.heads == (2 if name == "released" else 1)


def test_buffers_are_left_out() -> None:
    buffers = {
        "var": torch.ones(64, 4),
        "feat_rope.freqs_cos": torch.ones(64, 64),
        "feat_rope.freqs_sin": torch.zeros(64, 64),
        **{f"blocks.{block}.attn_mask": torch.ones(64, 64).tril() for block in range(3)},
    }
    torch.testing.assert_close(load(state=public() | buffers).state_dict(), load().state_dict())


def test_scales_of_rms_norms_are_kept_about_zero() -> None:
    state = {name: tensor for name, tensor in public().items() if not name.endswith("norm.bias")}
    layer = load(state=state).blocks[2].transformer.layers[1]
    theirs = state["blocks.2.attn_blocks.1.mlp.norm.weight"]
    assert torch.equal(layer.mlp_norm.weight, 1 + theirs)
    assert not hasattr(layer.mlp_norm, "bias")


def test_positions_of_another_grid_are_scaled_to_that_of_the_training() -> None:
    scaled = load_ml_starflow(public(), grid=(16, 16), rotary_side=8.0).blocks[1].rotation
    trained = load().blocks[1].rotation
    assert torch.equal(scaled.view(16, 16, 32, 2)[::2, ::2], trained.view(8, 8, 32, 2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda state: state.pop("blocks.1.proj_in.bias"),
            r"ml-starflow checkpoint does not fit: missing blocks\.1\.proj_in\.bias$",
        ),
        (lambda state: state.pop("blocks.2.proj_txt.bias"), r"does not fit: missing blocks\.2\.proj_txt\.bias$"),
        (
            lambda state: state.update({"blocks.0.attn_blocks.0.attention.q_norm.weight": torch.zeros(64)}),
            r"does not fit: unexpected blocks\.0\.attn_blocks\.0\.attention\.q_norm\.weight$",
        ),
        (
            lambda state: state.update({"blocks.1.sos_embed": torch.zeros(1, 1, 5)}),
            r"does not fit: mis-shaped blocks\.1\.sos_embed is \(1, 1, 5\) where \(1, 1, 4\) fits$",
        ),
        (
            lambda state: [state.pop(name) for name in list(state) if name.startswith("blocks.1.attn")],
            r"missing blocks\.1\.attn_blocks\.0\.\S+, .* and 8 more$",
        ),
        (
            lambda state: state.update({"var": torch.full((64, 4), 0.7)}),
            r"ml-starflow checkpoint: var is not all ones, yet proj_out predicts a scale$",
        ),
        (lambda state: state.clear(), r"not an ml-starflow checkpoint: missing blocks\.0\.proj_in\.weight, \S+$"),
    ],
    ids=["missing", "half a class table", "unexpected", "mis-shaped", "missing layer", "variance", "not one"],
)
def test_tensors_that_do_not_fit_are_named(change: Callable[[dict[str, Tensor]], object], message: str) -> None:
    state = public()
    change(state)
    with pytest.raises(ArtifactError, match=message):
        load(state=state)


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ArtifactError, match="not an ml-starflow checkpoint: heads of 48 do not divide the width 128"):
        load_ml_starflow(public(), grid=(8, 8), head_width=48)


@pytest.mark.parametrize("fields", [{"position": "learned"}, {"conditioning": "embedding"}], ids=str)
def test_priors_that_the_public_code_has_not_are_refused(fields: dict[str, Any]) -> None:
    spec = StarflowSpec(width=128, blocks=[1, 1, 2], position="rotary_2d", conditioning="prefix")
    with pytest.raises(ArtifactError, match="positions are rotary_2d and conditioning is prefix or none there"):
        ml_starflow_state(public(), spec.model_copy(update=fields), LatentShape(64, 4, (8, 8)), 10)
