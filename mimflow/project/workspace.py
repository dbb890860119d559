"""All specs of a project: where each kind lies, what names what, and every problem at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, Generic, TypeVar

from mimflow.data.spec import DatasetSpec
from mimflow.errors import PlanError, SpecError
from mimflow.project.ablation import AblationSpec
from mimflow.project.claim import ClaimSpec
from mimflow.project.kinds import Kind, ProductKind
from mimflow.project.paper import PaperSpec
from mimflow.project.protocol import ProtocolSpec
from mimflow.project.published import PublishedSpec
from mimflow.project.references import check_references
from mimflow.project.run import RunSpec
from mimflow.project.sweep import Sweep, expand_sweeps
from mimflow.project.weights import WeightsSpec
from mimflow.spec.base import SLUG, Problem, Spec
from mimflow.spec.base import Path as FieldPath
from mimflow.spec.compose import load, nearest, override, shown_path
from mimflow.spec.reader import Node, ReadError
from mimflow.spec.validate import NAME_HINT, build, describe
from mimflow.spec.weights import FileWeights, files_in

S = TypeVar("S", bound=Spec)

KINDS = (
    Kind("weights", WeightsSpec, ("weights",)),
    Kind("dataset", DatasetSpec, ("datasets",)),
    Kind("run", RunSpec, ("systems", "mini")),
    Kind("ablation", AblationSpec, ("ablations",)),
    Kind("protocol", ProtocolSpec, ("protocols",)),
    Kind("published", PublishedSpec, ("published",)),
    Kind("claim", ClaimSpec, ("claims",)),
    Kind("paper", PaperSpec, ("papers",)),
)
"""What a project can hold besides products; read in this order, weights first because the others name them."""


Owner = tuple[str, str]
"""Kind and name of a spec."""


@dataclass(frozen=True)
class Loaded(Generic[S]):
    """A valid spec with the nodes that it was read from."""

    kind: str
    name: str
    spec: S
    node: Node
    file: Path
    sweeps: Mapping[str, Sweep] = field(default_factory=dict)
    """Of a run, by the name that its spec gives them, the outputs that sweeps are; `node` has them expanded."""

    def line(self, path: FieldPath, message: str, hint: str = "") -> str:
        """A problem of this spec as a line with its place."""
        return describe(self.node, Problem(path, message, hint))


class Workspace:
    """The specs below `root/specs`. Read once; `problems` holds a line for everything that is wrong.

    Whose problem each is, and what names what, is kept too: a spec that is wrong stops what depends on it and nothing
    else. Hidden files and folders are no specs, and neither is what does not end in `.yaml`.

    The kinds of product that there are come from above: `mimflow.products.registry`.
    """

    def __init__(self, root: Path, products: Sequence[ProductKind] = (), of_runs: Sequence[ProductKind] = ()):
        self.root = root
        self.products = tuple(products)
        self.of_runs = tuple(of_runs)
        """The kinds of product that no file describes, and that every run has one of."""
        self.kinds: dict[str, Kind] = {kind.name: kind for kind in (*KINDS, *products)}
        self._told: list[tuple[Owner, str]] = []
        self._broken: set[Owner] = set()
        self._names: dict[Owner, set[Owner]] = {}
        self._files: dict[Owner, list[Path]] = {}
        """Where specs of each name lie: in one file, or it is a problem."""
        self._specs: dict[str, dict[str, Loaded[Any]]] = {kind: {} for kind in self.kinds}
        self._given: dict[str, FileWeights] = {}
        self._swept: dict[str, Node] = {}
        """The runs as their files have them, sweeps not expanded, by name: what ablations vary."""
        if not (root / "specs").is_dir():
            raise PlanError(f"{root / 'specs'}: no such folder (run mimflow in a project, or name one with --project)")
        for kind in self.kinds.values():
            for folder in kind.folders:
                for file in _spec_files(root / "specs" / folder):
                    self._read(kind.name, kind.spec, file)
        self._expand_ablations()
        referring: list[Loaded[Any]] = [*self.runs.values(), *self.protocols.values(), *self.all("claim")]
        for loaded in referring:
            self._tell(loaded, check_references(self, loaded))
        self._check_products()

    # -- what there is -------------------------------------------------------------------------------------------

    @property
    def weights(self) -> dict[str, Loaded[WeightsSpec]]:
        """The catalogue of files of weights."""
        return self._specs["weights"]

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
    def problems(self) -> list[str]:
        """A line for everything that is wrong, each once: variants repeat what is wrong with their run."""
        return list(dict.fromkeys(line for _, line in self._told))

    def problems_of(self, *specs: Owner) -> list[str]:
        """A line for everything that is wrong with these specs, or with what they name, directly or not."""
        reached, ahead = set(specs), list(specs)
        while ahead:
            new = self._names.get(ahead.pop(), set()) - reached
            reached |= new
            ahead += new
        return list(dict.fromkeys(line for owner, line in self._told if owner in reached))

    def warnings_of(self, *specs: Owner) -> list[str]:
        """A line for everything in these specs that may be meant, but seldom is."""
        found = [self._specs[kind][name] for kind, name in specs if name in self._specs[kind]]
        return list(dict.fromkeys(describe(each.node, problem) for each in found for problem in each.spec.warnings()))

    @cached_property
    def wrong(self) -> set[Owner]:
        """The specs with which something is wrong, or with what they name, directly or not."""
        named_by: dict[Owner, list[Owner]] = {}
        for owner, named in self._names.items():
            for each in named:
                named_by.setdefault(each, []).append(owner)
        found = {owner for owner, _ in self._told}
        ahead = list(found)
        while ahead:
            new = set(named_by.get(ahead.pop(), ())) - found
            found |= new
            ahead += new
        return found

    def sound(self, kind: str) -> Iterator[Loaded[Any]]:
        """Every spec of a kind with which nothing is wrong, nor with what it names."""
        return (loaded for loaded in self.all(kind) if (kind, loaded.name) not in self.wrong)

    @property
    def files(self) -> dict[Owner, list[Path]]:
        """The files of every spec, valid or not: one, unless two have one name. Runs of ablations have none."""
        return self._files

    def unread(self) -> list[str]:
        """The YAML files below `specs` that are no specs, and that no valid spec extends; as messages name them."""
        found = [file for file in (self.root / "specs").rglob("*.y*ml") if file.suffix in (".yaml", ".yml")]
        read = {file for files in self._files.values() for file in files}
        left = [file for file in sorted(found) if file not in read and not _hidden(file.relative_to(self.root))]
        if not left:
            return []
        extended = {file for kind in self.kinds for loaded in self.all(kind) for file in files_of(loaded.node)}
        return [name for file in left if (name := shown_path(file, self.root)) not in extended]

    def get(self, kind: str, name: str) -> Loaded[Any]:
        """The spec of that kind and name; PlanError with the nearest name if there is none."""
        found = self._specs[kind].get(name)
        if found is None:
            if self.broken(kind, name):
                raise SpecError("\n".join(self.problems_of((kind, name))))
            hint = nearest(name, self._specs[kind])
            raise PlanError(f"no {kind} named '{name}'" + (f" ({hint})" if hint else ""))
        return found

    def unknown(self, loaded: Loaded[Any], path: FieldPath, kind: str, name: str) -> Iterator[str]:
        """A line if there is no such spec; none if there is, or if its own problems are told already.

        Remembers that the one names the other.
        """
        self._names.setdefault((loaded.kind, loaded.name), set()).add((kind, name))
        if name not in self._specs[kind] and not self.broken(kind, name):
            yield loaded.line(path, f"there is no {kind} '{name}'", nearest(name, self._specs[kind]))

    def broken(self, kind: str, name: str) -> bool:
        """Whether there is such a spec, but with problems."""
        return (kind, name) in self._broken

    def all(self, kind: str) -> Iterator[Loaded[Any]]:
        """Every spec of a kind that says what it may say; what it names may be wrong."""
        yield from self._specs[kind].values()

    def members(self, ablation: str) -> list[str]:
        """The names of the runs that an ablation expands to."""
        return [run_name(ablation, variant.name) for variant in self.ablations[ablation].spec.expand()]

    def build_run(self, node: Node) -> RunSpec:
        """The run that a node describes. SpecError with every problem of one that is wrong."""
        spec, problems = build(RunSpec, node, self._given)
        if spec is None:
            raise SpecError("\n".join(problems))
        return spec

    def raise_problems(self) -> None:
        """SpecError with every problem, if there are any."""
        if self._told:
            raise SpecError("\n".join(self.problems))

    def _check_products(self) -> None:
        names: dict[str, Loaded[Any]] = {}
        for kind in self.products:
            for loaded in self.all(kind.name):
                other = names.setdefault(loaded.name, loaded)
                if other is not loaded:
                    where = shown_path(other.file, self.root)
                    line = loaded.line((), f"a product named '{loaded.name}' is also at {where}", "rename one")
                    self._told += [((each.kind, each.name), line) for each in (loaded, other)]
                self._tell(loaded, kind.problems(self, loaded))

    def _tell(self, loaded: Loaded[Any], lines: Iterable[str]) -> None:
        self._told += [((loaded.kind, loaded.name), line) for line in lines]

    # -- reading -------------------------------------------------------------------------------------------------

    def _read(self, kind: str, cls: type[Spec], file: Path) -> None:
        name, shown = file.stem, shown_path(file, self.root)
        files = self._files.setdefault((kind, name), [])
        files.append(file)
        if not SLUG.fullmatch(name):
            self._fail(kind, name, [f"{shown}:1:1: the file's name '{name}' can't be a name ({NAME_HINT})"])
            return
        if len(files) > 1:
            other = shown_path(files[0], self.root)
            self._fail(kind, name, [f"{shown}:1:1: a {kind} named '{name}' is also at {other} (rename one)"])
            return
        try:
            node = load(file, self.root, self.kinds[kind].folders)
        except ReadError as error:
            self._fail(kind, name, [str(error)])
            return
        self._add(kind, cls, name, node, file)

    def _add(self, kind: str, cls: type[Spec], name: str, node: Node, file: Path) -> None:
        sweeps: dict[str, Sweep] = {}
        if cls is RunSpec:
            self._swept[name] = node
            try:
                node, sweeps = expand_sweeps(node)
            except ReadError as error:
                self._fail(kind, name, [str(error)])
                return
        spec, problems = build(cls, node, self._given)
        if isinstance(spec, WeightsSpec):
            self._given[name] = spec.given(name)
        if spec is None:
            self._fail(kind, name, problems)
        else:
            loaded = self._specs[kind][name] = Loaded(kind, name, spec, node, file, sweeps)
            self._names[kind, name] = {("weights", each.name) for each in files_in(loaded.spec) if each.name}

    def _fail(self, kind: str, name: str, problems: list[str]) -> None:
        self._broken.add((kind, name))
        if kind == "weights":  # told once, and not by every spec that names them
            self._given[name] = FileWeights(name=name, file=name, sha256=None)
        self._told += [((kind, name), problem) for problem in problems]

    def _expand_ablations(self) -> None:
        for name, loaded in list(self.ablations.items()):
            self._tell(loaded, self.unknown(loaded, ("run",), "run", loaded.spec.run))
            base = self.runs.get(loaded.spec.run)
            if base is None:
                self._broken.add(("ablation", name))
                continue
            for variant, values in zip(loaded.spec.expand(), _written(loaded), strict=True):
                self._expand_variant(loaded, base, run_name(name, variant.name), variant.label, values)

    def _expand_variant(
        self,
        ablation: Loaded[AblationSpec],
        base: Loaded[RunSpec],
        name: str,
        label: str,
        values: dict[str, Node],
    ) -> None:
        mark = ablation.node.mark
        # What is wrong with a variant is wrong with its ablation.
        self._names["ablation", ablation.name].add(("run", name))
        if not SLUG.fullmatch(name) or name in self.runs:
            why = "is also another run's" if name in self.runs else "can't be a name"
            self._fail("run", name, [ablation.line((), f"the run name '{name}' {why}", "name variants by hand")])
            return
        node = self._swept[base.name]
        try:
            for dotted, value in values.items():
                if dotted.partition(".")[0] != "deviations" or base.spec.twin_of is not None:
                    node = override(node, dotted, value)
            node, sweeps = expand_sweeps(node)
        except ReadError as error:
            self._fail("run", name, [str(error)])
            return
        title = f"{base.spec.label or base.name}, {label}" if label else name
        node = override(node, "label", Node(title, mark))
        spec, problems = build(RunSpec, node, self._given)
        if spec is None:
            self._fail("run", name, [_of_variant(problem, name, mark.file) for problem in problems])
        else:
            self._specs["run"][name] = Loaded("run", name, spec, node, ablation.file, sweeps)
            self._names["run", name] = {("weights", each.name) for each in files_in(spec) if each.name}


def _spec_files(folder: Path) -> list[Path]:
    """The specs below a folder, sorted; hidden files, and what lies in hidden folders, are none."""
    return [file for file in sorted(folder.rglob("*.yaml")) if not _hidden(file.relative_to(folder))]


def _hidden(path: Path) -> bool:
    """Whether a path leads through a name that begins with a dot: editors' locks, notebooks' checkpoints, macOS's."""
    return any(part.startswith(".") for part in path.parts)


