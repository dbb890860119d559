"""What every sampler's spec can say, with guidance and denoising."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mimflow.spec.base import NonNegative, Positive, Spec


class LinearGuidance(Spec):
    """Extrapolate shift and log-scale from the null branch: p_g = p_c + g (p_c − p_u) (TARFlow, section 2.5)."""

    kind: Literal["linear"] = "linear"
    weight: NonNegative
    """0 is no guidance."""
    anneal: bool = True
    """Ramp the weight over a block's tokens, g_i = w (i + 1) / (T − 1) for i = 0 … T − 2."""
    what: list[Literal["shift", "log_scale"]] = Field(default=["shift", "log_scale"], min_length=1)
    """Which of the two is guided; the other stays the conditional one."""
    against: Literal["class", "attention_temperature"] = "class"
    """The second branch: the null class, or the same unconditional model with another attention temperature."""
    temperature: Positive = 1.0
    """Divides the attention logits of the second branch."""
    blocks: Literal["all", "deep"] = "all"
    """Which blocks are guided: all, or only the last of the density direction, the first in sampling."""


class ScoreDenoising(Spec):
    """One step of Tweedie's formula, x + σ² ∇ log p(x | y), unguided (TARFlow, section 2.4)."""

    kind: Literal["score"] = "score"
    std: Positive
    """σ: the standard deviation of the training noise, on images in [−1, 1]."""


class SamplerSpec(Spec):
    """Base of the sampler axis."""

    kind: str
    ema: bool = True
    """Sample from the averaged weights of the last phase; `false` takes the weights of its last step."""


class InverseSpec(SamplerSpec):
    """Draw noise and run the flow backwards, token by token; then denoise if asked."""

    kind: Literal["inverse"] = "inverse"
    guidance: LinearGuidance | None = None
    denoise: ScoreDenoising | None = None
    noise_temperature: Positive = 1.0
    """Standard deviation of the noise that the flow starts from."""
