"""What every objective's spec can say, and the input noise that several share."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from mimflow.spec.base import Fraction, Positive, Spec


class ObjectiveSpec(Spec):
    """Base of the objective axis."""

    kind: str

    needs: ClassVar[tuple[str, ...]] = ()
    """The modules of a system that this objective trains or uses."""
    closed_form: ClassVar[bool] = False
    """Whether it is solved by passes over the data rather than by gradient steps."""


class GaussianNoise(Spec):
    """x + σ ε on images in [−1, 1] (TARFlow, section 2.3)."""

    kind: Literal["gaussian"] = "gaussian"
    std: Positive


class UniformDequantisation(Spec):
    """Uniform noise of one grey level, for bits per dimension."""

    kind: Literal["uniform"] = "uniform"


InputNoise = Annotated[GaussianNoise | UniformDequantisation, Field(discriminator="kind")]


class NllSpec(ObjectiveSpec):
    """Negative log-likelihood of noisy latents under the prior, in nats per dimension."""

    kind: Literal["nll"] = "nll"
    noise: InputNoise
    label_drop: Fraction = 0.0
    """Probability that a label is replaced by the null class."""

    needs = ("tokenizer", "prior")


class MomentsSpec(ObjectiveSpec):
    """Fit a prior by the moments of the latents: one pass over the data, no gradient."""

    kind: Literal["moments"] = "moments"

    needs = ("tokenizer", "prior")
    closed_form = True


class CrossEntropySpec(ObjectiveSpec):
    """Classification of the images."""

    kind: Literal["cross_entropy"] = "cross_entropy"
    label_smoothing: Fraction = 0.0

    needs = ("classifier",)
