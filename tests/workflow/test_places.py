"""Where the workflow runs: checkouts that can only be read, Slurm clusters, signals to Snakemake."""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from projects import REPOSITORY, cli, edit, new_project
from snakemake.settings.types import ResourceSettings

from mimflow import executor
from mimflow.executor import launch, partition_of
from mimflow.workflow import open_workflow

pytestmark = pytest.mark.fault("places")

ENVIRONMENT = {"OMP_NUM_THREADS": "1", "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with its images. Tests copy these; none changes it."""
    project = new_project(tmp_path_factory.mktemp("places") / "project")
    cli(project, "prepare", "digits")
    return project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("PATH", "PYTHONSAFEPATH"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    project = new_project(tmp_path / "project")
    monkeypatch.chdir(project)
    return project


def test_a_project_that_can_only_be_read_is_looked_at_from_a_folder_of_its_own(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in project.rglob("*")}
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
        opened = open_workflow(project, main_process=True)
    assert Path.cwd() != project and (Path.cwd() / "specs").resolve() == project / "specs"
    assert (Path.cwd() / ".mimflow/markers/table1").is_file()
    assert {path: path.stat().st_mtime_ns for path in project.rglob("*")} == before
    with pytest.raises(SystemExit) as caught:
        opened.begin()
    assert caught.value.code == 5
    assert f"{project}: can't write: jobs can be listed (snakemake -n), but none can run" in capsys.readouterr().err


CPUS, MIXED, ALL = r"all*|(null)\n", r"cpu*|(null)\nbig|gpu:a100:8(S:0-1)\n", r"gpu*|gpu:h100:4\n"


@pytest.mark.fault("schedulers")
@pytest.mark.parametrize(
    ("nodes", "partition", "gpus"),
    [
        (CPUS, None, 0),
        (MIXED, None, 0),
        (MIXED, "cpu", 0),
        (MIXED, "big", 1),
        (ALL, None, 1),
        (r"big|gpu:2\n", None, 1),
    ],
    ids=["CPUs", "the default has none", "the named has none", "the named has some", "GPUs", "no default"],
)
def test_a_job_asks_slurm_for_a_gpu_only_where_its_partition_has_any(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nodes: str, partition: str | None, gpus: int
) -> None:
    sinfo = tmp_path / "bin" / "sinfo"
    sinfo.parent.mkdir()
    sinfo.write_text(f"#!/bin/sh\nprintf '{nodes}'\n")
    sinfo.chmod(sinfo.stat().st_mode | stat.S_IXUSR)
    opened = open_workflow(project, main_process=True)
    monkeypatch.setenv("PATH", str(sinfo.parent), prepend=os.pathsep)
    executor.slurm_has_gpus.cache_clear()
    auto, prepare = opened.plan.job("tarflow.main.s0").id, opened.plan.job("digits").id
    found = [opened.gpus(auto, name, partition) for name in ("slurm", "slurm-jobstep", "local")]
    assert found == [gpus, gpus, 1]
    assert opened.gpus(prepare, "slurm", partition) == 0
    executor.slurm_has_gpus.cache_clear()


@pytest.mark.parametrize(
    ("overwrite", "default", "partition"),
    [
        ({}, {}, None),
        ({}, {"slurm_partition": "a"}, "a"),
        ({"train": {"slurm_partition": "b"}}, {"slurm_partition": "a"}, "b"),
        ({"infer": {"slurm_partition": "b"}}, None, None),
    ],
)
def test_the_partition_of_a_stage_is_what_a_profile_says(
    overwrite: dict[str, dict[str, str]], default: dict[str, str] | None, partition: str | None
) -> None:
    settings = ResourceSettings(overwrite_resources=overwrite, default_resources=default)
    assert partition_of(settings, "train") == partition


@pytest.mark.parametrize(
    ("resources", "command"),
    [
        ({}, ""),
        ({"gpu": 1}, ""),
        ({"mpi": "srun", "tasks": 2}, "srun --ntasks=2 --cpus-per-task=4 --kill-on-bad-exit=1 "),
        (
            {"mpi": "srun", "tasks": 8, "gpu": 8},
            "srun --ntasks=8 --cpus-per-task=4 --gpus-per-task=1 --kill-on-bad-exit=1 ",
        ),
    ],
)
def test_several_tasks_are_started_by_srun(resources: dict[str, object], command: str) -> None:
    assert launch(4, resources) == command


def test_a_job_needs_what_its_spec_says(project: Path) -> None:
    edit(project, "datasets/digits", "label: digits", "label: digits\nworkers: 4")
    edit(project, "mini/gaussian", "outputs:", "compute: {threads: 3}\noutputs:")
    opened = open_workflow(project, main_process=True)
    prepare, train = opened.plan.job("digits").id, opened.plan.job("gaussian.main.s0").id
    assert (opened.threads(prepare), opened.threads(train)) == (4, 3)
    assert opened.memory_mb(prepare) == 4096 + 4 * 512 and opened.memory_mb(train) == 16384


def test_a_process_on_a_node_reads_no_specs(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = open_workflow(project, main_process=True)
    job = opened.plan.job("tarflow.s0.guided")
    inputs, read = opened.job_inputs(job.id), [opened.job_inputs(each.id) for each in job.upstream()]
    opened.hand_over_jobs()
    shutil.rmtree(project / "specs")
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    node = open_workflow(project, main_process=False)
    assert node.job_inputs(job.id) == inputs and node.name(job.id) == "tarflow.s0.guided"
    assert [node.job_inputs(each.id) for each in job.upstream()] == read
    assert (node.threads(job.id), node.gpus(job.id)) == (1, 1) and not re.fullmatch(
        node.names_of(node.product_kinds[0]), "none"
    )


@pytest.mark.fault("schedulers")
def test_a_job_for_cuda_asks_for_a_gpu_and_one_for_the_cpu_for_none(project: Path) -> None:
    for device, gpus in (("cuda", 1), ("cpu", 0)):
        edit(project, "mini/gaussian", "outputs:", f"compute: {{device: {device}}}\noutputs:")
        opened = open_workflow(project, main_process=False)
        assert opened.gpus(opened.plan.job("gaussian.main.s0").id, "local") == gpus
        edit(project, "mini/gaussian", f"compute: {{device: {device}}}\noutputs:", "outputs:")


MANAGED = (
    r"--(gpus|gres|mem|mem-per-cpu|time|partition|account|nodes|ntasks|cpus-per-task|qos|constraint|output|job-name)\b"
)
"""What snakemake-executor-plugin-slurm 2.8.0 refuses in `slurm_extra`, because it sets it itself."""


@pytest.mark.fault("schedulers")
def test_the_slurm_profile_gives_the_plugin_nothing_that_it_refuses() -> None:
    profile = yaml.safe_load((REPOSITORY / "profiles/slurm/config.yaml").read_text(encoding="utf-8"))
    rules = [profile["default-resources"], *profile["set-resources"].values()]
    assert not [rule for rule in rules if re.search(MANAGED, rule.get("slurm_extra", ""))]
    assert profile["default-resources"]["slurm_extra"] == "'--signal=USR1@120'" and profile["slurm-requeue"]
    assert not [rule for rule in rules if {"gpu", "gres", "slurm_partition", "slurm_account"} & rule.keys()]


def test_products_are_rendered_where_snakemake_runs() -> None:
    assert "localrule: True" in (REPOSITORY / "rules/products.smk").read_text(encoding="utf-8")


@pytest.mark.fault("interruptions")
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_snakemake_alone_leaves_a_checkpoint_of_the_training_that_it_runs(
    project: Path, prepared: Path, number: signal.Signals
) -> None:
    shutil.copytree(prepared / "results", project / "results", symlinks=True, dirs_exist_ok=True)
    edit(project, "mini/tarflow", "steps: 60", "steps: 100000")
    job = open_workflow(project, main_process=False).plan.job("tarflow.main.s0")
    log = (project / "log").open("w+")
    words = ["snakemake", "--cores", "1", job.manifest]
    process = subprocess.Popen(words, cwd=project, env=os.environ | ENVIRONMENT, stdout=log, stderr=log)
    work = project / ".mimflow/work" / job.id
    try:
        deadline = time.monotonic() + 240
        while "[train tarflow.main.s0] step" not in (project / "log").read_text():
            assert process.poll() is None and time.monotonic() < deadline, (project / "log").read_text()
            time.sleep(0.2)
        process.send_signal(number)
        assert process.wait(timeout=120) != 0
    finally:
        process.kill()
    deadline = time.monotonic() + 30
    while not list(work.glob("*/checkpoints/*.sha256")) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert list(work.glob("*/checkpoints/*.sha256")), (project / "log").read_text()
    assert "Traceback" not in (project / "log").read_text()
