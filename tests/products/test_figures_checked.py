"""What is wrong with a figure is a line that says where, and a user's own function is one of the project's files."""

from __future__ import annotations

from pathlib import Path

import pytest
from figures_project import add, drawn, figure_of, fill, make_figures_project
from specs_project import problems, write

from mimflow.errors import SpecError
from mimflow.plan.freshness import render_reason
from mimflow.products.registry import open_workspace
from mimflow.products.render import render_product

OWN = """\
from figures.helpers import names


def draw(values, figure):
    axes = figure.subplots()
    for name, of in values.groupby("row"):
        axes.plot(of["seed"], of["value"], label=name)
    axes.set_title(names(values))
"""
HELPERS = """\
def names(values):
    return " ".join(values.columns)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_figures_project(tmp_path)


def said(root: Path, rows: str, draw: str, more: str = "", protocol: str = "protocol: small\n") -> list[str]:
    """What validation says of a figure, without the file's name."""
    write(root, "figures/f", f"title: A figure\n{protocol}rows: {rows}\ndraw: {draw}\n{more}")
    lines = open_workspace(root).problems
    assert all(line.startswith("specs/figures/f.yaml:") for line in lines), lines
    return [line.removeprefix("specs/figures/f.yaml:") for line in lines]


FLOW = "[{run: flow}]"


@pytest.mark.parametrize(
    ("rows", "draw", "line"),
    [
        (
            "[{run: flaw}]",
            "{kind: training}",
            "3:14: rows.0.run: there is no run 'flaw' (did you mean 'flow'?)",
        ),
        (
            "[{run: flow}, {run: flow}]",
            "{kind: training}",
            "3:27: rows.1.run: run 'flow' is in a row before (each run once)",
        ),
        (
            FLOW,
            "{kind: curve, x: {field: prior.with}, y: [unguided.fid]}",
            "4:32: draw.x.field: run 'flow' has no field 'prior.with' (did you mean 'width'?)",
        ),
        (
            FLOW,
            "{kind: curve, x: {sweep: unguided}, y: [unguided.fid]}",
            "4:32: draw.x.sweep: run 'flow' does not sweep 'unguided' (outputs that are swept: guided, early)",
        ),
        (
            FLOW,
            "{kind: curve, x: {sweep: guided}, y: [unguided.fid]}",
            "4:45: draw.y.0: 'unguided.fid' is no number of the sweep 'guided' (guided.fid)",
        ),
        (
            FLOW,
            "{kind: curve, x: {field: prior.width, sweep: guided, fact: epochs}, y: [guided.fid]}",
            "4:24: draw.x: gives field and sweep and fact (one of them: {field: prior.width}, {sweep: guided}, "
            "{fact: parameters})",
        ),
        (
            FLOW,
            "{kind: bars, y: [unguided.fit]}",
            "4:24: draw.y.0: protocol 'small' reports no 'fit' (did you mean 'fid'?)",
        ),
        (
            FLOW,
            "{kind: bars, y: [unguide.fid]}",
            "4:24: draw.y.0: no run of the figure has an output 'unguide' (did you mean 'unguided'?)",
        ),
        (
            FLOW,
            "{kind: bars, y: [{output: unguided, metric: fid, protocol: smell}]}",
            "4:66: draw.y.0.protocol: there is no protocol 'smell' (did you mean 'small'?)",
        ),
        (
            FLOW,
            "{kind: bars, y: [unguided.fid, unguided.fid]}",
            "4:38: draw.y.1: 'unguided.fid' twice (each once)",
        ),
        (
            FLOW,
            "{kind: training, phase: tune}",
            "4:31: draw.phase: run 'flow' has no phase 'tune' (known: main)",
        ),
        (
            "[{run: gaussian}]",
            "{kind: training}",
            "4:7: draw.phase: phase 'main' of run 'gaussian' is in closed form (it has no steps)",
        ),
        (
            FLOW,
            "{kind: spectrum, output: latents}",
            "4:32: draw.output: no metric of protocol 'small' finds a spectrum of latents (latent_spectrum or "
            "image_spectrum among its metrics, or curves that they find)",
        ),
        (
            FLOW,
            "{kind: spectrum, output: unguided, curves: [image_spectra]}",
            "4:51: draw.curves.0: no metric of protocol 'small' finds 'image_spectra' of output 'unguided' "
            "(did you mean 'image_spectrum'?)",
        ),
        (
            FLOW,
            "{kind: grid, output: reconstruction}",
            "4:28: draw.output: output 'reconstruction' of run 'flow' gives reconstructions (one that gives samples)",
        ),
        (
            FLOW,
            "{kind: grid, output: unguided, classes: [1, 1]}",
            "4:47: draw.classes: a class twice: [1, 1] (each once)",
        ),
        (
            FLOW,
            "{kind: strip, output: guided}",
            "4:29: draw.output: output 'guided' of run 'flow' gives samples (one that gives reconstructions or "
            "interpolations or bands)",
        ),
        (
            FLOW,
            "{kind: curved, x: {field: prior.width}, y: [unguided.fid]}",
            "4:14: draw.kind: got 'curved', wanted one of curve, tradeoff, snapshots, bars, training, spectrum, grid, "
            "strip, python (did you mean 'curve'?)",
        ),
    ],
)
def test_a_mistake_is_a_line(project: Path, rows: str, draw: str, line: str) -> None:
    assert said(project, rows, draw) == [line]


