"""A figure's files: text as text, the same bytes for the same content; when they are made again, and from what."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from figures_project import add, drawn, figure_of, fill, make_figures_project
from matplotlib import get_data_path
from matplotlib.figure import Figure
from matplotlib.font_manager import get_font
from PIL import Image
from tables_project import edit, put_metrics

from mimflow.errors import PlanError
from mimflow.plan.freshness import render_reason
from mimflow.products.dvc import dvc_yaml
from mimflow.products.figure import style
from mimflow.products.figure.bars import apart
from mimflow.products.registry import open_plan
from mimflow.products.render import render_product
from mimflow.products.trace import why

CURVE = "{kind: curve, x: {field: prior.width}, y: [unguided.fid]}"
HOSTILE = "_ & < % $x_1$ #2 \\frac {a} <script>alert(1)</script> -->"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_figures_project(tmp_path)


def rendered(root: Path, name: str = "f") -> dict[str, bytes]:
    """The bytes of a figure's files by their endings."""
    render_product(figure_of(root, name))
    return {kind: (root / f"results/{name}.{kind}").read_bytes() for kind in ("svg", "pdf", "png", "csv")}


def test_names_of_bars_leave_out_what_they_share() -> None:
    assert apart(["A, masked, 1 layer", "A, masked", "A, whole"]) == ["masked, 1 layer", "masked", "whole"]
    assert apart(["A, b", "A, b, c"]) == ["b", "b, c"]
    assert apart(["A", "B, c"]) == ["A", "B, c"] and apart(["A, b"]) == ["A, b"]


def test_a_logarithmic_axis_has_its_numbers_at_few_points() -> None:
    axes = Figure().subplots()
    axes.set_xscale("log")
    axes.set_xlim(3.0, 50.0)
    before = list(axes.get_xticks())
    style.number_points(axes, [4, 4.1, 40])  # two have no room beside one another
    style.number_points(axes, range(4, 44))
    assert list(axes.get_xticks()) == before
    style.number_points(axes, [16, 4, 8, 4])
    assert list(axes.get_xticks()) == [4, 8, 16]
    assert [axes.xaxis.get_major_formatter()(each, 0) for each in (4, 16)] == ["4", "16"]


@pytest.mark.slow
def test_labels_are_text_in_every_format(project: Path) -> None:
    row = f"[{{run: widths-width-16, label: '{HOSTILE}'}}, {{run: widths-width-32}}]"
    draw = f"{{kind: curve, x: {{field: prior.width, label: '{HOSTILE}'}}, y: [unguided.fid]}}"
    fill(add(project, row, draw))
    edit(project, "figures/f", "title: A figure", f"title: '{HOSTILE}'")
    files = rendered(project)
    svg = ElementTree.fromstring(files["svg"])
    assert not [each for each in svg.iter() if each.tag.endswith("script")]
    used = {each.get("{http://www.w3.org/1999/xlink}href", "") for each in svg.iter()}
    for font in ("DejaVuSans", "DejaVuSans-Bold"):  # of labels, and of the title
        index = get_font(f"{get_data_path()}/fonts/ttf/{font}.ttf").get_char_index
        # Matplotlib calls glyphs by font and number; mathematics would draw no dollar.
        assert {f"#{font}-{index(ord(each)):x}" for each in "$_&<%#\\{"} <= used
    with Image.open(project / "results/f.png") as picture:
        assert picture.info["Title"] == HOSTILE
    assert HOSTILE.encode() in re.sub(rb"\\([()\\])", rb"\1", files["pdf"])  # as PDF escapes strings
    assert HOSTILE in {value["series"] for value in csv.DictReader(io.StringIO(files["csv"].decode()))}


def test_a_label_that_a_spreadsheet_would_run_is_text_in_the_file_of_values(project: Path) -> None:
    fill(add(project, "[{run: widths-width-16, label: '=1+1'}]", CURVE))
    assert rendered(project)["csv"].splitlines()[1].startswith(b"'=1+1,")


@pytest.mark.slow
def test_the_same_content_gives_the_same_bytes_whatever_the_users_settings(project: Path) -> None:
    import matplotlib

    fill(add(project, "[{ablation: widths}]", CURVE))
    before = rendered(project)
    with matplotlib.rc_context({"font.size": 20, "lines.linewidth": 9, "savefig.dpi": 30, "svg.hashsalt": None}):
        assert rendered(project) == before
    for kind in ("svg", "pdf", "png"):
        assert not re.search(rb"CreationDate|dc:date|[Mm]atplotlib v|20[2-9]\d-\d\d", before[kind]), kind
    assert b"/Type3" not in before["pdf"] and b"/FontFile2" in before["pdf"], "its fonts are in it"


@pytest.mark.slow
@pytest.mark.parametrize(("width", "pixels"), [("column", 660), ("page", 1380)])
def test_a_figure_is_as_wide_as_a_column_or_a_page_of_200_pixels_an_inch(
    project: Path, width: str, pixels: int
) -> None:
    fill(add(project, "[{ablation: widths}]", CURVE, f"width: {width}\n"))
    rendered(project)
    with Image.open(project / "results/f.png") as picture:
        assert picture.width == pixels


def test_what_the_font_lacks_is_written_as_its_number() -> None:
    assert style.drawable("中 ×\n²") == "[U+4E2D] × ²"
    assert style.drawable("x" * 300) == "x" * 199 + "…"


