"""The KL-VAE beyond the contract: its published sizes, its resampling, its posterior and the files it starts from."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from parts import IMAGE, KL_VAE
from safetensors.torch import save_file
from torch import nn
from torch.distributions import Normal, kl_divergence

from mimflow.errors import ArtifactError
from mimflow.spec.base import all_problems
from mimflow.spec.shapes import ImageShape, LatentShape
from mimflow.spec.weights import FileWeights
from mimflow.tokenizers.base import Posterior
from mimflow.tokenizers.kl_vae.layers import AttentionBlock, Downsample, Upsample
from mimflow.tokenizers.kl_vae.model import KlVae
from mimflow.tokenizers.kl_vae.spec import FixedVariance, KlVaeSpec, LearnableVariance

FIXED = {"variance": FixedVariance()}


def changed(**fields: Any) -> KlVaeSpec:
    return KL_VAE.model_copy(update=fields)


def built(**fields: Any) -> KlVae:
    torch.manual_seed(0)
    return KlVae(changed(**fields), IMAGE)


def images(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, IMAGE.channels, IMAGE.size, IMAGE.size, generator=generator) * 2 - 1


# -- sizes -----------------------------------------------------------------------------------------------------------

LEARNED = {"variance": LearnableVariance()}
LDM = {"attention": "both"}
PUBLISHED = [
    ({"channels": 16} | LEARNED, 66.46),
    ({"channels": 32} | LEARNED, 66.68),
    ({"channels": 64} | LEARNED, 67.14),
    ({"channels": 128} | LEARNED, 68.09),
    ({"channels": 16} | LEARNED | LDM, 69.61),
    ({"channels": 32} | LEARNED | LDM, 69.84),
    ({"channels": 64} | LEARNED | LDM, 70.29),
    ({"channels": 128} | LEARNED | LDM, 71.24),
    ({"channels": 64} | FIXED, 67.13),
    ({"channels": 64, "variance": FixedVariance(outputs="mean")}, 66.83),
    ({"channels": 64, "variance": FixedVariance(outputs="both")}, 67.14),
    ({"channels": 4, "attention": "none", "multipliers": [1, 2, 4, 4]} | LEARNED, 83.65),  # Stable Diffusion's
]


@pytest.mark.parametrize(("fields", "millions"), PUBLISHED)
def test_published_sizes(fields: dict[str, Any], millions: float) -> None:
    spec = KlVaeSpec(**fields)
    assert not list(all_problems(spec))
    with torch.device("meta"):
        vae = KlVae(spec, ImageShape(3, 256))
    assert round(sum(parameter.numel() for parameter in vae.parameters()) / 1e6, 2) == millions


@pytest.mark.parametrize(("size", "latent"), [(256, LatentShape(256, 64, (16, 16))), (512, LatentShape(1024, 64, (32, 32)))])  # fmt: skip
def test_latents_are_a_grid_of_sixteenths(size: int, latent: LatentShape) -> None:
    assert KlVaeSpec(channels=64, variance=LearnableVariance()).latent_shape(ImageShape(3, size)) == latent


def test_attention_stands_where_the_field_says() -> None:
    for attention, encoder, decoder in (("none", 0, 0), ("encoder", 1, 0), ("both", 1, 2)):
        vae = built(attention=attention)
        assert [len(level.attn) for level in vae.encoder.down] == [0, 0, encoder]
        assert [len(level.attn) for level in vae.decoder.up] == [0, 0, decoder]
        assert isinstance(vae.encoder.mid.attn_1, AttentionBlock) and isinstance(vae.decoder.mid.attn_1, AttentionBlock)
        assert [len(level.block) for level in (*vae.encoder.down, *vae.decoder.up)] == [1, 1, 1, 2, 2, 2]


# -- layers ----------------------------------------------------------------------------------------------------------


def picking(row: int, column: int) -> Downsample:
    """Takes one tap of its kernel."""
    layer = Downsample(1)
    nn.init.zeros_(layer.conv.weight)
    nn.init.zeros_(layer.conv.bias)
    layer.conv.weight.data[0, 0, row, column] = 1.0
    return layer


def test_downsampling_pads_right_and_bottom_only() -> None:
    x = torch.arange(1.0, 17.0).view(1, 1, 4, 4)
    torch.testing.assert_close(picking(0, 0)(x), x[:, :, ::2, ::2])
    beyond = torch.zeros(1, 1, 2, 2)
    beyond[0, 0, 0, 0] = x[0, 0, 2, 2]
    torch.testing.assert_close(picking(2, 2)(x), beyond)


def test_upsampling_repeats_before_it_convolves() -> None:
    layer = Upsample(1)
    nn.init.zeros_(layer.conv.weight)
    nn.init.zeros_(layer.conv.bias)
    layer.conv.weight.data[0, 0, 1, 1] = 1.0
    x = torch.arange(4.0).view(1, 1, 2, 2)
    torch.testing.assert_close(layer(x), x.repeat_interleave(2, 2).repeat_interleave(2, 3))


def test_upsampling_is_the_convolution_of_repeated_places() -> None:
    torch.manual_seed(0)
    layer, x = Upsample(6), torch.randn(2, 6, 5, 3, requires_grad=True)
    repeated = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    plain = torch.nn.functional.conv2d(repeated, layer.conv.weight, layer.conv.bias, padding=1)
    torch.testing.assert_close(layer(x), plain, atol=1e-5, rtol=1e-5)
    direction = torch.randn_like(plain)
    of_both = [torch.autograd.grad(y, (x, *layer.parameters()), direction) for y in (layer(x), plain)]
    for found, expected in zip(*of_both, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)


def test_layout_changes_nothing_but_rounding() -> None:
    """Channels last and planes give the same, and so do one image and many, of one channel and of three."""
    for channels in (1, 3):
        torch.manual_seed(0)
        vae = KlVae(KL_VAE, ImageShape(channels, 16)).double()
        x = torch.rand(3, channels, 16, 16, dtype=torch.float64)
        latents = vae.encode(x)
        torch.testing.assert_close(vae.encode(x.to(memory_format=torch.channels_last)), latents, atol=1e-12, rtol=1e-9)
        torch.testing.assert_close(vae.encode(x[1:2]), latents[1:2], atol=1e-12, rtol=1e-9)
        planes = latents.transpose(1, 2).contiguous().transpose(1, 2)
        torch.testing.assert_close(vae.decode(planes), vae.decode(latents), atol=1e-12, rtol=1e-9)


def test_attention_is_of_one_head_over_all_places() -> None:
    torch.manual_seed(0)
    block, x = AttentionBlock(4, 2), torch.randn(2, 4, 3, 2)
    h = block.norm(x)
    q, k, v = (layer(h).flatten(2) for layer in (block.q, block.k, block.v))
    weights = torch.einsum("bci,bcj->bij", q, k).div(2.0).softmax(-1)
    attended = torch.einsum("bij,bcj->bci", weights, v).view_as(x)
    torch.testing.assert_close(block(x), x + block.proj_out(attended))
    with torch.autocast("cpu", torch.bfloat16):
        half = block(x).float()
    torch.testing.assert_close(half, block(x), atol=0.05, rtol=0.05)


# -- the posterior ---------------------------------------------------------------------------------------------------


def test_divergence_is_that_of_torch() -> None:
    torch.manual_seed(0)
    mean, log_variance = torch.randn(3, 5, 2), torch.randn(3, 5, 2)
    expected = kl_divergence(Normal(mean, torch.exp(0.5 * log_variance)), Normal(0.0, 1.0)).sum((1, 2))
    torch.testing.assert_close(Posterior(mean, log_variance).divergence(), expected)
    standard = torch.zeros(1, 5, 2)
    assert Posterior(standard, standard).divergence() == 0


def test_entropy_is_that_of_torch() -> None:
    torch.manual_seed(0)
    mean, log_variance = torch.randn(3, 5, 2), torch.randn(3, 5, 2)
    expected = Normal(mean, torch.exp(0.5 * log_variance)).entropy().sum((1, 2))
    torch.testing.assert_close(Posterior(mean, log_variance).entropy(), expected)


def test_training_sees_draws_from_the_posterior_and_evaluation_its_mean() -> None:
    vae, one = built().eval(), images(1)
    with torch.no_grad():
        posterior = vae.posterior(one)
        torch.manual_seed(0)
        draws = vae.encode_for_training(one.expand(4000, -1, -1, -1), masked=False).latents
    assert posterior.log_variance is not None
    torch.testing.assert_close(vae.encode(one), 0.5 * posterior.mean)
    torch.testing.assert_close(draws.mean(0), 0.5 * posterior.mean[0], atol=0.05, rtol=0)
    torch.testing.assert_close(draws.std(0), 0.5 * torch.exp(0.5 * posterior.log_variance[0]), atol=0.05, rtol=0)


def test_the_first_half_of_the_outputs_is_the_mean_in_raster_order() -> None:
    vae = built(scale=1.0).eval()
    parameters = vae.quant_conv(vae.encoder(images(2)))
    latents = vae.encode(images(2))
    torch.testing.assert_close(latents[:, 1 * 3 + 2], parameters[:, :3, 1, 2])
    grid = latents.view(2, 3, 3, 3).permute(0, 3, 1, 2)
    torch.testing.assert_close(vae.decode(latents), vae.decoder(vae.post_quant_conv(grid)))


def test_log_variances_are_clamped() -> None:
    vae = built().eval()
    for bias, bound in ((-1e3, -30.0), (1e3, 20.0)):
        vae.quant_conv.bias.data[3:] = bias
        assert vae.posterior(images(1)).log_variance.eq(bound).all()


@pytest.mark.parametrize("outputs", ["projected", "mean", "both"])
def test_a_fixed_variance_draws_nothing_and_has_no_divergence(outputs: str) -> None:
    vae = built(variance=FixedVariance(outputs=outputs)).train()
    encoded, posterior = vae.encode_with_posterior(images(2), masked=False)
    assert posterior.divergence() is None and posterior.entropy() is None
    assert torch.equal(encoded.latents, vae.encode(images(2)))
    convolution = vae.quant_conv
    assert (convolution.in_channels, convolution.out_channels) == {"projected": (6, 3), "mean": (3, 3), "both": (6, 6)}[
        outputs
    ]


def test_layer_norm_is_of_each_tokens_mean_before_scale_and_noise() -> None:
    latents = built(latent_norm="layer").eval().encode(images(2)) / 0.5
    torch.testing.assert_close(latents.mean(2), torch.zeros(2, 9), atol=1e-5, rtol=0)
    # The norm's ε keeps variances a little below 1.
    torch.testing.assert_close(latents.var(2, unbiased=False), torch.ones(2, 9), atol=0.02, rtol=0)


def test_the_scale_is_taken_back() -> None:
    plain, scaled = built(scale=1.0).eval(), built(scale=0.2325).eval()
    torch.testing.assert_close(scaled.encode(images(2)), 0.2325 * plain.encode(images(2)))
    torch.testing.assert_close(scaled.decode(scaled.encode(images(2))), plain.decode(plain.encode(images(2))))


def test_a_measured_scale_is_one_until_it_is_measured_and_then_a_part_of_the_weights() -> None:
    plain, measured = built(scale=1.0).eval(), built(scale="measured").eval()
    torch.testing.assert_close(measured.encode(images(2)), plain.encode(images(2)))
    scale = measured.fit_scale([images(2), images(3)])
    assert measured.state_dict().keys() - plain.state_dict().keys() == {"scale"}
    other = built(scale="measured").eval()
    other.load_state_dict(measured.state_dict())
    torch.testing.assert_close(other.encode(images(2)), scale * plain.encode(images(2)))


def test_latents_keep_float32_under_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert built().encode(images(1)).dtype == torch.float32
        assert built().encode_for_training(images(1), masked=False).latents.dtype == torch.float32


# -- what specs refuse -----------------------------------------------------------------------------------------------


def test_groups_have_to_divide_the_widths() -> None:
    (problem,) = all_problems(changed(multipliers=[1, 2], width=6, groups=4))
    assert problem.path == ("multipliers", 0)
    assert problem.message == "4 groups do not divide a level's 6 channels"


def test_levels_have_to_halve_the_image() -> None:
    (problem,) = changed(multipliers=[1, 1, 1, 1]).image_problems(IMAGE)
    assert problem.path == ("multipliers",)
    assert problem.message == "4 levels halve 3 times, and 8 does not divide the image's 12 pixels"


# -- weights to start from -------------------------------------------------------------------------------------------


def weights_of(path: Path) -> FileWeights:
    return FileWeights(file=str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
def test_weights_in_ldms_naming(tmp_path: Path, suffix: str) -> None:
    source, path = built(scale=1.0), tmp_path / f"vae{suffix}"
    state = source.state_dict() | {
        "loss.discriminator.main.0.weight": torch.zeros(2),
        "model_ema.decay": torch.zeros(1),
    }
    if suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    torch.manual_seed(7)
    other = KlVae(changed(weights=weights_of(path)), IMAGE)
    assert not torch.equal(other.encode(images(1)), 0.5 * source.encode(images(1)))
    other.load_given_weights()
    torch.testing.assert_close(other.encode(images(1)), 0.5 * source.encode(images(1)))
    assert "encoder.down.0.block.0.norm1.weight" in state and "decoder.up.1.upsample.conv.bias" in state


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"attention": "none"}, r"does not fit the tokenizer: encoder.down.2.attn.0.k.bias: unknown; .*; and 2 more"),
        ({"attention": "both"}, r"decoder.up.2.attn.0.k.bias: missing"),
        ({"channels": 2}, r"decoder.conv_in.weight: shape \(8, 3, 3, 3\), wanted \(8, 2, 3, 3\)"),
    ],
)
def test_weights_that_do_not_fit_are_named(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    save_file(built().state_dict(), tmp_path / "vae.safetensors")
    with pytest.raises(ArtifactError, match=message):
        built(weights=weights_of(tmp_path / "vae.safetensors"), **fields).load_given_weights()


def test_building_reads_no_file() -> None:
    vae = built(weights=FileWeights(file="nowhere/vae.ckpt", sha256="0" * 64))
    with pytest.raises(ArtifactError, match=r"nowhere/vae.ckpt: missing: put the KL-VAE's weights .* there"):
        vae.load_given_weights()
    built().load_given_weights()


def test_given_weights_leave_a_scale_to_be_measured(tmp_path: Path) -> None:
    source = built(scale=1.0)
    save_file(source.state_dict(), tmp_path / "vae.safetensors")
    torch.manual_seed(7)
    other = KlVae(changed(scale="measured", weights=weights_of(tmp_path / "vae.safetensors")), IMAGE)
    other.load_given_weights()
    assert other.scale == 1
    torch.testing.assert_close(other.encode(images(1)), source.encode(images(1)))
