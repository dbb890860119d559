"""Public iTARFlow checkpoints: what apple/ml-itarflow computes, to the recorded digit, and errors that name tensors.

`recordings/ml_itarflow_reference.npz` holds outputs of the public definition on small random weights, sampled at t = 0.3.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from parts import image_draws
from torch import Tensor

from mimflow.errors import ArtifactError
from mimflow.nn.affine import Affine
from mimflow.outputs.inverse.denoise import denoise
from mimflow.outputs.inverse.spec import LevelDenoising
from mimflow.priors.guidance.rules import GaussianProductRule, Guidance, guidance_rule
from mimflow.priors.guidance.spec import GaussianProductGuidance, LinearGuidance
from mimflow.priors.itarflow.ml_itarflow import load_ml_itarflow, ml_itarflow_state
from mimflow.priors.itarflow.model import Itarflow
from mimflow.priors.itarflow.spec import ItarflowSpec
from mimflow.spec.shapes import LatentShape
from mimflow.tokenizers.pixel.model import PixelTokenizer

REFERENCE = {
    name: torch.from_numpy(array)
    for name, array in np.load(Path(__file__).parents[1] / "recordings" / "ml_itarflow_reference.npz").items()
}
ATOL = 2e-5
T = 0.3
LABELS = REFERENCE["ysample"]
PRODUCT = GaussianProductGuidance(weight=2.1)


def public() -> dict[str, Tensor]:
    return {name.removeprefix("sd/"): tensor for name, tensor in REFERENCE.items() if name.startswith("sd/")}


def load(state: dict[str, Tensor]) -> tuple[PixelTokenizer, Itarflow]:
    return load_ml_itarflow(state, image_size=8, patch_size=2, channels=3)


def sampled(guidance: Guidance | None) -> Tensor:
    tokenizer, prior = load(public())
    return tokenizer.decode(prior.at(T).inverse(REFERENCE["noise"], LABELS, guidance))


def test_density_at_a_level_of_each_sample() -> None:
    tokenizer, prior = load(public())
    z, logdet, _ = prior.at(REFERENCE["t"].squeeze(1))(tokenizer.encode(REFERENCE["x"]), REFERENCE["y"])
    torch.testing.assert_close(z, REFERENCE["z"], atol=ATOL, rtol=0)
    torch.testing.assert_close(logdet / prior.latent.dimensions, REFERENCE["logdet"], atol=ATOL, rtol=0)


def test_sampling() -> None:
    torch.testing.assert_close(sampled(None), REFERENCE["rev_t03"], atol=ATOL, rtol=0)


def test_linear_guidance_of_the_scale_in_the_deep_block() -> None:
    guidance = guidance_rule(LinearGuidance(weight=2.1, space="scale", blocks="deep"))
    torch.testing.assert_close(sampled(guidance), REFERENCE["rev_guided21_annealed_top_t03"], atol=ATOL, rtol=0)


class FirstRatio(GaussianProductRule):
    """The public rule, in whose shift every sample has the ratio of the batch's first."""

    def rule(self, conditional: Affine, null: Affine, weight: float) -> Affine:
        own = super().rule(conditional, null, weight)
        r = (2 * (conditional.log_scale - null.log_scale)).exp().clamp(max=1)[:1]
        shift = ((1 + weight) * conditional.shift - weight * r * null.shift) / (1 + weight - weight * r)
        return Affine(shift, own.log_scale)


def test_guidance_by_the_product_of_gaussians_in_the_deep_block() -> None:
    """The public shift takes the ratio r of the batch's first sample for all: ours is that of each, and equal there."""
    recorded = REFERENCE["rev_starflow21_t03"]
    torch.testing.assert_close(sampled(guidance_rule(PRODUCT))[0], recorded[0], atol=ATOL, rtol=0)
    torch.testing.assert_close(sampled(FirstRatio(PRODUCT)), recorded, atol=ATOL, rtol=0)
    assert (sampled(guidance_rule(PRODUCT)) - recorded).abs().max() < 5e-3


