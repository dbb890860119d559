"""Specs to jobs: every job with its key, made of all that it depends on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mimflow.artifacts.manifest import canonical
from mimflow.compute.spec import Compute
from mimflow.data.spec import Augment
from mimflow.errors import PlanError
from mimflow.features.spec import ClassifierExtractorSpec, NetworkSpec
from mimflow.metrics.spec import Reference
from mimflow.outputs.reconstruction.spec import ReconstructionSpec
from mimflow.outputs.spec import OutputSpec, Subject
from mimflow.plan import paths
from mimflow.products.table.spec import TableSpec
from mimflow.project.protocol import ProtocolSpec
from mimflow.project.run import RunSpec
from mimflow.project.workspace import Workspace
from mimflow.spec.compose import nearest
from mimflow.spec.weights import RunWeights
from mimflow.system.spec import Shapes
from mimflow.tasks import FEATURES_ROLE, EvaluateTask, FeaturesTask, InferTask, PrepareTask, Task, TrainTask
from mimflow.training.spec import Phase

KEY_LENGTH = 12
"""Hexadecimal digits of a key that paths show."""


@dataclass(frozen=True)
class Job:
    """One stage on one task, with the jobs whose results it reads, by role."""

    task: Task
    name: str
    inputs: Mapping[str, Job]
    key: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", hashlib.sha256(canonical(self.hashed()).encode()).hexdigest())

    def hashed(self) -> dict[str, Any]:
        """What the key is the digest of."""
        return {
            "stage": self.stage,
            "version": self.task.version,
            "task": self.task.identity(),
            "inputs": {role: job.key for role, job in self.inputs.items()},
        }

    @property
    def stage(self) -> str:
        return self.task.stage

    @property
    def id(self) -> str:
        """The name of its folder: readable first, unique by the key."""
        return f"{self.name}-{self.key[:KEY_LENGTH]}"

    @property
    def folder(self) -> str:
        return paths.folder(self.stage, self.id)

    @property
    def manifest(self) -> str:
        return paths.manifest(self.stage, self.id)

    @property
    def compute(self) -> Any:
        """Where it is computed; None for stages that need no network."""
        return getattr(self.task, "compute", None)

    def done(self, root: Path) -> bool:
        """Whether its result is in the store."""
        return (root / self.manifest).is_file()

    def upstream(self) -> Iterator[Job]:
        """Every job that this one reads from, directly or not, before it."""
        for job in self.inputs.values():
            yield from job.upstream()
            yield job


@dataclass(frozen=True)
class Measurement:
    """One run with one output and one seed, measured."""

    output: str
    seed: int
    sample: Job
    evaluate: Job


@dataclass(frozen=True)
class PlannedRow:
    """A run in a table: its last train job for each seed, and its measurements."""

    run: str
    label: str
    spec: RunSpec
    trained: Mapping[int, Job]
    measured: tuple[Measurement, ...]


@dataclass(frozen=True)
class PlannedTable:
    """A table with everything that it is rendered from."""

    name: str
    spec: TableSpec
    protocol: ProtocolSpec
    dataset_label: str
    extractor: Job | None
    rows: tuple[PlannedRow, ...]

    @property
    def subjects(self) -> dict[str, Subject]:
        """What the outputs of the columns give, in the order of the columns."""
        names = dict.fromkeys(column.output for column in self.spec.columns if column.kind == "metric")
        given = {name: output.subject for row in self.rows for name, output in row.spec.outputs.items()}
        return {name: given[name] for name in names}

    def jobs(self) -> list[Job]:
        """The jobs whose results it reads, each once."""
        found: dict[str, Job] = {}
        if self.extractor is not None:
            found[self.extractor.id] = self.extractor
        for row in self.rows:
            for job in row.trained.values():
                found[job.id] = job
            for measurement in row.measured:
                found[measurement.sample.id] = measurement.sample
                found[measurement.evaluate.id] = measurement.evaluate
        return list(found.values())


class Plan:
    """Every job that the specs of a workspace ask for. SpecError if a spec has problems."""

    def __init__(self, workspace: Workspace):
        workspace.raise_problems()
        self.workspace = workspace
        self.jobs: dict[str, Job] = {}
        for run in workspace.runs.values():
            for seed in run.spec.seeds:
                self.train(run.name, len(run.spec.phases) - 1, seed)
        for dataset in workspace.datasets:
            self.prepare(dataset)
        self.tables = {name: self._table(name) for name in workspace.tables}

    def job(self, name: str) -> Job:
        """The job with that id, or the only one with that name; PlanError if there is none."""
        if name in self.jobs:
            return self.jobs[name]
        named = [job for job in self.jobs.values() if job.name == name]
        if len(named) == 1:
            return named[0]
        if named:
            raise PlanError(f"'{name}' is the name of several jobs: {', '.join(job.id for job in named)}")
        base = name.rpartition("-")[0]
        now = [job.id for job in self.jobs.values() if job.name == base]
        if now:
            raise PlanError(f"no job '{name}': its specs have changed since, the job is now {', '.join(now)}")
        hint = nearest(name, [job.name for job in self.jobs.values()])
        raise PlanError(f"no job '{name}'" + (f" ({hint})" if hint else ""))

    def table(self, name: str) -> PlannedTable:
        """The table of that name; PlanError with the nearest name if there is none."""
        self.workspace.get("table", name)
        return self.tables[name]

    # -- the stages ----------------------------------------------------------------------------------------------

    def _add(self, job: Job) -> Job:
        return self.jobs.setdefault(job.id, job)

    def prepare(self, dataset: str) -> Job:
        """The preparation of a data set."""
        return self._add(Job(PrepareTask(dataset=self.workspace.datasets[dataset].spec), dataset, {}))

    def train(self, run_name: str, index: int, seed: int) -> Job:
        """A phase of a run, by its place in the list."""
        run = self.workspace.runs[run_name].spec
        phase = run.phases[index]
        inputs = {"data": self.prepare(run.dataset)}
        start = phase.start
        if start is None and index > 0:
            start = [RunWeights(phase=run.phases[index - 1].name)]
            phase = phase.model_copy(update={"start": start})
        for position, weights in enumerate(start or []):
            if isinstance(weights, RunWeights):
                inputs[f"start{position}"] = self.weights(weights, run_name, seed)
        inputs |= self._features(run, phase)
        task = TrainTask(
            shapes=self._shapes(run),
            system=run.system,
            phase=phase,
            seed=seed,
            compute=run.compute,
        )
        return self._add(Job(task, f"{run_name}.{phase.name}.s{seed}", inputs))

    def features(self, dataset: str, network: NetworkSpec, compute: Compute) -> Job:
        """What a frozen network makes of a data set."""
        task = FeaturesTask(network=network, compute=compute)
        return self._add(Job(task, f"{dataset}.{network.name}", {"data": self.prepare(dataset)}))

    def _features(self, run: RunSpec, phase: Phase) -> dict[str, Job]:
        """What a phase's frozen networks make of its images, where these are the same at every step."""
        if phase.augment != Augment():
            return {}
        networks = phase.objective.networks
        return {
            f"{FEATURES_ROLE}{network.name}": self.features(run.dataset, network, run.compute) for network in networks
        }

    def weights(self, reference: RunWeights, asking: str, seed: int) -> Job:
        """The train job that a reference to weights means, asked for by a run with a seed."""
        name = reference.run or asking
        run = self.workspace.runs[name].spec
        names = [phase.name for phase in run.phases]
        index = names.index(reference.phase) if reference.phase is not None else len(names) - 1
        own = seed if reference.run is None else run.seeds[0]
        return self.train(name, index, own if reference.seed is None else reference.seed)

    def sample(self, run_name: str, output: str, protocol: ProtocolSpec, seed: int) -> Job:
        """What a output of a run gives under a protocol."""
        run = self.workspace.runs[run_name].spec
        spec = run.outputs[output]
        task = InferTask(
            shapes=self._shapes(run),
            system=run.system,
            output=spec,
            samples=protocol.samples.drawing if spec.reads_data else protocol.samples,
            seed=seed,
            compute=run.compute,
        )
        inputs = {"weights": self.train(run_name, len(run.phases) - 1, seed)}
        if spec.reads_data:
            inputs["data"] = self.prepare(run.dataset)
        return self._add(Job(task, f"{run_name}.s{seed}.{output}", inputs))

    def extractor(self, protocol: ProtocolSpec) -> Job | None:
        """The train job of a protocol's feature extractor, where a run trained it."""
        if isinstance(protocol.extractor, ClassifierExtractorSpec):
            return self.weights(protocol.extractor.weights, "", 0)
        return None

    def evaluate(self, sample: Job, protocol_name: str) -> Job:
        """The measurement of what a output gave, by those metrics of a protocol that fit it."""
        protocol = self.workspace.protocols[protocol_name].spec
        dataset = self.workspace.datasets[protocol.dataset].spec
        assert isinstance(sample.task, InferTask)
        output = sample.task.output
        reference = _reference(output, protocol)
        inputs = {"samples": sample}
        extractor = None
        if reference is not None:
            inputs["data"] = self.prepare(protocol.dataset)
            extractor = self.extractor(protocol)
        if extractor is not None:
            inputs["extractor"] = extractor
        task = EvaluateTask(
            shapes=Shapes.of(dataset),
            extractor=protocol.extractor if reference is not None else None,
            extractor_system=extractor.task.system if extractor is not None else None,  # type: ignore[attr-defined]
            metrics=[metric for metric in protocol.metrics if output.subject in metric.subjects],
            reference=reference,
            compute=sample.task.compute,
        )
        return self._add(Job(task, f"{sample.name}.{protocol_name}", inputs))

    def _shapes(self, run: RunSpec) -> Shapes:
        return Shapes.of(self.workspace.datasets[run.dataset].spec)

    # -- tables --------------------------------------------------------------------------------------------------

    def _table(self, name: str) -> PlannedTable:
        spec = self.workspace.tables[name].spec
        protocol = self.workspace.protocols[spec.protocol].spec
        outputs = {column.output for column in spec.columns if column.kind == "metric"}
        rows = []
        for row in spec.rows:
            members = [row.run] if row.run is not None else self.workspace.members(row.ablation or "")
            rows += [self._row(spec, run, row.label, outputs) for run in members]
        dataset = self.workspace.datasets[protocol.dataset]
        label = dataset.spec.label or dataset.name
        return PlannedTable(name, spec, protocol, label, self.extractor(protocol), tuple(rows))

    def _row(self, table: TableSpec, run_name: str, label: str, outputs: set[str]) -> PlannedRow:
        run = self.workspace.runs[run_name].spec
        seeds = table.seeds or run.seeds
        protocol = self.workspace.protocols[table.protocol].spec
        measured = []
        for output in run.outputs:
            if output not in outputs:
                continue
            for seed in seeds:
                sample = self.sample(run_name, output, protocol, seed)
                measured.append(Measurement(output, seed, sample, self.evaluate(sample, table.protocol)))
        trained = {seed: self.train(run_name, len(run.phases) - 1, seed) for seed in seeds}
        return PlannedRow(run_name, label or run.label or run_name, run, trained, tuple(measured))


def _reference(output: OutputSpec, protocol: ProtocolSpec) -> Reference | None:
    """What a output's images are compared with: reconstructions with their originals; no images, no reference."""
    if isinstance(output, ReconstructionSpec):
        return Reference(split=output.split)
    return protocol.reference if output.subject == "samples" else None