def test_numbers_need_a_protocol_and_trainings_do_not(project: Path) -> None:
    assert said(project, FLOW, "{kind: training}", protocol="") == []
    (line,) = said(project, FLOW, "{kind: grid, output: unguided}", protocol="")
    assert "protocol: missing, and 'grid' draws what one asks for" in line


def test_a_name_that_is_a_sweep_here_and_an_output_there_is_refused(project: Path) -> None:
    gaussian = project / "specs/mini/gaussian.yaml"
    text = gaussian.read_text(encoding="utf-8")
    gaussian.write_text(text + "  guided: {kind: inverse, ema: false}\n", encoding="utf-8")
    rows = "[{run: flow}, {run: gaussian}]"
    assert said(project, rows, "{kind: tradeoff, x: unguided.fid, y: guided.fid}") == [
        "4:44: draw.y: run 'flow' sweeps 'guided', and run 'gaussian' has one output of that name "
        "(another name for one of them)"
    ]


def test_a_point_of_a_sweep_may_be_asked_for_beside_the_sweep(project: Path) -> None:
    assert said(project, FLOW, "{kind: bars, y: [guided.fid, guided-weight-2.fid]}") == []


# -- a function of the user's own -------------------------------------------------------------------------------------


def own(root: Path, text: str = OWN, function: str = "figures/own.py:draw") -> str:
    (root / "figures").mkdir(exist_ok=True)
    (root / "figures/own.py").write_text(text, encoding="utf-8")
    (root / "figures/helpers.py").write_text(HELPERS, encoding="utf-8")
    return f"{{kind: python, function: '{function}', values: [unguided.fid]}}"


def test_a_function_gets_a_line_for_each_seed_and_what_the_ablation_sets(project: Path) -> None:
    canvas, values, _ = drawn(fill(add(project, "[{ablation: widths}, {run: gaussian}]", own(project))))
    assert [tuple(value.values())[:-1] for value in values] == [
        ("Flow, width 32", "widths-width-32", "0", "unguided", "", "fid", "small", "8.0", "", "32"),
        ("Flow, width 32", "widths-width-32", "1", "unguided", "", "fid", "small", "9.0", "", "32"),
        ("Flow, width 16", "widths-width-16", "0", "unguided", "", "fid", "small", "10.0", "", "16"),
        ("Flow, width 16", "widths-width-16", "1", "unguided", "", "fid", "small", "14.0", "", "16"),
        ("Gaussian & 100 % _simple_ #1", "gaussian", "0", "unguided", "", "fid", "small", "40.0", "", ""),
    ]
    (axes,) = canvas.axes
    assert axes.get_title() == "row run seed output point metric protocol value reason prior.width key"
    curves = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert curves["Flow, width 16"] == [[0, 10], [1, 14]]


