"""The tokenizer's decoder trained alone, against a discriminator (MIMFlow's phase 2)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mimflow.errors import SpecError
from mimflow.nn.noise import add_noise
from mimflow.objectives.base import Batch, Objective, Player, checkpoint_name
from mimflow.objectives.spec import DecoderTrainingSpec
from mimflow.objectives.targets import Targets
from mimflow.objectives.terms.adversarial import PatchGan, discriminator_hinge, generator_hinge
from mimflow.objectives.terms.names import named
from mimflow.objectives.terms.perceptual import PerceptualDistance
from mimflow.objectives.terms.pixels import pixel_distance
from mimflow.plan.tasks import Shapes
from mimflow.system import SystemModules


class DecoderTraining(Objective):
    """Reconstruction from latents that stay as they are; players `generator` and, if there is one, `discriminator`.

    The encoder is in evaluation mode and gets no gradient. Logs every term before its weight, and the discriminator's
    mean logits.
    """

    def __init__(self, spec: DecoderTrainingSpec, modules: SystemModules, shapes: Shapes):
        super().__init__(spec, modules, shapes)
        if not self.tokenizer.decoder_modules():
            raise SpecError("objective.kind: decoder trains the tokenizer's decoder, and this tokenizer has none")
        self.spec = spec
        targets = Targets()
        self.perceptual = [PerceptualDistance(term, targets) for term in spec.perceptual]
        self.discriminator = PatchGan(spec.adversarial, shapes.channels) if spec.adversarial is not None else None

    @property
    def adversarial_from(self) -> int:
        """The first step that the discriminator takes part in."""
        return round(self.spec.adversarial.start * self.total) if self.spec.adversarial is not None else self.total

    def players(self, trains: list[str]) -> list[Player]:
        """The generator, which is what decoding uses of the tokenizer, then the discriminator if there is one."""
        if trains != ["tokenizer"]:
            raise SpecError(
                f"trains: {', '.join(trains)}: objective decoder trains the tokenizer's decoder (leave it out)"
            )
        decoding = tuple(f"tokenizer.{name}." for name in self.tokenizer.decoder_modules())
        players = [Player("generator", self._parameters_below(decoding))]
        if self.discriminator is not None:
            own = self._parameters_below(("objective.discriminator.",))
            players.append(Player("discriminator", own, start=self.adversarial_from))
        return players

    def _parameters_below(self, prefixes: tuple[str, ...]) -> dict[str, torch.nn.Parameter]:
        named_parameters = ((checkpoint_name(name), parameter) for name, parameter in self.named_parameters())
        return {name: parameter for name, parameter in named_parameters if name.startswith(prefixes)}

    def training_mode(self, trains: list[str]) -> None:
        """Decoder and discriminator in training mode, all else in evaluation mode."""
        super().training_mode([])
        for name in self.tokenizer.decoder_modules():
            self.tokenizer.get_submodule(name).train()

    def loss(self, player: str, batch: Batch, carry: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """The generator's weighted sum; the discriminator's hinge loss on the reconstructions that it left."""
        if player == "discriminator":
            return self._discriminate(batch.images, carry["reconstructions"])
        with torch.no_grad():
            latents, _ = self.tokenizer.encode_for_training(batch.images, self.spec.masked)
            noisy = add_noise(latents, self.spec.noise)
        reconstructions = self.tokenizer.decode(noisy)
        carry["reconstructions"] = reconstructions.detach()
        figures = {"reconstruction": pixel_distance(reconstructions, batch.images, self.spec.reconstruction)}
        loss = self.spec.reconstruction.weight * figures["reconstruction"]
        for name, term in named("perceptual", self.perceptual):
            figures[name] = term(reconstructions, batch)
            loss = loss + term.spec.weight * figures[name]
        if self.discriminator is not None and self.step >= self.adversarial_from:
            figures["adversarial"] = generator_hinge(self.discriminator(reconstructions))
            loss = loss + self.spec.adversarial.weight * figures["adversarial"]
        return loss, figures

    def _discriminate(self, images: Tensor, reconstructions: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        real, fake = self.discriminator(images), self.discriminator(reconstructions)
        figures = {"logits_real": real.float().mean(), "logits_fake": fake.float().mean()}
        return discriminator_hinge(real, fake), figures
