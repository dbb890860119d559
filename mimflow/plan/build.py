"""Specs to jobs: every job with its key, made of all that it depends on."""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from mimflow.compute.spec import Compute
from mimflow.contents.base import Content
from mimflow.contents.registry import CONTENTS
from mimflow.contents.spec import GivenSamples
from mimflow.data.spec import Augment
from mimflow.errors import PlanError, SpecError
from mimflow.features.spec import ClassifierExtractorSpec, NetworkSpec
from mimflow.metrics.reference.spec import ReferenceSpec, SplitReferenceSpec
from mimflow.plan import paths
from mimflow.plan.jobs import KEY_LENGTH, Job
from mimflow.plan.once import once
from mimflow.plan.product import Product
from mimflow.project.pins import read_pin
from mimflow.project.protocol import ProtocolSpec
from mimflow.project.run import RunSpec
from mimflow.project.workspace import Loaded, Workspace
from mimflow.spec.compose import nearest
from mimflow.spec.weights import FileWeights, RunWeights, Weights
from mimflow.system.spec import Shapes, System
from mimflow.tasks import (
    FEATURES_ROLE,
    LATENTS_ROLE,
    REFERENCE_ROLE,
    EvaluateTask,
    FeaturesTask,
    InferTask,
    LatentsTask,
    PrepareTask,
    ReferenceTask,
    Task,
    TrainTask,
)
from mimflow.training.spec import Phase


