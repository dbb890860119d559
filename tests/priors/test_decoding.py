"""Ways of running a flow backwards: in single precision, and by iterations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from parts import PRIOR_EXAMPLES, TARFLOW, flattened, label_of, latent_for, levels_of, tiny_latents, tiny_prior
from torch import Tensor

from mimflow.nn.transformer import Transformer
from mimflow.outputs.inverse.spec import InverseSpec
from mimflow.priors.autoregressive import AutoregressivePrior
from mimflow.priors.base import NULL_CLASS, GuidablePrior
from mimflow.priors.decoding.spec import JacobiDecoding
from mimflow.priors.guidance.rules import guidance_rule
from mimflow.priors.guidance.spec import AnyGuidance, GaussianProductGuidance, GuidanceInterval, LinearGuidance
from mimflow.priors.registry import PRIORS
from mimflow.priors.spec import PriorSpec
from mimflow.spec.shapes import LatentShape
from mimflow.system.spec import System

LABELS = torch.tensor([0, 2, NULL_CLASS])
RULES: dict[str, AnyGuidance | None] = {
    "unguided": None,
    "linear": LinearGuidance(weight=1.5, interval=GuidanceInterval(fraction=0.5)),
    "temperature": LinearGuidance(weight=1.5, against="attention_temperature", temperature=0.5),
    "scale": LinearGuidance(weight=1.5, space="scale", floor=0.001),
    "product": GaussianProductGuidance(weight=1.5, blocks="all"),
}
AUTOREGRESSIVE = [
    spec for spec in flattened(PRIOR_EXAMPLES) if isinstance(tiny_prior(spec, latent_for(spec)), AutoregressivePrior)
]
every_prior = pytest.mark.parametrize("spec", AUTOREGRESSIVE, ids=label_of)
every_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)


def at_a_level(prior: AutoregressivePrior, spec: PriorSpec) -> GuidablePrior:
    """The prior at its first noise level, or as it is."""
    level = levels_of(spec)[0]
    return prior if level is None else prior.at(level)  # type: ignore[return-value]


def inverted(prior: GuidablePrior, z: Tensor, rule: AnyGuidance | None, **ways: Any) -> Tensor:
    return prior.inverse(z, LABELS, None if rule is None else guidance_rule(rule), **ways)


def test_every_kind_of_autoregressive_prior_is_here() -> None:
    assert {spec.kind for spec in AUTOREGRESSIVE} == {"tarflow", "starflow", "itarflow"} <= set(PRIORS)


@every_prior
@every_rule
def test_samples_in_single_precision_are_near_those_in_double(spec: PriorSpec, rule: AnyGuidance | None) -> None:
    prior, z = tiny_prior(spec, latent_for(spec)), tiny_latents(len(LABELS), latent_for(spec))
    expected = inverted(at_a_level(prior, spec), z, rule)
    single = inverted(at_a_level(prior.float(), spec), z.float(), rule)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), expected, atol=2e-5, rtol=0)


@every_prior
def test_samples_in_half_precision_stay_near(spec: PriorSpec) -> None:
    prior, z = tiny_prior(spec, latent_for(spec)).float(), 0.5 * tiny_latents(len(LABELS), latent_for(spec)).float()
    expected = inverted(at_a_level(prior, spec), z, RULES["linear"])
    for decoding in (None, JacobiDecoding(chunk=2)):
        with torch.autocast("cpu", torch.bfloat16):
            half = inverted(at_a_level(prior, spec), z, RULES["linear"], decoding=decoding)
        assert half.dtype == torch.float32
        torch.testing.assert_close(half, expected, atol=0.2, rtol=0)


@every_prior
@every_rule
def test_iterations_end_in_what_token_by_token_gives(spec: PriorSpec, rule: AnyGuidance | None) -> None:
    prior, z = tiny_prior(spec, latent_for(spec)), tiny_latents(len(LABELS), latent_for(spec))
    flow = at_a_level(prior, spec)
    expected = inverted(flow, z, rule)
    for chunk in (None, 2):
        found = inverted(flow, z, rule, decoding=JacobiDecoding(chunk=chunk))
        torch.testing.assert_close(found, expected, atol=1e-9, rtol=0)


def test_a_tolerance_ends_iterations_early_and_each_image_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    latent = LatentShape(32, 2)
    prior, z = tiny_prior(TARFLOW, latent), tiny_latents(len(LABELS), latent)
    asked: list[int] = []
    extend = Transformer.extend

    def counting(self: Transformer, h: Tensor, *arguments: Any, **options: Any) -> Tensor:
        asked.append(h.shape[1])
        return extend(self, h, *arguments, **options)

    monkeypatch.setattr(Transformer, "extend", counting)
    expected = prior.inverse(z, LABELS)
    assert not asked
    near = prior.inverse(z, LABELS, decoding=JacobiDecoding(tolerance=1e-3))
    assert 2 * len(prior.blocks) <= len(asked) < 31 * len(prior.blocks) / 2
    assert set(asked) == {31}
    assert 0 < (near - expected).abs().max() < 0.1
    for index in range(len(LABELS)):
        chosen = slice(index, index + 1)
        alone = prior.inverse(z[chosen], LABELS[chosen], decoding=JacobiDecoding(tolerance=1e-3))
        torch.testing.assert_close(alone, near[chosen], atol=1e-9, rtol=0)


def test_what_is_not_finite_ends_too() -> None:
    prior, z = tiny_prior(TARFLOW), tiny_latents(len(LABELS))
    z[0] = torch.nan
    found, expected = prior.inverse(z, LABELS, decoding=JacobiDecoding()), prior.inverse(z, LABELS)
    assert found[0].isnan().all()
    torch.testing.assert_close(found[1:], expected[1:], atol=1e-9, rtol=0)


def test_iterations_are_of_autoregressive_blocks_and_in_the_key_only_where_they_are_asked_for() -> None:
    assert "decoding" not in InverseSpec().identity()
    spec = InverseSpec(decoding=JacobiDecoding(chunk=16))
    assert spec.identity()["decoding"] == {"kind": "jacobi", "chunk": 16, "tolerance": 0.0}
    assert not list(spec.system_problems(System(prior=TARFLOW)))
    (problem,) = spec.system_problems(System(prior=PRIOR_EXAMPLES["class_gaussian"][0]))
    assert problem.path == ("decoding",)
