"""The kinds of product there are, one line each, and a project opened with them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mimflow.products.claims.spec import ClaimsSpec
from mimflow.products.figure.spec import FigureSpec
from mimflow.products.page.spec import PageSpec
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
        ("md", "tex", "csv", "png"),
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
    return Workspace(root, PRODUCTS, OF_RUNS)


def open_plan(root: Path) -> Plan:
    """The plan of the project at `root`. SpecError if a spec has problems."""
    from mimflow.plan.build import Plan  # not for those who only read specs

    return Plan(open_workspace(root))