def files_of(node: Node) -> Iterator[str]:
    """The files that a value and what it holds come from, as messages name them."""
    yield node.mark.file
    children = (
        node.value.values() if isinstance(node.value, dict) else node.value if isinstance(node.value, list) else ()
    )
    for child in children:
        yield from files_of(child)


def _of_variant(problem: str, run: str, file: str) -> str:
    """A variant's problem can stand in the file of the run that it varies: say whose it is."""
    return problem if problem.startswith(f"{file}:") else f"{problem} [in run '{run}' of {file}]"


def run_name(ablation: str, variant: str) -> str:
    """The name of the run that a variant of an ablation is."""
    return f"{ablation}-{variant}"


def _written(ablation: Loaded[AblationSpec]) -> Iterator[dict[str, Node]]:
    """The overrides of each variant as nodes, in the order of `AblationSpec.expand`, so that problems have places."""
    fields = ablation.node.value
    if ablation.spec.variants is not None:
        for variant in fields["variants"].value:
            overrides = variant.value.get("overrides")
            yield dict(overrides.value) if overrides is not None else {}
        return
    grid = ablation.spec.grid is not None
    axes: dict[str, Node] = fields["grid" if grid else "zip"].value
    combine: Any = product if grid else zip
    for row in combine(*(axis.value for axis in axes.values())):
        yield dict(zip(axes, row, strict=True))
