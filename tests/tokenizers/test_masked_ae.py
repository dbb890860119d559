"""The masked autoencoder: what is hidden, what that changes, its size at paper scale, and weights from a file."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import pytest
import torch
from parts import IMAGE, MASKED_AE, image_draws
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed, resample_patch_embed
from timm.models.vision_transformer import VisionTransformer

from mimflow.errors import ArtifactError
from mimflow.nn.patchify import patchify
from mimflow.nn.vit import Vit
from mimflow.spec.base import all_problems
from mimflow.spec.shapes import ImageShape
from mimflow.spec.weights import FileWeights
from mimflow.tokenizers.masked_ae.masking import draw_mask, draw_ratios, visible
from mimflow.tokenizers.masked_ae.model import BatchNormOfLatents, MaskedAutoencoder
from mimflow.tokenizers.masked_ae.spec import (
    DecoderSpec,
    EncoderSpec,
    MaskedAeSpec,
    MaskSpec,
    NoMask,
    TruncatedNormalMask,
    UniformMask,
)

PUBLISHED = TruncatedNormalMask(low=0.4, high=0.6)
PATCHES = (IMAGE.size // MASKED_AE.patch_size) ** 2


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def images(count: int) -> torch.Tensor:
    return torch.rand(count, IMAGE.channels, IMAGE.size, IMAGE.size) * 2 - 1


def built(**changes: object) -> MaskedAutoencoder:
    return MaskedAutoencoder(MASKED_AE.model_copy(update=changes), IMAGE)


# What is hidden


def test_ratios_are_a_truncated_normal() -> None:
    ratios = draw_ratios(PUBLISHED, 200_000)
    assert float(ratios.mean()) == pytest.approx(0.5052, abs=0.0006)
    assert 0.4 <= float(ratios.min()) < 0.401
    assert 0.599 < float(ratios.max()) <= 0.6
    # The density rises by exp(0.8²/2) = 1.38 from one end to the other.
    first, last = ((ratios < 0.42).double().mean(), (ratios > 0.58).double().mean())
    assert float(last / first) == pytest.approx(math.exp(0.8**2 / 2), abs=0.1)


def test_mean_and_width_of_the_normal_are_fields() -> None:
    ratios = draw_ratios(TruncatedNormalMask(low=0.1, high=0.9, mean=0.5, std=0.1), 100_000)
    assert float(ratios.mean()) == pytest.approx(0.5, abs=0.002)
    assert float(ratios.std()) == pytest.approx(0.1, abs=0.002)


def test_ratios_are_uniform() -> None:
    ratios = draw_ratios(UniformMask(low=0.2, high=0.6), 100_000)
    assert float(ratios.mean()) == pytest.approx(0.4, abs=0.002)
    assert float(ratios.std()) == pytest.approx(0.4 / math.sqrt(12), abs=0.002)
    assert 0.2 <= float(ratios.min()) <= float(ratios.max()) <= 0.6


@pytest.mark.parametrize(
    ("ratio", "patches", "hidden"), [(0.5, 16, 8), (0.51, 16, 9), (0.0, 16, 0), (1.0, 16, 16), (0.55, 20, 11)]
)
def test_as_many_patches_as_the_ratio_rounded_up(ratio: float, patches: int, hidden: int) -> None:
    mask = draw_mask(UniformMask(low=ratio, high=ratio), 8, patches)
    assert mask.sum(1).tolist() == [hidden] * 8


def test_one_ratio_a_batch_or_one_a_sample() -> None:
    batch = [draw_mask(UniformMask(low=0.1, high=0.9), 6, 256).sum(1) for _ in range(20)]
    assert all(len(set(counts.tolist())) == 1 for counts in batch)
    assert len({int(counts[0]) for counts in batch}) > 10
    sample = draw_mask(UniformMask(low=0.1, high=0.9, per="sample"), 20, 256).sum(1)
    assert len(set(sample.tolist())) > 10


def test_each_sample_has_an_order_of_its_own_and_no_patch_is_spared() -> None:
    mask = draw_mask(PUBLISHED, 2000, 16)
    assert len({tuple(row) for row in mask.tolist()}) > 1500
    share = mask.double().mean(0)
    assert float((share - share.mean()).abs().max()) < 0.05


def test_the_same_patches_are_hidden_after_the_same_seed() -> None:
    masks = []
    for _ in range(2):
        torch.manual_seed(3)
        masks.append(draw_mask(PUBLISHED, 4, 16))
    assert torch.equal(*masks)


def test_what_is_left_is_in_raster_order_with_padding_marked() -> None:
    mask = torch.tensor([[True, False, False, True], [True, True, False, True]])
    kept, real = visible(mask)
    assert kept[0].tolist() == [1, 2]
    assert kept[1, 0] == 2
    assert real is not None
    assert real.tolist() == [[True, True], [True, False]]
    assert visible(mask[:1])[1] is None


# What hiding changes

STYLES = [
    UniformMask(low=0.5, high=0.5, style=style, per="sample" if style == "drop" else "batch")
    for style in ("replace", "drop")
] + [UniformMask(low=0.2, high=0.8, style="drop", per="sample")]


@pytest.mark.parametrize("latent_norm", ["none", "layer"])
@pytest.mark.parametrize("mask", STYLES, ids=lambda mask: f"{mask.style}-{mask.low}")
def test_hidden_patches_do_not_influence_the_latents(mask: MaskSpec, latent_norm: str) -> None:
    tokenizer = built(mask=mask, latent_norm=latent_norm)
    pixels = images(3).requires_grad_()
    latents, hidden = tokenizer.encode_for_training(pixels, masked=True)
    assert hidden is not None
    (latents * torch.randn_like(latents)).sum().backward()
    strength = patchify(pixels.grad, tokenizer.spec.patch_size).abs().sum(2)
    assert (strength[hidden] == 0).all()
    assert (strength[~hidden] > 0).all()


def test_dropping_is_leaving_out_whatever_the_others_of_the_batch_keep() -> None:
    encoder = built(mask=STYLES[2]).encoder.eval()
    pixels, mask = images(4), draw_mask(UniformMask(low=0.1, high=0.9, per="sample"), 4, PATCHES)
    assert visible(mask)[1] is not None
    together = encoder(pixels, mask)
    for index in range(4):
        alone = encoder(pixels[index : index + 1], mask[index : index + 1])
        torch.testing.assert_close(together[index : index + 1], alone)


def test_all_patches_hidden_leave_the_same_latents_for_every_image() -> None:
    for style in ("replace", "drop"):
        tokenizer = built(mask=UniformMask(low=1.0, high=1.0, style=style))
        latents = tokenizer.encode_for_training(images(2), masked=True).latents
        torch.testing.assert_close(latents[0], latents[1])


def test_hidden_states_are_those_of_the_latents_tokens_after_a_layer() -> None:
    spec = MASKED_AE.encoder.model_copy(update={"layers": 3})
    tokenizer, pixels, seen = built(encoder=spec).eval(), images(2), []
    for block in tokenizer.encoder.vit.blocks:
        block.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    tokenizer.representation(pixels, "before_projection")
    whole = seen.copy()  # the class token, the latents', the patches'
    for layer in range(3):
        seen.clear()
        found = tokenizer.hidden(pixels, layer)
        torch.testing.assert_close(found, whole[layer][:, 1 : 1 + MASKED_AE.latents].mean(1))
        assert len(seen) == layer + 1


def test_nothing_is_hidden_in_evaluation_or_when_not_asked_for() -> None:
    tokenizer = built().train()
    pixels = images(2)
    latents = tokenizer.encode(pixels)
    assert torch.equal(latents, tokenizer.encode(pixels))
    assert tokenizer.encode_for_training(pixels, masked=False).mask is None
    assert tokenizer.encode_for_training(pixels, masked=True).mask is not None
    assert built(mask=NoMask()).encode_for_training(pixels, masked=True).mask is None
    # Whether the mode is training's or evaluation's, hiding is the caller's choice.
    assert tokenizer.eval().encode_for_training(pixels, masked=True).mask is not None


# Latents and positions


def test_layer_norm_is_of_each_token() -> None:
    latents = built(latent_norm="layer").encode(images(3))
    torch.testing.assert_close(latents.mean(2), torch.zeros(3, MASKED_AE.latents), atol=1e-5, rtol=0)
    torch.testing.assert_close(latents.var(2, correction=0), torch.ones(3, MASKED_AE.latents), atol=1e-2, rtol=0)


def test_batch_norm_is_of_each_dimension_and_evaluation_uses_running_statistics() -> None:
    norm = BatchNormOfLatents(2, 3)
    latents = torch.randn(512, 2, 3) * torch.arange(1.0, 7.0).view(2, 3) + 5
    normed = norm(latents)
    torch.testing.assert_close(normed.mean(0), torch.zeros(2, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(normed.std(0), torch.ones(2, 3), atol=1e-2, rtol=0)
    for _ in range(100):
        norm(latents)
    torch.testing.assert_close(norm.eval()(latents[:1]), normed[:1], atol=1e-2, rtol=0)
    assert not list(norm.parameters())


def test_latents_keep_float32_under_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        for norm in ("none", "layer", "batch"):
            tokenizer = built(latent_norm=norm)
            latents = tokenizer.encode(images(2))
            assert latents.dtype == torch.float32
            assert torch.isfinite(tokenizer.decode(latents)).all()


def test_explicit_attention_is_the_fused_one() -> None:
    spec = MASKED_AE.model_copy(update={"mask": STYLES[2]})
    tokenizer = MaskedAutoencoder(spec, IMAGE).eval()
    pixels, mask = images(3), draw_mask(STYLES[2], 3, PATCHES)
    exact = tokenizer.encoder(pixels, mask)
    with torch.autocast("cpu", torch.bfloat16):
        near = tokenizer.encoder(pixels, mask)
    assert {block.attn.fused_attn for block in tokenizer.encoder.vit.blocks} == {False}
    torch.testing.assert_close(near.float(), exact, atol=0.1, rtol=0.1)
    assert torch.equal(tokenizer.encoder(pixels, mask), exact)


@pytest.mark.parametrize(("rotary", "absolute"), [(True, False), (False, True)])
def test_the_decoder_tells_patches_apart_by_either_kind_of_position(rotary: bool, absolute: bool) -> None:
    tokenizer = built(rotary=rotary, decoder=DecoderSpec(width=16, layers=2, heads=2, absolute_positions=absolute))
    torch.nn.init.normal_(tokenizer.decoder.vit.blocks[0].attn.qkv.weight)
    patches = patchify(tokenizer.decode(torch.randn(1, MASKED_AE.latents, MASKED_AE.channels)), MASKED_AE.patch_size)
    spread = (patches[:, :, None] - patches[:, None]).abs().amax(3)[0]
    assert (spread[~torch.eye(PATCHES, dtype=torch.bool)] > 1e-4).all()


def test_patches_move_the_latents_by_where_they_are() -> None:
    tokenizer = built(mask=NoMask())
    torch.nn.init.zeros_(tokenizer.encoder.pos_embed)
    torch.nn.init.normal_(tokenizer.encoder.vit.blocks[0].attn.qkv.weight)
    pixels = images(1)
    # Without absolute positions, rotary ones still tell an image from its mirror image.
    assert (tokenizer.encode(pixels) - tokenizer.encode(pixels.flip(2))).abs().max() > 1e-4


@pytest.mark.slow
def test_a_few_steps_learn_to_reconstruct_under_noise() -> None:
    tokenizer = built(latent_norm="batch").train()
    target = (torch.rand(16, IMAGE.channels, 1, 1) * 2 - 1).expand(-1, -1, IMAGE.size, IMAGE.size)
    optimiser = torch.optim.Adam(tokenizer.parameters(), 3e-3)
    losses = []
    for _ in range(60):
        latents, _ = tokenizer.encode_for_training(target, masked=True)
        loss = (tokenizer.decode(latents + 0.3 * torch.randn_like(latents)) - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    # The mean image alone leaves the targets' variance.
    assert sum(losses[-5:]) / 5 < 0.3 * float(target.var(0, correction=0).mean())


# Paper scale


def test_paper_scale_by_count() -> None:
    vit_b = {"width": 768, "layers": 12, "heads": 12, "layer_scale": 1e-5}
    spec = MaskedAeSpec(
        patch_size=16,
        latents=128,
        channels=64,
        encoder=EncoderSpec(**vit_b),
        decoder=DecoderSpec(**vit_b, drop_path=0.05),
        mask=PUBLISHED,
    )
    image = ImageShape(3, 256)
    assert not list(all_problems(spec))
    assert not list(spec.image_problems(image))
    assert spec.patch_grid(image) ** 2 == 256
    with torch.device("meta"):
        tokenizer = MaskedAutoencoder(spec, image)
        latents = tokenizer.encode(torch.empty(2, 3, 256, 256))
        assert latents.shape == (2, 128, 64)
        assert tokenizer.decode(latents).shape == (2, 3, 256, 256)

    def count(module: torch.nn.Module) -> int:
        return sum(parameter.numel() for parameter in module.parameters())

    layer = 4 * 768 * 768 + 4 * 768 + 8 * 768 * 768 + 5 * 768 + 4 * 768 + 2 * 768
    vit = 12 * layer + 2 * 768 + 12 * 12 * 64
    assert count(tokenizer.encoder.vit) == count(tokenizer.decoder.vit) == vit == 85_083_648
    assert count(tokenizer.encoder) == 86_118_976
    assert count(tokenizer.decoder) == 85_824_000


# Mistakes in specs


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        (
            {"encoder": EncoderSpec(width=16, layers=1, heads=3)},
            ("encoder", "heads"),
            "3 heads do not divide the width 16",
        ),
        (
            {"decoder": DecoderSpec(width=12, layers=1, heads=2)},
            ("decoder", "heads"),
            "rotary positions need heads of a multiple of 4, these are 6 wide",
        ),
        (
            {"rotary": False},
            ("decoder", "absolute_positions"),
            "without any positions the decoder can't tell one patch from another",
        ),
        ({"mask": UniformMask(low=0.6, high=0.4)}, ("mask", "low"), "0.6 is above high, 0.4"),
        ({"mask": TruncatedNormalMask(low=0.6, high=0.6)}, ("mask", "low"), "0.6 is not below high, 0.6"),
        (
            {
                "encoder": EncoderSpec(
                    width=16, layers=1, heads=2, weights=FileWeights(file="f", sha256="0" * 64, modules=["prior"])
                )
            },
            ("encoder", "weights", "modules"),
            "these weights are the encoder's alone",
        ),
    ],
)
def test_mistakes_are_named(changes: dict, path: tuple, message: str) -> None:
    found = [(problem.path, problem.message) for problem in all_problems(MASKED_AE.model_copy(update=changes))]
    assert found == [(path, message)]


def test_a_patch_that_does_not_divide_is_named() -> None:
    (problem,) = MASKED_AE.model_copy(update={"patch_size": 5}).image_problems(IMAGE)
    assert (problem.path, problem.message) == (("patch_size",), "5 does not divide the image's 12 pixels")


# Weights from a file


def timm_vit(image: int = 12, patch: int = 3, channels: int = IMAGE.channels) -> VisionTransformer:
    """A small ViT of DINOv2's kind, with random weights."""
    vit = VisionTransformer(
        img_size=image,
        patch_size=patch,
        in_chans=channels,
        embed_dim=16,
        depth=2,
        num_heads=2,
        init_values=0.5,
        num_classes=0,
    )
    for parameter in vit.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return vit.eval()


