"""Guidance of autoregressive priors: which blocks, how strongly, and how two branches become one.

A prior runs the conditional and the null branch side by side and asks its guidance the rest: it knows no
rule.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from mimflow.nn.affine import Affine, ScaledAffine, at_least_fp32
from mimflow.priors.base import NULL_CLASS
from mimflow.priors.guidance.spec import AnyGuidance, GuidanceSpec, LinearGuidance


class Guidance(ABC):
    """What an autoregressive prior asks while it samples."""

    temperature: float = 1.0
    """Divides the attention logits of the null branch."""

    def __init__(self, spec: GuidanceSpec):
        self.spec = spec

    def guides(self, block: int, blocks: int) -> bool:
        """Whether `block` of `blocks`, counted in the density direction, needs a null branch."""
        if self.spec.weight == 0 or block < blocks - self.spec.guided_of(blocks):
            return False
        return self._within(blocks - 1 - block, blocks, "skip_first_blocks", "skip_last_blocks")

    def null_labels(self, labels: Tensor) -> Tensor:
        """The labels (B,) of the null branch, given those of the conditional one."""
        return torch.full_like(labels, NULL_CLASS)

    def weight(self, step: int, steps: int) -> float:
        """g at `step` = 0 … `steps` − 1 of a block's steps: annealed, it rises to the full weight at the last one."""
        if not self._within(step, steps, "skip_first", "skip_last"):
            return 0.0
        return self.spec.weight * (step + 1) / steps if self.spec.anneal else self.spec.weight

    def take_counts(self) -> dict[str, int]:
        """What was counted since it was last asked, by name: `guided` scales, and those that were `overshot`.

        Of iterations, each counts.
        """
        return {}

    def combine(self, conditional: Affine, null: Affine, step: int, steps: int) -> Affine | ScaledAffine:
        """The guided map of one token, (B, channels), at `step` of a block's `steps`."""
        weight = self.weight(step, steps)
        return self.rule(conditional, null, weight) if weight else conditional

    def combine_all(self, conditional: Affine, null: Affine, first: int, steps: int) -> Affine | ScaledAffine:
        """The guided maps of tokens side by side, (B, tokens, channels), at a block's steps from `first` on."""
        weights = [self.weight(step, steps) for step in range(first, first + conditional.shift.shape[1])]
        if not any(weights):
            return conditional
        return self.rule(conditional, null, conditional.shift.new_tensor(weights)[:, None])

    @abstractmethod
    def rule(self, conditional: Affine, null: Affine, weight: float | Tensor) -> Affine | ScaledAffine:
        """The guided map, (B, channels), at a weight above 0; or (B, tokens, channels) at weights (tokens, 1)."""

    def _within(self, place: int, places: int, skips_first: str, skips_last: str) -> bool:
        """Whether `place` of `places`, in the order of sampling, is guided as far as these two meanings go."""
        if self.spec.interval is None:
            return True
        fraction, meaning = self.spec.interval.fraction, self.spec.interval.meaning
        if meaning == skips_first:
            return place >= fraction * places
        if meaning == skips_last:
            return place < (1 - fraction) * places
        return True


class LinearRule(Guidance):
    """p_g = p_c + g (p_c − p_u) on shift and log-scale (TARFlow, section 2.5).

    Linear in the logarithm of the scale, the guided scale stays positive; linear in the scale (iTARFlow) it may not:
    how often it would end below the floor, or below 0 where there is none, is counted.
    """

    spec: LinearGuidance

    def __init__(self, spec: LinearGuidance):
        super().__init__(spec)
        self.temperature = spec.temperature
        self._guided = 0
        self._overshot: Tensor | int = 0  # left on the device: to ask at each step would be to wait for it

    def null_labels(self, labels: Tensor) -> Tensor:
        return super().null_labels(labels) if self.spec.against == "class" else labels

    def take_counts(self) -> dict[str, int]:
        counts = {"guided": self._guided, "overshot": int(self._overshot)}
        self._guided, self._overshot = 0, 0
        return counts if counts["guided"] else {}

    def rule(self, conditional: Affine, null: Affine, weight: float | Tensor) -> Affine | ScaledAffine:
        shift, log_scale = conditional
        if "shift" in self.spec.what:
            shift = shift + weight * (shift - null.shift)
        if self.spec.on_scale:
            return ScaledAffine(shift, self._scale(at_least_fp32(log_scale), at_least_fp32(null.log_scale), weight))
        if "log_scale" in self.spec.what:
            log_scale = log_scale + weight * (log_scale - null.log_scale)
        return Affine(shift, log_scale)

    def _scale(self, conditional: Tensor, null: Tensor, weight: float | Tensor) -> Tensor:
        """s_c + g (s_c − s_u) = s_c (1 − g (s_u / s_c − 1)) of two log-scales, not below the floor."""
        kept = 1 - weight * torch.expm1(null - conditional)
        self._guided += kept.numel()
        self._overshot = self._overshot + (kept < (self.spec.floor or 0)).sum()
        return conditional.exp() * (kept if self.spec.floor is None else kept.clamp_min(self.spec.floor))


class GaussianProductRule(Guidance):
    """N(μ_c, s_c²)^(1 + w) / N(μ_u, s_u²)^w, normalised, with r = (s_c / s_u)² clipped at 1 (STARFlow, section 3).

    s = s_c / √d and μ = ((1 + w) μ_c − w r μ_u) / d with d = 1 + w − w r ≥ 1.
    """

    def rule(self, conditional: Affine, null: Affine, weight: float | Tensor) -> Affine:
        log_r = 2 * (at_least_fp32(conditional.log_scale) - at_least_fp32(null.log_scale)).clamp_max(0)
        log_d = torch.log1p(-weight * torch.expm1(log_r))
        shift = (1 + weight) * at_least_fp32(conditional.shift) - weight * log_r.exp() * at_least_fp32(null.shift)
        return Affine(shift * (-log_d).exp(), at_least_fp32(conditional.log_scale) - 0.5 * log_d)


def guidance_rule(spec: AnyGuidance) -> Guidance:
    """The rule that a spec describes."""
    return LinearRule(spec) if isinstance(spec, LinearGuidance) else GaussianProductRule(spec)
