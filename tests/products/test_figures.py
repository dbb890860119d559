"""What figures draw, held against results that were made by hand: means, spreads and places are worked out here."""

from __future__ import annotations

from math import sqrt
from pathlib import Path

import pytest
from figures_project import add, drawn, figure_of, fill, make_figures_project, only


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_figures_project(tmp_path)


def test_an_ablations_runs_are_one_curve_over_a_field_with_the_spread_of_seeds(project: Path) -> None:
    figure = add(
        project,
        "[{ablation: widths}]",
        "{kind: curve, x: {field: prior.width}, y: [unguided.fid, unguided.is], best: true}",
    )
    canvas, values, remarks = drawn(fill(figure))
    assert only(values, "series", "run", "x_of", "x", "y_of", "y", "n", "protocol") == [
        ("widths", "widths-width-16", "prior.width", "16", "unguided.fid", "12.0", "2", "small"),
        ("widths", "widths-width-32", "prior.width", "32", "unguided.fid", "8.5", "2", "small"),
        ("widths", "widths-width-16", "prior.width", "16", "unguided.is", "3.0", "2", "small"),
        ("widths", "widths-width-32", "prior.width", "32", "unguided.is", "5.0", "1", "small"),
    ]
    stds = [float(value["y_std"]) if value["y_std"] else None for value in values]
    assert stds == [pytest.approx(sqrt(8)), pytest.approx(sqrt(0.5)), pytest.approx(sqrt(2)), None]
    fid, inception = canvas.axes
    assert fid.lines[0].get_xydata().tolist() == [[16, 12], [32, 8.5]]
    assert [axes.get_ylabel() for axes in (fid, inception)] == ["FID-1.5k ↓", "IS ↑"]
    assert fid.get_xlabel() == "width"
    band = fid.collections[0].get_paths()[0].get_extents()
    assert (band.y0, band.y1) == (pytest.approx(8.5 - sqrt(0.5)), pytest.approx(12 + sqrt(8)))
    assert fid.collections[1].get_offsets().tolist() == [[32, 8.5]], "the ring: a lower FID is better"
    assert inception.collections[1].get_offsets().tolist() == [[32, 5]], "and a higher IS"
    assert remarks == ("No value for seed 1: the features are not finite.",)


def test_a_curve_over_what_trainings_know_of_themselves(project: Path) -> None:
    figure = add(project, "[{ablation: widths}]", "{kind: curve, x: {fact: parameters}, y: [unguided.fid]}")
    canvas, values, _ = drawn(fill(figure))
    assert only(values, "x", "y") == [("1000", "12.0"), ("4000", "8.5")]
    assert "1.0k" in [text.get_text() for text in canvas.axes[0].get_xticklabels()]


def test_the_points_of_a_sweep_are_a_curve_in_the_order_of_their_values(project: Path) -> None:
    figure = add(project, "[{run: flow}]", "{kind: curve, x: {sweep: guided}, y: [guided.fid]}")
    canvas, values, _ = drawn(fill(figure))
    assert only(values, "series", "output", "x", "y") == [
        ("Flow", "guided-weight-0", "0", "7.0"),
        ("Flow", "guided-weight-1", "1", "4.0"),
        ("Flow", "guided-weight-2", "2", "5.0"),
    ]
    assert canvas.axes[0].get_xlabel() == "weight"


def test_a_tradeoff_joins_the_points_of_a_sweep_as_they_are_given(project: Path) -> None:
    figure = add(project, "[{run: flow}]", "{kind: tradeoff, x: guided.recall, y: guided.precision}")
    canvas, values, _ = drawn(fill(figure))
    assert only(values, "output", "x", "y") == [
        ("guided-weight-2", "0.25", "1.0"),
        ("guided-weight-0", "0.75", "0.625"),
        ("guided-weight-1", "0.375", "0.875"),
    ]
    (axes,) = canvas.axes
    assert [text.get_text() for text in axes.texts] == ["weight 2", "weight 1"], "its ends are named"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Recall ↑", "Precision ↑")


def test_a_tradeoff_has_a_point_a_run_and_two_runs_of_one_label_share_its_look(project: Path) -> None:
    rows = "[{run: gaussian, label: both}, {run: flow, label: both}, {ablation: widths}]"
    figure = add(project, rows, "{kind: tradeoff, x: unguided.is, y: unguided.fid, log_y: true}")
    canvas, values, _ = drawn(fill(figure))
    assert only(values, "series", "x", "y") == [
        ("both", "1.5", "40.0"),
        ("both", "1.0", "1.0"),
        ("Flow, width 32", "5.0", "8.5"),
        ("Flow, width 16", "3.0", "12.0"),
    ]
    assert [line.get_linestyle() for line in canvas.axes[0].lines[:2]] == ["None", "None"]
    assert canvas.axes[0].get_yscale() == "log"


