"""What every objective's spec can say, and the input noise that several share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from mimflow.features.spec import NetworkSpec
from mimflow.objectives.terms.spec import (
    Adversarial,
    Alignment,
    AlignPrior,
    Auxiliary,
    ConvnextPerceptual,
    LpipsPerceptual,
    Perceptual,
    Reconstruction,
)
from mimflow.spec.base import Fraction, NonNegative, Positive, Problem, Spec
from mimflow.spec.noise import LatentNoise, NoiseLevels, NoNoise
from mimflow.spec.shapes import ImageShape

if TYPE_CHECKING:
    from mimflow.priors.spec import PriorSpec
    from mimflow.system.spec import System


class ObjectiveSpec(Spec):
    """Base of the objective axis."""

    kind: str

    needs: ClassVar[tuple[str, ...]] = ()
    """The modules of a system that this objective trains or uses."""
    closed_form: ClassVar[bool] = False
    """Whether it is solved by passes over the data rather than by gradient steps."""
    latents_alone: ClassVar[bool] = False
    """Whether all that it reads of an image is what training sees of its latents, nothing being masked."""

    @property
    def networks(self) -> list[NetworkSpec]:
        """Frozen networks whose features of the data's images can be computed once, before training."""
        return []

    @property
    def levels(self) -> NoiseLevels | None:
        """The noise levels that it trains a prior at; None where it names none to the prior."""
        return None

    @property
    def noise_of_prior(self) -> InputNoise | LatentNoise:
        """The noise on the latents that it trains a prior on; of objectives that do."""
        return NoNoise()

    @property
    def carried(self) -> dict[str, Any]:
        """What its own networks are built of and what decides over what is trained, by field: a phase that continues
        another of this kind takes over tensors of these shapes."""
        return {}

    def system_problems(self, system: System, image: ImageShape) -> Iterator[Problem]:
        """Why it can't train such a system, which has all modules that it needs, on such images."""
        return iter(())

    def training_problems(self, system: System, trains: list[str]) -> Iterator[Problem]:
        """Why it should not train these modules of such a system. Paths are relative to the phase."""
        return iter(())


class GaussianNoise(Spec):
    """x + σ ε on the latents: those of the `pixel` tokenizer are in [−1, 1] (TARFlow, section 2.3; STARFlow: 0.3)."""

    kind: Literal["gaussian"] = "gaussian"
    std: Positive
    """Standard deviation σ of the noise."""


class UniformDequantisation(Spec):
    """Uniform noise of one grey level, for bits per dimension."""

    kind: Literal["uniform"] = "uniform"


InputNoise = Annotated[GaussianNoise | UniformDequantisation | NoiseLevels | NoNoise, Field(discriminator="kind")]


class NllSpec(ObjectiveSpec):
    """Negative log-likelihood of noisy latents under the prior, in nats per dimension."""

    kind: Literal["nll"] = "nll"
    noise: InputNoise
    """The noise that is added to what the prior is trained on."""
    label_drop: Fraction = 0.0
    """Probability that a label is replaced by the null class."""
    latent_norm_weight: NonNegative = 0.0
    """Weight of the mean squares of all that blocks read, added up: the noisy latents and what every block but the last
    makes of them (STARFlow: 1e-4). The first is constant where the tokenizer is frozen; what the last makes is noise,
    whose square is in the likelihood."""

    needs = ("tokenizer", "prior")
    latents_alone = True

    @property
    def noise_of_prior(self) -> InputNoise | LatentNoise:
        return self.noise

    @property
    def levels(self) -> NoiseLevels | None:
        return self.noise if isinstance(self.noise, NoiseLevels) else None

    def problems(self) -> Iterator[Problem]:
        if self.latent_norm_weight and self.levels is not None:
            yield Problem(("latent_norm_weight",), "is of one level of noise, and there are many", "0")

    def system_problems(self, system: System, image: ImageShape) -> Iterator[Problem]:
        assert system.prior is not None
        if not system.prior.flow:
            yield Problem(("kind",), f"prior '{system.prior.kind}' is no flow and has no likelihood", "velocity")
        yield from _closed_form_problems(system.prior)
        if isinstance(self.noise, UniformDequantisation) and not (system.tokenizer and system.tokenizer.grey_levels):
            yield Problem(
                ("noise", "kind"),
                "uniform dequantisation is of grey levels, and the tokenizer's latents have none",
                "tokenizer: {kind: pixel, …}, or gaussian noise",
            )

    def training_problems(self, system: System, trains: list[str]) -> Iterator[Problem]:
        yield from _collapse_problems("likelihood", system, trains)


