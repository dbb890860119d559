"""Public checkpoints: what apple/ml-tarflow computes, to the recorded digit, and errors that name tensors.

`recordings/ml_tarflow_reference.npz` holds outputs of the public definition on small random weights.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mimflow.errors import ArtifactError
from mimflow.outputs.inverse.denoise import score_denoise
from mimflow.priors.base import NULL_CLASS
from mimflow.priors.guidance.rules import LinearRule
from mimflow.priors.guidance.spec import LinearGuidance
from mimflow.priors.tarflow.ml_tarflow import load_ml_tarflow
from mimflow.priors.tarflow.model import Tarflow
from mimflow.tokenizers.pixel.model import PixelTokenizer

REFERENCE = {
    name: torch.from_numpy(array)
    for name, array in np.load(Path(__file__).parents[1] / "recordings" / "ml_tarflow_reference.npz").items()
}
ATOL = 2e-5


def public() -> dict[str, Tensor]:
    return {name.removeprefix("sd/"): tensor for name, tensor in REFERENCE.items() if name.startswith("sd/")}


def load(state: dict[str, Tensor]) -> tuple[PixelTokenizer, Tarflow]:
    return load_ml_tarflow(state, image_size=8, patch_size=2, channels=3)


def test_density() -> None:
    tokenizer, prior = load(public())
    z, logdet, _ = prior(tokenizer.encode(REFERENCE["x"]), REFERENCE["y"])
    torch.testing.assert_close(z, REFERENCE["z"], atol=ATOL, rtol=0)
    mean = logdet / prior.latent.dimensions  # the public code reports means over dimensions
    torch.testing.assert_close(mean, REFERENCE["logdet"], atol=ATOL, rtol=0)
    torch.testing.assert_close(logdet, REFERENCE["logdet"] * 192, atol=ATOL, rtol=0)


@pytest.mark.parametrize(
    ("name", "guidance", "conditional"),
    [
        ("rev", None, True),
        ("rev_guided17_annealed", LinearGuidance(weight=1.7), True),
        ("rev_guided08_const", LinearGuidance(weight=0.8, anneal=False), True),
        (
            "rev_uncond_guidance05_temp14",
            LinearGuidance(weight=0.5, anneal=False, against="attention_temperature", temperature=1.4),
            False,
        ),
    ],
)
def test_sampling(name: str, guidance: LinearGuidance | None, conditional: bool) -> None:
    tokenizer, prior = load(public())
    labels = REFERENCE["ysample"] if conditional else torch.full((6,), NULL_CLASS)
    latents = prior.inverse(REFERENCE["noise"], labels, LinearRule(guidance) if guidance else None)
    torch.testing.assert_close(tokenizer.decode(latents), REFERENCE[name], atol=ATOL, rtol=0)


def test_denoising() -> None:
    tokenizer, prior = load(public())
    # Recorded with the labels of the sampling runs: every image agrees to 1e-7 with these, not with `y`.
    latents = score_denoise(prior, tokenizer.encode(REFERENCE["x"]), REFERENCE["ysample"], 0.05)
    torch.testing.assert_close(tokenizer.decode(latents), REFERENCE["denoised_sigma005"], atol=ATOL, rtol=0)


def test_what_is_read_off_the_tensors() -> None:
    _, prior = load(public())
    assert [len(block.transformer.layers) for block in prior.blocks] == [1, 1, 1]
    assert prior.blocks[0].class_embed.shape == (4, 64)
    assert prior.blocks[0].transformer.layers[0].attention.heads == 1
    assert prior.variance is None


def test_mask_buffers_are_left_out() -> None:
    masks = {f"blocks.{block}.attn_mask": torch.ones(16, 16).tril() for block in range(3)}
    _, prior = load(public() | masks)
    torch.testing.assert_close(prior.state_dict(), load(public())[1].state_dict())


def test_unconditional_checkpoints_have_no_classes() -> None:
    _, prior = load({name: tensor for name, tensor in public().items() if "class_embed" not in name})
    assert prior.blocks[0].class_embed is None


def test_volume_preserving_checkpoints_keep_their_variance() -> None:
    state = {name: t[:12] if "proj_out" in name else t for name, t in public().items()}
    state["var"] = torch.full((16, 12), 0.7)
    _, prior = load(state)
    assert torch.equal(prior.variance, state["var"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda state: state.pop("blocks.1.proj_in.bias"),
            r"ml-tarflow checkpoint does not fit: missing blocks\.1\.proj_in\.bias$",
        ),
        (
            lambda state: state.update({"blocks.0.attn_maskx": torch.zeros(1)}),
            r"does not fit: unexpected blocks\.0\.attn_maskx$",
        ),
        (
            lambda state: state.update({"blocks.2.pos_embed": torch.zeros(9, 64)}),
            r"does not fit: mis-shaped blocks\.2\.pos_embed is \(9, 64\) where \(16, 64\) fits$",
        ),
        (
            lambda state: [state.pop(name) for name in list(state) if name.startswith("blocks.1.attn")],
            r"missing blocks\.1\.attn_blocks\.0\.\S+, .* and 8 more$",
        ),
        (
            lambda state: state.update({"var": torch.full((16, 12), 0.7)}),
            r"var is not all ones, yet proj_out predicts a scale$",
        ),
        (
            lambda state: state.pop("blocks.0.proj_out.weight"),
            r"not an ml-tarflow checkpoint: missing blocks\.0\.proj_out\.weight$",
        ),
    ],
    ids=["missing", "unexpected", "mis-shaped", "a block without layers", "variance", "not one"],
)
def test_tensors_that_do_not_fit_are_named(change: Callable[[dict[str, Tensor]], object], message: str) -> None:
    state = public()
    change(state)
    with pytest.raises(ArtifactError, match=message):
        load(state)


def test_a_patch_that_does_not_divide_the_image() -> None:
    with pytest.raises(ArtifactError, match="patch size 3 does not divide the image's 8 pixels"):
        load_ml_tarflow(public(), image_size=8, patch_size=3, channels=3)
