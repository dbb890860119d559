"""All specs of a project: where each kind lies, what names what, and every problem at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Generic, TypeVar

from mimflow.data.spec import DatasetSpec
from mimflow.errors import PlanError, SpecError
from mimflow.project.ablation import AblationSpec
from mimflow.project.kinds import Kind, ProductKind
from mimflow.project.protocol import ProtocolSpec
from mimflow.project.published import PublishedSpec
from mimflow.project.references import check_references
from mimflow.project.run import RunSpec
from mimflow.spec.base import SLUG, Problem, Spec
from mimflow.spec.base import Path as FieldPath
from mimflow.spec.compose import load, nearest, override, shown_path
from mimflow.spec.reader import Node, ReadError
from mimflow.spec.validate import NAME_HINT, build, describe

S = TypeVar("S", bound=Spec)

KINDS = (
    Kind("dataset", DatasetSpec, ("datasets",)),
    Kind("run", RunSpec, ("systems", "mini")),
    Kind("ablation", AblationSpec, ("ablations",)),
    Kind("protocol", ProtocolSpec, ("protocols",)),
    Kind("published", PublishedSpec, ("published",)),
)
"""What a project can hold besides products."""


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
    """The specs below `root/specs`. Read once; `problems` holds a line for everything that is wrong.

    The kinds of product that there are come from above: `mimflow.products.registry`.
    """

    def __init__(self, root: Path, products: Sequence[ProductKind] = ()):
        self.root = root
        self.products = tuple(products)
        self.kinds: dict[str, Kind] = {kind.name: kind for kind in (*KINDS, *products)}
        self.problems: list[str] = []
        self._broken: set[tuple[str, str]] = set()
        self._specs: dict[str, dict[str, Loaded[Any]]] = {kind: {} for kind in self.kinds}
        if not (root / "specs").is_dir():
            raise PlanError(f"{root / 'specs'}: no such folder (run mimflow in a project, or name one with --project)")
        for kind in self.kinds.values():
            for folder in kind.folders:
                for file in sorted((root / "specs" / folder).rglob("*.yaml")):
                    self._read(kind.name, kind.spec, file)
        self._expand_ablations()
        self.problems.extend(check_references(self))
        self.problems.extend(self._product_problems())

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

    def get(self, kind: str, name: str) -> Loaded[Any]:
        """The spec of that kind and name; PlanError with the nearest name if there is none."""
        found = self._specs[kind].get(name)
        if found is None:
            if self.broken(kind, name):
                raise SpecError("\n".join(self.problems))
            hint = nearest(name, self._specs[kind])
            raise PlanError(f"no {kind} named '{name}'" + (f" ({hint})" if hint else ""))
        return found

    def unknown(self, loaded: Loaded[Any], path: FieldPath, kind: str, name: str) -> Iterator[str]:
        """A line if there is no such spec; none if there is, or if its own problems are told already."""
        if name not in self._specs[kind] and not self.broken(kind, name):
            yield loaded.line(path, f"there is no {kind} '{name}'", nearest(name, self._specs[kind]))

    def broken(self, kind: str, name: str) -> bool:
        """Whether there is such a spec, but with problems."""
        return (kind, name) in self._broken

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

    def _product_problems(self) -> Iterator[str]:
        names: dict[str, Loaded[Any]] = {}
        for kind in self.products:
            for loaded in self.all(kind.name):
                if loaded.name in names:
                    other = shown_path(names[loaded.name].file, self.root)
                    yield loaded.line((), f"a product named '{loaded.name}' is also at {other}", "rename one")
                names.setdefault(loaded.name, loaded)
                yield from kind.problems(self, loaded)

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
                self.problems.extend(self.unknown(loaded, ("run",), "run", loaded.spec.run))
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
        spec, problems = build(RunSpec, node)
        if spec is None:
            self._fail("run", name, [_of_variant(problem, name, mark.file) for problem in problems])
        else:
            self._specs["run"][name] = Loaded(name, spec, node, ablation.file)


def _of_variant(problem: str, run: str, file: str) -> str:
    """A variant's problem can stand in the file of the run that it varies: say whose it is."""
    return problem if problem.startswith(f"{file}:") else f"{problem} [in run '{run}' of {file}]"


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
