"""Tables that compare: noise, best and second best, a baseline, published beside measured, every format."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import html5lib
import numpy as np
import pytest
from scipy import stats
from tables_project import cells, edit, make_project, render, use_template

from mimflow.products.registry import open_workspace
from mimflow.products.table.judging import exceeds, interval, judged, rules
from mimflow.products.table.latex import latex_cell
from mimflow.products.table.layout import markdown_cell
from mimflow.products.table.model import Cell, Column, Row

HOSTILE = "_ & % < $ # <script>alert(1)</script>"


def cell(*values: float, own_std: float | None = None) -> Cell:
    std = float(np.std(values, ddof=1)) if len(values) > 1 else None
    seeds = tuple(enumerate(values))
    return Cell(f"{np.mean(values):.1f}", float(np.mean(values)), std, n=len(values), seeds=seeds, own_std=own_std)


# -- noise -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(2, 2), (3, 5), (8, 2)])
def test_between_rows_of_several_seeds_the_interval_is_welchs(sizes: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    one, other = random.normal(0.0, 1.0, sizes[0]), random.normal(1.0, 3.0, sizes[1])
    expected = stats.ttest_ind(one, other, equal_var=False).confidence_interval(0.95)
    assert interval(cell(*one), cell(*other)) == pytest.approx((expected.low, expected.high))


def test_against_one_seed_it_is_crawford_and_howells() -> None:
    """Their t is (x − mean) / (s √((n + 1) / n)) with n − 1 degrees of freedom; t(2) at 97.5 % is 4.30265."""
    half = 4.30265 * 2.0 * math.sqrt(4 / 3)
    for sign, pair in ((1, (cell(20.0, 22.0, 24.0), cell(40.0))), (-1, (cell(40.0), cell(20.0, 22.0, 24.0)))):
        found = interval(*pair)
        assert found is not None
        assert sorted(sign * end for end in found) == pytest.approx([-18 - half, -18 + half], abs=1e-3)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (cell(1.0), cell(9.0), None),  # one seed can't tell
        (cell(1.0, own_std=0.5), cell(9.0), None),
        (cell(1.0, own_std=3.0), cell(9.0, own_std=4.0), False),  # 2 √(9 + 16) = 10
        (cell(1.0, own_std=0.3), cell(9.0, own_std=0.4), True),
        (cell(1.0, 1.0, 1.0), cell(2.0), True),  # no spread at all
        (cell(1.0, 1.1), cell(1.04, 1.05), False),  # equal as printed
        (cell(1.0, 1.1, 0.9), cell(2.0, 2.1, 1.9), True),
        (cell(1.0, 5.0), cell(2.0, 9.0), False),
    ],
)
def test_what_exceeds_the_noise(first: Cell, second: Cell, expected: bool | None) -> None:
    assert exceeds(first, second, 1) is expected
    assert exceeds(second, first, 1) is expected


def marks(direction: str | None, *found: Cell) -> list[str]:
    column = Column("o.fid", "FID", metric="fid", output="o", digits=1, direction=direction)  # type: ignore[arg-type]
    rows = judged([Row(str(place), str(place), (each,)) for place, each in enumerate(found)], [column], None)
    return ["best" if row.cells[0].best else "second" if row.cells[0].second else "" for row in rows]


def test_best_and_second_best() -> None:
    low, middle, high = cell(1.0, 1.1, 0.9), cell(5.0, 5.1, 4.9), cell(9.0, 9.1, 8.9)
    beside = cell(1.1, 1.2, 0.9)
    assert marks("lower", middle, high, low) == ["second", "", "best"]
    assert marks("higher", middle, high, low) == ["second", "best", ""]
    assert marks("lower", high, low) == ["", "best"]  # the worst of two is no second best
    assert marks("lower", beside, low, high) == ["", "", ""]  # two that can't be told apart
    assert marks("lower", low, cell(5.0, 5.3, 4.9), middle) == ["best", "", ""]
    assert marks("lower", low) == marks(None, low, high)[:1] == [""]
    assert marks("lower", Cell(), low, high) == ["", "best", ""]


def test_the_second_best_is_underlined() -> None:
    second = Cell("12.9", second=True)
    assert (markdown_cell(second), latex_cell(second)) == ("<ins>12.9</ins>", r"\underline{12.9}")


def test_where_one_seed_can_not_tell_the_table_says_so() -> None:
    columns = [Column("o.fid", "FID-2k", metric="fid", output="o", digits=1, direction="lower")]
    *_, last = rules([Row("a", "a", (cell(1.0),)), Row("b", "b", (cell(2.0),))], columns, "")
    assert last == "What is best in any column can't be told: one seed, and no spread of the metric's own."
    told = rules([Row("a", "a", (cell(1.0, 1.2),)), Row("b", "b", (cell(2.0),))], columns, "")
    assert len(told) == 2 and "Welch's" in told[1]


# -- a table ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table with a baseline whose label every format has to escape, and a row with its published numbers."""
    root = tmp_path_factory.mktemp("compared")
    make_project(root)
    edit(root, "mini/gaussian", 'label: "Gaussian & 100 % _simple_ #1"', f"label: '{HOSTILE}'")
    edit(root, "tables/t", "{run: tarflow}", "{run: tarflow, published: {file: paper, entry: ours}}")
    edit(root, "tables/t", "columns:", "baseline: gaussian\ncolumns:")
    render(root)
    return root


