"""SiT: its parts against their definitions, and its sizes."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from parts import CLASSES, SIT, tiny_latents, tiny_prior

from mimflow.nn.sinusoid import TimeEmbedding, grid_sinusoid, sinusoid
from mimflow.priors.base import NULL_CLASS, Tap
from mimflow.priors.sit.model import Sit
from mimflow.priors.sit.spec import SitSpec
from mimflow.spec.base import all_problems
from mimflow.spec.shapes import LatentShape

SQUARE = LatentShape(tokens=16, channels=3, grid=(4, 4))
ROW = LatentShape(tokens=16, channels=3)
PATCHED = SIT.model_copy(update={"patch_size": 2})
SIZES = {"S": (384, 12, 64), "B": (768, 12, 64), "L": (1024, 24, 64), "XL": (1152, 28, 72)}


def count(spec: SitSpec, latent: LatentShape, classes: int = 1000) -> float:
    with torch.device("meta"):
        model = Sit(spec, latent, classes)
    return sum(parameter.numel() for parameter in model.parameters()) / 1e6


@pytest.mark.parametrize(("size", "millions"), [("S", 33), ("B", 130), ("L", 458), ("XL", 675)])
def test_sizes_are_the_papers(size: str, millions: int) -> None:
    width, layers, head_width = SIZES[size]
    spec = SitSpec(width=width, layers=layers, head_width=head_width, patch_size=2)
    assert round(count(spec, LatentShape(1024, 4, (32, 32)))) == millions


def test_the_count_of_xl_is_that_of_its_parts() -> None:
    d, layers, channels = 1152, 28, 32
    layer = 3 * d * d + 3 * d + d * d + d + 8 * d * d + 5 * d + 6 * d * d + 6 * d
    time, classes, patches = 256 * d + d + d * d + d, 1001 * d, channels * d + d
    last = 2 * d * d + 2 * d + d * channels + channels
    expected = layers * layer + time + classes + patches + last
    spec = SitSpec(width=d, layers=layers, head_width=72)
    assert count(spec, LatentShape(256, channels, (16, 16))) == pytest.approx(expected / 1e6, abs=1e-9)


def test_sinusoids_known_answers() -> None:
    features = sinusoid(torch.tensor([0.0, 2.0], dtype=torch.float64), 4)
    expected = [math.cos(2), math.cos(0.02), math.sin(2), math.sin(0.02)]
    torch.testing.assert_close(features, torch.tensor([[1, 1, 0, 0], expected], dtype=torch.float64))
    grid = grid_sinusoid((2, 3), 8)
    assert grid.shape == (6, 8)
    place = grid[5]  # row 1, column 2
    torch.testing.assert_close(place[:4], sinusoid(torch.tensor(1.0), 4))
    torch.testing.assert_close(place[4:], sinusoid(torch.tensor(2.0), 4))


def test_times_are_scaled_before_their_sinusoid() -> None:
    torch.manual_seed(0)
    embedding, t = TimeEmbedding(6, scale=10.0), torch.tensor([0.1, 0.7])
    scaled = embedding(t)
    embedding.scale = 1.0
    torch.testing.assert_close(embedding(10 * t), scaled)
    assert scaled.shape == (2, 6)


def test_it_starts_as_no_velocity() -> None:
    model = Sit(SIT, SQUARE, CLASSES)
    velocity, hidden = model(tiny_latents(2, SQUARE).float(), torch.rand(2), torch.tensor([0, NULL_CLASS]))
    assert not velocity.any() and velocity.shape == (2, 16, 3) and hidden is None
    for layer in model.transformer.layers:
        assert not layer.modulation.linear.weight.any()
        bound = math.sqrt(6 / (16 + 48))
        assert 0.9 * bound < layer.attention.qkv.weight.abs().max() <= bound
    assert model.class_embed.std().item() == pytest.approx(0.02, rel=0.3)


@pytest.mark.parametrize("spec", [SIT, PATCHED], ids=["patch 1", "patch 2"])
def test_every_token_sees_all(spec: SitSpec) -> None:
    model, x = tiny_prior(spec, SQUARE), tiny_latents(1, SQUARE)
    t, labels = torch.tensor([0.3], dtype=torch.float64), torch.tensor([1])
    jacobian = torch.autograd.functional.jacobian(lambda x: model(x, t, labels).velocity, x)
    assert (jacobian.abs().amax((0, 2, 3, 5)) > 0).all()


def test_patches_are_squares_of_the_grid() -> None:
    model, read = tiny_prior(PATCHED, SQUARE), []
    model.proj_in.register_forward_pre_hook(lambda module, given: read.append(given[0]))
    tokens = torch.arange(16.0).double()[None, :, None].expand(1, 16, 3)
    model(tokens, torch.zeros(1).double(), torch.tensor([0]))
    assert read[0].shape == (1, 4, 12)
    assert read[0][0, 1, :4].tolist() == [2, 3, 6, 7]


def test_a_square_of_the_velocity_is_one_output() -> None:
    model = tiny_prior(PATCHED, SQUARE)
    with torch.no_grad():
        model.proj_out.weight.zero_()
        model.proj_out.bias.copy_(torch.arange(12.0))
    velocity = model(tiny_latents(1, SQUARE), torch.zeros(1).double(), torch.tensor([0])).velocity
    rows = [[0, 1, 0, 1], [2, 3, 2, 3]] * 2  # channel 0 of each square, row by row
    assert velocity[0, :, 0].view(4, 4).tolist() == rows


def test_time_and_class_matter() -> None:
    model, x = tiny_prior(SIT, SQUARE), tiny_latents(1, SQUARE)
    t, labels = torch.tensor([0.3], dtype=torch.float64), torch.tensor([1])
    velocity = model(x, t, labels).velocity
    assert not torch.allclose(model(x, t + 0.2, labels).velocity, velocity)
    assert not torch.allclose(model(x, t, labels + 1).velocity, velocity)


def test_taps_of_patches_are_fewer_than_tokens() -> None:
    model = tiny_prior(PATCHED, SQUARE)
    hidden = model.training_loss(tiny_latents(2, SQUARE), torch.tensor([0, 1]), Tap(block=0, layer=1)).hidden
    assert hidden.shape == (2, PATCHED.hidden_tokens(SQUARE), 16) == (2, 4, 16)


def test_latents_without_a_grid_need_learned_positions() -> None:
    assert [p.message for p in SIT.latent_problems(ROW)] == ["sincos_2d needs a grid, and 16 tokens have none"]
    learned = SIT.model_copy(update={"position": "learned"})
    assert list(learned.latent_problems(ROW)) == []
    velocity = tiny_prior(learned, ROW)(tiny_latents(2, ROW), torch.zeros(2).double(), torch.tensor([0, 1])).velocity
    assert velocity.shape == (2, 16, 3)


@pytest.mark.parametrize(
    ("changes", "latent", "path", "message"),
    [
        ({"patch_size": 3}, SQUARE, "patch_size", "3 does not divide a grid of 4 × 4"),
        ({"patch_size": 2, "position": "learned"}, ROW, "patch_size", "patches need a grid, and 16 tokens have none"),
        ({"head_width": 5}, SQUARE, "head_width", "heads of 5 do not divide the width 16"),
        ({"width": 18, "head_width": 6}, SQUARE, "width", "18 does not split into sines and cosines of two axes"),
    ],
)
def test_what_does_not_fit(changes: dict[str, Any], latent: LatentShape, path: str, message: str) -> None:
    spec = SIT.model_copy(update=changes)
    (problem,) = [*all_problems(spec), *spec.latent_problems(latent)]
    assert (problem.path, problem.message) == ((path,), message)
