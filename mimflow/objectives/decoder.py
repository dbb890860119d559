"""The tokenizer's decoder trained alone, against a discriminator (MIMFlow's phase 2)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mimflow.nn.noise import add_noise
from mimflow.objectives.base import Batch, Player
from mimflow.objectives.reconstructing import Reconstructing
from mimflow.objectives.spec import DecoderTrainingSpec


class DecoderTraining(Reconstructing):
    """Reconstruction from latents that stay as they are; players `generator` and, if there is one, `discriminator`.

    The encoder is in evaluation mode and gets no gradient. Logs every term before its weight, and the discriminator's
    mean logits.
    """

    spec: DecoderTrainingSpec

    def players(self, trains: list[str]) -> list[Player]:
        """The generator, which is what decoding uses of the tokenizer, then the discriminator if there is one."""
        assert trains == ["tokenizer"], "refused by DecoderTrainingSpec.training_problems"
        return [Player("generator", self.parameters_below(*self.decoding)), *self.discriminator_players()]

    def training_mode(self, trains: list[str]) -> None:
        """Decoder and discriminator in training mode, all else in evaluation mode."""
        super().training_mode([])
        self.freeze_encoder()

    def own_loss(self, batch: Batch, carry: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of the reconstructions' terms."""
        with torch.no_grad():
            latents, _ = self.tokenizer.encode_for_training(batch.images, self.spec.masked)
            noisy = add_noise(latents, self.spec.noise)
        return self.reconstruction_term(self.tokenizer.decode(noisy), batch, carry)