def from_file(path: Path, **encoder: object) -> MaskedAutoencoder:
    weights = FileWeights(file=str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    settings = {"width": 16, "layers": 2, "heads": 2, "layer_scale": 1e-5, "weights": weights}
    return built(encoder=EncoderSpec(**settings | encoder))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_timms_names_are_understood_and_the_layers_compute_what_timms_do(tmp_path: Path, suffix: str) -> None:
    vit, path = timm_vit(), tmp_path / f"vit{suffix}"
    state = vit.state_dict() | {"mask_token": torch.zeros(1, 16)}  # as the original DINOv2 files have it
    if suffix == ".pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    tokenizer = from_file(path).eval()
    fresh = {name: tensor.clone() for name, tensor in tokenizer.state_dict().items()}
    tokenizer.load_given_weights()
    encoder, pixels = tokenizer.encoder, images(2)
    trunk = Vit(16, 2, 2, prefix=1, side=4, rotary=False, layer_scale=1e-5).eval()
    trunk.load_state_dict({k: v for k, v in encoder.vit.state_dict().items() if not k.startswith("rotary")})
    tokens = torch.cat([encoder.cls_token.expand(2, -1, -1), encoder.patch_embed(pixels)], 1) + encoder.pos_embed
    torch.testing.assert_close(trunk(tokens), vit.forward_features(pixels))
    kept = {name for name, tensor in tokenizer.state_dict().items() if torch.equal(tensor, fresh[name])}
    assert {name for name in kept if name.startswith("encoder.")} == {
        "encoder.mask_token",
        "encoder.latent_tokens",
        "encoder.latent_positions",
        "encoder.vit.rotary.freqs",
        "encoder.projection.weight",
        "encoder.projection.bias",
    }


def test_patches_and_positions_are_resampled(tmp_path: Path) -> None:
    vit, path = timm_vit(image=30, patch=5), tmp_path / "vit.safetensors"
    save_file(vit.state_dict(), path)
    tokenizer = from_file(path)
    tokenizer.load_given_weights()
    kernel, positions = vit.patch_embed.proj.weight, vit.pos_embed
    torch.testing.assert_close(tokenizer.encoder.patch_embed.proj.weight, resample_patch_embed(kernel, [3, 3]))
    torch.testing.assert_close(tokenizer.encoder.pos_embed, resample_abs_pos_embed(positions, [4, 4]))


def test_building_reads_no_file() -> None:
    weights = FileWeights(file="nowhere/vit.safetensors", sha256="0" * 64)
    tokenizer = built(encoder=EncoderSpec(width=16, layers=2, heads=2, weights=weights))
    with pytest.raises(ArtifactError, match=r"nowhere/vit.safetensors: missing: put the encoder's weights .* there"):
        tokenizer.load_given_weights()
    built().load_given_weights()


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ({"layers": 1}, r"does not fit the encoder: vit.blocks.1.attn.proj.bias: unknown; .*; and 6 more"),
        ({"layers": 3}, r"vit.blocks.2.attn.proj.bias: missing"),
        ({"layer_scale": None}, r"vit.blocks.0.gamma_1: unknown; vit.blocks.0.gamma_2: unknown"),
        ({"width": 8}, r"cls_token: shape \(1, 1, 16\), wanted \(1, 1, 8\)"),
    ],
)
def test_names_that_do_not_fit_are_named(tmp_path: Path, encoder: dict, message: str) -> None:
    save_file(timm_vit().state_dict(), tmp_path / "vit.safetensors")
    with pytest.raises(ArtifactError, match=message):
        from_file(tmp_path / "vit.safetensors", **encoder).load_given_weights()


def test_files_that_are_no_weights_are_refused(tmp_path: Path) -> None:
    for name, content in (("a.safetensors", b"text"), ("b.pth", b"text")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ArtifactError, match=rf"{name}: not a checkpoint of tensors"):
            from_file(tmp_path / name).load_given_weights()
    torch.save({"epoch": 3}, tmp_path / "c.pth")
    with pytest.raises(ArtifactError, match=r"c.pth: not a state dict"):
        from_file(tmp_path / "c.pth").load_given_weights()


@pytest.mark.parametrize("style", ["replace", "drop"])
def test_hiding_a_share_of_the_patches_hides_them_from_the_latents(style: str) -> None:
    tokenizer = built(mask=UniformMask(low=0.5, high=0.5, style=style)).eval()
    batch = images(2)
    hidden = tokenizer.encode_hiding(batch, 0.75, image_draws(2))
    assert torch.equal(hidden, tokenizer.encode_hiding(batch, 0.75, image_draws(2)))
    assert not torch.allclose(hidden, tokenizer.encode(batch))
    torch.testing.assert_close(tokenizer.encode_hiding(batch, 0.0, image_draws(2)), tokenizer.encode(batch))
