"""The catalogue of files of weights that only the user can bring: what each is, and whether it is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from mimflow.artifacts.manifest import sha256_of
from mimflow.errors import SpecError
from mimflow.spec.base import OUTSIDE_KEY, FilePath, Sha256, Spec
from mimflow.spec.weights import FileWeights, files_in

if TYPE_CHECKING:
    from mimflow.project.workspace import Loaded, Workspace


class WeightsSpec(Spec):
    """One file of weights from outside, which specs name as this file is named."""

    label: Annotated[str, OUTSIDE_KEY] = Field(min_length=1)
    """What it is."""
    file: Annotated[FilePath, OUTSIDE_KEY]
    """Where it belongs: a path relative to the project."""
    sha256: Sha256 | None
    """Its digest, which enters the keys of what reads it; null while it is not known."""
    published: Annotated[str, OUTSIDE_KEY] = Field(min_length=1)
    """Where it is published."""
    licence: Annotated[str, OUTSIDE_KEY] = Field(min_length=1)
    """Under what licence; `not known` where nobody here has looked."""

    def given(self, name: str) -> FileWeights:
        """What specs mean by its name."""
        return FileWeights(name=name, file=self.file, sha256=self.sha256)

    def state(self, root: Path) -> str:
        """Whether the file is there, below `root`, and the one that is meant."""
        try:
            path = root / Path(self.file).expanduser()
        except RuntimeError:
            return "there is no such home (write the path out)"
        if not path.is_file():
            return "missing"
        found = sha256_of(path)
        if self.sha256 is None:
            return f"digest not written down yet: {found}"
        return "there" if found == self.sha256 else f"another file: {found}"


def describe_weights(workspace: Workspace) -> str:
    """The catalogue: of each file whether it is there, where it belongs, what it is, and how many specs name it."""
    problems = workspace.problems_of(*(owner for owner in workspace.files if owner[0] == "weights"))
    if problems:
        raise SpecError("\n".join(problems))
    kinds: dict[str, Mapping[str, Loaded[Any]]] = {"run": workspace.runs, "protocol": workspace.protocols}
    named = {
        kind: [{weights.name for weights in files_in(loaded.spec)} for loaded in specs.values()]
        for kind, specs in kinds.items()
    }
    lines: list[str] = []
    for name, loaded in workspace.weights.items():
        counts = {kind: sum(name in names for names in each) for kind, each in named.items()}
        lines += _entry(name, loaded.spec, loaded.spec.state(workspace.root), counts)
    return "\n".join(lines) or "no weights: specs/weights has no files"


def _entry(name: str, spec: WeightsSpec, state: str, counts: Mapping[str, int]) -> Iterator[str]:
    yield f"{name}: {state}"
    yield f"  {spec.file}"
    yield f"  {spec.label}"
    yield f"  {spec.published}; licence: {spec.licence}"
    told = [f"{count} {kind}{'s' * (count != 1)}" for kind, count in counts.items() if count or kind == "run"]
    yield f"  named by {' and '.join(told)}"
