"""The papers' items: which specs make them, the page that says so, and what makes them all."""

from __future__ import annotations

from pathlib import Path

import pytest
from figures_project import make_figures_project
from projects import REPOSITORY
from specs_project import write

from mimflow.plan.describe import describe_plan
from mimflow.plan.target import find_target
from mimflow.products.papers import of_papers, papers_page
from mimflow.products.registry import open_plan, open_workspace
from mimflow.project.kinds import PaperItem
from mimflow.project.paper import PaperEntry
from mimflow.project.workspace import Workspace
from mimflow.workflow import Workflow

PAPER = """\
title: A paper
source: Somebody, somewhere
items:
  - {item: Table 1, what: numbers}
  - {item: Figure 2, what: a curve}
  - {item: Figure 3, what: a drawing, missing: nothing is measured}
"""
TABLE = """\
title: A table
protocol: small
rows: [{run: gaussian}]
columns: [unguided.fid]
"""
CLAIM = """\
title: A flow is better
source: {paper: A paper, where: section 1}
paper: {of: tarflow, item: section 1}
scale: digits
comparison:
  protocol: small
  metric: fid
  claimed: {run: flow, output: unguided}
  against: {run: widths-width-16, output: unguided}
  direction: lower
  smallest_effect: 0.5
tuned: nothing
verdict: contrary
"""


@pytest.fixture(scope="module")
def shipped() -> Workspace:
    return open_workspace(REPOSITORY)


def test_the_page_that_ships_is_current(shipped: Workspace) -> None:
    page = (REPOSITORY / "docs/papers.md").read_text(encoding="utf-8")
    assert papers_page(shipped) == page, "run `mimflow papers`"


def test_an_item_is_made_by_a_spec_or_says_why_not(shipped: Workspace) -> None:
    specs = list(of_papers(shipped))
    for paper in shipped.all("paper"):
        for entry in paper.spec.items:
            found = [spec.name for spec in specs if spec.paper.of == paper.name and entry.is_named(spec.paper)]
            assert not (entry.missing and found), f"{entry.item} of {paper.name} is made by {found}"
            assert entry.missing or found, f"no spec is of {entry.item} of {paper.name}"


def test_what_specs_name_stands_in_the_lists(shipped: Workspace) -> None:
    listed = {paper.name: paper.spec.items for paper in shipped.all("paper")}
    for spec in of_papers(shipped):
        assert any(entry.is_named(spec.paper) for entry in listed[spec.paper.of]), spec


def test_a_spec_can_be_of_several_items() -> None:
    both = PaperItem(of="simflow", item="Table 10 and Figure 5")
    assert [PaperEntry(item=name, what="").is_named(both) for name in ("Table 10", "Figure 5", "Table 1")] == [
        True,
        True,
        False,
    ]
    assert PaperEntry(item="sampling: ODE and SDE", what="").is_named(
        PaperItem(of="itarflow", item="sampling: ODE and SDE")
    )


def _project(root: Path) -> Path:
    make_figures_project(root)
    write(root, "papers/tarflow", PAPER)
    write(root, "tables/made", TABLE + "paper: {of: tarflow, item: Table 1, needs: days}\n")
    write(root, "tables/beside", TABLE)
    write(root, "claims/better", CLAIM)
    write(root, "reports/claims", "title: Claims\nseeds: [0]\n")
    write(root, "reports/verdicts", "title: Verdicts\nwith_papers: false\n")
    return root


def test_the_page_says_what_is_there_and_what_is_not(tmp_path: Path) -> None:
    page = papers_page(open_workspace(_project(tmp_path)))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/made.md").write_text("| |\n", encoding="utf-8")
    again = papers_page(open_workspace(tmp_path))
    assert "| Table 1 | numbers | table `made` | specified, no result committed | days |" in page
    assert "| Table 1 | numbers | table `made` | [made](made.md) | days |" in again
    (tmp_path / "docs/made.md").unlink()
    (tmp_path / "docs/items").mkdir()
    (tmp_path / "docs/items/made.png").write_bytes(b"")
    assert "| Table 1 | numbers | table `made` | [made](items/made.png) | days |" in papers_page(
        open_workspace(tmp_path)
    )
    assert "| Figure 2 | a curve | — | **missing**: no spec is of it yet | — |" in page
    assert "| Figure 3 | a drawing | — | **missing**: nothing is measured | — |" in page
    assert "| section 1 |  | claim `better` | contrary | — |" in page


def test_papers_are_made_by_one_name(tmp_path: Path) -> None:
    plan = open_plan(_project(tmp_path))
    assert Workflow(plan, main_process=True).paper_targets() == ["results/made.md", "results/claims.md"]
    target = find_target(plan, "papers")
    assert [product.name for product in target.products] == ["made", "claims"]
    lines = [line.split()[:3] for line in describe_plan(plan, "papers").splitlines()]
    assert ["run", "render", "made"] in lines and ["run", "render", "claims"] in lines
    assert {job.name for job in target.jobs if job.stage == "evaluate"} == {
        "gaussian.s0.unguided.small",
        *(f"{run}.s0.unguided.small" for run in ("flow", "widths-width-16")),
    }