class VelocitySpec(ObjectiveSpec):
    """Regression of the velocity from noise to the latents of a tokenizer (SiT, arXiv 2401.08740)."""

    kind: Literal["velocity"] = "velocity"
    noise: LatentNoise = NoNoise()
    """Noise on the latents before they are modelled: that of a fixed variance, where the tokenizer was trained with
    one."""
    label_drop: Fraction = 0.0
    """Probability that a label is replaced by the null class."""

    needs = ("tokenizer", "prior")
    latents_alone = True

    def system_problems(self, system: System, image: ImageShape) -> Iterator[Problem]:
        assert system.prior is not None
        if system.prior.flow:
            yield Problem(("kind",), f"prior '{system.prior.kind}' is a flow and has no velocity to learn", "nll")

    def training_problems(self, system: System, trains: list[str]) -> Iterator[Problem]:
        yield from _collapse_problems("velocity", system, trains)


class MomentsSpec(ObjectiveSpec):
    """Fit a prior by the moments of the latents: one pass over the data, no gradient."""

    kind: Literal["moments"] = "moments"

    needs = ("tokenizer", "prior")
    closed_form = True

    def system_problems(self, system: System, image: ImageShape) -> Iterator[Problem]:
        assert system.prior is not None
        if not system.prior.closed_form:
            yield Problem(
                ("kind",),
                f"prior '{system.prior.kind}' is trained by steps and has no closed form",
                "nll or velocity, or prior: {kind: class_gaussian}",
            )


class LatentScaleSpec(ObjectiveSpec):
    """Measure the scale of a tokenizer's latents: one pass over the training split, no gradient.

    A phase and no stage of its own: what is measured is a tensor of the tokenizer like any other, which later phases,
    other runs and outputs read from its weights, and nothing else has to know of it.
    """

    kind: Literal["latent_scale"] = "latent_scale"

    needs = ("tokenizer",)
    closed_form = True

    def system_problems(self, system: System, image: ImageShape) -> Iterator[Problem]:
        assert system.tokenizer is not None
        if not system.tokenizer.measures_scale:
            yield Problem(
                ("kind",), "the tokenizer has no scale to measure", "tokenizer: {kind: kl_vae, scale: measured, …}"
            )


class CrossEntropySpec(ObjectiveSpec):
    """Classification of the images."""

    kind: Literal["cross_entropy"] = "cross_entropy"
    label_smoothing: Fraction = 0.0
    """Share of the target that is spread evenly over all classes in training."""

    needs = ("classifier",)


class StoredFeatures(ObjectiveSpec):
    """An objective with frozen networks."""

    stored_features: bool = True
    """Compute the networks' features of the data's images once, in a job of their own, where the phase augments
    nothing. They take images × places × features × 2 bytes: ImageNet in DINOv2-B's 256 tokens takes 0.5 TB. `false`
    computes them at every step."""


class ReconstructingSpec(StoredFeatures):
    """An objective with reconstructions, and with a discriminator that judges them if it is given one."""

    reconstruction: Reconstruction = Reconstruction()
    """The distance of pixels between images and their reconstructions."""
    perceptual: list[Perceptual] = []
    """Perceptual distances between images and their reconstructions, each with a weight of its own."""
    adversarial: Adversarial | None = None
    """The discriminator that judges reconstructions; with null there is none."""

    needs: ClassVar[tuple[str, ...]] = ("tokenizer",)

    @property
    def networks(self) -> list[NetworkSpec]:
        return _distinct(self, self.perceptual)

    @property
    def carried(self) -> dict[str, Any]:
        found = self.adversarial
        return {"adversarial": found and (found.width, found.layers, found.kernel, found.lecam > 0)}

    def system_problems(self, system: System, image: ImageShape) -> Iterator[Problem]:
        assert system.tokenizer is not None
        if not system.tokenizer.trainable:
            yield Problem(
                ("kind",), f"the tokenizer '{system.tokenizer.kind}' has no decoder to train", "another tokenizer"
            )
        if self.adversarial is not None and self.adversarial.logits_side(image.size) < 1:
            yield Problem(
                ("adversarial", "layers"), f"images of {image.size} pixels are too small for so many", "fewer layers"
            )


