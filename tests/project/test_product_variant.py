"""Products with other seeds and on other data, asked for on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from figures_project import make_figures_project
from specs_project import DATASET, write

from mimflow.errors import PlanError, SpecError
from mimflow.products.registry import open_plan, open_workspace
from mimflow.project.product_variant import ProductSettings, named_in, write_product_variants
from mimflow.workflow import Workflow, open_workflow

TABLE = """\
title: A "table"
by_default: true
paper: {of: tarflow, item: Table 1}
protocol: small
rows: [{run: gaussian}, {ablation: widths}, {run: tuned}]
columns: [parameters, unguided.fid, {output: guided-weight-0, protocol: large, metrics: [fid]}]
"""
TUNED = """\
extends: flow
phases: {main: {start: [{run: flow, ema: true}]}}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    make_figures_project(tmp_path)
    write(tmp_path, "datasets/other", DATASET)
    write(tmp_path, "mini/tuned", TUNED)
    write(tmp_path, "protocols/large", "extends: small\nsamples: {count: 2000}\n")
    write(tmp_path, "tables/t", TABLE)
    write(tmp_path, "figures/f", FIGURE)
    return tmp_path


FIGURE = """\
title: A figure
paper: {of: tarflow, item: Figure 1}
protocol: small
rows: [{run: widths-width-16}]
draw: {kind: bars, y: [unguided.fid]}
"""


def files(root: Path) -> dict[str, str]:
    """The specs of a project: names and texts."""
    return {path.relative_to(root).as_posix(): path.read_text() for path in sorted((root / "specs").rglob("*.yaml"))}


def varied(root: Path, *names: str, **settings: object) -> dict[str, str]:
    asked = ProductSettings(**settings)  # type: ignore[arg-type]
    return write_product_variants(lambda: open_workspace(root), names, asked)


def test_other_seeds_are_a_product_beside_the_one_whose_seeds_they_are_not(project: Path) -> None:
    before = files(project)
    assert varied(project, "t", seeds=3) == {"t": "t-seeds-3"}
    after = files(project)
    assert {name for name in after if name not in before} == {"specs/tables/t-seeds-3.yaml"}
    assert all(after[name] == text for name, text in before.items())
    spec = open_workspace(project).get("table", "t-seeds-3").spec
    assert (spec.title, spec.seeds, spec.paper, spec.by_default) == ('A "table": seeds 0 to 2', [0, 1, 2], None, False)
    assert varied(project, "t", seeds=3) == {"t": "t-seeds-3"} and files(project) == after
    names = {job.name for job in open_plan(project).product("t-seeds-3").jobs().values() if job.stage == "evaluate"}
    assert {f"gaussian.s{seed}.unguided.small" for seed in (0, 1, 2)} <= names


def test_on_other_data_all_that_a_product_names_is_on_it(project: Path) -> None:
    before = set(files(project))
    assert varied(project, "t", "f", dataset="other", seeds=1) == {"t": "t-on-other-seeds-1", "f": "f-on-other-seeds-1"}
    assert set(files(project)) - before == {
        "specs/tables/t-on-other-seeds-1.yaml",
        "specs/figures/f-on-other-seeds-1.yaml",
        "specs/ablations/widths-on-other.yaml",
        *(f"specs/mini/{run}-on-other.yaml" for run in ("gaussian", "flow", "tuned", "classifier")),
        *(f"specs/protocols/{name}-on-other.yaml" for name in ("small", "large")),
    }
    plan = open_plan(project)
    jobs = {
        each.name
        for name in ("t-on-other-seeds-1", "f-on-other-seeds-1")
        for job in plan.product(name).jobs().values()
        for each in (job, *job.upstream())
    }
    assert {name for name in jobs if "-on-other" not in name} == {"other"}
    assert "widths-on-other-width-16.s0.unguided.small-on-other" in jobs
    assert "tuned-on-other.s0.guided-weight-0.large-on-other" in jobs and "flow-on-other.main.s0" in jobs


