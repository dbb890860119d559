"""Specs to jobs: every job with its key, made of all that it depends on."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mimflow.compute.spec import Compute
from mimflow.contents.registry import CONTENTS
from mimflow.data.spec import Augment
from mimflow.errors import PlanError, SpecError
from mimflow.features.spec import ClassifierExtractorSpec, NetworkSpec
from mimflow.plan import paths
from mimflow.plan.jobs import KEY_LENGTH, Job
from mimflow.plan.product import Product
from mimflow.project.pins import read_pin
from mimflow.project.protocol import ProtocolSpec
from mimflow.project.run import RunSpec
from mimflow.project.workspace import Workspace
from mimflow.spec.compose import nearest
from mimflow.spec.weights import FileWeights, RunWeights, Weights
from mimflow.system.spec import Shapes
from mimflow.tasks import (
    FEATURES_ROLE,
    LATENTS_ROLE,
    EvaluateTask,
    FeaturesTask,
    InferTask,
    LatentsTask,
    PrepareTask,
    Task,
    TrainTask,
)
from mimflow.training.spec import Phase


@dataclass(frozen=True)
class Measurement:
    """One output of one run with one seed, measured under a protocol."""

    run: str
    output: str
    seed: int
    infer: Job
    evaluate: Job


class Plan:
    """Every job and product that the valid specs of a workspace ask for.

    A spec is left out if something is wrong with it or with what it names; whoever asks for it is told.
    """

    def __init__(self, workspace: Workspace):
        self.workspace = workspace
        self.root = workspace.root
        self.jobs: dict[str, Job] = {}
        """By id."""
        self.names: dict[tuple[str, str], Job] = {}
        """By stage and every name that the specs have for a job. Names with one key are one job."""
        self.looked_at: dict[str, str | None] = {}
        """By preparation: what is wrong with the folder that it reads, as far as anybody has asked."""
        for run in workspace.sound("run"):
            for seed in run.spec.seeds:
                self.train(run.name, run.spec.last_phase, seed)
        for dataset in workspace.sound("dataset"):
            self.prepare(dataset.name)
        self.products: dict[str, Product] = {
            loaded.name: kind.build(self, kind, loaded)
            for kind in workspace.products
            for loaded in workspace.sound(kind.name)
        }
        for product in self.products.values():
            product.jobs()

    def job(self, name: str, stage: str | None = None) -> Job:
        """The job with that name or id, of any stage or of one.

        PlanError with the nearest name if there is none; SpecError if a spec that is wrong may ask for it.
        """
        if name in self.jobs:
            return self.jobs[name]
        named = {job.id: job for (of, given), job in self.names.items() if given == name and stage in (None, of)}
        if len(named) == 1:
            return next(iter(named.values()))
        if named:
            raise PlanError(f"'{name}' is the name of several jobs: {', '.join(named)}")
        self.workspace.raise_problems()
        if re.fullmatch(rf"[0-9a-f]{{{KEY_LENGTH}}}", name):
            raise PlanError(
                f"no spec asks for the job {name} any more: specs have changed since (mimflow plan PRODUCT)"
            )
        hint = nearest(name, [given for _, given in self.names])
        raise PlanError(f"no spec asks for a job '{name}'" + (f" ({hint})" if hint else ""))

    def product(self, target: str) -> Product:
        """The product that a name or one of its files means; PlanError with the nearest name if there is none.

        SpecError if something is wrong with its spec, or with what it names.
        """
        name = paths.product_name(target)
        if name not in self.products:
            problems = self.workspace.problems_of(*((kind.name, name) for kind in self.workspace.products))
            if problems:
                raise SpecError("\n".join(problems))
            hint = nearest(name, self.products)
            kinds = " or ".join(kind.name for kind in self.workspace.products)
            raise PlanError(f"no {kinds} named '{name}'" + (f" ({hint})" if hint else ""))
        return self.products[name]

    def by_default(self) -> list[Product]:
        """The products that are made when nothing is asked for. SpecError if one that may be is wrong."""
        kinds = {
            kind.name: {loaded.name: loaded for loaded in self.workspace.all(kind.name)}
            for kind in self.workspace.products
        }
        # What can't be read may say that it is one.
        asked = [
            (kind, name)
            for kind, name in self.workspace.wrong
            if kind in kinds and (name not in kinds[kind] or kinds[kind][name].spec.by_default)
        ]
        if asked:
            raise SpecError("\n".join(self.workspace.problems_of(*asked)))
        return [product for product in self.products.values() if product.spec.by_default]

    # -- the stages ----------------------------------------------------------------------------------------------

    def _add(self, name: str, task: Task, inputs: dict[str, Job]) -> Job:
        made = Job(task, inputs, name)
        job = self.jobs.setdefault(made.id, made)
        self.names[task.stage, name] = job
        return job

    def prepare(self, dataset: str) -> Job:
        """The preparation of a data set."""
        loaded = self.workspace.datasets[dataset]
        return self._add(dataset, PrepareTask(dataset=loaded.spec, files=read_pin(loaded)), {})

    def train(self, run_name: str, phase_name: str, seed: int) -> Job:
        """A phase of a run."""
        run = self.workspace.runs[run_name].spec
        phase = run.phases[phase_name]
        inputs = {"data": self.prepare(run.dataset)}
        start = phase.start
        if start is None and (before := run.phase_before(phase_name)) is not None:
            start = [RunWeights(phase=before)]
            phase = phase.model_copy(update={"start": start})
        for position, weights in enumerate(start or []):
            if isinstance(weights, RunWeights):
                inputs[f"start{position}"] = self.weights(weights, run_name, seed)
        inputs |= self._features(run, phase)
        if phase.stored_latents:
            inputs[LATENTS_ROLE] = self._latents(run_name, phase_name, seed)
        task = TrainTask(
            shapes=self._shapes(run),
            system=run.system,
            phase=phase,
            phase_name=phase_name,
            seed=seed,
            compute=run.compute,
        )
        return self._add(f"{run_name}.{phase_name}.s{seed}", task, inputs)

    def trained(self, run_name: str, seed: int) -> list[Job]:
        """The train jobs of a run's own phases that lead to its weights, in order."""
        own = [self.train(run_name, phase, seed) for phase in self.workspace.runs[run_name].spec.phases]
        needed = {job.id for job in (*own[-1].upstream(), own[-1])}
        return [job for job in own if job.id in needed]

    def features(self, dataset: str, network: NetworkSpec, compute: Compute) -> Job:
        """What a frozen network makes of a data set."""
        task = FeaturesTask(network=network, compute=compute)
        return self._add(f"{dataset}.{network.name}", task, {"data": self.prepare(dataset)})

    def _features(self, run: RunSpec, phase: Phase) -> dict[str, Job]:
        """What a phase's frozen networks make of its images, where these are the same at every step."""
        if phase.augment != Augment():
            return {}
        networks = phase.objective.networks
        return {
            f"{FEATURES_ROLE}{network.name}": self.features(run.dataset, network, run.compute) for network in networks
        }

    def _latents(self, run_name: str, phase_name: str, seed: int) -> Job:
        """What the frozen tokenizer of a phase makes of the run's data."""
        run = self.workspace.runs[run_name].spec
        source = self._tokenizer_weights(run_name, phase_name)
        inputs = {"data": self.prepare(run.dataset)}
        if isinstance(source, RunWeights):
            inputs["weights"] = self.weights(source, run_name, seed)
        assert run.tokenizer is not None, "refused by Phase.latents_problems"
        task = LatentsTask(
            shapes=self._shapes(run),
            tokenizer=run.tokenizer,
            weights=source.model_copy(update={"modules": None}) if isinstance(source, FileWeights) else None,
            ema=source.ema if isinstance(source, RunWeights) else False,
            compute=run.compute,
        )
        return self._add(f"{run_name}.{phase_name}.s{seed}", task, inputs)

    def _tokenizer_weights(self, run_name: str, phase_name: str) -> Weights | None:
        """Where the tokenizer's weights of a phase that does not train it come from; None: its spec names them.

        A phase before that did not train it either is passed over, so that phases share latents.
        """
        run = self.workspace.runs[run_name].spec
        start, before = run.phases[phase_name].start, run.phase_before(phase_name)
        if start is None:
            start = [RunWeights(phase=before)] if before is not None else []
        source = next((one for one in reversed(start) if one.modules is None or "tokenizer" in one.modules), None)
        if not isinstance(source, RunWeights) or source.run is not None or source.seed is not None:
            return source
        frozen = source.phase is not None and "tokenizer" not in run.phases[source.phase].trained
        return self._tokenizer_weights(run_name, source.phase) if frozen and source.phase is not None else source

    def weights(self, reference: RunWeights, asking: str, seed: int) -> Job:
        """The train job that a reference to weights means, asked for by a run with a seed."""
        name = reference.run or asking
        run = self.workspace.runs[name].spec
        own = seed if reference.run is None else run.seeds[0]
        return self.train(name, reference.phase or run.last_phase, own if reference.seed is None else reference.seed)

    def infer(self, run_name: str, output: str, protocol: ProtocolSpec, seed: int) -> Job:
        """What a run gives by one of its outputs under a protocol."""
        run = self.workspace.runs[run_name].spec
        spec = run.outputs[output]
        task = InferTask(
            shapes=self._shapes(run),
            system=run.system,
            output=spec,
            samples=CONTENTS[spec.content].drawing(protocol.samples),
            seed=seed,
            compute=run.compute,
        )
        inputs = {"weights": self.train(run_name, run.last_phase, seed)}
        if spec.reads_data:
            inputs["data"] = self.prepare(run.dataset)
        return self._add(f"{run_name}.s{seed}.{output}", task, inputs)

    def extractor(self, protocol: ProtocolSpec) -> Job | None:
        """The train job of a protocol's feature extractor, where a run trained it."""
        if isinstance(protocol.extractor, ClassifierExtractorSpec):
            return self.weights(protocol.extractor.weights, "", 0)
        return None

    def measure(self, run_name: str, output: str, protocol_name: str, seed: int) -> Measurement:
        """An output of a run, and its measurement by those metrics of a protocol that fit it."""
        protocol = self.workspace.protocols[protocol_name].spec
        infer = self.infer(run_name, output, protocol, seed)
        evaluate = self._evaluate(infer, f"{run_name}.s{seed}.{output}.{protocol_name}", protocol)
        return Measurement(run_name, output, seed, infer, evaluate)

    def _evaluate(self, infer: Job, name: str, protocol: ProtocolSpec) -> Job:
        dataset = self.workspace.datasets[protocol.dataset].spec
        assert isinstance(infer.task, InferTask)
        output = infer.task.output
        content = CONTENTS[output.content]
        reference = content.reference(output, protocol.reference)
        extractor = self.extractor(protocol) if content.extracts else None
        inputs = {"output": infer}
        if reference is not None:
            inputs["data"] = self.prepare(protocol.dataset)
        if extractor is not None:
            inputs["extractor"] = extractor
        task = EvaluateTask(
            content=content.name,
            shapes=Shapes.of(dataset),
            extractor=protocol.extractor if content.extracts else None,
            extractor_system=extractor.task.system if extractor is not None else None,  # type: ignore[attr-defined]
            metrics=[metric for metric in protocol.metrics if content.name in metric.measures],
            reference=reference,
            compute=infer.task.compute,
        )
        return self._add(name, task, inputs)

    def _shapes(self, run: RunSpec) -> Shapes:
        return Shapes.of(self.workspace.datasets[run.dataset].spec)
