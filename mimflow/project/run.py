"""The spec of a run: a system, the phases that train it and the outputs that draw from it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from mimflow.compute.spec import Compute
from mimflow.data.spec import DatasetSpec
from mimflow.objectives.spec import GaussianNoise, LatentScaleSpec
from mimflow.outputs.registry import OUTPUTS
from mimflow.outputs.spec import OutputSpec
from mimflow.project.ablation import DottedPath
from mimflow.spec.base import OUTSIDE_KEY, Name, Problem
from mimflow.spec.noise import AdditiveNoise, NoiseLevels
from mimflow.spec.weights import RunWeights
from mimflow.system.spec import System
from mimflow.training.spec import Phase


class RunSpec(System):
    """A system on a data set: how it is trained, and the ways to sample from it."""

    label: Annotated[str, OUTSIDE_KEY] = ""
    """The run's name in tables; if empty, its own name."""
    dataset: Name
    """The data set that the run is trained on, of `specs/datasets`."""
    phases: dict[Name, Phase] = Field(min_length=1)
    """Named phases of training, a train job each, in order: what `extends` has first, then this file's own."""
    outputs: dict[Name, Annotated[OutputSpec, OUTPUTS]] = {}
    """Named ways to sample, that tables ask for."""
    seeds: list[int] = Field(default=[0], min_length=1, max_length=1_000)
    """Seeds of the run, each of which trains a whole system; tables report mean and spread over them."""
    compute: Compute = Compute()
    twin_of: Annotated[Name | None, OUTSIDE_KEY] = None
    """The run of a paper's scale that this one is a small twin of; tables say how it departs from it."""
    deviations: Annotated[dict[DottedPath, str], OUTSIDE_KEY] = {}
    """Why the twin departs from it, by field (`prior`, `phases.main.optimizer.lr`); what differs there is derived."""

    @property
    def system(self) -> System:
        """The system alone, without how it is trained and what is made of it."""
        return System(tokenizer=self.tokenizer, prior=self.prior, classifier=self.classifier)

    @property
    def last_phase(self) -> str:
        """The phase whose weights the run is."""
        return list(self.phases)[-1]

    def phase_before(self, name: str) -> str | None:
        """The phase before the one of this name; None before the first."""
        names = list(self.phases)
        index = names.index(name)
        return names[index - 1] if index else None

    def problems(self) -> Iterator[Problem]:
        if not self.modules:
            yield Problem((), "a system without networks", "name a tokenizer and a prior, or a classifier")
        if self.prior is not None and self.tokenizer is None:
            yield Problem(
                ("tokenizer",),
                "a prior needs the latents of a tokenizer",
                "tokenizer: {kind: pixel, patch_size: 2}",
            )
        if self.deviations and self.twin_of is None:
            yield Problem(("deviations",), "from which run is not said", "twin_of: the run of the paper's scale")
        yield from self._phase_problems()
        yield from self._continuation_problems()
        yield from self._scale_problems()
        yield from self._level_problems()
        for name, output in self.outputs.items():
            for problem in (*output.system_problems(self), *output.level_problems(self._trained_levels)):
                yield problem.within("outputs", name)
            if output.ema and self.phases[self.last_phase].ema is None:
                yield Problem(
                    ("outputs", name, "ema"),
                    "the last phase keeps no averaged weights",
                    "ema: false, or give the phase an ema",
                )
        if len(set(self.seeds)) < len(self.seeds):
            yield Problem(("seeds",), f"a seed twice: {self.seeds}", "each once")

    def warnings(self) -> Iterator[Problem]:
        std = self._trained_std
        if std is not None:
            for name, output in self.outputs.items():
                yield from (problem.within("outputs", name) for problem in output.noise_warnings(std))

    @property
    def _trained_std(self) -> float | None:
        """The standard deviation of the noise that the prior was last trained with; None where it has none of one."""
        last = next((phase for phase in reversed(self.phases.values()) if "prior" in phase.trained), None)
        noise = getattr(last.objective, "noise", None) if last is not None else None
        return noise.std if isinstance(noise, (GaussianNoise, AdditiveNoise)) else None

    def _phase_problems(self) -> Iterator[Problem]:
        seen: list[str] = []
        for name, phase in self.phases.items():
            for needed in phase.objective.needs:
                if needed not in self.modules:
                    yield Problem(
                        ("phases", name, "objective", "kind"),
                        f"objective '{phase.objective.kind}' needs a {needed}",
                        f"the system has: {', '.join(self.modules) or 'nothing'}",
                    )
            for position, module in enumerate(phase.trains or []):
                if module not in self.modules:
                    yield Problem(
                        ("phases", name, "trains", position),
                        f"there is no module '{module}'",
                        f"the system has: {', '.join(self.modules)}",
                    )
            if self._trains_nothing(phase):
                yield Problem(
                    ("phases", name, "trains"),
                    f"{phase.trains}: there is no parameter to train",
                    "leave it out",
                )
            for problem in phase.objective.training_problems(self, phase.trained):
                yield problem.within("phases", name)
            for position, weights in enumerate(phase.start or []):
                if not isinstance(weights, RunWeights) or weights.run is not None:
                    continue
                if (weights.phase or "") not in seen:
                    yield Problem(
                        ("phases", name, "start", position, "phase"),
                        f"'{weights.phase}' is not a phase before '{name}'",
                        f"before it: {', '.join(seen) or 'none'}",
                    )
                elif weights.ema and self.phases[weights.phase or ""].ema is None:
                    yield Problem(
                        ("phases", name, "start", position, "ema"),
                        f"phase '{weights.phase}' keeps no averaged weights",
                        "ema: false, or give that phase an ema",
                    )
            seen.append(name)

    def _continuation_problems(self) -> Iterator[Problem]:
        for name, phase in self.phases.items():
            before = self.phase_before(name)
            if not phase.continues:
                continue
            if before is None:
                yield Problem(("phases", name, "continue"), "there is no phase before it to continue", "remove it")
                continue
            for problem in phase.continuation_problems(self.phases[before], before):
                yield problem.within("phases", name)

    def _scale_problems(self) -> Iterator[Problem]:
        if self.tokenizer is None or not self.tokenizer.measures_scale:
            return
        measures = any(isinstance(phase.objective, LatentScaleSpec) for phase in self.phases.values())
        starts = [weights for phase in self.phases.values() for weights in phase.start or []]
        if not measures and all(isinstance(weights, RunWeights) and weights.run is None for weights in starts):
            yield Problem(
                ("tokenizer", "scale"),
                "no phase measures it, and no other run's weights are taken",
                "phases: {scale: {objective: {kind: latent_scale}}}",
            )

    def _trains_nothing(self, phase: Phase) -> bool:
        """Whether a phase names modules of the system that have no parameters alone, or no module."""
        without = [] if self.tokenizer is None or self.tokenizer.trainable else ["tokenizer"]
        return phase.trains is not None and not phase.objective.closed_form and set(phase.trains) <= set(without)

    @property
    def _trained_levels(self) -> NoiseLevels | None:
        """The noise levels of the last phase that names any."""
        return next(
            (phase.objective.levels for phase in reversed(self.phases.values()) if phase.objective.levels), None
        )

    def _level_problems(self) -> Iterator[Problem]:
        for name, phase in self.phases.items():
            if self.prior is None or "prior" not in phase.objective.needs:
                continue
            if self.prior.noise_levels and phase.objective.levels is None:
                yield Problem(
                    ("phases", name, "objective", "noise"),
                    f"prior '{self.prior.kind}' is trained at noise levels, and none is named",
                    "objective: {kind: nll, noise: {kind: levels, t1: 0.3}}",
                )
            elif phase.objective.levels is not None and not self.prior.noise_levels:
                yield Problem(
                    ("phases", name, "objective", "noise"),
                    f"prior '{self.prior.kind}' takes no noise levels",
                    "noise: {kind: gaussian, std: 0.1}, or prior: {kind: itarflow}",
                )

    def data_problems(self, dataset: DatasetSpec) -> Iterator[Problem]:
        """Contradictions between the system and the data set that it names."""
        found = []
        if self.tokenizer is not None:
            found = [problem.within("tokenizer") for problem in self.tokenizer.image_problems(dataset.image)]
            if not found and self.prior is not None:
                latent = self.tokenizer.latent_shape(dataset.image)
                found = [problem.within("prior") for problem in self.prior.latent_problems(latent)]
        if self.classifier is not None:
            found += [problem.within("classifier") for problem in self.classifier.image_problems(dataset.image)]
        yield from found
        images = dataset.split_images.get("train")
        for name, phase in self.phases.items():
            if not found and all(needed in self.modules for needed in phase.objective.needs):
                for problem in phase.objective.system_problems(self, dataset.image):
                    yield problem.within("phases", name, "objective")
            if images is not None:
                for problem in phase.data_problems(images):
                    yield problem.within("phases", name)