class JointSpec(ReconstructingSpec):
    """Tokenizer and prior trained together (SimFlow, arXiv 2512.04084; MIMFlow, 2606.26016): the prior's loss on noisy
    latents, reconstruction, alignment and auxiliary decoders, one draw of noise for all of them and no stop-gradient.
    """

    kind: Literal["joint"] = "joint"
    noise: LatentNoise
    """Noise between the encoder and all that reads its latents."""
    masked: bool = True
    """Whether the tokenizer hides from the encoder what its spec says."""
    label_drop: Fraction = 0.0
    """Probability that a label is replaced by the null class."""
    prior_weight: NonNegative = 1.0
    """Weight of the prior's training loss, which for a flow is the negative log-likelihood in nats per dimension."""
    entropy_weight: NonNegative = 0.0
    """Weight of the learned posterior's entropy in nats per dimension, which is taken off the loss: with 1 its sum with
    the prior's is the divergence of the posterior from the prior, as in SimFlow's Eq. 5. The entropy of a fixed
    variance is constant, and left out there."""
    encoder: Literal["trained", "frozen"] = "trained"
    """Whether the encoder is trained. `frozen`: it stays as it is, in evaluation mode; decoder and prior are trained on
    its noisy latents (SimFlow, Table 10)."""
    alignment: list[Alignment] = []
    """Terms that align tokens with a frozen network's features."""
    auxiliary: list[Auxiliary] = []
    """Small decoders that predict a frozen network's features from the latents."""
    prior_gradient_from: Fraction = 0.0
    """Share of the phase from which on the prior's gradient reaches the encoder; with 1 it never does. What is aligned
    inside the prior follows it."""

    needs = ("tokenizer", "prior")

    @property
    def noise_of_prior(self) -> InputNoise | LatentNoise:
        return self.noise

    @property
    def networks(self) -> list[NetworkSpec]:
        return _distinct(self, [*self.perceptual, *self.alignment, *self.auxiliary])

    @property
    def carried(self) -> dict[str, Any]:
        return super().carried | {
            "encoder": self.encoder,
            "alignment": [(term.network, term.centred, term.projector, term.where) for term in self.alignment],
            "auxiliary": [(term.network, term.centred, term.width, term.layers, term.heads) for term in self.auxiliary],
        }

    @property
    def tap(self) -> AlignPrior | None:
        """The hidden states of the prior that are aligned."""
        return next((term.where for term in self.alignment if isinstance(term.where, AlignPrior)), None)

    def problems(self) -> Iterator[Problem]:
        for index, auxiliary in enumerate(self.auxiliary):
            if auxiliary.mask_only and not self.masked:
                yield Problem(
                    ("auxiliary", index, "mask_only"), "only masked patches count, and none is masked", "false"
                )
        for index, term in enumerate(self.alignment):
            if isinstance(term.where, AlignPrior) and term.where != self.tap:
                yield Problem(("alignment", index, "where"), "another layer of the prior than that above", "one layer")
        if self.entropy_weight and not isinstance(self.noise, NoNoise):
            yield Problem(
                ("entropy_weight",),
                "the entropy is the posterior's, and noise is added to its draws",
                "noise: {kind: none}",
            )
        if self.entropy_weight and self.prior_gradient_from:
            yield Problem(
                ("prior_gradient_from",),
                "the entropy alone, without the prior's gradient, has no bound",
                "leave it out",
            )
        if self.encoder == "frozen":
            yield from self._frozen_problems()

    def _frozen_problems(self) -> Iterator[Problem]:
        """What would train a frozen encoder, or nothing."""
        if self.prior_gradient_from:
            yield Problem(("prior_gradient_from",), "no gradient reaches a frozen encoder", "leave it out")
        if self.entropy_weight:
            yield Problem(("entropy_weight",), "the entropy of a frozen encoder's posterior is constant", "0")
        for index, term in enumerate(self.alignment):
            if not isinstance(term.where, AlignPrior):
                yield Problem(
                    ("alignment", index, "where"),
                    "aligns the latents of a frozen encoder",
                    "where: {kind: prior, …}, or encoder: trained",
                )
        for index in range(len(self.auxiliary)):
            yield Problem(("auxiliary", index), "predicts from the latents of a frozen encoder", "encoder: trained")

    def system_problems(self, system: System, image: ImageShape) -> Iterator[Problem]:
        yield from super().system_problems(system, image)
        assert system.tokenizer is not None and system.prior is not None
        yield from _closed_form_problems(system.prior)
        if self.entropy_weight and not (system.tokenizer.learns_variance and system.tokenizer.samples):
            yield Problem(
                ("entropy_weight",), "the tokenizer draws from no posterior of its own, so there is no entropy", "0"
            )
        latent = system.tokenizer.latent_shape(image)
        for index, term in enumerate(self.alignment):
            inside = isinstance(term.where, AlignPrior)
            tokens = system.prior.hidden_tokens(latent) if inside else latent.tokens
            for problem in term.sequence_problems(tokens):
                yield problem.within("alignment", index)
            if isinstance(term.where, AlignPrior):
                for problem in system.prior.tap_problems(term.where):
                    yield problem.within("alignment", index, "where")
        for index, auxiliary in enumerate(self.auxiliary):
            if system.tokenizer.patch_grid(image) is None:
                yield Problem(("auxiliary", index), "this tokenizer has no patches to predict features of", "remove it")
            elif auxiliary.mask_only and not system.tokenizer.masks:
                yield Problem(
                    ("auxiliary", index, "mask_only"),
                    "only masked patches count, and the tokenizer masks none",
                    "false",
                )


