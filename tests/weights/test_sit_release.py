"""SiT as released (willisma/SiT) and REPA-E's network and samplers, to the recorded digit; errors that name tensors.

`recordings/sit_reference.npz` and `repa_e_reference.npz` hold what the public code computes on small random weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from parts import image_draws
from torch import Tensor

from mimflow.errors import ArtifactError
from mimflow.nn.path import path_coefficients
from mimflow.nn.sinusoid import FREQUENCY_FEATURES, grid_sinusoid, sinusoid
from mimflow.objectives.terms.alignment import Aligner
from mimflow.objectives.terms.spec import Alignment
from mimflow.outputs.velocity.output import OdeSampler, ReverseSde, diffusion, integrate, velocity_field
from mimflow.outputs.velocity.spec import Diffusion, LastStep, OdeSpec, SdeSpec, VelocityGuidance
from mimflow.priors import velocity as velocity_module
from mimflow.priors.base import NULL_CLASS, Tap
from mimflow.priors.sit.model import Sit
from mimflow.priors.sit.release import load_sit, sit_state
from mimflow.priors.sit.spec import SitSpec
from mimflow.spec.shapes import LatentShape

pytestmark = pytest.mark.slow

RECORDINGS = Path(__file__).parents[1] / "recordings"
SIT, REPA_E = (
    {name: torch.from_numpy(array) for name, array in np.load(RECORDINGS / f"{name}_reference.npz").items()}
    for name in ("sit", "repa_e")
)
ATOL = 2e-5
LATENT = LatentShape(64, 4, (8, 8))
CLASSES = 10
THREE = VelocityGuidance(weight=3.0, channels=3)
"""The release's scale of 4."""
ALL = VelocityGuidance(weight=3.0)
FORMS = ("constant", "sbdm", "sigma", "linear", "decreasing", "increasing-decreasing")


def public(reference: dict[str, Tensor] = SIT) -> dict[str, Tensor]:
    """What a prior holds, without REPA-E's projector and the norm of its latents."""
    state = {name.removeprefix("sd/"): tensor for name, tensor in reference.items() if name.startswith("sd/")}
    return {name: tensor for name, tensor in state.items() if not name.startswith(("projectors.", "bn."))}


def tokens(maps: Tensor) -> Tensor:
    """(B, C, H, W) → (B, tokens, C)."""
    return maps.flatten(2).transpose(1, 2)


def same(found: Tensor, recorded: Tensor, rtol: float = 0.0) -> None:
    """Tokens as the maps that were recorded."""
    torch.testing.assert_close(found.transpose(1, 2).unflatten(2, (8, 8)), recorded, atol=ATOL, rtol=rtol)


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def prior() -> Sit:
    return load_sit(public(), LATENT, head_width=16)


def released_order(hidden: Tensor) -> Tensor:
    """The last axis as [column's sines, its cosines, row's sines, its cosines], of [row's cosines, its sines, …]."""
    row_cosines, row_sines, column_cosines, column_sines = hidden.chunk(4, dim=-1)
    return torch.cat([column_sines, column_cosines, row_sines, row_cosines], dim=-1)


# -- the network -----------------------------------------------------------------------------------------------------


def test_positions_are_the_released_ones_in_another_order() -> None:
    for table, grid, width in (("sd/pos_embed", 4, 64), ("pos_table/d16_g6", 6, 16)):
        ours = grid_sinusoid((grid, grid), width)
        torch.testing.assert_close(released_order(ours), SIT[table].view(-1, width), atol=ATOL, rtol=0)


def test_the_sizes_are_read_from_the_tensors(prior: Sit) -> None:
    assert prior.spec == SitSpec(width=64, layers=2, head_width=16, expansion=4, patch_size=2)
    assert prior.class_embed.shape == (CLASSES + 1, 64)


