"""The spec of a run: a system, the phases that train it and the outputs that draw from it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from mimflow.artifacts.checkpoint import snapshot_name
from mimflow.compute.spec import Compute
from mimflow.data.spec import DatasetSpec
from mimflow.objectives.spec import GaussianNoise, LatentScaleSpec, ObjectiveSpec
from mimflow.outputs.registry import OUTPUTS
from mimflow.outputs.spec import OutputSpec
from mimflow.project.ablation import DottedPath
from mimflow.spec.base import OUTSIDE_KEY, Name, Problem, repeated
from mimflow.spec.noise import AdditiveNoise, NoiseLevels
from mimflow.spec.weights import RunWeights, Weights
from mimflow.system.spec import System
from mimflow.training.spec import Phase


class RunSpec(System):
    """A system on a data set: how it is trained, and the ways to sample from it."""

    label: Annotated[str, OUTSIDE_KEY] = ""
    """The run's name in tables; if empty, its own name."""
    dataset: Name
    """The data set that the run is trained on, of `specs/datasets`."""
    phases: dict[Name, Phase]
    """Named phases of training, a train job each, in order: what `extends` has first, then this file's own. `{}`: the
    run trains nothing, and its weights are the given ones."""
    weights: list[Weights] | None = None
    """Of a run without phases: where its weights come from, loaded one after the other. What `mimflow
    import-checkpoint` made of a public checkpoint, or another run's."""
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
    def last_phase(self) -> str | None:
        """The phase whose weights the run is; None where it trains nothing."""
        return next(reversed(self.phases), None)

    def output(self, name: str) -> OutputSpec:
        """The output of that name, with what follows from the training filled in."""
        return self.outputs[name].resolved(self._objective_of_prior)

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
        yield from self._given_problems()
        for name, output in self.outputs.items():
            for problem in (
                *output.system_problems(self),
                *output.level_problems(self._trained_levels),
                *output.objective_problems(self._objective_of_prior),
                *self._weights_problems(output),
            ):
                yield problem.within("outputs", name)
        yield from repeated("seeds", self.seeds, "seed")

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

    def _given_problems(self) -> Iterator[Problem]:
        """Whether a run has weights, from one side alone."""
        if not self.phases and not self.weights:
            yield Problem(
                ("phases",),
                "no phase that trains it, and no weights that are given",
                "phases: {main: {objective: …}}, or weights: [{file: …, sha256: …}]",
            )
        elif self.phases and self.weights is not None:
            first = next(iter(self.phases))
            yield Problem(
                ("weights",),
                "the run is trained, and its weights are those of its last phase",
                f"phases.{first}.start to start from them, or phases: {{}}",
            )
        for position, weights in enumerate(self.weights or []):
            if isinstance(weights, RunWeights) and weights.run is None:
                yield Problem(
                    ("weights", position, "run"), "names no run, and this one trains nothing", "run: the one that does"
                )

    def _weights_problems(self, output: OutputSpec) -> Iterator[Problem]:
        """Why there are no such weights as an output asks for. Paths are relative to the output."""
        if self.last_phase is None:
            if output.snapshot is not None:
                yield Problem(("snapshot",), "the run trains nothing, and has no snapshots", "leave it out")
            return
        phase = self.phases[self.last_phase]
        if output.ema and phase.ema is None:
            yield Problem(("ema",), "the last phase keeps no averaged weights", "ema: false, or give the phase an ema")
        if output.snapshot is None:
            return
        if phase.objective.closed_form:
            yield Problem(("snapshot",), "the last phase is solved in closed form, without snapshots", "leave it out")
        elif snapshot_name(output.snapshot) not in map(snapshot_name, phase.snapshots):
            made = ", ".join(map(snapshot_name, phase.snapshots))
            yield Problem(
                ("snapshot",),
                f"the last phase makes no snapshot at {snapshot_name(output.snapshot)}",
                f"it makes them at: {made}" if made else "it makes none: phases.….snapshots",
            )
        elif not output.ema and phase.ema is not None:
            yield Problem(("ema",), "snapshots of a phase with an ema hold averaged weights alone", "ema: true")

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
            if self.compute.devices > phase.accumulate and not phase.objective.closed_form:
                yield Problem(
                    ("phases", name, "accumulate"),
                    f"{phase.accumulate} parts of a step can't be shared out among {self.compute.devices} devices",
                    f"{self.compute.devices} or more, or fewer compute.devices",
                )
            for problem in phase.objective.training_problems(self, phase.trained):
                yield problem.within("phases", name)
            given = phase.start if phase.start is not None else self.phase_before(name)
            has_weights = bool(given) or (self.tokenizer is not None and self.tokenizer.has_given_weights)
            for problem in phase.latents_problems(self.tokenizer, has_weights):
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
        starts = [weights for phase in self.phases.values() for weights in phase.start or []] + (self.weights or [])
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
    def _objective_of_prior(self) -> ObjectiveSpec | None:
        """The objective of the last phase that trains the prior; None where none does."""
        return next((phase.objective for phase in reversed(self.phases.values()) if "prior" in phase.trained), None)

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
