"""The class-Gaussian baseline's spec."""

from __future__ import annotations

from typing import Literal

from mimflow.priors.spec import PriorSpec
from mimflow.spec.base import Positive


class ClassGaussianSpec(PriorSpec):
    """A Gaussian with full covariance for each class over all latent dimensions, as the flow z = L⁻¹(x − μ).

    The null class is the Gaussian of the pooled data.
    """

    kind: Literal["class_gaussian"] = "class_gaussian"
    ridge: Positive = 1e-3
    """Variance added to every dimension, so that a class of fewer images than dimensions has a density."""

    closed_form = True
