"""What tells a system that lives from one that does not: what is decoded, by which way, and what supervision gains."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from joint_parts import PLAIN, batch, build
from torch import Tensor, nn
from training_parts import DECODER, KL_VAE, MASKED_AE, SHAPES, perturbed_modules, tiny_data, tiny_task

from mimflow.nn.patchify import unpatchify
from mimflow.objectives.base import Batch
from mimflow.objectives.health import decoding_facts, health_warnings
from mimflow.progress import Progress
from mimflow.stages import train
from mimflow.system.modules import SystemModules
from mimflow.system.spec import System
from mimflow.tokenizers.base import Tokenizer
from mimflow.tokenizers.masked_ae.model import MaskedAutoencoder


class Known(Tokenizer):
    """Latents are the pixels; those of the upper half are drawn by way of a module, the lower half's past it."""

    def __init__(self, scale: float = 1.0, named: bool = True):
        super().__init__()
        self.way = nn.Identity()
        self.scale, self.named = scale, named

    def encode(self, images: Tensor) -> Tensor:
        return images.flatten(2).transpose(1, 2)

    def decode(self, latents: Tensor) -> Tensor:
        half = latents.shape[1] // 2
        pixels = torch.cat([self.way(latents[:, :half]), latents[:, half:]], 1)
        return self.scale * pixels.transpose(1, 2).unflatten(2, (8, 8))

    def decoder_transformer(self) -> str | None:
        return "way" if self.named else None


def batches() -> list[Batch]:
    """50 images in uneven batches; pixels of the upper half have a standard deviation of 3, others of 1, and places."""
    torch.manual_seed(0)
    images = torch.randn(50, 1, 8, 8) + 20 * torch.rand(1, 1, 8, 8)
    images[:, :, :4] *= 3
    return [Batch(part, torch.zeros(len(part)), torch.arange(len(part))) for part in images.split(19)]


def test_the_share_that_passes_through_the_transformer_is_of_variance_over_images() -> None:
    images = torch.cat([each.images for each in batches()]).double()
    upper, lower = images[:, :, :4].var(0).sum(), images[:, :, 4:].var(0).sum()
    facts = decoding_facts(Known(), batches())
    assert facts["decoded_through_transformer"] == pytest.approx(float(upper / (upper + lower)), rel=1e-5)
    assert 0.85 < facts["decoded_through_transformer"] < 0.95, "9 to 1"
    assert facts["decoded_variance"] == pytest.approx(1.0, rel=1e-5)


def test_what_is_decoded_is_measured_against_the_images() -> None:
    assert decoding_facts(Known(scale=0.5), batches())["decoded_variance"] == pytest.approx(0.25, rel=1e-5)
    assert decoding_facts(Known(named=False), batches()).keys() == {"decoded_variance"}
    assert decoding_facts(Known(scale=0.0), batches()) == {
        "decoded_variance": 0.0,
        "decoded_through_transformer": None,
    }


class Bypassed(MaskedAutoencoder):
    """A masked autoencoder with a linear map from the latents to the pixels beside its decoder."""

    def decode(self, latents: Tensor) -> Tensor:
        flat = latents.flatten(1)
        weights = torch.randn(flat.shape[1], 64, generator=torch.Generator().manual_seed(0))
        return super().decode(latents) + unpatchify((flat @ weights).unflatten(1, (16, 4)), 2, (4, 4))


def masked_autoencoder(cls: type[MaskedAutoencoder]) -> MaskedAutoencoder:
    """One whose transformers live, since its weights are large."""
    torch.manual_seed(0)
    tokenizer = cls(System.model_validate(MASKED_AE).tokenizer, SHAPES.image)
    with torch.no_grad():
        for parameter in tokenizer.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return tokenizer


def test_an_affine_bypass_is_caught() -> None:
    living = decoding_facts(masked_autoencoder(MaskedAutoencoder), batches())
    assert living["decoded_through_transformer"] == pytest.approx(1.0, abs=1e-6), "there is no other way"
    bypassed = decoding_facts(masked_autoencoder(Bypassed), batches())
    assert bypassed["decoded_through_transformer"] < 0.2
    assert not health_warnings({**living, "decoded_variance": 0.9}, {})
    (warning,) = health_warnings({**bypassed, "decoded_variance": 0.9}, {})
    assert "passes through the decoder's transformer" in warning


def test_measuring_leaves_the_tokenizer_as_it_was() -> None:
    tokenizer = perturbed_modules(MASKED_AE).tokenizer.train()
    before = {name: tensor.clone() for name, tensor in tokenizer.state_dict().items()}
    pixels = tokenizer.decode(torch.ones(1, 4, 6))
    decoding_facts(tokenizer, [batch(4), batch(3)])
    assert tokenizer.training and all(p.requires_grad for p in tokenizer.parameters())
    assert all(tensor.equal(before[name]) for name, tensor in tokenizer.state_dict().items())
    assert tokenizer.decode(torch.ones(1, 4, 6)).equal(pixels), "no hook is left"


@pytest.mark.parametrize(
    ("objective", "system", "own"),
    [(PLAIN, MASKED_AE, True), (DECODER, MASKED_AE, True), ({"kind": "autoencoder"}, KL_VAE, False)],
)
def test_every_objective_that_reconstructs_says_it(
    objective: dict[str, object], system: dict[str, object], own: bool
) -> None:
    modules: SystemModules = perturbed_modules(system)
    facts = build(objective, modules).health([batch(4), batch(3)])
    assert facts["decoded_variance"] > 0
    assert ("decoded_through_transformer" in facts) == own


def test_warnings_say_what_and_what_would_be_sound() -> None:
    assert health_warnings({"decoded_variance": 0.123, "decoded_through_transformer": 0.01}, {"loss": 1.0}) == [
        "decoded images have 12% of the images' variance: the decoder draws little more than a mean image "
        "(sound: 50% or more)",
        "1% of what is decoded passes through the decoder's transformer: the rest goes past it (sound: 50% or more)",
    ]
    val = {"alignment": -0.93, "alignment_constant": -0.906, "auxiliary": -0.3, "auxiliary_constant": -0.2}
    assert health_warnings({}, val) == [
        "alignment is -0.930 where a constant has -0.906: it says little of an image "
        "(sound: lower by 0.05 or more; centred: true takes the mean off the targets)"
    ]
    assert not health_warnings({"decoded_variance": None}, {"alignment": None, "alignment_constant": 0.0})


def test_warnings_are_told_and_kept(tmp_path: Path) -> None:
    said = io.StringIO()
    task = tiny_task(MASKED_AE, objective=PLAIN, steps=1, snapshots=[])
    facts = train.run(task, {"data": tiny_data(tmp_path / "data")}, tmp_path, Progress("tiny", stream=said))
    assert facts.health["decoded_variance"] < 0.5, "after one step it draws the mean image"
    assert facts.warnings and all(f"[tiny] warning: {line}\n" in said.getvalue() for line in facts.warnings)