def test_the_velocity_and_what_leads_to_it(prior: Sit) -> None:
    x, t, y = tokens(SIT["x"]), SIT["t"], SIT["y"]
    torch.testing.assert_close(sinusoid(t, FREQUENCY_FEATURES), SIT["t_freq"], atol=ATOL, rtol=0)
    torch.testing.assert_close(prior.time_embed(t), SIT["t_emb"], atol=ATOL, rtol=0)
    torch.testing.assert_close(prior.time_embed(t) + prior.class_embed[y], SIT["c"], atol=ATOL, rtol=0)
    same(prior(x, t, y).velocity, SIT["v"])
    for layer in (0, 1):
        hidden = prior(x, t, y, Tap(block=0, layer=layer)).hidden
        torch.testing.assert_close(released_order(hidden), SIT[f"hidden/{layer}"], atol=ATOL, rtol=0)


def test_the_null_class_is_the_last(prior: Sit) -> None:
    x, t = tokens(SIT["x"]), torch.full((6,), 0.37)
    same(prior(x, t, SIT["ysample"]).velocity, SIT["v_cond_t037"])
    same(prior(x, t, torch.full((6,), NULL_CLASS)).velocity, SIT["v_null_t037"])


def test_guidance_is_of_three_channels(prior: Sit) -> None:
    guided = velocity_field(prior, SIT["ysample"], THREE)(tokens(SIT["x"]), 0.37)
    same(guided, SIT["v_cfg4_t037"][:6])


