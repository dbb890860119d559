"""What words mean to `plan`, why things run in words, and what `rm` takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from projects import edit, new_project

from mimflow.errors import PlanError
from mimflow.plan import paths
from mimflow.plan.describe import describe_plan
from mimflow.plan.listing import list_all
from mimflow.plan.memory import describe_memory
from mimflow.plan.remove import remove_runs
from mimflow.plan.target import find_target
from mimflow.products.registry import open_plan
from mimflow.spec.changes import changes


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = new_project(tmp_path / "project")
    (root / "specs/ablations").mkdir()
    (root / "specs/ablations/noise.yaml").write_text(
        "run: tarflow\ngrid: {phases.main.objective.noise.std: [0.1, 0.3]}\n"
    )
    return root


def test_a_target_is_a_name_or_a_path(project: Path) -> None:
    plan = open_plan(project)
    job = plan.job("tarflow.main.s0")
    asked = {
        "table1": "table table1",
        "results/table1.md": "table table1",
        str(project / "results/table1.tex"): "table table1",
        "specs/tables/table1.yaml": "table table1",
        "tarflow": "run tarflow",
        "specs/mini/tarflow.yaml": "run tarflow",
        "noise": "ablation noise",
        "noise-std-0-1": "run noise-std-0-1",
        "runs/tarflow": "page runs/tarflow",
        "results/runs/tarflow.md": "page runs/tarflow",
        "digits": "data set digits",
        job.id: "job train tarflow.main.s0",
        "tarflow.main.s0": "job train tarflow.main.s0",
        job.manifest: "job train tarflow.main.s0",
        "results/by-name/outputs/tarflow.s0.guided/images.npy": "job infer tarflow.s0.guided",
    }
    assert {word: find_target(plan, word).what for word in asked} == asked
    members = [f"noise-std-{value}" for value in ("0-1", "0-3")]
    drawn = [f"s0.{output}{measured}" for output in ("unguided", "guided") for measured in ("", ".digits-200")]
    found = [job.name for job in find_target(plan, "noise").jobs]
    assert found == [f"{run}.{job}" for run in members for job in ("main.s0", *drawn)]
    with pytest.raises(
        PlanError, match=r"no product, run, ablation, data set or job 'tarflo' \(did you mean 'tarflow'\?\)"
    ):
        find_target(plan, "tarflo")
    with pytest.raises(PlanError, match="'digits-200' is a protocol"):
        find_target(plan, "specs/protocols/digits-200.yaml")


def test_paths_are_what_snakemake_can_be_asked_for(project: Path) -> None:
    plan = open_plan(project)
    lines = describe_plan(plan, "tarflow.s0.guided", with_paths=True).splitlines()
    assert [line.split()[3] for line in lines[:-1]] == [
        plan.job(name).manifest for name in ("digits", "tarflow.main.s0", "tarflow.s0.guided")
    ]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ({"columns": ["a.fid"]}, {"columns": ["a.fid", "guided.fid"]}, ["column guided.fid added"]),
        ({"columns": ["a.fid", "epochs"]}, {"columns": ["epochs", "a.fid"]}, ["columns in another order"]),
        ({"columns": ["a.fid"]}, {"columns": [{"output": "a", "metrics": ["fid"]}]}, ["columns written otherwise"]),
        (
            {"columns": [{"output": "a", "metrics": [{"metric": "fid", "digits": 1}]}]},
            {"columns": [{"output": "a", "metrics": [{"metric": "fid", "digits": 2}]}]},
            ["column a.fid.digits: 1 → 2"],
        ),
        ({"rows": [{"run": "a"}, {"run": "b"}]}, {"rows": [{"run": "b"}]}, ["row a removed"]),
        ({"entries": ["a"]}, {"entries": ["a", "b"]}, ["entry b added"]),
        ({"prior": {"kind": "tarflow", "width": 8}}, {"prior": {"kind": "sit"}}, ["prior: tarflow → sit"]),
        ({"seeds": [0]}, {"seeds": [0, 1]}, ["seeds: [0] → [0, 1]"]),
        ({"ema": None}, {"ema": 0.9}, ["ema: null → 0.9"]),
        ({"width": 1}, {"width": 1.0}, ["width: 1 → 1.0"]),
        ({}, {"clip": 1}, ["clip: nothing → 1"]),
        ({"a": [{"kind": "x"}]}, {"a": [{"kind": "x"}]}, []),
    ],
)  # fmt: skip
def test_changes_are_told_in_words(old: dict[str, object], new: dict[str, object], words: list[str]) -> None:
    assert list(changes(old, new)) == words


def make(project: Path, *names: str) -> None:
    """Something in the store under these names of jobs."""
    plan = open_plan(project)
    for name in names:
        folder = project / plan.job(name).folder
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text("{}")


def test_rm_takes_what_only_the_run_reaches(project: Path) -> None:
    make(project, "digits", "classifier.main.s0", "tarflow.main.s0", "tarflow.s0.guided", "gaussian.main.s0")
    plan = open_plan(project)
    train, sampled = plan.job("tarflow.main.s0"), plan.job("tarflow.s0.guided")
    (paths.work(project, sampled.id) / "x").mkdir(parents=True)
    told = remove_runs(plan, ["tarflow"], really=False)
    assert [line.split()[0] for line in told.splitlines()[:3]] == [
        train.folder, sampled.folder, f".mimflow/work/{sampled.id}",
    ]  # fmt: skip
    assert "table table1 shows them" in told and told.endswith("--delete deletes them")
    assert (project / train.manifest).is_file()
    assert remove_runs(plan, ["tarflow"], really=True).endswith(": deleted")
    left = {path.parent.name for path in (project / paths.STORE).rglob("manifest.json")}
    assert left == {plan.job(name).id for name in ("digits", "classifier.main.s0", "gaussian.main.s0")}
    # The protocol looks through the classifier: it is not the run's alone.
    assert remove_runs(plan, ["classifier"], really=True) == "nothing that only classifier reaches"
    with pytest.raises(PlanError, match=r"no run named 'tarflo' \(did you mean 'tarflow'\?\)"):
        remove_runs(plan, ["tarflo"], really=True)


def test_rm_leaves_what_a_run_of_the_same_spec_reaches_too(project: Path) -> None:
    (project / "specs/mini/same.yaml").write_text("extends: tarflow.yaml\n")
    make(project, "digits", "tarflow.main.s0")
    assert remove_runs(open_plan(project), ["tarflow"], really=True) == "nothing that only tarflow reaches"


def test_ls_lists_what_is_there_and_counts_the_rest(project: Path) -> None:
    assert list_all(open_plan(project), None) == (
        "missing: 5 runs, 1 product, 1 dataset (mimflow ls runs|products|datasets lists them)"
    )
    assert [line.split() for line in list_all(open_plan(project), "datasets").splitlines()] == [
        ["data", "set", "images", "age", "size", "time", "state"],
        ["digits", "missing"],
    ]
    head, product = (line.split() for line in list_all(open_plan(project), "products").splitlines())
    assert head == ["product", "kind", "age", "size", "time", "left", "state"]
    assert product[1] == "table" and re.fullmatch(r"[0-9:]+", product[2]) and product[3] == "missing"
    edit(project, "mini/gaussian", "kind: class_gaussian", "kind: class_gausian")
    assert "wrong: mimflow validate gaussian" in list_all(open_plan(project), "runs")


def test_a_run_that_is_given_its_weights_trains_nothing(tmp_path: Path) -> None:
    project = new_project(tmp_path / "project")
    weights = f"[{{file: weights/given.safetensors, sha256: {'a' * 64}}}]"
    text = f"extends: tarflow.yaml\nphases: {{main: null}}\nweights: {weights}\n"
    (project / "specs/mini/given.yaml").write_text(text, encoding="utf-8")
    plan = open_plan(project)
    (line,) = [line for line in list_all(plan, "runs").splitlines() if line.startswith("given ")]
    assert line.split(maxsplit=1)[1] == "its weights are given"
    assert " train " not in "".join(
        line for line in describe_plan(plan, "given").splitlines() if "classifier" not in line
    )
    assert describe_memory(plan, "given").endswith("given: nothing of it is trained")