@dataclass(frozen=True)
class Measurement:
    """One output of one run with one seed, or samples that were made elsewhere, measured under a protocol."""

    run: str
    output: str
    protocol: str
    seed: int
    infer: Job | None
    """None of samples that were made elsewhere."""
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
        self._names_of: dict[str, dict[str, None]] = {}
        self.made: dict[tuple[Hashable, ...], Any] = {}
        """What was asked for once, by method and arguments."""
        self.looked_at: dict[str, str | None] = {}
        """By preparation: what is wrong with the folder that it reads, as far as anybody has asked."""
        for run in workspace.sound("run"):
            for seed in run.spec.seeds if run.spec.last_phase is not None else []:
                self.train(run.name, run.spec.last_phase, seed)
        for dataset in workspace.sound("dataset"):
            self.prepare(dataset.name)
        self._pages: dict[str, Product] = {}
        """Products that no file describes, by name, as far as anybody has asked for one."""
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
        if (page := self._page(name)) is not None:
            return page
        if name not in self.products:
            problems = self.workspace.problems_of(*((kind.name, name) for kind in self.workspace.products))
            if problems:
                raise SpecError("\n".join(problems))
            hint = nearest(name, self.products)
            kinds = " or ".join(kind.name for kind in self.workspace.products)
            raise PlanError(f"no {kinds} named '{name}'" + (f" ({hint})" if hint else ""))
        return self.products[name]

    def _page(self, name: str) -> Product | None:
        """A product of a run that no file describes, by its name, `runs/RUN`; None for any other name.

        Planned when it is asked for: there is one for every run. PlanError or SpecError for a run as of `product`.
        """
        folder, slash, run = name.partition("/")
        kind = next((kind for kind in self.workspace.of_runs if kind.folders == (folder,)), None)
        if not slash or kind is None:
            return None
        if name not in self._pages:
            loaded = self.workspace.get("run", run)
            if problems := self.workspace.problems_of(("run", run)):
                raise SpecError("\n".join(problems))
            spec = kind.described(self.workspace, run)
            page: Product = kind.build(self, kind, Loaded(kind.name, name, spec, loaded.node, loaded.file))
            page.jobs()
            self._pages[name] = page
        return self._pages[name]

    @property
    def pages(self) -> list[str]:
        """The names of the products that no file describes."""
        kinds, runs = self.workspace.of_runs, self.workspace.sound("run")
        return [f"{kind.folders[0]}/{run.name}" for run in runs for kind in kinds]

    def plan_everything(self) -> None:
        """Plan the products of all runs, too, for those who must know every job that anything can ask for."""
        for name in self.pages:
            self._page(name)

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

    def of_papers(self) -> list[Product]:
        """The products that make an item of a paper, but for those that say they are not made with the others."""
        return [product for product in self.products.values() if product.papers and product.spec.with_papers]

    # -- the stages ----------------------------------------------------------------------------------------------

    def _add(self, name: str, task: Task, inputs: dict[str, Job]) -> Job:
        made = Job(task, inputs, name)
        job = self.jobs.setdefault(made.id, made)
        self.names[task.stage, name] = job
        self._names_of.setdefault(job.id, {})[name] = None
        return job

    def names_of(self, job: Job) -> list[str]:
        """Every name that the specs have for a job."""
        return list(self._names_of.get(job.id, ()))

    @once
    def prepare(self, dataset: str) -> Job:
        """The preparation of a data set."""
        loaded = self.workspace.datasets[dataset]
        return self._add(dataset, PrepareTask(dataset=loaded.spec, files=read_pin(loaded)), {})

    @once
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
        if not own:
            return []
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
        phase = reference.phase or run.last_phase
        assert phase is not None, "refused by check_references"
        return self.train(name, phase, own if reference.seed is None else reference.seed)

    def infer(self, run_name: str, output: str, protocol: ProtocolSpec, seed: int) -> Job:
        """What a run gives by one of its outputs under a protocol."""
        run = self.workspace.runs[run_name].spec
        spec = run.output(output)
        task = InferTask(
            shapes=self._shapes(run),
            system=run.system,
            output=spec,
            samples=CONTENTS[spec.content].drawing(protocol.samples),
            seed=seed,
            compute=run.compute,
            weights=run.weights,
        )
        if run.last_phase is not None:
            inputs = {"weights": self.train(run_name, run.last_phase, seed)}
        else:
            inputs = {
                f"weights{position}": self.weights(weights, run_name, seed)
                for position, weights in enumerate(run.weights or [])
                if isinstance(weights, RunWeights)
            }
        if spec.reads_data:
            inputs["data"] = self.prepare(run.dataset)
        return self._add(f"{run_name}.s{seed}.{output}", task, inputs)

    def extractor(self, protocol: ProtocolSpec) -> Job | None:
        """The train job of a protocol's feature extractor, where a run trained it."""
        if isinstance(protocol.extractor, ClassifierExtractorSpec):
            return self.weights(protocol.extractor.weights, "", 0)
        return None

    @once
    def measure(self, run_name: str, output: str, protocol_name: str, seed: int) -> Measurement:
        """An output of a run, and its measurement by those metrics of a protocol that fit it."""
        infer = self.infer(run_name, output, self.workspace.protocols[protocol_name].spec, seed)
        evaluate = self._evaluate(infer, f"{run_name}.s{seed}.{output}.{protocol_name}", protocol_name)
        return Measurement(run_name, output, protocol_name, seed, infer, evaluate)

    def measure_given(self, given: GivenSamples, protocol_name: str, compute: Compute) -> Job:
        """The evaluate job of samples that were made elsewhere."""
        protocol = self.workspace.protocols[protocol_name].spec
        task = self._task(CONTENTS["samples"], protocol, protocol.reference, compute)
        task = task.model_copy(update={"given": given, "asked": protocol.samples})
        name = f"{given.sha256[:KEY_LENGTH] if given.sha256 else 'given'}.{protocol_name}"
        return self._add(name, task, self._evaluate_inputs(task, protocol_name))

    def _evaluate(self, infer: Job, name: str, protocol_name: str) -> Job:
        protocol = self.workspace.protocols[protocol_name].spec
        assert isinstance(infer.task, InferTask)
        output = infer.task.output
        content = CONTENTS[output.content]
        task = self._task(content, protocol, content.reference(output, protocol.reference), infer.task.compute)
        return self._add(name, task, {"output": infer, **self._evaluate_inputs(task, protocol_name)})

    def _task(
        self, content: Content, protocol: ProtocolSpec, reference: ReferenceSpec | None, compute: Compute
    ) -> EvaluateTask:
        metrics = [metric for metric in protocol.metrics if content.name in metric.measures]
        if reference is not protocol.reference:  # of other contents: what metrics name is of samples
            metrics = [metric.model_copy(update={"reference": None}) for metric in metrics]
        return EvaluateTask(
            content=content.name,
            shapes=Shapes.of(self.workspace.datasets[protocol.dataset].spec),
            extractor=protocol.extractor if content.extracts else None,
            extractor_system=self._extractor_system(protocol) if content.extracts else None,
            metrics=metrics,
            reference=reference,
            compute=compute,
        )

    def _evaluate_inputs(self, task: EvaluateTask, protocol_name: str) -> dict[str, Job]:
        """What an evaluation reads besides what it measures: only what its metrics compare with."""
        protocol = self.workspace.protocols[protocol_name].spec
        inputs: dict[str, Job] = {}
        shared = {metric.compares for metric in task.metrics if metric.reference is None}
        if shared & {"originals", "images"}:
            inputs["data"] = self.prepare(protocol.dataset)
        if task.reference is not None and shared & {"statistics", "features"}:
            inputs[REFERENCE_ROLE] = self.reference(protocol_name, task.reference, "features" in shared, task.compute)
        own = [metric for metric in task.metrics if metric.reference is not None]
        for metric in own:
            assert metric.reference is not None
            features = any(each.compares == "features" for each in own if each.reference == metric.reference)
            inputs[f"{REFERENCE_ROLE}:{metric.kind}"] = self.reference(
                protocol_name, metric.reference, features, task.compute
            )
        if task.extractor is not None and (extractor := self.extractor(protocol)) is not None:
            inputs["extractor"] = extractor
        return inputs

    def reference(self, protocol_name: str, reference: ReferenceSpec, features: bool, compute: Compute) -> Job:
        """What a protocol's extractor makes of a reference: statistics, and the features of each image if asked for."""
        protocol = self.workspace.protocols[protocol_name].spec
        task = ReferenceTask(
            shapes=Shapes.of(self.workspace.datasets[protocol.dataset].spec),
            reference=reference,
            extractor=protocol.extractor,
            extractor_system=self._extractor_system(protocol),
            features=features,
            compute=compute,
        )
        inputs = {"data": self.prepare(protocol.dataset)} if isinstance(reference, SplitReferenceSpec) else {}
        if (extractor := self.extractor(protocol)) is not None:
            inputs["extractor"] = extractor
        return self._add(f"{protocol_name}.{reference.name}{'-features' if features else ''}", task, inputs)

    def _extractor_system(self, protocol: ProtocolSpec) -> System | None:
        job = self.extractor(protocol)
        return job.task.system if job is not None else None  # type: ignore[attr-defined]

    def _shapes(self, run: RunSpec) -> Shapes:
        return Shapes.of(self.workspace.datasets[run.dataset].spec)
