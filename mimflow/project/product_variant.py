"""Products with other seeds, or with their runs on other data, asked for on the command line: specs of their own.

A product's spec names runs, ablations and protocols, and these name runs in turn. On another data set each of them is
written beside its own file under a name of its own, `tarflow-digits-on-mnist5k`; nothing that there was is changed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mimflow.artifacts.manifest import write_text
from mimflow.errors import PlanError, SpecError
from mimflow.project.workspace import Loaded, Workspace, run_name
from mimflow.spec.compose import shown_path

NAMED = ("run", "ablation", "protocol")
"""Fields that name a spec of the kind that they are called after, wherever they stand."""
VARIED = ("overrides", "grid", "zip")
"""What an ablation sets in its runs."""


@dataclass(frozen=True)
class ProductSettings:
    """What the command line asks of products: `seeds` of them, from 0 on, or every run on a data set."""

    seeds: int | None = None
    dataset: str | None = None

    @property
    def suffix(self) -> str:
        """What the names of products end in: `-on-mnist5k-seeds-3`."""
        return self.on + (f"-seeds-{self.seeds}" if self.seeds is not None else "")

    @property
    def on(self) -> str:
        """What the names of all else end in."""
        return f"-on-{self.dataset}" if self.dataset is not None else ""

    @property
    def words(self) -> str:
        """`mnist5k, seeds 0 to 2`."""
        seeds = None if self.seeds is None else "seed 0" if self.seeds == 1 else f"seeds 0 to {self.seeds - 1}"
        return ", ".join(word for word in (self.dataset, seeds) if word is not None)

    def apply_to(self, spec: Any) -> bool:
        """Whether a product's spec can be so: a page of claims has seeds, and no runs that could be on other data."""
        return hasattr(spec, "seeds") and (self.dataset is None or hasattr(spec, "rows"))


def write_product_variants(
    open_workspace: Callable[[], Workspace], names: Iterable[str], settings: ProductSettings
) -> dict[str, str]:
    """Write the specs of these products with the settings, and all that they then name; what each is called.

    The same settings are the same files. PlanError where another file has such a name, or where an ablation names runs
    in what it sets; SpecError for specs that can't be: then nothing is left.
    """
    writer = _Writer(open_workspace(), settings)
    variants = {name: writer.product(name) for name in names}
    written = []
    for path, text in writer.files.items():
        if not path.is_file():
            write_text(path, text)
            written.append(path)
        elif path.read_text(encoding="utf-8") != text:
            shown = shown_path(path, writer.workspace.root)
            _unlink(written)
            raise PlanError(f"{shown}: is there already and says otherwise (remove it)")
    workspace = open_workspace()
    kinds = [kind.name for kind in workspace.products]
    problems = workspace.problems_of(*((kind, name) for name in variants.values() for kind in kinds))
    if problems:
        _unlink(written)
        raise SpecError(
            "\n".join([*problems, f"on the command line: {settings.words}: the specs that say this are not written"])
        )
    return variants


def _unlink(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink()


@dataclass
class _Writer:
    """The files of variants, as they are found to be needed."""

    workspace: Workspace
    settings: ProductSettings
    files: dict[Path, str] = field(default_factory=dict)

    def product(self, name: str) -> str:
        """Add a product's spec, and those that it names; what it is called."""
        found = (kind.name for kind in self.workspace.products if (kind.name, name) in self.workspace.files)
        kind = next(found, None)
        if kind is None:
            raise PlanError(f"no product named '{name}'")
        loaded = self.workspace.get(kind, name)
        if not self.settings.apply_to(loaded.spec):
            raise PlanError(f"{kind} '{name}' names no rows that could be {self.settings.words}")
        values: dict[str, Any] = {
            "title": f"{loaded.spec.title}: {self.settings.words}",
            "paper": None,
            "by_default": False,
            "with_papers": False,
            **self._renamed(loaded),
        }
        if self.settings.seeds is not None:
            values["seeds"] = list(range(self.settings.seeds))
        return self._add(loaded, name + self.settings.suffix, values)

    def _on_data(self, kind: str, name: str) -> str:
        """What a spec is called on the data set, which is added if there is anything in it that changes."""
        if self.settings.dataset is None:
            return name
        if kind == "run" and ("run", name) not in self.workspace.files:
            return self._member(name)
        loaded = self.workspace.get(kind, name)
        values = self._renamed(loaded)
        if getattr(loaded.spec, "dataset", self.settings.dataset) != self.settings.dataset:
            values["dataset"] = self.settings.dataset
        return self._add(loaded, name + self.settings.on, values) if values else name

    def _member(self, name: str) -> str:
        """A run of an ablation is one of the ablation's on the data set."""
        for ablation, loaded in self.workspace.ablations.items():
            for variant in loaded.spec.expand():
                if run_name(ablation, variant.name) == name:
                    return run_name(self._on_data("ablation", ablation), variant.name)
        raise PlanError(f"no run named '{name}'")

    def _renamed(self, loaded: Loaded[Any]) -> dict[str, Any]:
        """What is changed in a spec for it to name others, by dotted path."""
        named = ((path, kind, name, self._on_data(kind, name)) for path, kind, name in self._named(loaded))
        return {path: other for path, _, name, other in named if other != name}

    def _named(self, loaded: Loaded[Any]) -> Iterator[tuple[str, str, str]]:
        for path, kind, name in named_in(loaded.node.plain()):
            if loaded.kind == "ablation" and any(step in VARIED for step in path):
                if self.settings.dataset is not None:
                    raise PlanError(f"ablation '{loaded.name}' names {kind} '{name}' in what it sets: no other data")
                continue
            yield ".".join(path), kind, name

    def _add(self, loaded: Loaded[Any], name: str, values: Mapping[str, Any]) -> str:
        path = self.workspace.files[loaded.kind, loaded.name][0].with_name(f"{name}.yaml")
        schema = os.path.relpath(self.workspace.root / f"specs/schemas/{loaded.kind}.json", path.parent)
        lines = [
            f"# yaml-language-server: $schema={schema}",
            f"# {loaded.name} ({self.settings.words}), asked for on the command line.",
            f"extends: {loaded.name}",
            "overrides:",
            *(f"  {dotted}: {json.dumps(value, ensure_ascii=False)}" for dotted, value in values.items()),
        ]
        self.files[path] = "\n".join([*lines, ""])
        return name


def named_in(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """The specs that plain data names: the steps to each name, the kind, the name."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        if key in NAMED and isinstance(item, str):
            yield (*path, str(key)), str(key), item
        else:
            yield from named_in(item, (*path, str(key)))
