"""iTARFlow beyond the contract: its embedding of noise levels, its backbone, and tokens that are cut anew."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from parts import (
    CLASSES,
    EVEN_LATENT,
    ITARFLOW,
    LATENT,
    PRIOR_EXAMPLES,
    TARFLOW,
    label_of,
    latent_for,
    predicted,
    tiny_latents,
    tiny_prior,
)
from torch import Tensor

from mimflow.nn.affine import Affine
from mimflow.nn.noise_level import NoiseLevelEmbedding
from mimflow.nn.patchify import group_tokens, patchify, ungroup_tokens
from mimflow.priors.base import NULL_CLASS, Tap
from mimflow.priors.guidance.rules import Guidance, guidance_rule
from mimflow.priors.guidance.spec import AnyGuidance, GaussianProductGuidance, LinearGuidance
from mimflow.priors.itarflow.model import Itarflow
from mimflow.priors.itarflow.spec import ItarflowSpec
from mimflow.spec.base import all_problems
from mimflow.spec.shapes import LatentShape

LABELS = torch.tensor([0, 2, 1, NULL_CLASS])
LEVELS = torch.tensor([0.02, 0.1, 0.3, 0.7], dtype=torch.float64)
EXAMPLES: Any = PRIOR_EXAMPLES["itarflow"]

every_example = pytest.mark.parametrize("spec", EXAMPLES, ids=label_of)


def changed(**fields: Any) -> ItarflowSpec:
    return ITARFLOW.model_copy(update=fields)


# -- the noise level -------------------------------------------------------------------------------------------------


def test_embedding_is_of_sines_then_cosines_of_the_logarithm() -> None:
    embedding = NoiseLevelEmbedding(5).double()
    torch.nn.init.eye_(embedding.up.weight)
    torch.nn.init.zeros_(embedding.up.bias)
    torch.nn.init.eye_(embedding.down.weight)
    torch.nn.init.zeros_(embedding.down.bias)
    level = 0.3
    slow = math.log(level) / 100  # frequencies 10000^(−0 / 2) and 10000^(−1 / 2)
    features = [math.sin(math.log(level)), math.sin(slow), math.cos(math.log(level)), math.cos(slow), 0.0]
    expected = torch.nn.functional.gelu(torch.tensor(features, dtype=torch.float64))
    torch.testing.assert_close(embedding(torch.tensor([level], dtype=torch.float64))[0], expected)


@every_example
def test_each_sample_has_its_own_level(spec: ItarflowSpec) -> None:
    prior, latents = tiny_prior(spec, latent_for(spec)), tiny_latents(4, latent_for(spec))
    together = prior.at(LEVELS)(latents, LABELS)
    inverted = prior.at(LEVELS).inverse(latents, LABELS)
    for index, level in enumerate(LEVELS.tolist()):
        z, logdet, _ = prior.at(level)(latents, LABELS)
        torch.testing.assert_close(z[index], together.z[index], atol=1e-9, rtol=0)
        torch.testing.assert_close(logdet[index], together.logdet[index], atol=1e-9, rtol=0)
        alone = prior.at(level).inverse(latents, LABELS)
        torch.testing.assert_close(alone[index], inverted[index], atol=1e-9, rtol=0)
        assert (z - together.z).abs().amax((1, 2)).sort().values[1] > 1e-4, "another level makes no difference"


def test_a_level_is_asked_for_exactly_where_there_are_levels() -> None:
    latents = tiny_latents(4)
    with pytest.raises(ValueError, match="a flow of noise levels needs one"):
        tiny_prior(ITARFLOW)(latents, LABELS)
    with pytest.raises(ValueError, match="a flow of noise levels needs one"):
        tiny_prior(ITARFLOW).inverse(latents, LABELS)
    with pytest.raises(ValueError, match="and no other takes one"):
        tiny_prior(TARFLOW).blocks[0](latents, LABELS, level=LEVELS)
    with pytest.raises(NotImplementedError):
        tiny_prior(TARFLOW).at(0.3)


def test_a_view_at_a_level_shares_the_parameters() -> None:
    prior = tiny_prior(ITARFLOW)
    view = prior.at(0.3)
    assert list(map(id, view.parameters())) == list(map(id, prior.parameters()))
    assert not any(name.startswith("prior.") for name in prior.state_dict()), "the prior holds its view"


def test_sampling_under_bf16_autocast_stays_near() -> None:
    prior, z = tiny_prior(ITARFLOW).float(), 0.5 * tiny_latents(4).float()
    with torch.autocast("cpu", torch.bfloat16):
        half = prior.at(0.3).inverse(z, LABELS)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, prior.at(0.3).inverse(z, LABELS), atol=0.1, rtol=0)


# -- the start -------------------------------------------------------------------------------------------------------


@every_example
def test_starts_as_the_scaled_identity(spec: ItarflowSpec) -> None:
    latent = latent_for(spec)
    latents = tiny_latents(4, latent)
    z, logdet, _ = Itarflow(spec, latent, CLASSES).double().at(0.3)(latents, LABELS)
    torch.testing.assert_close(z, spec.input_scale * latents)
    stretch = latent.dimensions * math.log(spec.input_scale)
    torch.testing.assert_close(logdet, torch.full((4,), stretch, dtype=torch.float64))


# -- blocks that differ, and layers that are shared ------------------------------------------------------------------


def test_blocks_have_their_own_widths_and_patches() -> None:
    prior = Itarflow(changed(block_widths=[8, 12, 4], block_patches=[2, 1, 2]), EVEN_LATENT, CLASSES)
    assert [block.proj_in.out_features for block in prior.blocks] == [8, 12, 4]
    assert [block.proj_in.in_features for block in prior.blocks] == [8, 2, 8]
    assert [tuple(block.pos_embed.shape) for block in prior.blocks] == [(2, 8), (8, 12), (2, 4)]
    assert [block.reverse for block in prior.blocks] == [False, True, False]


def test_groups_of_tokens_are_patches_of_the_grid() -> None:
    pixels = torch.arange(2 * 3 * 4 * 8.0).view(2, 3, 4, 8)
    tokens = patchify(pixels, 1)
    assert torch.equal(group_tokens(tokens, 2, (4, 8)), patchify(pixels, 2))
    assert torch.equal(ungroup_tokens(group_tokens(tokens, 2, (4, 8)), 2, (4, 8)), tokens)
    assert torch.equal(group_tokens(tokens, 1, (4, 8)), tokens)


def test_hidden_states_of_a_group_stand_at_all_its_tokens() -> None:
    prior = tiny_prior(changed(block_patches=[1, 1, 2]), EVEN_LATENT)
    hidden = prior.at(0.3)(tiny_latents(4, EVEN_LATENT), LABELS, Tap(block=2, layer=0)).hidden
    by_place = hidden.unflatten(1, EVEN_LATENT.grid)
    for row, column in ((0, 0), (0, 1), (1, 1)):
        assert torch.equal(by_place[:, row, column], by_place[:, 1, 0])
        assert torch.equal(by_place[:, row, 2 + column], by_place[:, 0, 3])
    assert not torch.allclose(by_place[:, 0, 0], by_place[:, 0, 2])


SHARED = changed(blocks=[1, 2, 3], shared_layers=2)


def test_a_backbone_is_one_and_comes_first_in_every_block() -> None:
    prior = tiny_prior(SHARED)
    assert [len(block.transformer.stack) for block in prior.blocks] == [2, 2, 3] == SHARED.depths
    for block in prior.blocks:
        assert block.transformer.stack[:2] == list(prior.shared)
    assert sorted(name for name in prior.state_dict() if "layers" in name or "shared" in name) == sorted(
        f"{place}.{name}"
        for place in ("shared.0", "shared.1", "blocks.2.transformer.layers.0")
        for name in prior.shared[0].state_dict()
    )


def test_a_backbone_saves_the_layers_that_are_shared() -> None:
    def count(spec: ItarflowSpec) -> int:
        return sum(parameter.numel() for parameter in Itarflow(spec, LATENT, CLASSES).parameters())

    layer = sum(parameter.numel() for parameter in Itarflow(SHARED, LATENT, CLASSES).shared[0].parameters())
    assert count(changed(blocks=[2, 2, 3])) - count(SHARED) == 4 * layer


def test_a_copy_has_a_backbone_of_its_own() -> None:
    prior = tiny_prior(SHARED)
    twin = copy.deepcopy(prior)
    assert twin.blocks[1].transformer.shared[0] is twin.shared[0] is not prior.shared[0]


# -- guided sampling -------------------------------------------------------------------------------------------------


@every_example
@pytest.mark.parametrize(
    "guidance",
    [
        LinearGuidance(weight=1.3, space="scale"),
        LinearGuidance(weight=1.3, space="scale", blocks=2, temperature=0.5, floor=0.5),
        GaussianProductGuidance(weight=2.0),
        GaussianProductGuidance(weight=2.0, blocks=2),
    ],
    ids=["linear", "linear, two blocks", "product", "product, two blocks"],
)
@torch.no_grad()
@pytest.mark.slow
def test_guided_steps_equal_parallel_predictions(spec: ItarflowSpec, guidance: AnyGuidance) -> None:
    prior, z = tiny_prior(spec, latent_for(spec)), 0.5 * tiny_latents(4, latent_for(spec))
    guide = guidance_rule(guidance)
    sampled = prior.at(LEVELS).inverse(z, LABELS, guide)
    torch.testing.assert_close(sampled, step_by_step(prior, z, guide), atol=1e-9, rtol=1e-9)
    if spec.takes_classes:
        assert (sampled - prior.at(LEVELS).inverse(z, LABELS)).abs().max() > 1e-4


@torch.no_grad()
def test_scales_turn_negative_as_in_the_release_or_stop_at_a_floor() -> None:
    """Samples at a weight where both happen are those of σ + g (σ − σ_u), written out, in a parallel pass a token."""
    prior, z, weight = tiny_prior(ITARFLOW), 0.5 * tiny_latents(4), 40.0
    samples = []
    for floor in (None, 0.25):
        guide = guidance_rule(LinearGuidance(weight=weight, space="scale", blocks="deep", anneal=False, floor=floor))
        sampled = prior.at(LEVELS).inverse(z, LABELS, guide)
        block, last = prior.blocks[-1], len(prior.blocks) - 1
        ordered = z.flip(1) if block.reverse else z
        u, below = ordered.clone(), 0
        for token in range(1, z.shape[1]):
            conditional = predicted(block, u, LABELS, level=LEVELS)
            null = predicted(block, u, torch.full_like(LABELS, NULL_CLASS), level=LEVELS)
            shift = (1 + weight) * conditional.shift[:, token] - weight * null.shift[:, token]
            own = conditional.log_scale[:, token].exp()
            scale = (1 + weight) * own - weight * null.log_scale[:, token].exp()
            least = -torch.inf if floor is None else floor * own
            below += int((scale < (0 if floor is None else least)).sum())
            u[:, token] = ordered[:, token] * scale.maximum(torch.as_tensor(least)) + shift
        u = u.flip(1) if block.reverse else u
        for index in range(last - 1, -1, -1):
            u = prior.blocks[index].inverse(u, LABELS, None, LEVELS)
        torch.testing.assert_close(sampled, u / prior.input_scale, atol=1e-9, rtol=1e-9)
        assert below > 0 and guide.take_counts() == {"guided": u[:, 1:].numel(), "overshot": below}
        samples.append(sampled)
    assert (samples[0] - samples[1]).abs().max() > 0.01


def step_by_step(prior: Itarflow, z: Tensor, guide: Guidance) -> Tensor:
    """Token by token with a whole parallel pass for each branch and token."""
    for index in range(len(prior.blocks) - 1, -1, -1):
        block = prior.blocks[index]
        z = block.cut(z)
        z = z.flip(1) if block.reverse else z
        u, steps = z.clone(), z.shape[1] - 1
        for token in range(1, z.shape[1]):
            conditional = predicted(block, u, LABELS, level=LEVELS)
            null = predicted(block, u, guide.null_labels(LABELS), guide.temperature, LEVELS)
            affine = Affine(conditional.shift[:, token], conditional.log_scale[:, token])
            if guide.guides(index, len(prior.blocks)):
                other = Affine(null.shift[:, token], null.log_scale[:, token])
                affine = guide.combine(affine, other, token - 1, steps)
            u[:, token] = affine.denormalise(z[:, token])
        z = block.join(u.flip(1) if block.reverse else u)
    return z / prior.input_scale


# -- specs -----------------------------------------------------------------------------------------------------------


def said(spec: ItarflowSpec) -> list[tuple[Any, str]]:
    return [(problem.path, problem.message) for problem in all_problems(spec)]


def test_contradictions_are_told() -> None:
    assert not any(said(spec) for spec in EXAMPLES)
    assert said(changed(head_width=3)) == [(("head_width",), "heads of 3 do not divide the width 8")]
    assert said(changed(block_widths=[8, 10, 12])) == [(("head_width",), "heads of 4 do not divide the width 10")]
    assert said(changed(block_widths=[8, 8])) == [(("block_widths",), "2 values for 3 blocks")]
    assert said(changed(block_patches=[1] * 4)) == [(("block_patches",), "4 values for 3 blocks")]
    alike = "a shared backbone needs blocks that are alike"
    assert said(changed(shared_layers=1, block_widths=[8, 8, 4])) == [(("block_widths",), alike)]
    assert said(changed(shared_layers=1, block_patches=[1, 1, 2])) == [(("block_patches",), alike)]
    assert said(changed(shared_layers=1, block_widths=[8, 8, 8])) == []


def test_patches_have_to_tile_a_grid() -> None:
    spec = changed(block_patches=[1, 2, 1])
    (problem,) = spec.latent_problems(LATENT)
    assert (problem.path, problem.message) == (
        ("block_patches", 1),
        "squares of 2 do not tile a grid of 2 × 3 tokens",
    )
    (problem,) = spec.latent_problems(LatentShape(tokens=6, channels=3))
    assert problem.message == "patches need a grid, and 6 tokens have none"
    assert not list(spec.latent_problems(EVEN_LATENT))