def test_a_page_of_claims_takes_seeds(project: Path) -> None:
    write(project, "reports/claims", "title: Claims\n")
    assert varied(project, "claims", seeds=5) == {"claims": "claims-seeds-5"}
    spec = open_workspace(project).get("claims", "claims-seeds-5").spec
    assert (spec.seeds, spec.with_papers) == ([0, 1, 2, 3, 4], False)


def test_what_is_on_the_data_set_already_stays(project: Path) -> None:
    before = set(files(project))
    varied(project, "f", dataset="digits")
    assert set(files(project)) - before == {"specs/figures/f-on-digits.yaml"}


def test_what_cannot_be_leaves_nothing(project: Path) -> None:
    write(
        project,
        "ablations/starts",
        "run: tuned\nvariants: [{name: a, overrides: {phases.main.start: [{run: flow}]}}]\n",
    )
    write(project, "tables/starts", TABLE.replace("ablation: widths", "ablation: starts"))
    write(project, "mini/gaussian-on-other", "extends: gaussian\nlabel: mine\n")
    before = files(project)
    with pytest.raises(PlanError, match=r"gaussian-on-other\.yaml: is there already and says otherwise"):
        varied(project, "t", dataset="other")
    with pytest.raises(PlanError, match="ablation 'starts' names run 'flow' in what it sets: no other data"):
        varied(project, "starts", dataset="other")
    with pytest.raises(PlanError, match="no product named 'x'"):
        varied(project, "x", seeds=2)
    write(project, "reports/claims", "title: Claims\n")
    with pytest.raises(PlanError, match="claims 'claims' names no rows that could be other, seed 0"):
        varied(project, "claims", dataset="other", seeds=1)
    (project / "specs/reports/claims.yaml").unlink()
    assert files(project) == before
    write(project, "datasets/large", DATASET.replace("size: 8", "size: 9, method: bilinear"))
    before = files(project)
    with pytest.raises(SpecError, match="patch_size"):
        varied(project, "f", dataset="large")
    assert files(project) == before


def test_names_are_found_wherever_they_stand() -> None:
    data = {"rows": [{"run": "a"}, {"ablation": "b", "label": "run"}], "protocol": "c", "pick": {"run": None}}
    assert list(named_in(data)) == [
        (("rows", "0", "run"), "run", "a"),
        (("rows", "1", "ablation"), "ablation", "b"),
        (("protocol",), "protocol", "c"),
    ]


def opened(root: Path, **settings: object) -> Workflow:
    return open_workflow(root, main_process=True, settings=settings)


def test_snakemake_makes_the_variants_of_what_it_is_asked_for(project: Path) -> None:
    before = set(files(project))
    workflow = opened(project, seeds=2)
    assert workflow.names_of(workflow.product_kinds[0]) == r"t|t\-seeds\-2" and set(files(project)) == before
    assert workflow.product_inputs("t") == [
        "t is what its spec says: as the command line asks for it, it is results/t-seeds-2"
    ]
    jobs = workflow.product_inputs("f-seeds-2")
    assert set(files(project)) - before == {"specs/figures/f-seeds-2.yaml"}
    assert jobs and all(job.endswith("/manifest.json") for job in jobs)
    assert (project / ".mimflow/markers/f-seeds-2").is_file()
    assert workflow.paper_targets() == ["results/t-seeds-2.md", "results/f-seeds-2.svg"]
    assert workflow.default_targets() == ["results/t-seeds-2.md"]
    (line,) = opened(project, dataset="other", seeds=2).product_inputs("x-on-other-seeds-2")
    assert line == "no product named 'x'"
    assert opened(project).paper_targets() == ["results/t.md", "results/f.svg"]


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"seeds": "many"}, "--config seeds=many: not a number of seeds (seeds=3)"),
        ({"seeds": 0}, "--config seeds=0: not a number of seeds (seeds=3)"),
        ({"dataset": "othe"}, "no dataset named 'othe' (did you mean 'other'?)"),
    ],
)
def test_settings_that_are_none_are_told_in_a_line(
    project: Path, capsys: pytest.CaptureFixture[str], settings: dict[str, object], line: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        opened(project, **settings)
    assert ended.value.code == 2 and capsys.readouterr().err.endswith(f"{line}\n")