def test_denoising_down_the_levels() -> None:
    tokenizer, prior = load(public())
    latents = tokenizer.encode(REFERENCE["rev_t03"])
    clean = denoise(LevelDenoising(t1=T, t0=0.01, steps=10), prior, latents, LABELS, image_draws(len(LABELS)))
    torch.testing.assert_close(tokenizer.decode(clean), REFERENCE["ode10_from_rev"], atol=ATOL, rtol=0)


def test_what_is_read_off_the_tensors() -> None:
    _, prior = load(public())
    assert [len(block.transformer.layers) for block in prior.blocks] == [1, 1, 2]
    assert [block.proj_in.out_features for block in prior.blocks] == [64, 64, 64]
    assert prior.blocks[0].class_embed.shape == (4, 64)
    assert prior.blocks[0].transformer.layers[0].attention.heads == 1


def test_the_older_name_of_the_layers_and_mask_buffers() -> None:
    older = {name.replace(".head_blocks.", ".attn_blocks."): tensor for name, tensor in public().items()}
    masks = {f"blocks.{block}.attn_mask": torch.ones(16, 16).tril() for block in range(3)}
    torch.testing.assert_close(load(older | masks)[1].state_dict(), load(public())[1].state_dict())


def test_blocks_of_different_widths() -> None:
    wide, state = {64: 128, 192: 384, 256: 512}, public()
    for name in [name for name in state if name.startswith("blocks.1.")]:
        state[name] = torch.randn([wide.get(side, side) for side in state[name].shape])
    _, prior = load(state)
    assert [block.proj_in.out_features for block in prior.blocks] == [64, 128, 64]
    assert torch.equal(prior.blocks[1].level_embed.down.weight, state["blocks.1.time_embed.mlp.2.weight"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda state: state.pop("blocks.1.time_embed.mlp.0.bias"),
            r"^ml-itarflow checkpoint does not fit: missing blocks\.1\.time_embed\.mlp\.0\.bias$",
        ),
        (
            lambda state: state.pop("blocks.2.head_blocks.1.mlp.norm.bias"),
            r"does not fit: missing blocks\.2\.head_blocks\.1\.mlp\.norm\.bias$",
        ),
        (
            lambda state: state.update({"backbone.0.mlp.norm.bias": torch.zeros(64)}),
            r"does not fit: unexpected backbone\.0\.mlp\.norm\.bias$",
        ),
        (
            lambda state: state.update({"blocks.2.proj_in.weight": torch.zeros(64, 48)}),
            r"does not fit: mis-shaped blocks\.2\.proj_in\.weight is \(64, 48\) where \(64, 12\) fits$",
        ),
        (
            lambda state: state.update({"var": torch.full((16, 12), 0.7)}),
            r"ml-itarflow checkpoint: var is not all ones, yet proj_out predicts a scale$",
        ),
        (
            lambda state: state.pop("blocks.0.proj_in.weight"),
            r"not an ml-itarflow checkpoint: missing blocks\.0\.proj_in\.weight$",
        ),
    ],
    ids=["missing", "missing layer", "unexpected", "mis-shaped", "variance", "not one"],
)
def test_tensors_that_do_not_fit_are_named(change: Callable[[dict[str, Tensor]], object], message: str) -> None:
    state = public()
    change(state)
    with pytest.raises(ArtifactError, match=message):
        load(state)


@pytest.mark.parametrize("fields", [{"shared_layers": 1}, {"block_patches": [1, 1, 2]}], ids=str)
def test_what_has_no_known_public_names_is_refused(fields: dict[str, object]) -> None:
    spec = ItarflowSpec(width=64, blocks=[1, 1, 2]).model_copy(update=fields)
    with pytest.raises(ArtifactError, match="only one patch size and no shared layers can be read"):
        ml_itarflow_state(public(), spec, LatentShape(16, 12, (4, 4)), 4)