def test_bars_are_grouped_by_row_and_one_seed_has_no_spread(project: Path) -> None:
    rows = "[{run: gaussian}, {run: widths-width-16}]"
    figure = add(project, rows, "{kind: bars, y: [unguided.fid, unguided.is, guided.fid]}")
    canvas, values, _ = drawn(fill(figure))
    fid, inception = canvas.axes
    assert [text.get_text() for text in fid.get_xticklabels()] == [
        "Gaussian & 100 %\n_simple_ #1",
        "Flow, width 16",
    ]
    assert [bar.get_height() for bar in fid.patches[:2]] == [40, 12]
    spread = next(bars for bars in fid.containers if hasattr(bars, "has_yerr"))
    assert spread.lines[2][0].get_segments()[0].size == 0, "one seed"
    assert spread.lines[2][0].get_segments()[1][:, 1] == pytest.approx([12 - sqrt(8), 12 + sqrt(8)])
    assert {value["series"] for value in values} == {
        "unguided",
        "guided, weight 0",
        "guided, weight 1",
        "guided, weight 2",
    }
    assert len({bar.get_facecolor() for bar in fid.patches}) == len({bar.get_hatch() for bar in fid.patches}) == 4
    assert len(inception.patches) == 2


def test_curves_of_training_are_means_over_seeds_at_each_row_of_the_log(project: Path) -> None:
    figure = add(project, "[{run: flow}]", "{kind: training, y: [loss, aligned], x: epoch}")
    canvas, values, remarks = drawn(fill(figure))
    assert only(values, "series", "x_of", "x", "y_of", "y", "n") == [
        ("Flow", "epoch", "0.5", "loss", "3.0", "2"),
        ("Flow", "epoch", "1.0", "loss", "1.0", "2"),
        ("Flow", "epoch", "1.0", "aligned", "0.5", "1"),
    ]
    assert float(values[0]["y_std"]) == pytest.approx(sqrt(2))
    assert canvas.axes[0].lines[0].get_xydata().tolist() == [[0.5, 3], [1, 1]]
    assert remarks == ()


def test_a_log_without_the_column_is_said(project: Path) -> None:
    _, values, remarks = drawn(fill(add(project, "[{run: flow}]", "{kind: training, y: [rate]}")))
    assert values == [] and remarks == ("The log of Flow has no 'rate'.",)


def test_snapshots_lie_at_their_share_of_the_training_and_its_end_at_the_whole(project: Path) -> None:
    _, values, _ = drawn(fill(add(project, "[{run: flow}]", "{kind: snapshots, y: [early.fid]}")))
    assert only(values, "series", "output", "x", "y") == [
        ("Flow", "early-snapshot-0-25", "25.0", "32.0"),
        ("Flow", "early-snapshot-0-5", "50.0", "20.0"),
        ("Flow", "early-snapshot-none", "100.0", "10.5"),
    ]


def test_spectra_stand_beside_the_references_on_logarithmic_axes(project: Path) -> None:
    figure = add(project, "[{run: flow}]", "{kind: spectrum, output: unguided}")
    canvas, values, _ = drawn(fill(figure))
    own, reference = values[:3], values[3:]
    assert only(own, "series", "x", "y", "n") == [
        ("Flow", "0.125", "8.0", "2"),
        ("Flow", "0.25", "4.0", "2"),
        ("Flow", "0.5", "2.0", "2"),
    ]
    assert float(own[0]["y_std"]) == pytest.approx(sqrt(32)), "of 4 and 12"
    assert only(reference, "series", "y") == [("reference", "8.0"), ("reference", "2.0"), ("reference", "0.5")]
    (axes,) = canvas.axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")


def test_a_grid_shows_the_first_samples_of_the_classes_that_are_asked_for(project: Path) -> None:
    figure = add(project, "[{run: flow}, {run: gaussian}]", "{kind: grid, output: unguided, classes: [3, 7], count: 5}")
    canvas, values, remarks = drawn(fill(figure))
    assert only(values[:8], "block", "line", "column", "place", "class") == [
        ("Flow", str(line), str(column), str(10 * column + label), str(label))
        for line, label in enumerate((3, 7))
        for column in range(4)
    ]
    picture = canvas.axes[0].images[0].get_array()
    assert picture.shape == (2 * 64 + 2, 4 * 64 + 3 * 2, 3), "8 pixels, eight times as large, with gaps of two"
    centres = [[int(picture[32 + 66 * line, 32 + 66 * column, 0]) for column in range(4)] for line in range(2)]
    assert centres == [[6 * (10 * column + label) for column in range(4)] for label in (3, 7)]
    assert [text.get_text() for text in canvas.axes[0].get_yticklabels()] == ["3", "7"]
    assert remarks[0] == "Flow: 4 samples of class 3, not 5."
    assert [axes.get_title(loc="left") for axes in canvas.axes] == ["Flow", "Gaussian & 100 % _simple_ #1"]