class AutoencoderSpec(ReconstructingSpec):
    """A tokenizer trained alone: reconstruction, and the divergence of a learned posterior from the standard normal.

    Terms are means over pixels. LDM's (arXiv 2112.10752) reconstruction and perceptual terms are sums over them, which
    their weights say: 196608 at 256 × 256 in RGB.
    """

    kind: Literal["autoencoder"] = "autoencoder"
    noise: LatentNoise = NoNoise()
    """Noise between the encoder and the decoder: the standard deviation of a posterior of fixed variance."""
    masked: bool = True
    """Whether the tokenizer hides from the encoder what its spec says."""
    kl_weight: NonNegative = 0.0
    """Weight of KL(posterior ‖ N(0, I)), a sum over the latents' dimensions in nats (LDM: 1e-6 beside sums over pixels;
    REPA-E: 1e-6 beside means)."""

    def system_problems(self, system: System, image: ImageShape) -> Iterator[Problem]:
        yield from super().system_problems(system, image)
        if self.kl_weight and not (system.tokenizer is not None and system.tokenizer.learns_variance):
            yield Problem(("kl_weight",), "the tokenizer learns no variance, so there is no divergence", "0")


class DecoderTrainingSpec(ReconstructingSpec):
    """The tokenizer's decoder trained alone, on latents that stay as they are (MIMFlow's phase 2)."""

    kind: Literal["decoder"] = "decoder"
    noise: LatentNoise
    """Noise between the encoder and the decoder."""
    masked: bool
    """Whether the tokenizer hides from the encoder what its spec says. In MIMFlow's release it most likely does not,
    because the encoder is in evaluation mode: no default here."""
    adversarial: Adversarial | None = Adversarial()
    """The discriminator that judges reconstructions; with null there is none."""

    def training_problems(self, system: System, trains: list[str]) -> Iterator[Problem]:
        if trains != ["tokenizer"]:
            yield Problem(("trains",), f"{trains}: objective 'decoder' trains the tokenizer's decoder", "leave it out")


def _distinct(spec: StoredFeatures, terms: list[Any]) -> list[NetworkSpec]:
    """The networks of these terms, each once, where their features are to be stored."""
    networks = [term.network for term in terms if not isinstance(term, (LpipsPerceptual, ConvnextPerceptual))]
    return list({network.name: network for network in networks}.values()) if spec.stored_features else []


def _closed_form_problems(prior: PriorSpec) -> Iterator[Problem]:
    """Why a prior can't be trained by gradient steps."""
    if prior.closed_form:
        yield Problem(("kind",), f"prior '{prior.kind}' has no parameters to train by steps", "moments")


def _collapse_problems(what: str, system: System, trains: list[str]) -> Iterator[Problem]:
    """Why a prior's loss must not be all that trains a tokenizer."""
    if "tokenizer" in trains and system.tokenizer is not None and system.tokenizer.trainable:
        message = f"the {what} alone would collapse a tokenizer that is trained with it"
        yield Problem(("trains",), message, "trains: [prior]")