def test_a_function_of_a_module_of_the_project(project: Path) -> None:
    draw = own(project, function="figures.own:draw")
    canvas, _, _ = drawn(fill(add(project, FLOW, draw)))
    assert len(canvas.axes[0].lines) == 1


def test_a_figure_is_made_again_when_the_function_or_what_it_imports_changes(project: Path) -> None:
    fill(add(project, FLOW, own(project)))
    render_product(figure_of(project))
    assert render_reason(figure_of(project)) == ""
    (project / "figures/helpers.py").write_text(HELPERS + "# otherwise\n", encoding="utf-8")
    assert render_reason(figure_of(project)) == "figures/helpers.py changed"
    (project / "figures/own.py").write_text(OWN + "# otherwise\n", encoding="utf-8")
    assert render_reason(figure_of(project)) == "figures/helpers.py changed; figures/own.py changed"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (OWN.replace('"row"', '"raw"'), "figures/own.py:6: function of figure 'f': KeyError: 'raw'"),
        (
            OWN.replace("names(values)", "'', nothing=1"),
            "figures/own.py:8: function of figure 'f': AttributeError: Text.set() got an unexpected keyword argument "
            "'nothing'",
        ),
        ("import nothing_like_it\n" + OWN, "figures/own.py:1: function of figure 'f': ModuleNotFoundError: No module"),
        ("def draw():\n    pass\n", "figures/own.py:1: function of figure 'f': TypeError: draw() takes 0"),
        ("def draw(values, figure):\n    exit()\n", "figures/own.py:2: function of figure 'f': SystemExit"),
    ],
)
def test_a_mistake_in_a_function_is_a_line_with_its_place(project: Path, text: str, line: str) -> None:
    figure = fill(add(project, FLOW, own(project, text)))
    with pytest.raises(SpecError) as refused:
        drawn(figure)
    assert str(refused.value).startswith(line) and "\n" not in str(refused.value)


def test_a_mistake_has_its_place_in_a_project_that_is_named_by_a_relative_path(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(add(project, FLOW, own(project, "def draw(values, figure):\n    nothing\n")))
    monkeypatch.chdir(project)
    with pytest.raises(SpecError, match=r"^figures/own\.py:2: function of figure 'f': NameError"):
        drawn(figure_of(Path()))


@pytest.mark.parametrize(
    ("function", "text", "line"),
    [
        (
            "figures/own.py:drew",
            OWN,
            "4:32: draw.function: figures/own.py has no function 'drew' (did you mean 'draw'?)",
        ),
        (
            "figures/mine.py:draw",
            OWN,
            "4:32: draw.function: no file figures/mine.py (a file of the project, figures/mine.py:draw, or a module: "
            "mypackage.figures:draw)",
        ),
        ("figures.mine:draw", OWN, "4:32: draw.function: no module figures.mine (a file of the project"),
        ("figures/own.py:draw", "def draw(:\n", "4:32: draw.function: figures/own.py:1: "),
        ("/etc/hostname.py:draw", OWN, "4:32: draw.function: no file /etc/hostname.py"),
    ],
)
def test_a_function_that_is_not_there_is_a_line(project: Path, function: str, text: str, line: str) -> None:
    draw = own(project, text, function)
    (found,) = said(project, FLOW, draw)
    assert found.startswith(line)


def test_a_function_that_nothing_is_measured_for_is_not_called(project: Path) -> None:
    _, values, remarks = drawn(add(project, FLOW, own(project, "def draw(values, figure):\n    raise ValueError\n")))
    assert values == [] and remarks[0].startswith("Not there yet: flow.s0")


def test_the_project_itself_is_sound(project: Path) -> None:
    assert problems(project) == []
