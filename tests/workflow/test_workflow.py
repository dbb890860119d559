"""The whole workflow through Snakemake: it makes the table, and an edit re-runs what depends on it and nothing else."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from projects import cli, command, copy_project, edit, new_project, result_of, snakemake, would_run

from mimflow.errors import ArtifactError
from mimflow.products.registry import open_plan
from mimflow.stages.runner import run_job

pytestmark = pytest.mark.slow

SAMPLES = {"tarflow.s0.unguided", "tarflow.s0.guided"}
EVALUATIONS = {f"{name}.digits-200" for name in SAMPLES}
GAUSSIAN = {"gaussian.main.s0", "gaussian.s0.unguided", "gaussian.s0.unguided.digits-200"}
REFERENCE = "digits-200.train-features"
EVERYTHING = {"digits", "classifier.main.s0", "tarflow.main.s0", REFERENCE, "render"} | SAMPLES | EVALUATIONS | GAUSSIAN


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    return copy_project(finished, tmp_path / "project")


def test_a_fresh_project_runs_everything(tmp_path: Path) -> None:
    assert would_run(new_project(tmp_path / "project")) == EVERYTHING


def test_the_table_is_made(finished: Path) -> None:
    for suffix in ("md", "tex", "csv", "html", "json", "png"):
        assert (finished / f"results/table1.{suffix}").stat().st_size > 100
    metrics = json.loads((finished / "results/metrics/table1/tarflow.json").read_text())
    assert metrics["unguided.fid"] > 0 and 0 <= metrics["unguided.class_accuracy"] <= 1


def test_a_report_holds_what_was_rendered_in_categories(finished: Path, tmp_path: Path) -> None:
    project = copy_project(finished, tmp_path / "project")
    command(project, "snakemake", "--cores", "1", "results/table1.md", "--report", "report.html")
    text = (project / "report.html").read_text(encoding="utf-8")
    found = re.search(r"var categories = (\{.*\});", text)
    assert found is not None
    tables = json.loads(found[1])["Tables"]["table1"]
    assert {f"results/table1.{suffix}" for suffix in ("md", "csv", "png")} <= set(tables)
    assert "mimflow why table1" in text and "data:image/png" in text


def test_progress_names_stage_step_speed_and_time(finished: Path) -> None:
    assert sorted((finished / ".snakemake/log").glob("*.log")), "Snakemake keeps its log"
    text = (finished.parent / "first").read_text(encoding="utf-8")
    assert "[train tarflow.main.s0] step 60/60" in text and "images/s" in text and "took" in text


EDITS = {
    "a digit of a column": ("tables/table1", "{metric: fid, digits: 1}", "{metric: fid, digits: 2}", {"render"}),
    "a label": ("mini/tarflow", "label: TARFlow", "label: TARFlow (ours)", {"render"}),
    "a metric": ("protocols/digits-200", "splits: 2", "splits: 4", EVALUATIONS | {GAUSSIAN_EVALUATION := "gaussian.s0.unguided.digits-200"} | {"render"}),
    "guidance": ("mini/tarflow", "weight: 1.0", "weight: 2.0", {"tarflow.s0.guided", "tarflow.s0.guided.digits-200", "render"}),
    "the number of samples": ("protocols/digits-200", "count: 200", "count: 100", SAMPLES | EVALUATIONS | {"gaussian.s0.unguided", GAUSSIAN_EVALUATION, "render"}),
    "a learning rate": ("mini/tarflow", "lr: 3e-3", "lr: 2e-3", {"tarflow.main.s0", "render"} | SAMPLES | EVALUATIONS),
    "the extractor's training": ("mini/classifier", "epochs: 3", "epochs: 4", EVALUATIONS | {"classifier.main.s0", REFERENCE, GAUSSIAN_EVALUATION, "render"}),
    "a data setting": ("datasets/digits", "val: 297", "val: 307", EVERYTHING),
    "a comment": ("mini/tarflow", "label: TARFlow", "# note\nlabel: TARFlow", set()),
    "the order of keys": ("mini/tarflow", "{kind: tarflow, width: 32, head_width: 16, blocks: [1, 1]}", "{blocks: [1, 1], head_width: 16, kind: tarflow, width: 32}", set()),
    "a device": ("mini/tarflow", "outputs:", "compute: {device: cpu}\noutputs:", set()),
}  # fmt: skip


def changed(project: Path, *edits: str) -> set[str]:
    """Make edits of `EDITS`, and say what they have run.

    An edit counts by what it says, not by when: git and rsync give old times to new files."""
    for what in edits:
        name, old, new, _ = EDITS[what]
        edit(project, name, old, new)
        os.utime(project / "specs" / f"{name}.yaml", (978307200, 978307200))
    return set().union(*(EDITS[what][3] for what in edits))


@pytest.mark.parametrize("what", EDITS)
def test_an_edit_is_planned_to_run_what_depends_on_it_and_nothing_else(project: Path, what: str) -> None:
    expected = changed(project, what)
    planned = cli(project, "plan", "results/table1.md")
    runs = {line.split()[2] for line in planned.splitlines() if line.startswith("run ")}
    assert runs == {"table1" if job == "render" else job for job in expected}, planned


@pytest.mark.parametrize(
    "edits",
    [["a digit of a column", "a label"], ["guidance"], ["the extractor's training"]],
    ids=["what is shown", "an output", "a network that measures"],
)
def test_snakemake_runs_what_is_planned(project: Path, edits: list[str]) -> None:
    """It knows nothing but what the plan says, whichever edit it is: one for each depth of the DAG."""
    expected = changed(project, *edits)
    assert would_run(project) == expected


def test_snakemake_runs_nothing_for_what_changes_no_result(project: Path) -> None:
    """A checkpoint that was deleted is missed by none whose numbers are there."""
    assert changed(project, "a comment", "the order of keys", "a device") == set()
    shutil.rmtree(result_of(project, "checkpoints", "tarflow.main.s0"))
    assert would_run(project) == set()


def test_plan_names_the_field_that_is_why(project: Path) -> None:
    edit(project, "mini/tarflow", "lr: 3e-3", "lr: 2e-3")
    lines = cli(project, "plan", "results/table1.md").splitlines()
    reasons = {line.split()[2]: line.split(maxsplit=4)[4] for line in lines if line.startswith("run ")}
    assert reasons["tarflow.main.s0"] == "phase.optimizer.lr: 0.003 → 0.002"
    assert reasons["tarflow.s0.guided"] == "weights changed"
    assert "tarflow.s0.unguided changed" in reasons["table1"]


def test_times_and_snakemakes_memory_do_not_matter(project: Path) -> None:
    """Neither times of long ago, in any order, nor those of a `touch`."""
    shutil.rmtree(project / ".snakemake")
    for index, path in enumerate(sorted(project.rglob("*"))):
        if index % 3:
            os.utime(path, (1_000_000_000 + index * 37 % 1009, 1_000_000_000 + index * 7919 % 10_007))
        else:
            path.touch()
    assert "Nothing to be done" in snakemake(project)


def test_going_back_to_an_earlier_value_renders_only(project: Path) -> None:
    edit(project, "protocols/digits-200", "splits: 2", "splits: 4")
    plan = open_plan(project)
    for job in plan.product("table1").jobs().values():
        run_job(plan, job)
    cli(project, "render", "table1")
    edit(project, "protocols/digits-200", "splits: 4", "splits: 2")
    assert would_run(project) == {"render"}


def test_an_invalid_spec_is_one_line_and_no_traceback(project: Path) -> None:
    edit(project, "mini/tarflow", "lr: 3e-3", "lr: fast")
    done = command(project, "snakemake", "--cores", "1", "results/table1.md", check=False)
    assert done.returncode != 0
    assert (
        "specs/mini/tarflow.yaml:10:34: phases.main.optimizer.lr: got the text 'fast', wanted a number" in done.stdout
    )
    assert "Traceback" not in done.stdout


def test_an_unknown_target_is_said_in_a_line(project: Path) -> None:
    done = command(project, "snakemake", "-n", "results/table9.md", check=False)
    assert done.returncode != 0 and "results/table9.md" in done.stdout and "Traceback" not in done.stdout


def test_a_corrupt_checkpoint_is_an_error_and_not_a_result(project: Path) -> None:
    edit(project, "mini/tarflow", "weight: 1.0", "weight: 2.0")
    weights = result_of(project, "checkpoints", "tarflow.main.s0") / "ema.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ArtifactError, match=r"ema\.safetensors: SHA-256 .*corrupt: delete"):
        cli(project, "infer", "tarflow.s0.guided")
    assert not open_plan(project).job("tarflow.s0.guided").done(project)


def test_gc_lists_and_deletes_what_no_spec_reaches(project: Path) -> None:
    assert "nothing to collect" in cli(project, "gc")
    edit(project, "mini/tarflow", "lr: 3e-3", "lr: 2e-3")
    listed = cli(project, "gc")
    folder = result_of(project, "checkpoints", "tarflow.main.s0")
    assert f"{folder.relative_to(project)}  tarflow.main.s0" in listed and "10 folders and files" in listed
    cli(project, "gc", "--delete")
    assert not folder.exists() and not (project / "results/by-name/checkpoints/tarflow.main.s0").is_symlink()