def text_of(project: Path, suffix: str) -> str:
    return (project / f"results/t.{suffix}").read_text(encoding="utf-8")


def test_changes_against_the_baseline_stand_behind_the_numbers(compared: Path) -> None:
    """22 ± 2 of three seeds against 40.26; the mean of the scores is the baseline's; it has no accuracy."""
    text = text_of(compared, "md")
    assert cells(text, "TARFlow")[2:5] == [
        "**22.0** ± 2.0 (−18.3, better)",
        "2.50 ± 0.00 (±0.00)",
        "0.750 ± 0.000",
    ]
    assert r"In brackets: the change against \_ & % \< \$ # \<script>alert(1)\</script>, better or worse where" in text
    assert r"\textbf{22.0} $\pm$ 2.0 ($-$18.3, better)" in text_of(compared, "tex")


def test_published_stands_below_measured_with_the_difference(compared: Path) -> None:
    """Published are 13.72 and 105.2 unguided, 2.5 guided; measured 22.0, 2.5 and the mean of 10.123 and 11.0."""
    text = text_of(compared, "md")
    assert "beside what was published, under a protocol of its own: ImageNet 256×256, 50,000 samples.\n" in text
    assert cells(text, "TARFlow, measured")[2:] == ["22.0 ± 2.0", "2.50 ± 0.00", "10.6 ± 0.6 (n=2/3)", ""]
    assert cells(text, "Ours, published") == ["1.4B", "160", "13.72", "105.2", "2.5", "Table 1"]
    assert cells(text, "Difference")[2:] == ["+8.3", "−102.70", "+8.1", ""]


def test_csv_and_json_have_changes_and_differences_in_full(compared: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(text_of(compared, "csv"))))
    (row,) = [row for row in rows if (row["run"], row["output"], row["metric"]) == ("tarflow", "unguided", "fid")]
    assert float(row["change"]) == pytest.approx(22 - 40.26)
    assert (float(row["published"]), float(row["difference"])) == (13.72, pytest.approx(22 - 13.72))
    assert "'" not in "".join(row["row"] for row in rows) and HOSTILE in {row["row"] for row in rows}
    measured, _ = json.loads(text_of(compared, "json"))["blocks"]
    assert [row["label"] for row in measured["rows"]] == [HOSTILE, "TARFlow"]
    found = next(cell for cell in measured["rows"][1]["cells"] if cell["column"] == "unguided.fid")
    expected = {"n": 3, "seeds": {"0": 20.0, "1": 22.0, "2": 24.0}, "protocol": "small", "best": True, "count": 1500}
    assert found.items() >= expected.items() and found["std"] == pytest.approx(2.0) and len(found["jobs"]) == 3
    assert found["change"]["verdict"] == "better" and found["change"]["interval"][1] < 0
    assert found["published"] == {"value": 13.72, "difference": pytest.approx(8.28)}


