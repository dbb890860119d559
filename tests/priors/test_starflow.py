"""The STARFlow family beyond the contract: its start, its options, and its published sizes."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from parts import CLASSES, LATENT, PRIOR_EXAMPLES, STARFLOW, label_of, tiny_latents, tiny_prior

from mimflow.nn.rotary import grid_rotation
from mimflow.priors.base import NULL_CLASS, Tap
from mimflow.priors.block import Conditioning
from mimflow.priors.starflow.model import Starflow
from mimflow.priors.starflow.spec import StarflowSpec
from mimflow.spec.base import all_problems
from mimflow.spec.shapes import LatentShape

LABELS = torch.tensor([0, 1, NULL_CLASS])
EXAMPLES: Any = PRIOR_EXAMPLES["starflow"]


def changed(**fields: Any) -> StarflowSpec:
    return STARFLOW.model_copy(update=fields)


@pytest.mark.parametrize("spec", EXAMPLES, ids=label_of)
def test_starts_as_the_identity(spec: StarflowSpec) -> None:
    latents = tiny_latents(3)
    z, logdet, _ = Starflow(spec, LATENT, CLASSES).double()(latents, LABELS)
    torch.testing.assert_close(z, latents, atol=1e-12, rtol=0)
    torch.testing.assert_close(logdet, torch.zeros(3).double(), atol=1e-12, rtol=0)


def test_modulated_layers_start_as_the_identity() -> None:
    block = Starflow(changed(conditioning="ada_ln_zero"), LATENT, CLASSES).blocks[-1]
    h = torch.randn(3, 6, 16)
    *_, last = block.transformer.layer_outputs(h, modulations=block.conditioned(LABELS[:, None]).modulations)
    assert torch.equal(last, h)


def test_blocks_without_layers_are_left_out_and_keep_their_number() -> None:
    prior = Starflow(changed(blocks=[1, 0, 0, 2]), LATENT, CLASSES)
    assert [(block.index, block.reverse) for block in prior.blocks] == [(0, False), (3, True)]
    reverse = Starflow(changed(blocks=[1, 0, 0, 2], order="reverse"), LATENT, CLASSES)
    assert [block.reverse for block in reverse.blocks] == [True, False]


def test_blocks_without_layers_give_what_they_were_given() -> None:
    prior, latents = tiny_prior(changed(blocks=[0, 1, 0, 2])), tiny_latents(3)
    outputs = list(prior.by_block(latents, LABELS))
    assert len(outputs) == 4
    assert torch.equal(outputs[0].z, latents)
    assert torch.equal(outputs[2].z, outputs[1].z)
    assert torch.equal(outputs[2].logdet, outputs[1].logdet)
    assert torch.equal(outputs[3].z, prior(latents, LABELS).z)


def test_the_deep_block_or_all_see_a_prefix() -> None:
    prior = tiny_prior(changed(conditioning="prefix"))
    u, other = tiny_latents(3), torch.tensor([2, 2, 2])
    agree = [torch.equal(block(u, LABELS).z, block(u, other).z) for block in prior.blocks]
    assert agree == [True, True, False]
    everywhere = tiny_prior(changed(conditioning="prefix", prefix_blocks="all"))
    assert not any(torch.equal(block(u, LABELS).z, block(u, other).z) for block in everywhere.blocks)


@pytest.mark.parametrize(("start", "changes"), [("shift", False), ("sos", True)])
def test_a_start_token_predicts_the_first_token(start: str, changes: bool) -> None:
    block = tiny_prior(changed(start=start)).blocks[0]
    affine, _ = block.predict(tiny_latents(3), LABELS)
    assert affine.shift[:, 0].any() == changes
    assert affine.log_scale[:, 0].any() == changes
    assert affine.shift[:, 1].any()


@pytest.mark.parametrize("conditioning", ["ada_ln_zero", "prefix"])
def test_the_null_class_has_a_row_of_its_own(conditioning: str) -> None:
    block = tiny_prior(changed(conditioning=conditioning)).blocks[-1]
    assert block.class_embed.shape == (CLASSES + 1, 16)
    assert torch.equal(block._classes(block.class_embed, torch.tensor([NULL_CLASS]))[0], block.class_embed[-1])


def affine_of(spec: StarflowSpec, output: float) -> tuple[float, float]:
    """Scale and shift that a block makes of the same raw output for both."""
    affine = tiny_prior(spec).blocks[0].affine(torch.full((1, 1, 6), output, dtype=torch.float64))
    return affine.log_scale.exp()[0, 0, 0].item(), affine.shift[0, 0, 0].item()


def test_scales_known_answers() -> None:
    assert affine_of(changed(), 0.7) == pytest.approx((math.exp(0.7), 0.7))
    softplus = math.log(1 + math.exp(0.7 + math.log(math.e - 1)))
    assert affine_of(changed(scale="softplus"), 0.7) == pytest.approx((softplus, 0.7))
    clipped = 2 * math.tanh(0.35)
    assert affine_of(changed(soft_clip=2.0), 0.7) == pytest.approx((math.exp(clipped), clipped))


def test_soft_clip_and_softplus_bound_scale_and_shift_as_in_starflow() -> None:
    spec = changed(scale="softplus", soft_clip=4.0)
    assert affine_of(spec, -1e4) == pytest.approx((0.0310, -4.0), abs=5e-4)
    assert affine_of(spec, 1e4) == pytest.approx((4.552, 4.0), abs=5e-4)


def test_a_final_norm_makes_the_outputs_blind_to_the_size_of_the_last_hidden_states() -> None:
    h = torch.randn(3, 16, generator=torch.Generator().manual_seed(0)).double()
    same = [
        torch.allclose(block.project(h, Conditioning()), block.project(3 * h, Conditioning()), atol=1e-4)
        for block in (tiny_prior(changed(final_norm=norm)).blocks[0] for norm in (False, True))
    ]
    assert same == [False, True]


def test_rotary_positions_do_not_turn_with_a_block_and_a_prefix_stands_at_the_origin() -> None:
    rotated, origin = changed(position="rotary_2d", width=24, head_width=24), torch.tensor([1.0, 0.0]).expand(1, 12, 2)
    forward, backward = Starflow(rotated, LATENT, CLASSES).blocks[:2]
    assert backward.reverse
    assert torch.equal(forward.rotation, grid_rotation(LATENT.grid, 24))
    assert torch.equal(backward.rotation, forward.rotation)
    prefixed = Starflow(rotated.model_copy(update={"conditioning": "prefix"}), LATENT, CLASSES)
    spared = grid_rotation(LATENT.grid, 24, spare=8)
    assert [torch.equal(block.rotation, spared) for block in prefixed.blocks[:2]] == [True, True]
    assert torch.equal(prefixed.blocks[2].rotation, torch.cat([origin, spared]))
    assert not any("rotation" in name for name in prefixed.state_dict())


@pytest.mark.parametrize("spec", EXAMPLES, ids=label_of)
def test_hidden_states_stay_in_single_precision_under_bf16_autocast(spec: StarflowSpec) -> None:
    prior = tiny_prior(spec).float()
    with torch.autocast("cpu", torch.bfloat16):
        assert prior(tiny_latents(3).float(), LABELS, Tap(block=0, layer=0)).hidden.dtype == torch.float32


@pytest.mark.parametrize("spec", EXAMPLES, ids=label_of)
def test_sampling_under_bf16_autocast_stays_near(spec: StarflowSpec) -> None:
    prior, z = tiny_prior(spec).float(), 0.5 * tiny_latents(3).float()
    with torch.autocast("cpu", torch.bfloat16):
        half = prior.inverse(z, LABELS)
        back = prior(half, LABELS).z
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, prior.inverse(z, LABELS), atol=0.1, rtol=0)
    torch.testing.assert_close(back, z, atol=0.1, rtol=0)


PROBLEMS = [
    ({"head_width": 6}, ("head_width",), "heads of 6 do not divide the width 16"),
    ({"blocks": [1, 0]}, ("blocks", 1), "the last block is the deep one, and has no layers"),
    ({"head_width": 2, "position": "rotary_2d"}, ("head_width",), "heads of 2 do not split"),
    (
        {"head_width": 16, "position": "rotary_2d", "conditioning": "prefix"},
        ("head_width",),
        "heads of 16 do not split",
    ),
    ({"rotary_side": 4.0}, ("rotary_side",), "is of rotary positions, and these are learned"),
    ({"prefix_blocks": "all"}, ("prefix_blocks",), "is of a prefix, and there is none"),
    ({"conditioning": "ada_ln_zero", "final_norm": True}, ("final_norm",), "has a final norm of its own"),
]


@pytest.mark.parametrize(("fields", "path", "message"), PROBLEMS)
def test_contradictions_are_named(fields: dict[str, Any], path: tuple[str | int, ...], message: str) -> None:
    (problem,) = all_problems(changed(**fields))
    assert problem.path == path
    assert message in problem.message


def test_rotary_positions_need_a_grid() -> None:
    spec, line = changed(position="rotary_2d"), LatentShape(6, 3)
    (problem,) = spec.latent_problems(line)
    assert problem.path == ("position",)
    assert not list(spec.latent_problems(LATENT))
    assert not list(changed().latent_problems(line))


MIMFLOW: dict[str, Any] = {"width": 1024, "blocks": [2] * 7 + [20]}
SHALLOW = [2] * 5
STARFLOW_XL: dict[str, Any] = {
    "width": 2048,
    "blocks": [*SHALLOW, 18],
    "order": "reverse",
    "position": "rotary_2d",
    "start": "sos",
    "scale": "softplus",
    "soft_clip": 4.0,
    "final_norm": True,
    "conditioning": "prefix",
}


def simflow(width: int, deep: int, head_width: int = 64) -> dict[str, Any]:
    return {"width": width, "blocks": [*SHALLOW, deep], "head_width": head_width, "conditioning": "ada_ln_zero"}


LINE, GRID, SD_VAE = LatentShape(128, 64), LatentShape(256, 64, (16, 16)), LatentShape(1024, 4, (32, 32))
PUBLISHED = [
    pytest.param(MIMFLOW, LINE, 439.1, id="mimflow-l"),
    pytest.param({**MIMFLOW, "gated_attention": True}, LINE, 474.75, id="mimflow-l-gated"),
    pytest.param(simflow(384, 2), GRID, 37.04, id="simflow-s"),
    pytest.param(simflow(768, 2), GRID, 141.31, id="simflow-b"),
    pytest.param(simflow(1024, 14), GRID, 474.86, id="simflow-l"),
    pytest.param(simflow(1152, 18, 72), GRID, 695.31, id="simflow-xl"),
    pytest.param(simflow(1152, 46, 72), GRID, 1364.65, id="simflow-xxl"),
    pytest.param(simflow(1152, 36, 72), GRID, 1125.60, id="simflow-xxl-table8"),
    pytest.param(STARFLOW_XL, SD_VAE, 1412.0, id="starflow-xl"),
]


@pytest.mark.parametrize(("fields", "latent", "millions"), PUBLISHED)
def test_published_sizes(fields: dict[str, Any], latent: LatentShape, millions: float) -> None:
    spec = StarflowSpec(**fields)
    assert not list(all_problems(spec))
    assert not list(spec.latent_problems(latent))
    with torch.device("meta"):
        prior = Starflow(spec, latent, 1000)
    count = sum(parameter.numel() for parameter in prior.parameters())
    decimals = len(str(millions).split(".")[1]) if millions < 1412 else 0
    assert round(count / 1e6, decimals) == millions