def test_a_grid_of_a_sweep_has_a_block_for_each_point(project: Path) -> None:
    figure = add(project, "[{run: flow}]", "{kind: grid, output: guided, classes: [0], count: 2, blocks: 3}")
    canvas, _, _ = drawn(fill(figure))
    assert [axes.get_title(loc="left") for axes in canvas.axes] == [f"Flow, weight {value}" for value in (2, 0, 1)]


def test_a_strip_of_reconstructions_has_originals_above_them(project: Path) -> None:
    figure = add(project, "[{run: flow}]", "{kind: strip, output: reconstruction, count: 4}")
    canvas, values, remarks = drawn(fill(figure))
    assert only(values, "line", "place", "file") == [
        *(("0", str(place), "pairs.npz") for place in (0, 2, 4, 6)),
        *(("1", str(place), "pairs.npz") for place in (1, 3, 5, 7)),
    ]
    assert [text.get_text() for text in canvas.axes[0].get_yticklabels()] == ["original", "decoded"]
    assert remarks == ()


def test_a_strip_of_interpolations_has_a_line_for_each_way(project: Path) -> None:
    figure = add(project, "[{run: flow}]", "{kind: strip, output: interpolation, count: 3}")
    _, values, remarks = drawn(fill(figure))
    assert only(values, "line", "place", "step") == [
        *(("0", str(place), str(place)) for place in range(3)),
        *(("1", str(3 + place), str(place)) for place in range(3)),
    ]
    assert remarks == ("Flow: 2 ways, not 3: no more are kept for pictures.",)


def test_samples_that_were_made_elsewhere_stand_beside_runs(project: Path) -> None:
    (project / "theirs.npz").write_bytes(b"never opened here")
    given = f"{{samples: {{file: theirs.npz, sha256: {'a' * 64}, label: Theirs}}, output: unguided}}"
    for draw in ("{kind: bars, y: [unguided.fid]}", "{kind: tradeoff, x: unguided.is, y: unguided.fid}"):
        _, values, _ = drawn(fill(add(project, f"[{{run: gaussian}}, {given}]", draw)))
        assert only(values, "run", "output", "y") == [("gaussian", "unguided", "40.0"), ("", "unguided", "1.0")]
        assert values[1]["series" if "tradeoff" in draw else "x"] == "Theirs"


# -- what is not there -------------------------------------------------------------------------------------------------


def test_a_figure_of_some_results_shows_these_and_names_what_is_missing(project: Path) -> None:
    draw = "{kind: curve, x: {field: prior.width}, y: [unguided.fid]}"
    figure = add(project, "[{ablation: widths}]", draw)
    missing = ("widths-width-16.s1.unguided.small", "widths-width-32.s0.unguided.small", "widths-width-32.s1.unguided")
    fill(figure, but=(*missing, "widths-width-32.s1.unguided.small"))
    _, values, remarks = drawn(figure_of(project))
    assert only(values, "run", "y", "y_std", "n") == [("widths-width-16", "10.0", "", "1")]
    assert remarks == (
        "Not there yet: widths-width-32.s0.unguided.small, widths-width-32.s1.unguided.small, "
        "widths-width-16.s1.unguided.small.",
    )


@pytest.mark.parametrize(
    "draw",
    [
        "{kind: curve, x: {field: prior.width}, y: [unguided.fid], log_x: true, log_y: true, best: true}",
        "{kind: curve, x: {fact: epochs}, y: [unguided.fid]}",
        "{kind: tradeoff, x: unguided.fid, y: unguided.is}",
        "{kind: bars, y: [unguided.fid], log_y: true}",
        "{kind: training}",
        "{kind: snapshots, y: [early.fid]}",
        "{kind: spectrum, output: unguided}",
        "{kind: grid, output: unguided}",
        "{kind: strip, output: interpolation}",
    ],
)
def test_a_figure_without_any_result_is_drawn_and_says_so(project: Path, draw: str) -> None:
    _, values, remarks = drawn(add(project, "[{run: flow}]", draw))
    assert values == []
    assert remarks[0].startswith("Not there yet: flow.")