def test_html_is_valid_and_its_numbers_have_heads(compared: Path) -> None:
    document = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(text_of(compared, "html"))
    assert document.findall(".//script") == []
    heads = [head.text for head in document.findall(".//th[@scope='row']")]
    assert heads[:2] == [HOSTILE, "TARFlow"]
    assert all(table.find("caption") is not None for table in document.iter("table"))
    assert {head.get("scope") for head in document.iter("th")} == {"row", "col", "colgroup"}


def test_a_label_comes_out_as_text_in_every_format(compared: Path) -> None:
    assert r"| \_ & % \< \$ # \<script>alert(1)\</script> |" in text_of(compared, "md")
    assert (
        r"\_ \& \% \textless{} \$ \# \textless{}script\textgreater{}alert(1)\textless{}/script\textgreater{} &"
        in text_of(compared, "tex")
    )
    assert "_ &amp; % &lt; $ # &lt;script&gt;alert(1)&lt;/script&gt;</th>" in text_of(compared, "html")


# -- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("columns:", "baseline: tarflo\ncolumns:", "5:11: baseline: no row of the table is run 'tarflo' (did you mean 'tarflow'?)"),
        ("{run: tarflow}", "{run: tarflow, published: {file: pape, entry: ours}}", "rows.1.published.file: there is no published 'pape' (did you mean 'paper'?)"),
        ("{run: tarflow}", "{run: tarflow, published: {file: paper, entry: our}}", "rows.1.published.entry: 'paper' has no entry 'our' (did you mean 'ours'?)"),
        ("{run: tarflow}", "{run: tarflow, published: {file: paper, entry: theirs}}", "entry 'theirs' is quoted second-hand by its source"),
        ("{run: tarflow}", "{ablation: x, published: {file: paper, entry: ours}}", "rows.1.published: one entry for all runs of an ablation"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path: Path, old: str, new: str, line: str) -> None:
    make_project(tmp_path)
    edit(tmp_path, "tables/t", old, new)
    problems = open_workspace(tmp_path).problems
    assert any(line in problem for problem in problems), problems


# -- templates -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (
            "mine.md.j2",
            "{% macro bare(cell) %}{{ cell.text }}{% endmacro %}{{ table.measured | pipe_table(bare) }}\n",
            "| TARFlow | 12.3k | 2.05 | 22.0 | 2.50 | 0.750 | 10.6 |",
        ),
        (
            "mine.tex.j2",
            "<% macro small(cell) %>\\small << cell.text | tex >><% endmacro %><< table.measured | tabular(small) >>\n",
            r"TARFlow & \small 12.3k & \small 2.05 & \small 22.0 & \small 2.50 & \small 0.750 & \small 10.6 \\",
        ),
        (
            "mine.html.j2",
            "{% macro seeds(cell) %}<i>{{ cell.n }}</i> {{ cell | cell }}{% endmacro %}"
            "{{ table.measured | html_table('<T>', seeds) }}\n",
            "<td><i>3</i> <strong>22.0</strong> ± 2.0</td>",
        ),
    ],
)
def test_a_users_template_restyles_cells(tmp_path: Path, name: str, text: str, expected: str) -> None:
    make_project(tmp_path)
    use_template(tmp_path, text)
    edit(tmp_path, "tables/t", "mine.md.j2", name)
    (tmp_path / "templates/mine.md.j2").rename(tmp_path / "templates" / name)
    render(tmp_path)
    _, suffix, _ = name.split(".")
    made = text_of(tmp_path, suffix)
    assert expected in " ".join(made.split())
    assert suffix == "md" or text_of(tmp_path, "md").startswith("# Digits")
    assert suffix != "html" or "<caption>&lt;T&gt;</caption>" in made
