"""Columns of tables: their forms, what metrics say of themselves, and mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest
from tables_project import edit, make_project, plan_of

from mimflow.metrics.registry import METRICS
from mimflow.products.registry import open_workspace
from mimflow.products.table.collect import collect

COLUMNS = """\
  - parameters
  - epochs
  - {output: unguided, metrics: [fid, is, class_accuracy]}
  - guided.fid
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    make_project(tmp_path)
    return tmp_path


def columns_of(root: Path) -> list[tuple[str, str, int, str | None]]:
    plan = plan_of(root)
    columns = collect(plan.product("t")).measured.columns
    return [(column.name, column.heading, column.digits, column.direction) for column in columns]


def test_a_column_is_what_its_metric_says(project: Path) -> None:
    assert columns_of(project)[2:] == [
        ("unguided.fid", "FID-1.5k", 1, "lower"),
        ("unguided.is", "IS", 2, "higher"),
        ("unguided.class_accuracy", "Accuracy", 3, "higher"),
        ("guided.fid", "FID-1.5k", 1, "lower"),
    ]


@pytest.mark.parametrize(
    ("metric", "digits", "direction"),
    [
        ("fid", 1, "lower"),
        ("sfid", 1, "lower"),
        ("is", 2, "higher"),
        ("kid", 4, "lower"),
        ("cmmd", 3, "lower"),
        ("precision", 2, "higher"),
        ("recall", 2, "higher"),
        ("density", 2, "higher"),
        ("coverage", 2, "higher"),
        ("class_accuracy", 3, "higher"),
        ("psnr", 2, "higher"),
        ("psnr_pooled", 2, "higher"),
        ("ssim", 3, "higher"),
        ("lpips_alex", 3, "lower"),
        ("lpips_vgg", 3, "lower"),
        ("perceptual", 3, "lower"),
        ("probe_last", 3, "higher"),
        ("probe_best", 3, "higher"),
    ],
)
def test_digits_and_direction_of_every_number(metric: str, digits: int, direction: str) -> None:
    numbers = {number.name: number for kind in METRICS for number in METRICS.spec(kind).numbers}
    assert (numbers[metric].digits, numbers[metric].direction) == (digits, direction)


def test_the_priors_parameters_stand_beside_the_systems(project: Path) -> None:
    edit(project, "tables/t", "  - parameters\n", "  - parameters\n  - prior_parameters\n")
    edit(project, "published/paper", "parameters: 1.4B", "prior_parameters: 1.4B")
    table = collect(plan_of(project).product("t"))
    assert [column.heading for column in table.measured.columns[:2]] == ["Parameters", "Prior parameters"]
    assert [[cell.text for cell in row.cells[:2]] for row in table.measured.rows] == [["—", "—"], ["12.3k", "12.0k"]]
    # Papers count the prior alone.
    (block,) = table.published
    assert (block.columns[0].heading, block.rows[0].cells[0].text) == ("Prior parameters", "1.4B")


@pytest.mark.parametrize(
    "columns",
    [
        "  [epochs, parameters, unguided.fid, unguided.is, unguided.class_accuracy, guided.fid]\n",
        "  - {output: unguided, metrics: [fid, {metric: is}]}\n  - {output: guided, metrics: [fid]}\n"
        "  - unguided.class_accuracy\n  - epochs\n  - parameters\n",
    ],
    ids=["words", "mappings"],
)
def test_every_form_asks_for_the_same_columns(project: Path, columns: str) -> None:
    before = columns_of(project)
    edit(project, "tables/t", COLUMNS, columns)
    after = columns_of(project)
    assert sorted(after, key=lambda column: column[0]) == sorted(before, key=lambda column: column[0])
    assert [name for name, *_ in after[2:]] == ["unguided.fid", "unguided.is", "unguided.class_accuracy", "guided.fid"]


def test_a_column_may_have_a_label_and_digits_of_its_own(project: Path) -> None:
    edit(project, "tables/t", "[fid, is,", "[{metric: fid, label: Distance}, {metric: is, digits: 0},")
    assert columns_of(project)[2:4] == [
        ("unguided.fid", "Distance-1.5k", 1, "lower"),
        ("unguided.is", "IS", 0, "higher"),
    ]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            ("- epochs", "- epcohs"),
            "7:5: columns.1: 'epcohs' is neither a fact nor a metric of an output (did you mean 'epochs'?)",
        ),
        (
            ("- epochs", "- fid"),
            "7:5: columns.1: 'fid' is neither a fact nor a metric of an output "
            "(facts: parameters, prior_parameters, epochs, seeds; a metric of an output: guided.fid)",
        ),
        (("- epochs", "- parameters"), "7:5: columns.1: fact 'parameters' twice (each once)"),
        (("- epochs", "- 3"), "7:5: columns.1: got 3, wanted a mapping"),
        (
            ("- guided.fid", "- guidde.fid"),
            "9:5: columns.3: no run of the table has an output 'guidde' (did you mean 'guided'?)",
        ),
        (("- guided.fid", "- guided.fdi"), "9:5: columns.3: protocol 'small' reports no 'fdi' (did you mean 'fid'?)"),
        (
            ("- guided.fid", "- unguided.is"),
            "9:5: columns.3: metric 'is' of output 'unguided' twice (each once)",
        ),
        (
            ("[fid, is,", "[fid, {metric: fid},"),
            "8:48: columns.2.metrics.1.metric: metric 'fid' of output 'unguided' twice (each once)",
        ),
        (
            ("output: unguided", "outptu: unguided"),
            "8:6: columns.2.outptu: unknown field (did you mean 'output'?)",
        ),
        (
            ("[fid, is,", "[{metric: fid, digit: 2}, is,"),
            "8:48: columns.2.metrics.0.digit: unknown field (did you mean 'digits'?)",
        ),
        (
            ("[fid, is,", "[{metric: fid, digits: 2.5}, is,"),
            "8:56: columns.2.metrics.0.digits: got 2.5, wanted a whole number",
        ),
        (("[fid, is,", "[Fid, is,"), "8:34: columns.2.metrics.0: 'Fid' can't be a name"),
        (("[fid, is, class_accuracy]", "[]"), "8:33: columns.2.metrics: got the list []"),
    ],
)
def test_mistake_in_a_column(project: Path, change: tuple[str, str], expected: str) -> None:
    edit(project, "tables/t", *change)
    (line,) = open_workspace(project).problems
    assert line.startswith(f"specs/tables/t.yaml:{expected}"), line
