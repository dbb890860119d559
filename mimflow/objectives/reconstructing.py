"""What objectives with reconstructions share: the terms of the decoder, and a discriminator as the second player."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from mimflow.objectives.base import Batch, Objective, Player, checkpoint_name
from mimflow.objectives.health import decoding_facts
from mimflow.objectives.spec import ReconstructingSpec
from mimflow.objectives.targets import Targets
from mimflow.objectives.terms.adversarial import Discriminator
from mimflow.objectives.terms.names import with_figure_names
from mimflow.objectives.terms.perceptual import PerceptualDistance
from mimflow.objectives.terms.pixels import pixel_distance
from mimflow.system.modules import SystemModules
from mimflow.system.spec import Shapes

DISCRIMINATOR = "discriminator"
"""The second player's name."""


class Reconstructing(Objective):
    """Pixels, perceptual distances and, if the spec has one, a discriminator, the player after the first.

    A subclass gives the first player's loss in `own_loss`, and gets its reconstructions' part of it from
    `reconstruction_term`.
    """

    spec: ReconstructingSpec

    def __init__(self, spec: ReconstructingSpec, modules: SystemModules, shapes: Shapes):
        super().__init__(spec, modules, shapes)
        assert self.tokenizer.decoder_modules(), "refused by ReconstructingSpec.system_problems"
        self.spec = spec
        self.targets = Targets()
        self.perceptual = [PerceptualDistance(term, self.targets) for term in spec.perceptual]
        self.discriminator = Discriminator(spec.adversarial, shapes.channels) if spec.adversarial is not None else None

    @property
    def adversarial_from(self) -> int:
        """The first step that the discriminator takes part in."""
        adversarial = self.spec.adversarial
        return round(adversarial.start * self.total) if adversarial is not None else self.total

    def players(self, trains: list[str]) -> list[Player]:
        """One with all that is trained but the discriminator, then that if there is one."""
        (all_of_it,) = super().players(trains)
        of_discriminator = self.parameters_below(f"objective.{DISCRIMINATOR}.")
        own = {name: p for name, p in all_of_it.parameters.items() if name not in of_discriminator}
        return [Player(all_of_it.name, own), *self.discriminator_players()]

    def discriminator_players(self) -> list[Player]:
        """The discriminator as a player, or nobody."""
        if self.discriminator is None:
            return []
        return [
            Player(DISCRIMINATOR, self.parameters_below(f"objective.{DISCRIMINATOR}."), start=self.adversarial_from)
        ]

    @property
    def decoding(self) -> tuple[str, ...]:
        """What the names of the decoder's parameters begin with."""
        return tuple(f"tokenizer.{name}." for name in self.tokenizer.decoder_modules())

    def freeze_encoder(self) -> None:
        """Evaluation mode for the tokenizer, training mode for what only decoding uses of it."""
        self.tokenizer.eval()
        for name in self.tokenizer.decoder_modules():
            self.tokenizer.get_submodule(name).train()

    def parameters_below(self, *prefixes: str) -> dict[str, nn.Parameter]:
        """The parameters whose names in checkpoints begin so, by these names."""
        named_parameters = ((checkpoint_name(name), parameter) for name, parameter in self.named_parameters())
        return {name: parameter for name, parameter in named_parameters if name.startswith(prefixes)}

    def loss(self, player: str, batch: Batch, carry: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """`own_loss`; the discriminator's on the reconstructions that it left."""
        if player == DISCRIMINATOR:
            assert self.discriminator is not None
            return self.discriminator.loss(batch.images, carry["reconstructions"])
        return self.own_loss(batch, carry)

    def health(self, batches: Iterable[Batch]) -> dict[str, Any]:
        """What the decoder makes of whole images' latents over the split, with the weights of the last step."""
        return decoding_facts(self.tokenizer, batches)

    def own_loss(self, batch: Batch, carry: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """What the first player minimises, and the figures to log."""
        raise NotImplementedError

    def reconstruction_term(
        self, reconstructions: Tensor, batch: Batch, carry: dict[str, Any]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of the terms of reconstructions (B, C, H, W), and each before its weight.

        Leaves them to the discriminator in `carry`.
        """
        carry["reconstructions"] = reconstructions.detach()
        figures = {"reconstruction": pixel_distance(reconstructions, batch.images, self.spec.reconstruction)}
        total = self.spec.reconstruction.weight * figures["reconstruction"]
        for name, term in with_figure_names("perceptual", self.perceptual):
            figures[name] = term(reconstructions, batch)
            total = total + term.spec.weight * figures[name]
        if self.discriminator is None or self.step < self.adversarial_from:
            return total, figures
        last_layer = self.tokenizer.last_layer() if self.discriminator.spec.adaptive else None
        adversarial, found = self.discriminator.generator_term(reconstructions, total, last_layer)
        return total + adversarial, figures | found