@pytest.mark.parametrize("path", ["linear", "gvp"])
def test_losses_scores_and_diffusions(prior: Sit, path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    noise, data, t, labels = (SIT[f"loss/{name}"] for name in ("x0", "x1", "t", "y"))
    noise, data = tokens(noise), tokens(data)
    recorded = {name.removeprefix(f"loss/{path}/"): tensor for name, tensor in SIT.items()}
    at = path_coefficients(path, t[:, None, None])
    x = at.mix(data, noise)
    same(x, recorded["xt"])
    same(at.velocity(data, noise), recorded["ut"])
    predicted = prior(x, t, labels).velocity
    same(predicted, recorded["pred"])
    same(at.score(x, predicted), recorded["score"], rtol=ATOL)  # up to 100 near t = 1
    for form in FORMS:
        spec = Diffusion(kind=form.replace("-", "_"))  # type: ignore[arg-type]
        found = torch.stack([diffusion(spec, path_coefficients(path, one), one.item()) for one in t])
        torch.testing.assert_close(found, recorded[f"diffusion/{form}"], atol=ATOL, rtol=ATOL)
    monkeypatch.setattr(torch, "randn_like", lambda like: noise)
    monkeypatch.setattr(velocity_module, "draw_time", lambda law, latents: t[:, None, None])
    monkeypatch.setattr(prior, "spec", prior.spec.model_copy(update={"path": path}))
    loss = prior.training_loss(data, labels).loss
    torch.testing.assert_close(loss, recorded["loss"].mean(), atol=ATOL, rtol=0)


@pytest.mark.parametrize(
    ("size", "width", "layers"), [("S", 384, 12), ("B", 768, 12), ("L", 1024, 24), ("XL", 1152, 28)]
)
def test_counts_are_the_released_ones_less_positions_and_variances(size: str, width: int, layers: int) -> None:
    spec = SitSpec(width=width, layers=layers, patch_size=2)
    with torch.device("meta"):
        prior = Sit(spec, LatentShape(1024, 4, (32, 32)), 1000)
    count = sum(parameter.numel() for parameter in prior.parameters())
    positions, variances = 256 * width, 16 * (width + 1)
    assert count + positions + variances == SIT[f"parameters/{size}2"]


# -- the ODE ---------------------------------------------------------------------------------------------------------


def ode(prior: Sit, guidance: VelocityGuidance | None = None, **fields: Any) -> Tensor:
    """From the recorded noise; 9 grid points of the release are 8 steps."""
    steps = {} if fields["method"] == "dopri5" else {"steps": int(SIT["steps"]) - 1}
    velocity = velocity_field(prior, SIT["ysample"], guidance)
    return integrate(velocity, tokens(SIT["noise"]), OdeSpec(**steps, **fields))


@pytest.mark.parametrize("method", ["euler", "midpoint", "heun2", "heun3", "rk4", "dopri5"])
def test_methods_of_the_release(prior: Sit, method: str) -> None:
    same(ode(prior, method=method), SIT[f"ode/{method}"])


@pytest.mark.parametrize("method", ["euler", "heun2"])
def test_guided_methods_of_the_release(prior: Sit, method: str) -> None:
    same(ode(prior, THREE, method=method), SIT[f"ode/{method}_cfg4"])


@pytest.mark.parametrize(
    ("name", "method", "guidance"),
    [
        ("euler", "euler", None),
        ("heun", "heun", None),
        ("euler_cfg4", "euler", ALL),
        ("heun_cfg4", "heun", ALL),
        # Its times run the other way, and this interval is its own mirror image.
        ("euler_cfg4_interval", "euler", ALL.model_copy(update={"low": 0.25, "high": 0.75})),
    ],
)
def test_odes_of_repa_e(prior: Sit, name: str, method: str, guidance: VelocityGuidance | None) -> None:
    same(ode(prior, guidance, method=method), SIT[f"repae/{name}"])


def test_a_tighter_tolerance_comes_nearer_to_the_flow(prior: Sit) -> None:
    exact = ode(prior, method="dopri5", relative_tolerance=1e-6)
    loose, tight = (ode(prior, method="dopri5", relative_tolerance=relative) for relative in (1e-2, 1e-4))
    assert (tight - exact).abs().max() < 0.1 * (loose - exact).abs().max()


def test_samples_share_their_steps_unless_each_has_its_own_error(prior: Sit) -> None:
    def first(error: Any, count: int) -> Tensor:
        """The first of so many samples."""
        spec = OdeSpec(method="dopri5", error=error, relative_tolerance=1e-2)
        return OdeSampler(spec).latents(prior, SIT["ysample"][:count], image_draws(count))[0]

    torch.testing.assert_close(first("sample", 6), first("sample", 1), atol=1e-6, rtol=0)
    assert (first("batch", 6) - first("batch", 1)).abs().max() > 1e-4


# -- the SDE ---------------------------------------------------------------------------------------------------------


def sde(prior: Sit, spec: SdeSpec, noises: Tensor) -> Tensor:
    """From the recorded noise, with one noise of (8, B, C, H, W) a step."""
    given = iter(noises)
    velocity = velocity_field(prior, SIT["ysample"], spec.guidance)
    latents = ReverseSde(spec, prior, velocity).integrate(tokens(SIT["noise"]), lambda x: tokens(next(given)))
    assert next(given, None) is None
    return latents


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("mean", {}),
        ("tweedie", {"last": LastStep(kind="tweedie")}),
        ("euler", {"last": LastStep(kind="euler")}),
        ("none", {"last": None}),
        ("mean_constant", {"diffusion": Diffusion(kind="constant")}),
        ("mean_linear", {"diffusion": Diffusion(kind="linear")}),
        ("mean_decreasing", {"diffusion": Diffusion(kind="decreasing")}),
        ("mean_increasing_decreasing", {"diffusion": Diffusion(kind="increasing_decreasing")}),
        ("mean_norm05_size01", {"diffusion": Diffusion(scale=0.5), "last": LastStep(size=0.1)}),
        ("heun_mean", {"method": "heun"}),
        ("mean_cfg4", {"guidance": THREE}),
    ],
)
def test_sdes_of_the_release(prior: Sit, name: str, fields: dict[str, Any]) -> None:
    noises = SIT["sde/noise_cfg4" if "guidance" in fields else "sde/noise"]
    same(sde(prior, SdeSpec(steps=8, **fields), noises), SIT[f"sde/{name}"], rtol=ATOL)


@pytest.mark.parametrize("last", ["mean", "tweedie"])
def test_sdes_of_the_release_on_the_other_path(prior: Sit, last: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prior, "spec", prior.spec.model_copy(update={"path": "gvp"}))
    spec = SdeSpec(steps=8, last=LastStep(kind=last))
    same(sde(prior, spec, SIT["sde/noise"]), SIT[f"sde/gvp_{last}"], rtol=ATOL)


@pytest.mark.parametrize(("name", "guidance"), [("em", None), ("em_cfg4", ALL)])
def test_sdes_of_repa_e(prior: Sit, name: str, guidance: VelocityGuidance | None) -> None:
    same(sde(prior, SdeSpec(steps=8, guidance=guidance), SIT["sde/noise"]), SIT[f"repae/{name}"], rtol=ATOL)


