"""One Gaussian per class, fitted in closed form."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from mimflow.errors import DataError
from mimflow.nn.draws import Draws
from mimflow.priors.base import FlowOutput, FlowPrior
from mimflow.priors.class_gaussian.spec import ClassGaussianSpec
from mimflow.priors.spec import Tap
from mimflow.spec.shapes import LatentShape


class ClassGaussian(FlowPrior):
    """z = L⁻¹ (x − μ) with the mean μ and the Cholesky factor L of the label's class; no parameters to train.

    Before `fit`, every class is standard normal. The last row of the buffers is the null class, the pooled
    data, which `NULL_CLASS` = −1 indexes.
    """

    mean: Tensor
    cholesky: Tensor

    def __init__(self, spec: ClassGaussianSpec, latent: LatentShape, num_classes: int):
        super().__init__()
        self.ridge = spec.ridge
        self.latent = latent
        rows, dimensions = num_classes + 1, latent.dimensions
        self.register_buffer("mean", torch.zeros(rows, dimensions))
        self.register_buffer("cholesky", torch.eye(dimensions).repeat(rows, 1, 1))

    @torch.no_grad()
    def fit(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Maximum likelihood plus the ridge, from batches of latents (B, T, C) and labels (B,), in one pass.

        Samples of the null class count for the pooled Gaussian only. Raises DataError for a class without
        samples.
        """
        rows, dimensions = self.mean.shape
        count = torch.zeros(rows, dtype=torch.float64)
        total = torch.zeros(rows, dimensions, dtype=torch.float64)
        moment = torch.zeros(rows, dimensions, dimensions, dtype=torch.float64)
        for latents, labels in batches:
            x = latents.flatten(1).to("cpu", torch.float64)
            for label in labels.unique().tolist():
                chosen = x[labels.cpu() == label]
                count[label] += len(chosen)
                total[label] += chosen.sum(0)
                moment[label] += chosen.T @ chosen
        # So far the last row holds the samples that came with the null label; now it pools all.
        count[-1], total[-1], moment[-1] = count.sum(), total.sum(0), moment.sum(0)
        if not count.all():
            empty = [label for label, number in enumerate(count[:-1].tolist()) if number == 0]
            raise DataError(f"no image of class {empty} to fit a Gaussian to, {int(count[-1])} images in all")
        mean = total / count[:, None]
        covariance = moment / count[:, None, None] - mean[:, :, None] * mean[:, None, :]
        covariance.diagonal(dim1=1, dim2=2).add_(self.ridge)
        self.mean.copy_(mean)
        self.cholesky.copy_(torch.linalg.cholesky(covariance))

    def forward(self, latents: Tensor, labels: Tensor, tap: Tap | None = None) -> FlowOutput:
        """Latents (B, T, C), labels (B,) → z = L⁻¹ (x − μ) and log-determinant −Σ log diag L."""
        assert tap is None, "refused by PriorSpec.tap_problems"
        centred = latents.flatten(1) - self.mean[labels]
        z = torch.zeros_like(centred)
        # A class at a time: a factor for each sample would be B · D² numbers.
        for label in labels.unique():
            chosen = labels == label
            z[chosen] = torch.linalg.solve_triangular(self.cholesky[label], centred[chosen].T, upper=False).T
        logdet = -self.cholesky.diagonal(dim1=1, dim2=2).log().sum(1)
        return FlowOutput(z.view_as(latents), logdet[labels])

    @torch.no_grad()
    def inverse(self, z: Tensor, labels: Tensor) -> Tensor:
        """Noise (B, T, C), labels (B,) → latents x = L z + μ."""
        flat = z.flatten(1)
        x = torch.zeros_like(flat)
        for label in labels.unique():
            chosen = labels == label
            x[chosen] = flat[chosen] @ self.cholesky[label].T
        return (x + self.mean[labels]).view_as(z)

    @torch.no_grad()
    def noise(self, draws: Draws) -> Tensor:
        """(B, T, C) standard normal, on the CPU."""
        return draws.normal(self.latent.tokens, self.latent.channels)
