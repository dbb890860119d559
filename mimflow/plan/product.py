"""What a product is to the plan: the jobs that it is rendered from, what else it depends on, its files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mimflow.plan import paths
from mimflow.plan.jobs import Job

if TYPE_CHECKING:
    from mimflow.plan.build import Plan
    from mimflow.project.kinds import ProductKind
    from mimflow.project.workspace import Loaded


class Product(ABC):
    """Something rendered from results. Built as `Product(plan, kind, loaded)`; a subclass says `jobs` and `render`.

    What it depends on is its spec, the keys of its jobs and what `identity` adds; where any of that changes, it is
    rendered again.
    """

    def __init__(self, plan: Plan, kind: ProductKind, loaded: Loaded[Any]):
        self.plan = plan
        self.kind = kind
        self.name: str = loaded.name
        self.spec: Any = loaded.spec
        self.root = plan.workspace.root

    @abstractmethod
    def jobs(self) -> Mapping[str, Job]:
        """The jobs whose results it reads, by a name of its own for each: `tarflow.s0.guided`, never a label."""

    def needed(self) -> Mapping[str, Job]:
        """Those of its jobs without whose results there is nothing to render but in part: all, if it says no more."""
        return self.jobs()

    @abstractmethod
    def render(self, partial: bool) -> Mapping[str, bytes]:
        """The contents of its files, by path relative to the project: those of `files`, and others if it has any.

        `partial`: with the results that are there. Otherwise all that are `needed` are. ArtifactError for corrupt ones.
        """

    def identity(self) -> dict[str, Any]:
        """What it depends on besides its spec and its jobs, as plain data: labels of others, templates."""
        return {}

    def why(self, row: str, column: str) -> str | None:
        """Where one of its numbers comes from, as an indented text; None for a product without rows and columns."""
        return None

    @property
    def files(self) -> list[str]:
        """The paths of the files that are always rendered, the one that stands for it first."""
        return [paths.product_file(self.name, suffix) for suffix in self.kind.suffixes]
