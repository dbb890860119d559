"""All specs of a project: where each kind lies, what names what, and every problem at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Generic, TypeVar

from mimflow.data.spec import DatasetSpec
from mimflow.errors import PlanError, SpecError
from mimflow.metrics.spec import ClassifierExtractorSpec
from mimflow.spec.ablation import AblationSpec
from mimflow.spec.base import SLUG, Path as FieldPath
from mimflow.spec.base import Problem, Spec
from mimflow.spec.compose import load, nearest, override, shown_path
from mimflow.spec.protocol import ProtocolSpec
from mimflow.spec.reader import Mark, Node, ReadError
from mimflow.spec.run import RunSpec
from mimflow.spec.table import PublishedSpec, TableSpec
from mimflow.spec.validate import NAME_HINT, build, describe
from mimflow.spec.weights import RunWeights

S = TypeVar("S", bound=Spec)

KINDS: dict[str, tuple[type[Spec], tuple[str, ...]]] = {
    "dataset": (DatasetSpec, ("datasets",)),
    "run": (RunSpec, ("systems", "mini")),
    "ablation": (AblationSpec, ("ablations",)),
    "protocol": (ProtocolSpec, ("protocols",)),
    "published": (PublishedSpec, ("published",)),
    "table": (TableSpec, ("tables",)),
}
"""What each folder of `specs` holds."""


@dataclass(frozen=True)
class Loaded(Generic[S]):
    """A valid spec with the nodes that it was read from."""

    name: str
    spec: S
    node: Node
    file: Path

    def line(self, path: FieldPath, message: str, hint: str = "") -> str:
        """A problem of this spec as a line with its place."""
        return describe(self.node, Problem(path, message, hint))


class Workspace:
    """The specs below `root/specs`. Read once; `problems` holds a line for everything that is wrong."""

    def __init__(self, root: Path):
        self.root = root
        self.problems: list[str] = []
        self._broken: set[tuple[str, str]] = set()
        self._specs: dict[str, dict[str, Loaded[Any]]] = {kind: {} for kind in KINDS}
        if not (root / "specs").is_dir():
            raise PlanError(f"{root / 'specs'}: no such folder (run mimflow in a project, or name one with --project)")
        for kind, (cls, folders) in KINDS.items():
            for folder in folders:
                for file in sorted((root / "specs" / folder).rglob("*.yaml")):
                    self._read(kind, cls, file)
        self._expand_ablations()
        for check in (self._check_runs, self._check_protocols, self._check_tables):
            self.problems.extend(check())

    # -- what there is -------------------------------------------------------------------------------------------

    @property
    def datasets(self) -> dict[str, Loaded[DatasetSpec]]:
        return self._specs["dataset"]

    @property
    def runs(self) -> dict[str, Loaded[RunSpec]]:
        """Every run, those that ablations expand to included."""
        return self._specs["run"]

    @property
    def ablations(self) -> dict[str, Loaded[AblationSpec]]:
        return self._specs["ablation"]

    @property
    def protocols(self) -> dict[str, Loaded[ProtocolSpec]]:
        return self._specs["protocol"]

    @property
    def published(self) -> dict[str, Loaded[PublishedSpec]]:
        return self._specs["published"]

    @property
    def tables(self) -> dict[str, Loaded[TableSpec]]:
        return self._specs["table"]

    def get(self, kind: str, name: str) -> Loaded[Any]:
        """The spec of that kind and name; PlanError with the nearest name if there is none."""
        found = self._specs[kind].get(name)
        if found is None:
            if (kind, name) in self._broken:
                raise SpecError("\n".join(self.problems))
            hint = nearest(name, self._specs[kind])
            raise PlanError(f"no {kind} named '{name}'" + (f" ({hint})" if hint else ""))
        return found

    def all(self, kind: str) -> Iterator[Loaded[Any]]:
        """Every valid spec of a kind."""
        yield from self._specs[kind].values()

    def find(self, name: str) -> Iterator[tuple[str, Loaded[Any]]]:
        """Every spec of that name, with its kind."""
        for kind, specs in self._specs.items():
            if name in specs:
                yield kind, specs[name]

    def members(self, ablation: str) -> list[str]:
        """The names of the runs that an ablation expands to."""
        return [run_name(ablation, variant.name) for variant in self.ablations[ablation].spec.expand()]

    def raise_problems(self) -> None:
        """SpecError with every problem, if there are any."""
        if self.problems:
            raise SpecError("\n".join(self.problems))

    # -- reading -------------------------------------------------------------------------------------------------

    def _read(self, kind: str, cls: type[Spec], file: Path) -> None:
        name, shown = file.stem, shown_path(file, self.root)
        if not SLUG.fullmatch(name):
            self.problems.append(f"{shown}:1:1: the file's name '{name}' can't be a name ({NAME_HINT})")
            return
        if name in self._specs[kind]:
            other = shown_path(self._specs[kind][name].file, self.root)
            self.problems.append(f"{shown}:1:1: a {kind} named '{name}' is also at {other} (rename one)")
            return
        try:
            node = load(file, self.root)
        except ReadError as error:
            self._fail(kind, name, [str(error)])
            return
        self._add(kind, cls, name, node, file)

    def _add(self, kind: str, cls: type[Spec], name: str, node: Node, file: Path) -> None:
        spec, problems = build(cls, node)
        if spec is None:
            self._fail(kind, name, problems)
        else:
            self._specs[kind][name] = Loaded(name, spec, node, file)

    def _fail(self, kind: str, name: str, problems: list[str]) -> None:
        self._broken.add((kind, name))
        self.problems.extend(problem for problem in problems if problem not in self.problems)

    def _expand_ablations(self) -> None:
        for name, loaded in list(self.ablations.items()):
            base = self.runs.get(loaded.spec.run)
            if base is None:
                self.problems.extend(self._unknown(loaded, ("run",), "run", loaded.spec.run))
                self._broken.add(("ablation", name))
                continue
            for variant, values in zip(loaded.spec.expand(), _written(loaded), strict=True):
                self._expand_variant(loaded, base, run_name(name, variant.name), variant.label, values)

    def _expand_variant(
        self, ablation: Loaded[AblationSpec], base: Loaded[RunSpec], name: str, label: str, values: dict[str, Node]
    ) -> None:
        mark = ablation.node.mark
        if not SLUG.fullmatch(name) or name in self.runs:
            why = "is also another run's" if name in self.runs else "can't be a name"
            self._fail("run", name, [ablation.line((), f"the run name '{name}' {why}", "name variants by hand")])
            return
        node = base.node
        try:
            for dotted, value in values.items():
                node = override(node, dotted, value)
        except ReadError as error:
            self._fail("run", name, [str(error)])
            return
        title = f"{base.spec.label or base.name}, {label}" if label else name
        node = override(node, "label", Node(title, mark))
        self._add("run", RunSpec, name, node, ablation.file)

    # -- names that specs use ------------------------------------------------------------------------------------

    def _unknown(self, loaded: Loaded[Any], path: FieldPath, kind: str, name: str) -> Iterator[str]:
        """A line if there is no such spec; none if there is, or if its own problems are told already."""
        if name not in self._specs[kind] and (kind, name) not in self._broken:
            yield loaded.line(path, f"there is no {kind} '{name}'", nearest(name, self._specs[kind]))

    def _check_runs(self) -> Iterator[str]:
        for loaded in self.runs.values():
            yield from self._unknown(loaded, ("dataset",), "dataset", loaded.spec.dataset)
            if loaded.spec.dataset in self.datasets:
                dataset = self.datasets[loaded.spec.dataset].spec
                for problem in loaded.spec.data_problems(dataset):
                    yield describe(loaded.node, problem)
            for index, phase in enumerate(loaded.spec.phases):
                for position, weights in enumerate(phase.start or []):
                    if isinstance(weights, RunWeights) and weights.run is not None:
                        yield from self._check_weights(loaded, ("phases", index, "start", position), weights)

    def _check_weights(self, loaded: Loaded[Any], path: FieldPath, weights: RunWeights) -> Iterator[str]:
        assert weights.run is not None
        yield from self._unknown(loaded, (*path, "run"), "run", weights.run)
        if weights.run not in self.runs:
            return
        if weights.run == loaded.name:
            yield loaded.line((*path, "run"), "a run can't start from itself", "leave `run` out to name an earlier phase")
            return
        run = self.runs[weights.run].spec
        phases = {phase.name: phase for phase in run.phases}
        phase = phases.get(weights.phase) if weights.phase is not None else run.phases[-1]
        if phase is None:
            yield loaded.line((*path, "phase"), f"run '{weights.run}' has no phase '{weights.phase}'", nearest(str(weights.phase), phases))
        elif weights.ema and phase.ema is None:
            yield loaded.line((*path, "ema"), f"phase '{phase.name}' of '{weights.run}' keeps no averaged weights", "ema: false")
        if weights.seed is not None and weights.seed not in run.seeds:
            yield loaded.line((*path, "seed"), f"run '{weights.run}' has no seed {weights.seed}", f"it has {run.seeds}")
        for position, module in enumerate(weights.modules or []):
            if module not in run.modules:
                yield loaded.line((*path, "modules", position), f"run '{weights.run}' has no module '{module}'", nearest(module, run.modules))

    def _check_protocols(self) -> Iterator[str]:
        for loaded in self.protocols.values():
            yield from self._unknown(loaded, ("dataset",), "dataset", loaded.spec.dataset)
            extractor = loaded.spec.extractor
            if not isinstance(extractor, ClassifierExtractorSpec):
                continue
            path: FieldPath = ("extractor", "weights")
            if extractor.weights.run is None:
                yield loaded.line(path, "names no run", "run: the run that trains the classifier")
                continue
            yield from self._check_weights(loaded, path, extractor.weights)
            run = self.runs.get(extractor.weights.run)
            if run is not None and run.spec.classifier is None:
                yield loaded.line((*path, "run"), f"run '{run.name}' trains no classifier", "name one that does")

    def _check_tables(self) -> Iterator[str]:
        for loaded in self.tables.values():
            table = loaded.spec
            yield from self._unknown(loaded, ("protocol",), "protocol", table.protocol)
            yield from self._check_published(loaded)
            if table.template is not None and not (self.root / table.template).is_file():
                yield loaded.line(("template",), f"no file {table.template}", "a path relative to the project")
            runs: list[str] = []
            for index, row in enumerate(table.rows):
                kind, name = ("run", row.run) if row.run is not None else ("ablation", row.ablation or "")
                yield from self._unknown(loaded, ("rows", index, kind), kind, name)
                members = [name] if kind == "run" else self.members(name) if name in self.ablations and ("ablation", name) not in self._broken else []
                runs += [run for run in members if run in self.runs]
                yield from self._check_row(loaded, ("rows", index, kind), members)
            yield from self._check_columns(loaded, runs)

    def _check_row(self, table: Loaded[TableSpec], path: FieldPath, members: Iterable[str]) -> Iterator[str]:
        protocol = self.protocols.get(table.spec.protocol)
        for name in members:
            run = self.runs.get(name)
            if run is None or protocol is None:
                continue
            if run.spec.dataset != protocol.spec.dataset:
                yield table.line(
                    path,
                    f"run '{name}' is on data set '{run.spec.dataset}', protocol '{protocol.name}' measures '{protocol.spec.dataset}'",
                    "a column holds one protocol: rows under another belong to another table",
                )
            extractor = protocol.spec.extractor
            if isinstance(extractor, ClassifierExtractorSpec) and extractor.weights.run == name:
                yield table.line(path, f"run '{name}' trains the extractor that would score it", "measure it with another")

    def _check_columns(self, table: Loaded[TableSpec], runs: list[str]) -> Iterator[str]:
        protocol = self.protocols.get(table.spec.protocol)
        samplers = sorted({sampler for run in runs for sampler in self.runs[run].spec.samplers})
        for index, column in enumerate(table.spec.columns):
            if column.kind != "metric":
                continue
            if protocol is not None:
                reported = [name for metric in protocol.spec.metrics for name in metric.reports]
                if column.metric not in reported:
                    yield table.line(("columns", index, "metric"), f"protocol '{protocol.name}' reports no '{column.metric}'", nearest(column.metric, reported))
            if runs and column.sampler not in samplers:
                yield table.line(("columns", index, "sampler"), f"no run of the table has a sampler '{column.sampler}'", nearest(column.sampler, samplers))

    def _check_published(self, table: Loaded[TableSpec]) -> Iterator[str]:
        for index, rows in enumerate(table.spec.published):
            yield from self._unknown(table, ("published", index, "file"), "published", rows.file)
            if rows.file not in self.published:
                continue
            entries = self.published[rows.file].spec.entries
            for position, name in enumerate(rows.entries):
                path: FieldPath = ("published", index, "entries", position)
                if name not in entries:
                    yield table.line(path, f"'{rows.file}' has no entry '{name}'", nearest(name, entries))
                elif not entries[name].primary:
                    yield table.line(path, f"entry '{name}' is quoted second-hand by its source", "tables show primary sources only")


def run_name(ablation: str, variant: str) -> str:
    """The name of the run that a variant of an ablation is."""
    return f"{ablation}-{variant}"


def _written(ablation: Loaded[AblationSpec]) -> Iterator[dict[str, Node]]:
    """The overrides of each variant as nodes, in the order of `AblationSpec.expand`, so that problems have places."""
    fields = ablation.node.value
    if "variants" in fields:
        for variant in fields["variants"].value:
            overrides = variant.value.get("overrides")
            yield dict(overrides.value) if overrides is not None else {}
        return
    axes: dict[str, Node] = (fields.get("grid") or fields["zip"]).value
    combine: Any = product if "grid" in fields else zip
    for row in combine(*(axis.value for axis in axes.values())):
        yield dict(zip(axes, row, strict=True))

