"""The terms of objectives: known answers."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch_fidelity.sample_similarity_lpips as reference_lpips
import torchvision
from safetensors.torch import save_file
from torch import nn
from torchvision.models.vgg import cfgs, make_layers

from mimflow.artifacts.manifest import sha256_of
from mimflow.errors import ArtifactError
from mimflow.features.spec import EfficientnetLite0Spec
from mimflow.objectives.base import Batch
from mimflow.objectives.health import Spread, noise_std, spread_facts
from mimflow.objectives.targets import Targets
from mimflow.objectives.terms.adversarial import PatchGan, discriminator_hinge, generator_hinge
from mimflow.objectives.terms.alignment import Aligner, match_lengths
from mimflow.objectives.terms.auxiliary import AuxiliaryDecoder, masked_mean, to_grid
from mimflow.objectives.terms.names import with_figure_names
from mimflow.objectives.terms.perceptual import PerceptualDistance, unit_distance
from mimflow.objectives.terms.pixels import pixel_distance
from mimflow.objectives.terms.spec import (
    Adversarial,
    Alignment,
    Auxiliary,
    ConvnextPerceptual,
    FeaturePerceptual,
    LpipsPerceptual,
    Reconstruction,
)
from mimflow.spec.noise import AdditiveNoise, LinearNoise, NoNoise, SlerpNoise, UniformLaw
from mimflow.spec.shapes import LatentShape

pytestmark = pytest.mark.slow

NETWORK = EfficientnetLite0Spec(stage=2, input_size=16)  # 4 × 4 places, 24 features


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


# -- pixels ----------------------------------------------------------------------------------------------------------


def test_pixel_distances_in_both_ranges() -> None:
    black, grey = torch.full((2, 3, 4, 4), -1.0), torch.zeros(2, 3, 4, 4)
    wanted = {("l2", "unit"): 0.25, ("l2", "signed"): 1.0, ("l1", "unit"): 0.5, ("l1", "signed"): 1.0}
    for (loss, scale), value in wanted.items():
        spec = Reconstruction.model_validate({"loss": loss, "range": scale})
        assert pixel_distance(black, grey, spec).item() == pytest.approx(value)


# -- alignment -------------------------------------------------------------------------------------------------------


def aligner(mode: str, projection: torch.Tensor, tokens: int = 16, **changes: object) -> Aligner:
    """An aligner whose projector is the linear map given."""
    spec = Alignment.model_validate({"network": NETWORK, "mode": mode} | changes)
    module = Aligner(spec, projection.shape[1], tokens)
    module.projector = nn.Linear(*reversed(projection.shape), bias=False)
    with torch.no_grad():
        module.projector.weight.copy_(projection)
    return module


def test_alignment_is_minus_the_cosine() -> None:
    torch.manual_seed(0)
    tokens = torch.randn(3, 16, 24)
    align = aligner("repeat", torch.eye(24))
    assert align(tokens, 7 * tokens).own.item() == pytest.approx(-1.0, abs=1e-6)
    assert align(tokens, -0.1 * tokens).own.item() == pytest.approx(1.0, abs=1e-6)
    orthogonal = torch.cat([torch.randn(3, 16, 12), torch.zeros(3, 16, 12)], 2)
    assert align(orthogonal, orthogonal.roll(12, 2)).own.item() == pytest.approx(0.0, abs=1e-6)


def test_each_repeated_token_stands_for_places_in_a_row() -> None:
    tokens, places = torch.arange(8.0).view(1, 8, 1), torch.arange(16.0).view(1, 16, 1)
    repeated, kept = match_lengths(tokens, places, "repeat")
    assert kept is places
    assert repeated.flatten().tolist() == [i // 2 for i in range(16)]  # token i: places 2i and 2i + 1
    torch.manual_seed(0)
    tokens = torch.randn(2, 8, 24)
    found = aligner("repeat", torch.eye(24), tokens=8)(tokens, tokens.repeat_interleave(2, 1)).own
    assert found.item() == pytest.approx(-1, abs=1e-6)


def test_the_longer_sequence_is_average_pooled() -> None:
    short, long = torch.arange(4.0).view(1, 4, 1), torch.arange(8.0).view(1, 8, 1)
    pooled = [0.5, 2.5, 4.5, 6.5]
    assert [sequence.flatten().tolist() for sequence in match_lengths(short, long, "average")] == [[0, 1, 2, 3], pooled]
    assert [sequence.flatten().tolist() for sequence in match_lengths(long, short, "average")] == [pooled, [0, 1, 2, 3]]
    assert match_lengths(long, long, "average")[0].equal(long)


def test_repeating_needs_a_whole_number_of_places() -> None:
    spec = Alignment(network=NETWORK)
    assert not [*spec.sequence_problems(8)]
    (problem,) = spec.sequence_problems(5)
    assert problem.message == "5 tokens can't be repeated to the 16 places of the network's map"
    assert not [*spec.model_copy(update={"mode": "average"}).sequence_problems(5)]


def test_the_projector_has_silu_between_its_linear_maps() -> None:
    layers = [type(layer).__name__ for layer in Aligner(Alignment(network=NETWORK), 6, 16).projector]
    assert layers == ["Linear", "SiLU", "Linear", "SiLU", "Linear"]
    # 6 → 1024 → 1024 → 24
    assert parameters(Aligner(Alignment(network=NETWORK), 6, 16)) == 7 * 1024 + 1025 * 1024 + 1025 * 24


# -- auxiliary decoders ----------------------------------------------------------------------------------------------


def auxiliary(**changes: object) -> AuxiliaryDecoder:
    torch.manual_seed(0)
    spec = Auxiliary.model_validate({"network": NETWORK, "width": 8, "layers": 2, "heads": 2} | changes)
    return AuxiliaryDecoder(spec, LatentShape(5, 6), grid=4)


def test_only_masked_patches_count() -> None:
    decoder, latents = auxiliary(), torch.randn(2, 5, 6)
    features = torch.randn(2, 16, 24)
    mask = torch.zeros(2, 16, dtype=torch.bool)
    mask[0, 3] = mask[1, 7] = mask[1, 8] = True
    loss = decoder(latents, features, mask).own
    cosines = nn.functional.cosine_similarity(decoder.predict(latents), features, dim=-1)
    assert loss.item() == pytest.approx(-cosines[mask].mean().item(), abs=1e-6)
    changed = torch.where(mask[..., None], features, torch.randn(2, 16, 24))
    assert decoder(latents, changed, mask).own.equal(loss)
    everywhere = auxiliary(mask_only=False)
    assert everywhere(latents, features, mask).own.item() == pytest.approx(-cosines.mean().item(), abs=1e-6)
    with pytest.raises(ValueError, match="nothing was masked"):
        decoder(latents, features, None)


def test_a_mask_that_is_nowhere_gives_zero() -> None:
    assert masked_mean(torch.ones(2, 3), torch.zeros(2, 3, dtype=torch.bool)) == 0
    assert masked_mean(torch.tensor([[1.0, 2.0], [6.0, 9.0]]), torch.tensor([[True, False], [True, False]])) == 3.5


def test_latents_rows_start_at_zero_in_each_norm_and_learn() -> None:
    decoder = auxiliary()
    seen: list[torch.Tensor] = []
    decoder.layers[0].attention.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    latents = torch.randn(2, 5, 6)
    alike = decoder.predict(latents)
    assert seen[0][:, :5].eq(0).all() and seen[0][:, 5:].ne(0).any()
    assert alike[0].allclose(alike[1]), "what latents say can't be heard before the modulation has learned"
    nn.init.normal_(decoder.layers[0].modulation.weight)
    heard = decoder.predict(latents)
    assert not heard[0].allclose(heard[1])
    scale, shift, *_ = decoder.layers[0].modulation(nn.functional.silu(latents)).chunk(4, dim=-1)
    rows = decoder.embed(latents) + decoder.latent_positions
    normal = nn.functional.layer_norm(rows, (8,), eps=1e-6)
    torch.testing.assert_close(seen[-1][:, :5], normal * scale + shift)  # no 1 + scale


def test_predictions_depend_on_the_place() -> None:
    decoder = auxiliary()
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter += 0.5 * torch.randn_like(parameter)
    predicted = decoder.predict(torch.randn(1, 5, 6))[0]
    assert (predicted[0] - predicted[1]).abs().max() > 1e-4


def test_maps_meet_the_patch_grid() -> None:
    small = torch.arange(4.0).view(1, 4, 1)
    assert to_grid(small, 2) is small
    assert to_grid(small, 4).flatten().tolist() == [0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 3, 3, 2, 2, 3, 3]
    large = torch.arange(16.0).view(1, 16, 1)
    assert to_grid(large, 2).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]


# -- the discriminator -----------------------------------------------------------------------------------------------


def test_the_released_patchgan_by_its_count_and_its_map() -> None:
    gan = PatchGan(Adversarial(), channels=3)
    assert parameters(gan) == 2_765_633
    assert gan(torch.zeros(1, 3, 256, 256)).shape == (1, 1, 30, 30)


@pytest.mark.parametrize(
    ("size", "changes"), [(256, {}), (32, {}), (32, {"layers": 1, "width": 8}), (8, {"layers": 1, "kernel": 3})]
)
def test_the_spec_knows_the_map_of_logits(size: int, changes: dict[str, int]) -> None:
    spec = Adversarial.model_validate({"width": 2} | changes)
    assert PatchGan(spec, 1).eval()(torch.zeros(1, 1, size, size)).shape[2] == spec.logits_side(size)


def test_initialisations_differ_as_named() -> None:
    torch.manual_seed(0)
    normal = PatchGan(Adversarial(initialisation="normal"), 3)
    assert normal[5].weight.std().item() == pytest.approx(0.02, rel=0.01) and normal[0].bias.eq(0).all()
    default = PatchGan(Adversarial(), 3)
    assert default[5].weight.std().item() == pytest.approx(1 / math.sqrt(3 * 128 * 16), rel=0.01)


def test_hinge_known_answers() -> None:
    real, fake = torch.tensor([2.0, 0.5]), torch.tensor([-2.0, 0.5])
    assert discriminator_hinge(real, fake).item() == pytest.approx(0.5 * (0.25 + 0.75))
    assert discriminator_hinge(torch.ones(4), -torch.ones(4)) == 0
    assert discriminator_hinge(torch.zeros(4), torch.zeros(4)) == 1
    assert generator_hinge(fake).item() == pytest.approx(0.75)


# -- perceptual distances --------------------------------------------------------------------------------------------


def batch_of(images: torch.Tensor) -> Batch:
    return Batch(images, torch.zeros(len(images), dtype=torch.int64), torch.arange(len(images)))


def test_unit_distance_is_two_minus_two_cosines() -> None:
    torch.manual_seed(0)
    left, right = torch.randn(2, 5, 7), torch.randn(2, 5, 7)
    cosine = nn.functional.cosine_similarity(left, right, dim=2)
    torch.testing.assert_close(unit_distance(3 * left, right, dim=2).sum(2), 2 - 2 * cosine)


def test_feature_distance_is_of_images_and_differentiable() -> None:
    torch.manual_seed(0)
    distance = PerceptualDistance(FeaturePerceptual(network=NETWORK), Targets())
    batch = batch_of(torch.rand(3, 1, 16, 16) * 2 - 1)
    assert distance(batch.images, batch).item() == pytest.approx(0, abs=1e-6)
    other = (batch.images * 0.5).requires_grad_()
    value = distance(other, batch)
    value.backward()
    assert 0 < value.item() <= 4 and other.grad is not None and other.grad.abs().sum() > 0
    features = Targets().of_images(NETWORK, batch.images)
    stored = Batch(batch.images, batch.labels, batch.indices, {NETWORK.name: -features})
    assert distance(batch.images, stored).item() == pytest.approx(4)  # the opposite of what is stored


def given(path: Path, state: dict[str, torch.Tensor]) -> dict[str, str]:
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    return {"file": str(path), "sha256": sha256_of(path)}


def test_lpips_is_torch_fidelitys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    vgg = make_layers(cfgs["D"])
    with torch.no_grad():
        for layer in vgg:
            if isinstance(layer, nn.Conv2d):  # so that signals keep their size
                nn.init.kaiming_normal_(layer.weight)
    linear = {f"lin{i}.model.1.weight": torch.rand(1, c, 1, 1) for i, c in enumerate((64, 128, 256, 512, 512))}
    spec = LpipsPerceptual.model_validate(
        {
            "vgg": given(tmp_path / "vgg.safetensors", {f"features.{k}": v for k, v in vgg.state_dict().items()}),
            "linear": given(tmp_path / "lin.safetensors", linear),
        }
    )
    # torch-fidelity's own weights are downloads: it gets ours.
    monkeypatch.setattr(reference_lpips, "load_state_dict_from_url", lambda *_, **__: linear)
    monkeypatch.setattr(reference_lpips, "torchvision_load_pretrained_vgg16", lambda: SimpleNamespace(features=vgg))
    levels = torch.randint(0, 256, (2, 2, 3, 32, 32)).float()
    wanted = reference_lpips.SampleSimilarityLPIPS("reference")(*levels).mean()
    left, right = levels / 127.5 - 1
    found = PerceptualDistance(spec, Targets())(left, batch_of(right))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_convnext_logits_are_those_of_torchvision_at_224_pixels(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = torchvision.models.convnext_small().eval()
    spec = ConvnextPerceptual.model_validate(
        {"weights": given(tmp_path / "convnext.safetensors", network.state_dict())}
    )
    left, right = torch.rand(2, 1, 3, 224, 224) * 2 - 1
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    with torch.no_grad():
        logits = [network(((image + 1) / 2 - mean) / std) for image in (left, right)]
        found = PerceptualDistance(spec, Targets())(left, batch_of(right))
    torch.testing.assert_close(found, (logits[0] - logits[1]).square().mean(), rtol=1e-3, atol=1e-8)


def test_files_that_are_missing_or_others_are_said(tmp_path: Path) -> None:
    absent = {"file": str(tmp_path / "gone.pth"), "sha256": "0" * 64}
    other = given(tmp_path / "other.safetensors", {"features.0.weight": torch.zeros(2)})
    images = torch.zeros(1, 3, 32, 32)
    for fields, message in (
        (
            {"kind": "lpips", "vgg": absent, "linear": absent},
            r"gone\.pth: missing: put torchvision's VGG16 \(vgg16-397923af",
        ),
        ({"kind": "lpips", "vgg": other, "linear": absent}, r"other\.safetensors: not torchvision's VGG16 .*0\.weight"),
        ({"kind": "convnext_logits", "weights": absent}, r"gone\.pth: missing: put torchvision's ConvNeXt-Small"),
    ):
        cls = LpipsPerceptual if fields["kind"] == "lpips" else ConvnextPerceptual
        with pytest.raises(ArtifactError, match=message):
            PerceptualDistance(cls.model_validate(fields), Targets())(images, batch_of(images))


def test_terms_are_numbered_where_there_are_several() -> None:
    assert [*with_figure_names("alignment", "a")] == [("alignment", "a")]
    assert [*with_figure_names("alignment", "ab")] == [("alignment_0", "a"), ("alignment_1", "b")]


# -- health ----------------------------------------------------------------------------------------------------------


def test_spread_is_over_images_whatever_the_batches() -> None:
    torch.manual_seed(0)
    latents = torch.randn(50, 4, 3) * torch.tensor([1.0, 2.0, 0.01]) + 100 * torch.randn(4, 3)  # tokens have places
    wanted = latents.double().var(0)
    for size in (50, 7):
        spread = Spread.of(latents.split(size))
        torch.testing.assert_close(spread.variance, wanted)
    torch.testing.assert_close(spread.channels, wanted.mean(0).sqrt())


def test_dead_tokens_vary_less_than_a_tenth_of_the_noise() -> None:
    torch.manual_seed(0)
    latents = torch.randn(200, 4, 3) * torch.tensor([1.0, 0.05, 0.02, 0.0])[:, None]
    spread = Spread.of([latents])
    assert spread.dead_tokens(0.3) == 0.5
    assert spread.dead_tokens(1.0) == 0.75
    assert spread.dead_tokens(0.0) == 0.25, "without noise only what never varies is dead"
    facts = spread_facts(spread, 0.3)
    assert facts["dead_tokens"] == 0.5 and len(facts["latent_std"]["channels"]) == 3
    assert facts["spread_over_noise"] == pytest.approx(facts["latent_std"]["mean"] / 0.3)
    assert facts["latent_std"]["min"] <= facts["latent_std"]["mean"] <= facts["latent_std"]["max"]
    assert spread_facts(spread, 0.0)["spread_over_noise"] is None


def test_the_standard_deviation_of_each_kind_of_noise() -> None:
    assert noise_std(AdditiveNoise(std=0.3)) == 0.3
    assert noise_std(NoNoise()) == 0.0
    # (1 − t)² has mean 1/3 for uniform t, 1 − t² has 2/3.
    assert noise_std(LinearNoise()) == pytest.approx(math.sqrt(1 / 3), rel=0.02)
    assert noise_std(SlerpNoise()) == pytest.approx(math.sqrt(2 / 3), rel=0.02)
    assert noise_std(LinearNoise(t=UniformLaw(low=0.7, high=0.7))) == pytest.approx(0.3, rel=0.02)
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    noise_std(LinearNoise())
    assert torch.rand(2).equal(expected)