# -- REPA-E's network ------------------------------------------------------------------------------------------------


def test_the_network_of_repa_e() -> None:
    """Its times run from data to noise, which is the network's own affair: it has nothing of a direction in it."""
    prior = load_sit(public(REPA_E), LATENT, head_width=16)
    noise, data, t = tokens(REPA_E["noise"]), tokens(REPA_E["normalised"]), REPA_E["t"][:, None, None]
    at = path_coefficients("linear", 1 - t)
    x = at.mix(data, noise)
    same(x, REPA_E["xt"])
    velocity, hidden = prior(x, REPA_E["t"], REPA_E["y"], Tap(block=0, layer=0))
    same(velocity, REPA_E["output"])
    same(velocity, REPA_E["velocity"])
    loss = (velocity + at.velocity(data, noise)).square().flatten(1).mean(1)
    torch.testing.assert_close(loss, REPA_E["denoising_loss"], atol=ATOL, rtol=0)
    assert hidden is not None
    torch.testing.assert_close(released_order(hidden), REPA_E["hidden"], atol=ATOL, rtol=0)


def test_the_alignment_of_repa_e() -> None:
    spec = Alignment.model_construct(
        mode="repeat", projector=[80, 80], network=SimpleNamespace(channels=48, side=4), centred=False
    )
    aligner = Aligner(spec, width=64, tokens=16)
    aligner.projector.load_state_dict(
        {name.removeprefix("sd/projectors.0."): t for name, t in REPA_E.items() if name.startswith("sd/projectors.0.")}
    )
    projected = aligner.projector(REPA_E["hidden"])
    torch.testing.assert_close(projected, REPA_E["zs_tilde/0"], atol=ATOL, rtol=0)
    loss = aligner(REPA_E["hidden"], REPA_E["zs/0"]).own
    torch.testing.assert_close(loss, REPA_E["proj_loss"], atol=ATOL, rtol=0)
    torch.testing.assert_close(loss, REPA_E["proj_loss/0"], atol=ATOL, rtol=0)


# -- what does not fit -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda state: state.pop("blocks.1.attn.proj.bias"),
            r"sit checkpoint does not fit: missing blocks\.1\.attn\.proj\.bias$",
        ),
        (
            lambda state: state.update({"blocks.0.attn.q_norm.weight": torch.zeros(16)}),
            r"does not fit: unexpected blocks\.0\.attn\.q_norm\.weight$",
        ),
        (
            lambda state: state.update({"final_layer.linear.bias": torch.zeros(24)}),
            r"mis-shaped final_layer\.linear\.bias is \(24,\) where \(32,\) fits$",
        ),
        (
            lambda state: state.update({"pos_embed": torch.zeros(1, 9, 64)}),
            r"mis-shaped pos_embed is \(1, 9, 64\) where \(1, 16, 64\) fits$",
        ),
        (
            lambda state: state.update({"pos_embed": grid_sinusoid((4, 4), 64)[None]}),
            r"sit checkpoint: pos_embed is not the table of sines and cosines of its grid$",
        ),
        (lambda state: state.pop("pos_embed"), r"does not fit: missing pos_embed$"),
        (
            lambda state: state.update({"x_embedder.proj.weight": torch.zeros(64, 16)}),
            r"mis-shaped x_embedder\.proj\.weight is \(64, 16\), not of 4 axes$",
        ),
    ],
    ids=["missing", "unexpected", "outputs", "positions' count", "positions' order", "no positions", "patches"],
)
def test_tensors_that_do_not_fit_are_named(change: Callable[[dict[str, Tensor]], object], message: str) -> None:
    state = public()
    change(state)
    with pytest.raises(ArtifactError, match=message):
        load_sit(state, LATENT, head_width=16)


def test_learned_positions_start_from_the_released_table() -> None:
    spec = SitSpec(width=64, layers=2, head_width=16, patch_size=2, position="learned")
    prior = Sit(spec, LATENT, CLASSES)
    prior.load_state_dict(sit_state(public(), spec, LATENT, CLASSES))
    same(prior(tokens(SIT["x"]), SIT["t"], SIT["y"]).velocity, SIT["v"])
