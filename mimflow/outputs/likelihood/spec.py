"""The spec of likelihoods."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from mimflow.objectives.spec import GaussianNoise, UniformDequantisation
from mimflow.outputs.inverse.spec import Denoising, InverseSpec, LevelDenoising
from mimflow.outputs.spec import OutputSpec
from mimflow.priors.guidance.spec import AnyGuidance
from mimflow.spec.base import Count, Positive, Problem, Spec
from mimflow.spec.noise import AdditiveNoise, LinearNoise, NoiseLevels, NoNoise, SlerpNoise
from mimflow.spec.words import settings

if TYPE_CHECKING:
    from mimflow.objectives.spec import ObjectiveSpec
    from mimflow.system.spec import System


class AtLevels(Spec):
    """x + t ε at each of a few noise levels t, for priors of noise levels: the same ε at all of them."""

    kind: Literal["levels"] = "levels"
    t: list[Positive] = Field(min_length=1)
    """The noise levels, from the lowest to the highest."""

    def problems(self) -> Iterator[Problem]:
        if any(low >= high for low, high in zip(self.t, self.t[1:], strict=False)):
            yield Problem(("t",), f"levels out of order: {self.t}", "each once, from the lowest to the highest")


DensityNoise = Annotated[UniformDequantisation | GaussianNoise | AtLevels | NoNoise, Field(discriminator="kind")]


class LikelihoodCheck(Spec):
    """What would show that sampling has a hand in the likelihood, on the first images of the split.

    Their likelihood is computed again after samples were drawn without denoising, and again after samples that were
    denoised; and the flow is run there and back.
    """

    count: Count = 64
    """How many images are looked at again, and how many samples are drawn in between."""
    guidance: AnyGuidance | None = None
    """How the samples are guided; not given: not at all."""
    denoise: Denoising
    """How the samples are denoised; without denoising they are the flow's own."""

    @property
    def with_denoising(self) -> InverseSpec:
        """The sampler whose samples are denoised."""
        return InverseSpec(guidance=self.guidance, denoise=self.denoise)

    @property
    def without_denoising(self) -> InverseSpec:
        """The same, with the samples left as the flow gives them."""
        levels = isinstance(self.denoise, LevelDenoising)
        return InverseSpec(
            guidance=self.guidance, denoise=self.denoise.model_copy(update={"steps": 0}) if levels else None
        )


