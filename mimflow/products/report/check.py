"""What a report names."""

from __future__ import annotations

from collections.abc import Iterator

from mimflow.products.report.spec import ReportSpec
from mimflow.project.workspace import Loaded, Workspace
from mimflow.spec.compose import nearest


def check_report(workspace: Workspace, loaded: Loaded[ReportSpec]) -> Iterator[str]:
    """A line for every product that there is not, and for every report among them."""
    kinds = {name: kind.name for kind in workspace.products for of, name in workspace.files if of == kind.name}
    others = [name for name, kind in kinds.items() if kind != loaded.kind]
    for index, name in enumerate(loaded.spec.products or []):
        if name not in kinds:
            yield loaded.line(("products", index), f"there is no product '{name}'", nearest(name, others))
        elif kinds[name] == loaded.kind:
            yield loaded.line(("products", index), f"'{name}' is a report", "what a report shows: tables, figures, …")
        else:
            yield from workspace.unknown(loaded, ("products", index), kinds[name], name)
