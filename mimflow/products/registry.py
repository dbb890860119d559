"""The kinds of product there are, one line each, and a project opened with them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mimflow.forking.stamps import stamps
from mimflow.products.claims.spec import ClaimsSpec
from mimflow.products.figure.spec import FigureSpec
from mimflow.products.page.spec import PageSpec
from mimflow.products.report.spec import ReportSpec
from mimflow.products.table.spec import TableSpec
from mimflow.project.kinds import ProductKind
from mimflow.project.workspace import Workspace

if TYPE_CHECKING:
    from mimflow.plan.build import Plan

PRODUCTS = (
    ProductKind(
        "table",
        TableSpec,
        ("tables",),
        "mimflow.products.table.product:TableProduct",
        ("md", "tex", "csv", "html", "json", "png"),
        check="mimflow.products.table.check:check_table",
    ),
    ProductKind(
        "figure",
        FigureSpec,
        ("figures",),
        "mimflow.products.figure.product:FigureProduct",
        ("svg", "pdf", "png", "csv"),
        check="mimflow.products.figure.check:check_figure",
    ),
    ProductKind(
        "claims",
        ClaimsSpec,
        ("reports",),
        "mimflow.products.claims.product:ClaimsProduct",
        ("md", "csv"),
        check="mimflow.products.claims.check:check_claims",
    ),
    ProductKind(
        "report",
        ReportSpec,
        ("overviews",),
        "mimflow.products.report.product:ReportProduct",
        ("html",),
        check="mimflow.products.report.check:check_report",
    ),
)
OF_RUNS = (
    ProductKind(
        "page",
        PageSpec,
        ("runs",),
        "mimflow.products.page.product:PageProduct",
        ("md", "png", "curves.png"),
        describe="mimflow.products.page.product:describe",
    ),
)
"""Kinds of product that no file describes: every run has one of each."""


def open_workspace(root: Path) -> Workspace:
    """The specs of the project at `root`."""
    if (kept := _kept.get((root, Path.cwd()))) is not None and kept[0] == _spec_files(root):
        return kept[1]
    return Workspace(root, PRODUCTS, OF_RUNS)


def keep_workspace(root: Path) -> None:
    """Read the specs of the project at `root`, for who asks for the same here, or in a process that is forked from this
    one, as long as no file below them changes. A plan is made anew: it also depends on what results there are.
    """
    files = _spec_files(root)
    _kept[root, Path.cwd()] = files, open_workspace(root)


_kept: dict[tuple[Path, Path], tuple[frozenset[tuple[str, int, int]], Workspace]] = {}


def _spec_files(root: Path) -> frozenset[tuple[str, int, int]]:
    """What tells whether a file below the specs of a project was changed."""
    return stamps(path for path in (root / "specs").rglob("*") if path.is_file())


def open_plan(root: Path) -> Plan:
    """The plan of the project at `root`. SpecError if a spec has problems."""
    from mimflow.plan.build import Plan  # not for those who only read specs

    return Plan(open_workspace(root))