def test_curves_and_bars_can_be_told_apart_without_their_colours() -> None:
    looks = [style.look(place) for place in range(20)]
    assert len({(look["linestyle"], look["marker"]) for look in looks}) == 20
    assert len({style.filling(place)["hatch"] for place in range(7)}) == 7


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.02, "0.02"), (500.0, "500"), (200000.0, "2×10⁵"), (1e-7, "10⁻⁷"), (0.001, "0.001"), (2.5e-4, "2.5×10⁻⁴")],
)
def test_numbers_of_logarithmic_axes(value: float, text: str) -> None:
    assert style.raised(value) == text


def test_logarithmic_axes_hold_no_markup(project: Path) -> None:
    draw = "{kind: curve, x: {field: prior.width}, y: [unguided.fid], log_x: true, log_y: true}"
    fill(add(project, "[{ablation: widths}]", draw))
    svg = rendered(project)["svg"].decode()
    assert "mathdefault" not in svg and "<!-- 16 -->" in svg


def test_sentences_stand_below_the_legend_and_the_legend_below_the_panels() -> None:
    with style.styled():
        canvas = Figure(figsize=(3.3, 2.1), layout="constrained")
        axes = style.panels(canvas, 2, "column")
        for axis in axes:
            for place in range(3):
                axis.plot([0, 1], [place, place], label=f"curve {place}")
            axis.set_xlabel("step")
        style.legend(canvas, axes)
        style.write_below(canvas, ["Not there yet: this.", "Nor that."])
        canvas.draw_without_rendering()
        (legend,), (text,) = canvas.legends, canvas.texts
        panels, keys, words = axes[-1].get_tightbbox(), legend.get_window_extent(), text.get_window_extent()
    assert panels is not None and panels.y0 > keys.y1 > keys.y0 > words.y1 > words.y0 > 0


# -- when it is made again -----------------------------------------------------------------------------------------


def test_a_figure_is_made_again_when_what_it_shows_changes(project: Path) -> None:
    figure = fill(add(project, "[{ablation: widths}]", CURVE))
    assert render_reason(figure_of(project)) == "never rendered"
    rendered(project)
    assert render_reason(figure_of(project)) == ""
    edit(project, "figures/f", "y: [unguided.fid]", "y: [unguided.fid, unguided.is]")
    assert render_reason(figure_of(project)) == "y unguided.is added"
    edit(project, "figures/f", "y: [unguided.fid, unguided.is]", "y: [unguided.fid]")
    edit(project, "ablations/widths", "label: widths", "label: sizes")
    assert "sizes" in render_reason(figure_of(project))
    edit(project, "ablations/widths", "label: sizes", "label: widths")
    job = figure.jobs()["widths-width-16.s0.unguided.small"]
    put_metrics(project, job, {"fid": 99.0, "is": 1.0, "precision": 0.5, "recall": 0.5})
    assert render_reason(figure_of(project)) == "other numbers: widths-width-16.s0.unguided.small"


def test_the_item_of_a_paper_changes_no_figure(project: Path) -> None:
    fill(add(project, "[{ablation: widths}]", CURVE))
    rendered(project)
    edit(project, "figures/f", "title:", "paper: {of: simflow, item: Figure 7, needs: eight GPUs}\ntitle:")
    figure = figure_of(project)
    assert figure.spec.paper is not None and figure.spec.paper.item == "Figure 7" and render_reason(figure) == ""


def test_curves_of_training_are_made_again_when_a_log_that_was_missing_is_there(project: Path) -> None:
    figure = fill(add(project, "[{run: flow}]", "{kind: training}"), but=("flow.main.s1",))
    with pytest.raises(PlanError, match=r"figure 'f': 1 result is not there yet: train flow\.main\.s1"):
        render_product(figure)
    render_product(figure_of(project), partial=True)
    fill(figure_of(project))
    assert render_reason(figure_of(project)) == "rendered without flow.main.s1"


def test_why_names_every_job_and_traces_a_number(project: Path) -> None:
    figure = fill(add(project, "[{ablation: widths}]", CURVE))
    text = why(open_plan(project).product("results/f.png"), None, None)
    assert text.startswith("figure f\n")
    for job in figure.jobs().values():
        assert job.folder in text
    number = why(figure, "widths-width-16", "unguided.fid")
    assert number.startswith("FID-1.5k") and "12 ± 2.83" in number.splitlines()[0] and "seed 1: 14" in number
    with pytest.raises(PlanError, match=r"figure 'f' has no column 'fit' \(it has: unguided\.fid\)"):
        why(figure, "flow", "fit")
    training = add(project, "[{run: flow}]", "{kind: training}", name="g")
    with pytest.raises(PlanError, match="figure 'g' has no rows and columns"):
        why(training, "flow", "loss")


def test_dvc_versions_a_figure_that_is_made_by_default(project: Path) -> None:
    add(project, "[{ablation: widths}]", CURVE, "by_default: true\n")
    text = dvc_yaml(open_plan(project))
    for file in ("f.svg", "f.pdf", "f.png", "f.csv", "f.manifest.json"):
        assert f"      - results/{file}: " in text


def test_what_no_figure_of_numbers_needs_is_not_made_for_it(project: Path) -> None:
    grid = add(project, "[{run: flow}]", "{kind: grid, output: unguided}")
    assert {job.stage for job in grid.jobs().values()} == {"infer"}
    assert list(grid.shown()) == ["flow.s0.unguided"], "the first seed's"
    assert grid.shown()["flow.s0.unguided"][1] == "samples.npz"
    assert drawn(fill(grid))[1]
