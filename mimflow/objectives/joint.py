"""Tokenizer and prior trained together (SimFlow, arXiv 2512.04084; MIMFlow, arXiv 2606.26016)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from mimflow.nn.modes import evaluating
from mimflow.nn.modules import ModulesOf
from mimflow.nn.noise import add_noise
from mimflow.objectives.base import Batch, Player
from mimflow.objectives.health import Spread, noise_std, spread_facts, spread_figures
from mimflow.objectives.nll import drop_labels
from mimflow.objectives.reconstructing import Reconstructing
from mimflow.objectives.spec import JointSpec
from mimflow.objectives.terms.alignment import Aligner
from mimflow.objectives.terms.auxiliary import AuxiliaryDecoder
from mimflow.objectives.terms.names import constant_of, with_figure_names
from mimflow.objectives.terms.spec import Alignment, AlignPrior
from mimflow.priors.base import PriorLoss
from mimflow.system.modules import SystemModules
from mimflow.system.spec import Shapes


class Joint(Reconstructing):
    """The prior's loss on noisy latents, reconstruction from them, alignment and auxiliary decoders, in one sum.

    Players: `system` and, if there is one, `discriminator`. One draw of noise is shared by all that reads the latents.
    Logs every term before its weight; where dear figures are logged also the latents' spread and the norms of the
    gradients at the encoder's output.
    """

    spec: JointSpec

    def __init__(self, spec: JointSpec, modules: SystemModules, shapes: Shapes):
        super().__init__(spec, modules, shapes)
        tokenizer, prior = modules.spec.tokenizer, modules.spec.prior
        assert tokenizer is not None and prior is not None
        latent, grid = tokenizer.latent_shape(shapes.image), tokenizer.patch_grid(shapes.image)
        self.noise_std = noise_std(spec.noise)
        self.aligners = ModulesOf(
            Aligner(term, prior.width_of(term.where), prior.hidden_tokens(latent))
            if isinstance(term.where, AlignPrior)
            else Aligner(term, latent.channels, latent.tokens)
            for term in spec.alignment
        )
        self.auxiliary: ModulesOf[AuxiliaryDecoder] = ModulesOf()
        for auxiliary in spec.auxiliary:
            assert grid is not None
            self.auxiliary.append(AuxiliaryDecoder(auxiliary, latent, grid))

    def players(self, trains: list[str]) -> list[Player]:
        """All that is trained, without a frozen encoder; then the discriminator if there is one."""
        system, *discriminator = super().players(trains)
        if self.spec.encoder == "trained":
            return [system, *discriminator]
        prefixes = (*self.decoding, "prior.", "objective.")
        return [
            Player(system.name, {k: p for k, p in system.parameters.items() if k.startswith(prefixes)}),
            *discriminator,
        ]

    def training_mode(self, trains: list[str]) -> None:
        """As ever, with a frozen encoder in evaluation mode."""
        super().training_mode(trains)
        if self.spec.encoder == "frozen" and "tokenizer" in trains:
            self.freeze_encoder()

    def prepare(self, batches: Iterable[Batch]) -> None:
        """Learn the means of features that terms centre; features that are not stored are computed once for it."""
        centred = [term for term in (*self.aligners, *self.auxiliary) if term.spec.centred]
        if centred:
            means = self.targets.means([term.spec.network for term in centred], batches)
            for term in centred:
                term.centre_on(means[term.spec.network.name])

    def own_loss(self, batch: Batch, carry: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of all terms but the discriminator's."""
        spec = self.spec
        with torch.set_grad_enabled(spec.encoder == "trained" and torch.is_grad_enabled()):
            (latents, mask), posterior = self.tokenizer.encode_with_posterior(batch.images, spec.masked)
        noisy = add_noise(latents, spec.noise)
        prior_loss, figures, hidden = self._prior_loss(noisy, batch.labels)
        prior_term = spec.prior_weight * prior_loss
        decoder_term, of_decoder = self.reconstruction_term(self.tokenizer.decode(noisy), batch, carry)
        figures |= of_decoder
        loss = prior_term + decoder_term
        entropy = posterior.entropy() if posterior is not None and spec.entropy_weight else None
        if entropy is not None:
            figures["entropy"] = entropy.mean() / latents[0].numel()
            loss = loss - spec.entropy_weight * figures["entropy"]
        for name, aligner in with_figure_names("alignment", self.aligners):
            tokens = _aligned_tokens(aligner.spec, latents, noisy, hidden)
            distance = aligner(tokens, self.targets.of_batch(aligner.spec.network, batch))
            figures |= {name: distance.own, constant_of(name): distance.constant}
            loss = loss + aligner.spec.weight * figures[name]
        for name, decoder in with_figure_names("auxiliary", self.auxiliary):
            distance = decoder(noisy, self.targets.of_batch(decoder.spec.network, batch), mask)
            figures |= {name: distance.own, constant_of(name): distance.constant}
            loss = loss + decoder.spec.weight * figures[name]
        if self.training and self.logged:
            figures |= spread_figures(latents, self.noise_std)
            figures |= _gradient_norms(latents, {"prior": prior_term, "reconstruction": decoder_term})
        return loss, figures

    def health(self, batches: Iterable[Batch]) -> dict[str, Any]:
        """The spread of whole images' latents over the split and what is decoded of them, with the last weights."""
        with evaluating(self.tokenizer), torch.no_grad():
            spread = Spread.of(self.tokenizer.encode(batch.images) for batch in batches)
        return spread_facts(spread, self.noise_std) | super().health(batches)

    def _prior_loss(self, noisy: Tensor, labels: Tensor) -> PriorLoss:
        if self.training and self.spec.label_drop:
            labels = drop_labels(labels, self.spec.label_drop)
        if self.training and self.step < self.spec.prior_gradient_from * self.total:
            noisy = noisy.detach()
        return self.prior.training_loss(noisy, labels, self.spec.tap)


def _aligned_tokens(spec: Alignment, latents: Tensor, noisy: Tensor, hidden: Tensor | None) -> Tensor:
    if isinstance(spec.where, AlignPrior):
        assert hidden is not None
        return hidden
    return noisy if spec.where.noisy else latents


def _gradient_norms(latents: Tensor, terms: dict[str, Tensor]) -> dict[str, Tensor]:
    """Norms of the gradients that weighted terms send into the encoder, over the whole batch of latents."""
    if not latents.requires_grad:
        return {}
    return {
        f"latent_grad_{name}": torch.autograd.grad(term, latents, retain_graph=True, materialize_grads=True)[0].norm()
        for name, term in terms.items()
    }
