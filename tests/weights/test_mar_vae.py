"""MAR's KL-VAE as released (LTH14/mar), to the recorded digit.

`recordings/mar_vae_reference.npz` holds what the public code computes on small random weights.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from mimflow.spec.shapes import ImageShape
from mimflow.spec.weights import FileWeights
from mimflow.tokenizers.kl_vae.model import KlVae
from mimflow.tokenizers.kl_vae.spec import FixedVariance, KlVaeSpec, LearnableVariance

REFERENCE = {
    name: torch.from_numpy(array)
    for name, array in np.load(Path(__file__).parents[1] / "recordings" / "mar_vae_reference.npz").items()
}
STATE = {name.removeprefix("sd/"): tensor for name, tensor in REFERENCE.items() if name.startswith("sd/")}
ATOL = 2e-5


def tokens(maps: Tensor) -> Tensor:
    """(B, C, H, W) → (B, tokens, C)."""
    return maps.flatten(2).transpose(1, 2)


def same(found: Tensor, name: str, rtol: float = 0.0) -> None:
    torch.testing.assert_close(found, REFERENCE[name], atol=ATOL, rtol=rtol)


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory) -> KlVae:
    path = tmp_path_factory.mktemp("weights") / "mar.safetensors"
    save_file(STATE, path)
    weights = FileWeights(file=str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    sizes: dict[str, Any] = {"channels": 4, "width": 32, "multipliers": [1, 1, 2], "blocks": 1}
    vae = KlVae(KlVaeSpec(**sizes, variance=LearnableVariance(), weights=weights), ImageShape(3, 32))
    vae.load_given_weights()
    return vae.eval().requires_grad_(False)


def test_the_encoder_level_by_level(vae: KlVae) -> None:
    h = vae.encoder.conv_in(REFERENCE["x"][:1])
    same(h, "stage/encoder/conv_in")
    for number, level in enumerate(vae.encoder.down):
        h = level(h)
        same(h, f"stage/encoder/level{number}")
        h = level.downsample(h)
    same(vae.encoder.mid(h), "stage/encoder/mid")
    same(vae.encoder(REFERENCE["x"]), "encoder_out")


def test_the_posterior(vae: KlVae, monkeypatch: pytest.MonkeyPatch) -> None:
    posterior = vae.posterior(REFERENCE["x"])
    assert posterior.log_variance is not None
    same(vae.quant_conv(vae.encoder(REFERENCE["x"])), "moments")
    mean, log_variance = tokens(REFERENCE["mean"]), tokens(REFERENCE["logvar"])
    torch.testing.assert_close(posterior.mean, mean, atol=ATOL, rtol=0)
    torch.testing.assert_close(posterior.log_variance, log_variance, atol=ATOL, rtol=0)
    assert (posterior.log_variance == -30).sum() == 13
    same(posterior.divergence(), "kl", rtol=ATOL)
    monkeypatch.setattr(torch, "randn_like", lambda like: tokens(REFERENCE["eps"]))
    torch.testing.assert_close(posterior.sample(), tokens(REFERENCE["sample"]), atol=ATOL, rtol=0)
    torch.testing.assert_close(vae.encode(REFERENCE["x"]), mean, atol=ATOL, rtol=0)


@pytest.mark.parametrize(
    ("latents", "decoded"), [("mean", "decoded_mean"), ("sample", "decoded_sample"), ("latents", "decoded_latents")]
)
def test_the_decoder(vae: KlVae, latents: str, decoded: str) -> None:
    same(vae.decode(tokens(REFERENCE[latents])), decoded)


def test_the_middle_of_the_decoder(vae: KlVae) -> None:
    h = vae.decoder.conv_in(vae.post_quant_conv(REFERENCE["latents"][:1]))
    same(vae.decoder.mid(h), "stage/decoder/mid")


@pytest.mark.parametrize("channels", [4, 16, 32, 64, 128])
def test_the_released_sizes_have_the_released_counts(channels: int) -> None:
    with torch.device("meta"):
        vae = KlVae(KlVaeSpec(channels=channels, variance=LearnableVariance()), ImageShape(3, 256))
    parts = {"": vae, "_encoder": vae.encoder, "_decoder": vae.decoder}
    for name, part in parts.items():
        count = sum(parameter.numel() for parameter in part.parameters())
        assert count == REFERENCE[f"parameters/z{channels}{name}"]


def test_the_head_without_a_posterior_has_the_released_count() -> None:
    with torch.device("meta"):
        vae = KlVae(KlVaeSpec(channels=64, variance=FixedVariance()), ImageShape(3, 256))
    count = sum(parameter.numel() for parameter in vae.parameters())
    assert count == REFERENCE["parameters/z64_not_variational"]
    # By hand: the quantising convolution has 64 outputs of 128 inputs and a bias each, instead of 128.
    assert REFERENCE["parameters/z64"] - count == (128 * 128 + 128) - (128 * 64 + 64)
