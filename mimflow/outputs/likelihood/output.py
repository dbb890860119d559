"""Log-likelihoods of a split's images under a flow."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from mimflow.artifacts.likelihood import LIKELIHOOD, QUANTITIES, LikelihoodFacts, write_likelihood
from mimflow.artifacts.rows import Rows
from mimflow.artifacts.shard import WHOLE, Shard
from mimflow.data.pixels import to_unit
from mimflow.nn.draws import normal_like
from mimflow.nn.modes import evaluating
from mimflow.objectives.nll import GREY_LEVELS_PER_UNIT, dequantise
from mimflow.objectives.spec import GaussianNoise, UniformDequantisation
from mimflow.outputs.base import Output, Setting, Took, fill
from mimflow.outputs.likelihood.check import check_sampling
from mimflow.outputs.likelihood.spec import AtLevels, LikelihoodSpec
from mimflow.priors.base import NULL_CLASS, FlowPrior
from mimflow.weights.tensors import digest_of


class Likelihoods(Output):
    """log p of every image's latents with the training's noise in them, once for each noise level: `likelihood.npz`."""

    def __init__(self, spec: LikelihoodSpec):
        assert spec.noise is not None, "filled in by LikelihoodSpec.resolved"
        self.spec, self.noise = spec, spec.noise
        self.levels: list[float] = spec.noise.t if isinstance(spec.noise, AtLevels) else []

    def draw(self, setting: Setting, shard: Shard) -> None:
        """Raises OutOfMemoryError."""
        self._fill(setting, self._rows(setting), shard)

    def _rows(self, setting: Setting) -> Rows:
        """The array that quantities go to batch by batch."""
        shape = (len(setting.split(self.spec.split)), len(QUANTITIES), max(1, len(self.levels)))
        length = setting.drawing.batch_size
        return Rows(setting.work / "likelihood.npy", shape, np.dtype(np.float64), length, setting.job)

    def _fill(self, setting: Setting, rows: Rows, shard: Shard) -> Took:
        return fill(setting, rows, lambda piece: (self.quantities(setting, piece).cpu().numpy(), {}), shard)

    def write(self, setting: Setting) -> LikelihoodFacts:
        """Batches are kept as they are computed, as those of images are. Raises OutOfMemoryError."""
        split, digest = setting.split(self.spec.split), digest_of(setting.modules.state_dict())
        rows = self._rows(setting)
        took = self._fill(setting, rows, WHOLE)
        found = np.concatenate(list(rows))
        check = None
        if self.spec.check is not None:
            check = check_sampling(self.spec.check, self, setting)
        labels = self.labels(setting, range(len(split)))
        write_likelihood(
            setting.work / "out" / LIKELIHOOD,
            {name: found[:, index] for index, name in enumerate(QUANTITIES)},
            labels.cpu().numpy(),
        )
        tokenizer = setting.modules.spec.tokenizer
        assert tokenizer is not None
        return LikelihoodFacts(
            count=len(split),
            split=self.spec.split,
            noise=self.noise.kind,
            dimensions=tokenizer.latent_shape(setting.shapes.image).dimensions,
            pixels=setting.shapes.channels * setting.shapes.size**2,
            parameters=digest,
            weights=setting.weights,
            device=setting.device.type,
            seconds=round(took.seconds, 3),
            levels=self.levels,
            parameters_after=digest_of(setting.modules.state_dict()) if check is not None else None,
            check=check,
        )

    def labels(self, setting: Setting, rows: range) -> Tensor:
        """The classes (B,) that images are judged given, on the device."""
        prior = setting.modules.spec.prior
        assert prior is not None
        labels = torch.from_numpy(np.array(setting.split(self.spec.split).labels[rows.start : rows.stop]))
        known = self.spec.conditional and prior.takes_classes
        return (labels if known else torch.full_like(labels, NULL_CLASS)).to(setting.device)

    def densities(self, setting: Setting) -> list[FlowPrior]:
        """The flow at each noise level; one flow where there are none."""
        prior = setting.modules.module("prior")
        assert isinstance(prior, FlowPrior), "refused by LikelihoodSpec.system_problems"
        return [prior.at(level) for level in self.levels] or [prior]

    @torch.no_grad()
    def quantities(self, setting: Setting, rows: range) -> Tensor:
        """The `QUANTITIES` (B, 3, L) float64 of a batch; the same for the same rows, in batches of any size."""
        images, labels = self._images(setting, rows), self.labels(setting, rows)
        tokenizer = setting.modules.module("tokenizer")
        with evaluating(setting.modules):
            found = []
            noisy = self.noisy_latents(setting, rows)
            for density, (latents, entropy) in zip(self.densities(setting), noisy, strict=True):
                errors = (tokenizer.decode(latents) - images).square().flatten(1).mean(1)
                found.append(torch.stack([density.log_prob(latents, labels).double(), entropy, errors.double()], 1))
        return torch.stack(found, 2)

    @torch.no_grad()
    def noisy_latents(self, setting: Setting, rows: range) -> list[tuple[Tensor, Tensor]]:
        """Latents (B, T, C) with noise and their entropies (B,) given the image, in nats: at each level, or once."""
        images, draws = self._images(setting, rows), setting.draws(rows)
        tokenizer, noise = setting.modules.module("tokenizer"), self.noise
        if isinstance(noise, UniformDequantisation):
            latents = tokenizer.encode(dequantise(images, draws))
            entropy = -latents[0].numel() * math.log(GREY_LEVELS_PER_UNIT)
            return [(latents, torch.full((len(latents),), entropy, dtype=torch.float64, device=latents.device))]
        (latents, _), posterior = tokenizer.encode_with_posterior(images, self.spec.masked, draws)
        drawn = tokenizer.latent_variance(posterior)
        stds = [noise.std] if isinstance(noise, GaussianNoise) else self.levels
        if not stds:
            return [(latents, _entropy(latents, drawn, 0.0))]
        unit = normal_like(latents, draws)
        return [(latents + std * unit, _entropy(latents, drawn, std)) for std in stds]

    def _images(self, setting: Setting, rows: range) -> Tensor:
        return to_unit(setting.split(self.spec.split).images[rows.start : rows.stop]).to(setting.device)


def _entropy(latents: Tensor, drawn: Tensor | None, std: float) -> Tensor:
    """½ Σ log 2πe σ² (B,) of latents (B, T, C) whose draw has the variance `drawn` before noise; NaN where σ is 0."""
    variance = torch.full_like(latents, std**2, dtype=torch.float64)
    if drawn is not None:
        variance = variance + drawn
    nats = 0.5 * torch.log(2 * math.pi * math.e * variance).flatten(1).sum(1)
    return nats.where(nats.isfinite(), torch.nan)
