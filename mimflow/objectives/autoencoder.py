"""A tokenizer trained alone (LDM's and MAR's KL-VAE, SimFlow's frozen baselines)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from mimflow.nn.modes import evaluating
from mimflow.nn.noise import add_noise
from mimflow.objectives.base import Batch
from mimflow.objectives.health import Spread, noise_std, spread_facts, spread_figures
from mimflow.objectives.reconstructing import Reconstructing
from mimflow.objectives.spec import AutoencoderSpec
from mimflow.system.modules import SystemModules
from mimflow.system.spec import Shapes


class Autoencoder(Reconstructing):
    """Reconstruction of whole images and the divergence of the posterior, if it is learned, from the standard normal.

    Logs every term before its weight; in steps that end a row of the log also the latents' spread.
    """

    spec: AutoencoderSpec

    def __init__(self, spec: AutoencoderSpec, modules: SystemModules, shapes: Shapes):
        super().__init__(spec, modules, shapes)
        self.noise_std = noise_std(spec.noise)

    def own_loss(self, batch: Batch, carry: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of all terms."""
        (latents, _), posterior = self.tokenizer.encode_with_posterior(batch.images, self.spec.masked)
        noisy = add_noise(latents, self.spec.noise)
        loss, figures = self.reconstruction_term(self.tokenizer.decode(noisy), batch, carry)
        divergence = posterior.divergence() if posterior is not None else None
        if divergence is not None:
            figures["kl"] = divergence.mean()
            loss = loss + self.spec.kl_weight * figures["kl"]
        if self.training and self.logged:
            figures |= spread_figures(latents, self.noise_std)
        return loss, figures

    def health(self, batches: Iterable[Batch]) -> dict[str, Any]:
        """The spread of whole images' latents over the split, with the weights of the last step."""
        with evaluating(self.tokenizer), torch.no_grad():
            spread = Spread.of(self.tokenizer.encode(batch.images) for batch in batches)
        return spread_facts(spread, self.noise_std)
