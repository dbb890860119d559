"""Specs to begin with, projects of one's own, and variants from the command line."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from projects import REPOSITORY, cli, copy_project, new_project
from typer.testing import CliRunner

from mimflow.cli import app
from mimflow.errors import DataError, PlanError, SpecError
from mimflow.products.begin import begin_project
from mimflow.products.registry import open_plan, open_workspace
from mimflow.project.new import Asked, from_root, write_new
from mimflow.project.variant import write_variant
from mimflow.project.workspace import Workspace


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new project with a folder of images of two classes, 12 of each, wider than high. Tests copy it."""
    root = tmp_path_factory.mktemp("begun") / "project"
    begin_project(root)
    draws = np.random.default_rng(0)
    for name in ("aster", "rose"):
        folder = root / "data/flowers" / name
        folder.mkdir(parents=True)
        for number in range(12):
            Image.fromarray(draws.integers(0, 255, (40, 56, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return root


@pytest.fixture
def project(begun: Path, tmp_path: Path) -> Path:
    return copy_project(begun, tmp_path / "project")


def new(project: Path, kind: str, name: str, **asked: object) -> list[str]:
    return write_new(lambda: open_workspace(project), kind, Asked(name, **asked))  # type: ignore[arg-type]


def test_a_new_project_is_valid_and_plans_its_table(project: Path) -> None:
    plan = open_plan(project)
    assert plan.workspace.problems == []
    (table,) = plan.by_default()
    assert table.files[0] == "results/first.md"
    assert {job.stage for job in table.jobs().values()} == {"train", "infer", "evaluate"}
    with pytest.raises(PlanError, match="is there already, and not empty"):
        begin_project(project)


def test_the_workflow_of_a_new_project_is_the_packages(project: Path) -> None:
    own = (project / "Snakefile").read_text().splitlines()
    shipped = (REPOSITORY / "Snakefile").read_text().splitlines()
    added = [line for line in own if line not in shipped]
    gone = [line for line in shipped if line not in own]
    assert gone == ['include: "rules/stages.smk"', 'include: "rules/products.smk"']
    assert added == [
        "from mimflow.spec.shipped import SHIPPED",
        'include: str(SHIPPED / "rules" / "stages.smk")',
        'include: str(SHIPPED / "rules" / "products.smk")',
    ]
    assert (project / "profiles/default/config.yaml").read_text() == (
        REPOSITORY / "profiles/default/config.yaml"
    ).read_text()


def test_a_folder_of_images_becomes_everything_up_to_a_table(project: Path) -> None:
    written = new(project, "project", "flowers", images="data/flowers", size=32)
    assert written == [
        "specs/datasets/flowers.yaml",
        "specs/mini/flowers-classifier.yaml",
        "specs/protocols/flowers-1k.yaml",
        "specs/mini/flowers-tarflow.yaml",
        "specs/mini/flowers-mimflow.yaml",
        "specs/tables/flowers.yaml",
    ]
    plan = open_plan(project)
    assert plan.workspace.problems == []
    dataset = plan.workspace.datasets["flowers"].spec
    assert (dataset.num_classes, dataset.split.kind, dataset.split_images) == (2, "stratified", {"val": 4})
    assert [row.run for row in plan.product("flowers").rows] == ["flowers-tarflow", "flowers-mimflow"]  # type: ignore[attr-defined]
    shown = plan.product("flowers").spec.columns  # type: ignore[attr-defined]
    assert [str(column) for column in shown] == [
        "parameters",
        "epochs",
        "unguided.fid",
        "unguided.class_accuracy",
        "guided.fid",
        "guided.class_accuracy",
        "reconstruction.fid",
        "reconstruction.psnr",
    ]
    runs = plan.workspace.runs
    assert list(runs["flowers-tarflow"].spec.outputs) == ["unguided", "guided", "likelihood"]
    assert runs["flowers-mimflow"].spec.label == "MIMFlow"
    for path in written:
        assert "\n# " in (project / path).read_text(), f"{path} explains nothing"
    with pytest.raises(PlanError, match=r"specs/datasets/flowers.yaml: is there already"):
        new(project, "project", "flowers", images="data/flowers")


def test_a_project_to_see_it_all_work_is_trained_as_long_as_is_said(project: Path) -> None:
    new(project, "project", "flowers", images="data/flowers", size=32, epochs=0.5)
    runs = open_workspace(project).runs
    lengths = {name: [phase.epochs for phase in loaded.spec.phases.values()] for name, loaded in runs.items()}
    assert lengths["flowers-tarflow"] == [0.5] and lengths["flowers-mimflow"] == [0.5, 0.5]
    # Of the thirty epochs of tarflow-mnist5k the first warms up.
    assert runs["flowers-tarflow"].spec.phases["main"].schedule.warmup_epochs == 0.017
    by_steps = "main: {epochs: null, steps: 60, schedule: {warmup_epochs: 0, warmup_steps: 10}}"
    (project / "specs/mini/by-steps.yaml").write_text(f"extends: tarflow\nphases: {{{by_steps}}}\n")
    new(project, "run", "short", dataset="digits", like="by-steps", epochs=3)
    short = open_workspace(project).runs["short"].spec.phases["main"]
    assert (short.epochs, short.steps) == (3, None)
    assert (short.schedule.warmup_epochs, short.schedule.warmup_steps) == (0.5, 0)


def test_a_folder_is_named_as_it_is_seen_from_where_one_is(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project / "data")
    assert from_root(Path(".."), "flowers") == "data/flowers"
    assert from_root(Path(".."), "../../elsewhere") == "../elsewhere"
    assert from_root(project, "/srv/flowers") == "/srv/flowers" and from_root(project, "~/flowers") == "~/flowers"
    done = CliRunner().invoke(app, ["new", "dataset", "flowers", "--images", "flowers"])
    assert done.output == "specs/datasets/flowers.yaml\n"
    assert open_workspace(project).datasets["flowers"].spec.source.path == "data/flowers"


def test_train_and_val_folders_are_kept_apart(project: Path) -> None:
    for split in ("train", "val"):
        (project / "data/split" / split / "rose").mkdir(parents=True)
        (project / "data/split" / split / "rose/0.png").write_bytes((project / "data/flowers/rose/0.png").read_bytes())
    new(project, "dataset", "split", images="data/split", size=8)
    dataset = open_workspace(project).datasets["split"].spec
    assert (dataset.split.kind, dataset.num_classes, dataset.transform.size) == ("folders", 1, 8)


def test_patches_grow_with_the_images(project: Path) -> None:
    new(project, "dataset", "large", images="data/flowers", size=64)
    new(project, "run", "flow", dataset="large", like="tarflow-mnist5k")  # 8 of 32 pixels
    new(project, "run", "gaussian", dataset="large", like="gaussian-mnist5k")
    new(project, "run", "own", dataset="digits", like="tarflow")  # of the project
    runs = open_workspace(project).runs
    assert runs["flow"].spec.tokenizer.patch_size == 16
    assert runs["flow"].spec.twin_of is None and runs["flow"].spec.deviations == {}
    assert runs["own"].spec.prior == runs["tarflow"].spec.prior
    new(project, "dataset", "odd", images="data/flowers", size=33)
    with pytest.raises(PlanError, match=r"images of 33 pixels: .* \(--size 32, or a multiple\)"):
        new(project, "run", "no", dataset="odd")


def test_an_ablation_varies_the_step_size_around_the_runs_own(project: Path) -> None:
    new(project, "ablation", "lr", runs=["tarflow"])
    assert open_workspace(project).ablations["lr"].spec.grid == {"phases.main.optimizer.lr": [0.001, 0.002, 0.004]}


def test_a_claim_compares_what_both_runs_draw(project: Path) -> None:
    new(project, "run", "wide", dataset="digits", like="tarflow")
    new(project, "claim", "width", runs=["wide", "tarflow"], protocol="digits")
    claim = open_workspace(project).get("claim", "width").spec.comparison
    assert (claim.claimed.run, claim.against.run, claim.claimed.output) == ("wide", "tarflow", "unguided")
    assert (claim.metric, claim.direction) == ("fid", "lower")


def test_a_figure_draws_outputs_as_bars_and_a_sweep_as_a_curve(project: Path) -> None:
    new(project, "run", "gaussian", dataset="digits", like="gaussian-mnist5k")  # it sweeps nothing
    for name, runs in (("plain", ["gaussian"]), ("swept", ["tarflow"]), ("both", ["gaussian", "tarflow"])):
        new(project, "figure", name, runs=runs, protocol="digits")
    workspace = open_workspace(project)
    plain, curve, both = (workspace.get("figure", name).spec.draw for name in ("plain", "swept", "both"))
    assert (plain.kind, both.kind, curve.kind) == ("bars", "bars", "curve")
    assert plain.y == both.y == ["unguided.fid"]
    (swept,) = workspace.runs["tarflow"].sweeps
    assert (curve.x.sweep, curve.y) == (swept, [f"{swept}.fid"])


@pytest.mark.parametrize(
    ("kind", "name", "asked", "words"),
    [
        ("tabel", "t", {}, r"no kind of spec 'tabel' to begin \(did you mean 'table'\?\)"),
        ("table", "A b", {}, r"'A b' can't be a name"),
        ("table", "t", {}, r"--run: missing"),
        ("table", "t", {"runs": ["tarflow"]}, r"--protocol: missing"),
        ("figure", "f", {}, r"--run: missing"),
        ("claim", "t", {"runs": ["tarflow"]}, r"--run: twice"),
        ("run", "t", {}, r"--dataset: missing"),
        ("run", "t", {"dataset": "digit"}, r"no dataset named 'digit' \(did you mean 'digits'\?\)"),
        ("run", "t", {"dataset": "digits", "like": "tarflow-mnist"}, r"no run named 'tarflow-mnist', here or among"),
        ("dataset", "t", {}, r"--images: missing"),
        ("protocol", "t", {"dataset": "digits", "runs": ["tarflow"]}, r"run 'tarflow' trains no classifier"),
    ],
)  # fmt: skip
def test_what_is_not_said_is_asked_for(project: Path, kind: str, name: str, asked: dict[str, str], words: str) -> None:
    before = sorted(project.rglob("*.yaml"))
    with pytest.raises(PlanError, match=words):
        new(project, kind, name, **asked)
    assert sorted(project.rglob("*.yaml")) == before


def test_a_folder_that_is_not_there_and_a_run_that_does_not_fit_leave_nothing(project: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        new(project, "dataset", "t", images="data/nowhere")
    new(project, "dataset", "flowers", images="data/flowers")
    new(project, "run", "flow", dataset="flowers")
    with pytest.raises(SpecError, match=r"specs/tables/t\.yaml"):  # a protocol on other images
        new(project, "table", "t", runs=["flow"], protocol="digits")
    assert not (project / "specs/tables/t.yaml").exists()


def variant(project: Path, run: str, *settings: str) -> str:
    return write_variant(lambda: open_workspace(project), run, settings)


def test_settings_on_the_command_line_are_a_spec_of_their_own(project: Path) -> None:
    name = variant(project, "tarflow", "prior.width=32", "seeds=[0, 1]")
    assert name == "tarflow-width-32-seeds-0-1"
    found = yaml.safe_load((project / f"specs/mini/{name}.yaml").read_text())
    assert found == {
        "extends": "tarflow.yaml",
        "label": "TARFlow, width 32, seeds [0, 1]",
        "overrides": {"prior.width": 32, "seeds": [0, 1]},
    }
    spec = open_workspace(project).runs[name].spec
    assert spec.prior.width == 32 and spec.seeds == [0, 1]
    assert variant(project, "tarflow", "prior.width=32", "seeds=[0, 1]") == name  # the same again
    with pytest.raises(PlanError, match="is there already and says otherwise"):
        variant(project, "tarflow", "prior.width=32", "seeds=[0,1]")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("prior.widht=32", r"-s: prior.widht: unknown field \(did you mean 'width'\?\)"),
        ("prior.width=wide", r"-s: prior.width: got the text 'wide', wanted a whole number"),
        ("prior.width", r"-s prior.width: not a setting"),
    ],
)
def test_a_setting_that_can_not_be_is_a_line_and_leaves_nothing(project: Path, setting: str, words: str) -> None:
    before = sorted(project.rglob("*.yaml"))
    with pytest.raises((PlanError, SpecError), match=words):
        variant(project, "tarflow", setting)
    assert sorted(project.rglob("*.yaml")) == before


@pytest.mark.slow
def test_plan_takes_settings(tmp_path: Path) -> None:
    project = new_project(tmp_path / "project")
    told = cli(project, "plan", "gaussian", "-s", "prior.ridge=0.1")
    assert told.startswith("run gaussian-ridge-0-1\n")
    assert re.search(r"^run +train +gaussian-ridge-0-1\.main\.s0 ", told, re.MULTILINE), told
    assert (project / "specs/mini/gaussian-ridge-0-1.yaml").is_file()


def test_a_spec_extends_another_by_name_of_the_project_first(project: Path) -> None:
    mini = project / "specs/mini"
    (mini / "a.yaml").write_text("extends: tarflow\nlabel: a\n")
    (mini / "classifier-digits.yaml").write_text("extends: classifier-digits\nlabel: ours\n")
    (mini / "b.yaml").write_text("extends: classifier-digits\n")
    workspace = Workspace(project)
    assert workspace.runs["a"].spec.dataset == "digits"
    assert workspace.runs["b"].spec.label == "ours"  # the project's, which extends the one that comes along
    (mini / "b.yaml").write_text("extends: tarflow-mnist5\n")
    (problem,) = [line for line in Workspace(project).problems if line.startswith("specs/mini/b")]
    assert problem == (
        "specs/mini/b.yaml:1:10: extends: no spec 'tarflow-mnist5', here or among those that come along "
        "(did you mean 'tarflow-mnist5k'?)"
    )
    (mini / "b.yaml").write_text("extends: c\n")
    (mini / "c.yaml").write_text("extends: b\n")
    problems = [line for line in Workspace(project).problems if re.match("specs/mini/[bc]", line)]
    assert all("extends: runs in a circle" in line for line in problems) and len(problems) == 2