class LikelihoodSpec(OutputSpec):
    """Log-likelihood of every image of a split under a flow prior, in fp32: the density that was trained, unguided.

    What is drawn from the flow, guided or denoised has no part in it: denoised images are not samples of that density.
    """

    content: ClassVar[str] = "likelihood"
    reads_data: ClassVar[bool] = True
    refused: ClassVar[dict[str, str]] = {
        "guidance": "guided samples are of no density that is known: the likelihood is the trained density's",
        "denoise": "denoised samples are of no density that is known: the likelihood is the trained density's",
        "noise_temperature": "the likelihood is the trained density's, whose noise is standard normal",
    }

    kind: Literal["likelihood"] = "likelihood"
    split: Literal["train", "val"] = "val"
    """The split whose images are judged."""
    noise: DensityNoise | None = None
    """The noise on latents, drawn once an image: the density is of latents with it. Not given: that of the training.
    `uniform`: of the width of one grey level, for bits per dimension; where the prior was trained without noise it may
    be asked for. Of a prior of noise levels the levels have to be given."""
    conditional: bool = True
    """Whether each image is judged given its class; `false`: given the null class. A prior that takes no classes knows
    none in any case."""
    masked: bool = False
    """Whether the tokenizer hides of the images what its spec says, as where the prior was trained on latents of masked
    images."""
    check: LikelihoodCheck | None = None
    """Whether likelihoods are also shown not to depend on sampling; not given: they are not."""

    def system_problems(self, system: System) -> Iterator[Problem]:
        if system.prior is None:
            yield Problem(("kind",), "a likelihood is a prior's, and the system has none", "add a prior, or remove it")
            return
        if not system.prior.flow:
            yield Problem(
                ("kind",),
                f"prior '{system.prior.kind}' learns a velocity, and has no density that it was trained by",
                "remove it",
            )
            return
        of_levels = isinstance(self.noise, AtLevels)
        if system.prior.noise_levels and not of_levels:
            yield Problem(
                ("noise",),
                f"prior '{system.prior.kind}' has a density at each noise level, and none without",
                "noise: {kind: levels, t: [0.1, 0.3]}",
            )
        elif of_levels and not system.prior.noise_levels:
            yield Problem(("noise", "kind"), f"prior '{system.prior.kind}' has no noise levels", "that of the training")
        pixels = system.tokenizer is not None and system.tokenizer.grey_levels
        if isinstance(self.noise, UniformDequantisation) and not pixels:
            yield Problem(
                ("noise", "kind"),
                "the latents are no pixels of 256 grey levels: bits per dimension mean nothing",
                "that of the training, for nats per dimension",
            )
        if self.masked and (system.tokenizer is None or not system.tokenizer.masks):
            yield Problem(("masked",), "this tokenizer masks nothing", "false, or a masked_ae with a mask")
        if self.check is not None:
            for problem in self.check.with_denoising.system_problems(system):
                yield problem.within("check")

    def level_problems(self, levels: NoiseLevels | None) -> Iterator[Problem]:
        if levels is None or levels.law == "edm":
            return
        if isinstance(self.noise, AtLevels):
            for position, level in enumerate(self.noise.t):
                if not levels.t0 <= level <= levels.t1:
                    yield Problem(
                        ("noise", "t", position),
                        f"{level} is no level of training, which are {levels.t0} to {levels.t1}",
                        "one between them",
                    )
        if self.check is not None:
            for problem in self.check.with_denoising.level_problems(levels):
                yield problem.within("check")

    def objective_problems(self, objective: ObjectiveSpec | None) -> Iterator[Problem]:
        """Noise that the prior was not trained under: its density is of no other latents."""
        if objective is None:
            if self.noise is None:
                yield Problem(
                    ("noise",), "no phase trains the prior, and so its noise is not known", "that of its training"
                )
            return
        trained = objective.noise_of_prior
        if isinstance(trained, NoiseLevels) or isinstance(self.noise, AtLevels):
            return
        if isinstance(trained, (LinearNoise, SlerpNoise)):
            yield Problem(
                ("noise",), f"under noise that mixes by a random t ({trained.kind}) no density is known", "remove it"
            )
            return
        bound = isinstance(self.noise, UniformDequantisation) and isinstance(trained, NoNoise)
        if self.noise is None or bound or self.noise == _density_noise(trained):
            return
        under = "without noise" if isinstance(trained, NoNoise) else f"under noise ({settings(trained)})"
        if isinstance(self.noise, UniformDequantisation):
            message = f"bits per dimension are of grey levels, and the prior was trained {under}"
        else:
            message = f"the prior was trained {under}: its density is of no other latents"
        yield Problem(("noise",), message, "leave it out: that of the training")

    def resolved(self, objective: ObjectiveSpec | None) -> LikelihoodSpec:
        """With the training's noise, where none is given."""
        if self.noise is not None or objective is None:
            return self
        trained = objective.noise_of_prior
        assert not isinstance(trained, (NoiseLevels, LinearNoise, SlerpNoise)), "refused by the problems above"
        return self.model_copy(update={"noise": _density_noise(trained)})


def _density_noise(
    trained: GaussianNoise | AdditiveNoise | UniformDequantisation | NoNoise,
) -> GaussianNoise | UniformDequantisation | NoNoise:
    """The same noise: additive and Gaussian are two objectives' names of one thing."""
    return GaussianNoise(std=trained.std) if isinstance(trained, AdditiveNoise) else trained
