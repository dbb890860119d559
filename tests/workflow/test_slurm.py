"""A real Slurm of one machine makes the table through `profiles/slurm`, and interrupts its jobs in all its ways.

Skipped where Slurm (Debian: slurmctld slurmd slurm-client munge) or Snakemake's plugin for it is not installed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from projects import command, edit, new_project
from slurm import Cluster, missing, running_cluster, wait_until

from mimflow.artifacts.manifest import read_manifest
from mimflow.executor import launch
from mimflow.products.registry import open_plan

PLUGIN = "snakemake_executor_plugin_slurm"
absent = [*missing(), *([] if importlib.util.find_spec(PLUGIN) else [PLUGIN])]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.slurm,
    pytest.mark.fault("schedulers"),
    pytest.mark.skipif(bool(absent), reason=f"not installed: {', '.join(absent)}"),
]

# Nothing of the profile's is changed: no accounting database is there, and a test does not wait for 40 seconds.
PROFILE = ["--profile", "profiles/slurm", "--slurm-no-account", "--slurm-status-command", "squeue"]
PROFILE += ["--slurm-init-seconds-before-status-checks", "2"]
PATIENCE = 600.0

PROBE = """
import atexit, json, os, sys, time
if "mimflow" in sys.orig_argv:
    stage = sys.orig_argv[sys.orig_argv.index("mimflow") + 1]
    began = time.time()
    def note():
        line = json.dumps([stage, os.environ.get("CUDA_VISIBLE_DEVICES"), began, time.time()])
        with open(os.environ["PROBE"], "a") as stream:
            stream.write(line + "\\n")
    atexit.register(note)
"""
"""Python runs it at each start, as `sitecustomize`: each job's own process says which GPUs it sees, and when it ran."""


@dataclass
class Run:
    """Snakemake at work on a project in the background."""

    project: Path
    process: subprocess.Popen[bytes]

    @property
    def output(self) -> str:
        return (self.project / "snakemake.out").read_text()

    def wait(self) -> int:
        return self.process.wait(PATIENCE)


def begin(cluster: Cluster, project: Path, *words: str, **environment: str) -> Run:
    folder = Path(sys.executable).parent
    found = os.environ | {"PATH": f"{folder}{os.pathsep}{cluster.path}", "OMP_NUM_THREADS": "1"} | environment
    with (project / "snakemake.out").open("wb") as out:
        process = subprocess.Popen(["snakemake", *PROFILE, *words], cwd=project, env=found, stdout=out, stderr=out)
    return Run(project, process)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def table(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """The table under way: trainings in the partition that has two GPUs, the rest in the default one, which has none."""
    folder = tmp_path_factory.mktemp("table")
    project = new_project(folder / "project")
    (folder / "probe").mkdir()
    (folder / "probe/sitecustomize.py").write_text(PROBE)
    path = os.pathsep.join([str(folder / "probe"), *(entry for entry in sys.path if entry)])
    words = ["--jobs", "3", "--set-resources", "train:slurm_partition=gpu", "--", "results/table1.md"]
    run = begin(cluster, project, *words, PYTHONPATH=path, PROBE=str(project / "probe.jsonl"))
    yield run
    run.process.kill()


@pytest.fixture(scope="module")
def training(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Run, list[str]]]:
    """Three trainings under way that have no end, in a partition that others may preempt."""
    project = new_project(tmp_path_factory.mktemp("training") / "project")
    edit(project, "mini/tarflow", "steps: 60", "steps: 1000000\n    checkpoint_seconds: 2")
    edit(project, "mini/tarflow", "label: TARFlow", "label: TARFlow\nseeds: [0, 1, 2]\ncompute: {device: cpu}")
    command(project, "mimflow", "prepare", "digits")
    jobs = [open_plan(project).job(f"tarflow.main.s{seed}") for seed in range(3)]
    words = ["--jobs", "3", "--keep-going", "--set-resources", "train:slurm_partition=night"]
    words += ["--", *(job.manifest for job in jobs)]
    path = os.pathsep.join(entry for entry in sys.path if entry)
    run = begin(cluster, project, *words, PYTHONPATH=path)
    yield run, [job.id for job in jobs]
    end(run)


def end(run: Run) -> None:
    run.process.send_signal(signal.SIGINT)
    run.process.wait(60)


def log_of(run: Run, job: str) -> str:
    path = run.project / f".mimflow/logs/{job}.log"
    return path.read_text() if path.exists() else ""


def numbers(cluster: Cluster, *words: str) -> dict[str, str]:
    """Slurm's numbers of the trainings in its queue, by their keys."""
    lines = cluster.ask("squeue", "--noheader", "--format=%i %k", *words).splitlines()
    found = (re.fullmatch(r"(\d+) rule_train_wildcards_([0-9a-f]{16})", line) for line in lines)
    return {match[2]: match[1] for match in found if match}


def steps_at(text: str, pattern: str) -> list[int]:
    return [int(found) for found in re.findall(pattern, text)]


def resumed(text: str) -> list[int]:
    return steps_at(text, r"going on from the checkpoint at step (\d+)")


def test_a_cancelled_training_leaves_a_checkpoint_and_the_others_go_on(
    table: Run, training: tuple[Run, list[str]], cluster: Cluster
) -> None:
    run, jobs = training
    kept = [run.project / ".mimflow/work" / job for job in jobs]
    ready = lambda: all(list(folder.glob("*/checkpoints/*.sha256")) for folder in kept)  # noqa: E731
    wait_until(ready, "three checkpoints", PATIENCE)
    cancelled = jobs[2]
    cluster.ask("scancel", numbers(cluster)[cancelled])
    wait_until(lambda: "the next run goes on from" in log_of(run, cancelled), "a checkpoint", PATIENCE)
    (stopped,) = steps_at(log_of(run, cancelled), r"SIGTERM at step (\d+)")
    assert list(kept[2].glob(f"*/checkpoints/step-{stopped:09}*.sha256"))
    wait_until(lambda: cancelled not in numbers(cluster), "its end", PATIENCE)
    assert "queued again" not in log_of(run, cancelled)


def test_a_preempted_training_is_queued_again_and_goes_on(training: tuple[Run, list[str]], cluster: Cluster) -> None:
    run, _ = training
    ids = {number: job for job, number in numbers(cluster).items()}
    # Of 200 GB, two trainings have 16 each: room for this one is made by one of them.
    urgent = ["--partition=urgent", "--mem=170000", "--output=/dev/null", "--wrap=sleep 1"]
    cluster.ask("sbatch", *urgent)

    def gone_on() -> bool:
        preempted = re.findall(
            r"preempted JobId=(\d+) has been requeued", (cluster.folder / "slurmctld.log").read_text()
        )
        return any(resumed(log_of(run, ids[number])) for number in preempted if number in ids)

    wait_until(gone_on, "the one that was preempted goes on", PATIENCE)


def test_a_training_whose_time_is_over_is_queued_again_and_goes_on(
    training: tuple[Run, list[str]], cluster: Cluster
) -> None:
    run, jobs = training
    job = jobs[0]
    number = numbers(cluster, "--states=running")[job]
    minutes = int(cluster.ask("squeue", "--noheader", "--format=%M", f"--jobs={number}").split(":")[-2])
    # The profile has it told 120 seconds before.
    cluster.ask("scontrol", "update", f"JobId={number}", f"TimeLimit={minutes + 2}")
    told: list[str] = []  # Snakemake begins the log anew when the job does

    def stopped() -> bool:
        told.append(log_of(run, job))
        return "SIGUSR1 at step" in told[-1]

    wait_until(stopped, "it is told", PATIENCE)
    assert f"the time of Slurm's job {number} is over: queued again" in told[-1]
    cluster.ask("scontrol", "update", f"JobId={number}", "TimeLimit=60")
    wait_until(lambda: "SIGUSR1" not in log_of(run, job) and resumed(log_of(run, job)), "it goes on", PATIENCE)
    assert resumed(log_of(run, job)) == steps_at(told[-1], r"SIGUSR1 at step (\d+)")
    assert run.process.poll() is None, "Snakemake waits for it all the while"
    end(run)  # they would take all processors from the tests that follow


def test_the_table_is_made_by_jobs_of_slurms_and_rendered_on_the_head_node(table: Run) -> None:
    assert table.wait() == 0, table.output
    assert (table.project / "results/table1.md").stat().st_size > 100
    submitted = re.findall(r"Job (\d+) has been submitted with SLURM jobid", table.output)
    assert len(submitted) == 11, "all but the table itself"
    assert re.search(r"localrule render_table|render table table1", table.output)
    assert not list(table.project.glob(".snakemake/slurm_logs/rule_render*"))


def test_each_job_has_a_gpu_of_its_own_where_there_are_any_and_none_where_not(table: Run) -> None:
    assert table.wait() == 0, table.output
    jobs = [json.loads(line) for line in (table.project / "probe.jsonl").read_text().splitlines()]
    trained = [job for job in jobs if job[0] == "train"]
    assert {visible for _, visible, *_ in trained} == {"0", "1"} and len(trained) == 3
    for position, (_, visible, began, ended) in enumerate(trained):
        for _, other, other_began, other_ended in trained[position + 1 :]:
            assert visible != other or ended <= other_began or other_ended <= began
    assert not any(visible for stage, visible, *_ in jobs if stage != "train")


MEET = """
import os
import torch.distributed as dist
from mimflow.compute.rendezvous import rendezvous
os.environ |= rendezvous(os.environ)
dist.init_process_group("gloo")
import torch
ranks = torch.zeros(dist.get_world_size())
ranks[dist.get_rank()] = 1 + dist.get_rank()
dist.all_reduce(ranks)
print(os.environ["SLURMD_NODENAME"], os.environ["RANK"], os.environ["LOCAL_RANK"], ranks.tolist(), flush=True)
dist.destroy_process_group()
"""


def test_tasks_on_two_nodes_meet(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(entry for entry in sys.path if entry))
    (tmp_path / "meet.py").write_text(MEET)
    command_line = f"{launch(1, {'mpi': 'srun', 'tasks': 2})}{sys.executable} {tmp_path}/meet.py"
    out = tmp_path / "out"
    words = ["--partition=both", "--nodes=2", "--ntasks=2", "--mem=1000", f"--output={out}"]
    monkeypatch.setenv("PATH", cluster.path)
    cluster.ask("sbatch", "--wait", *words, f"--wrap={command_line}")
    assert sorted(out.read_text().splitlines()) == ["big 0 0 [1.0, 2.0]", "small 1 0 [1.0, 2.0]"]


def test_a_training_is_shared_out_among_tasks_on_two_nodes(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = new_project(tmp_path / "project")
    edit(project, "mini/tarflow", "steps: 60", "steps: 12\n    accumulate: 2")
    command(project, "mimflow", "prepare", "digits")
    job = open_plan(project).job("tarflow.main.s0", "train")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(entry for entry in sys.path if entry))
    monkeypatch.setenv("PATH", cluster.path)
    out = tmp_path / "out"
    words = ["--partition=both", "--nodes=2", "--ntasks=2", "--mem=2000", f"--output={out}", f"--chdir={project}"]
    train = f"{launch(1, {'mpi': 'srun', 'tasks': 2})}{sys.executable} -m mimflow train {job.id}"
    cluster.ask("sbatch", "--wait", *words, f"--wrap={train}")
    facts = read_manifest(project / job.manifest).facts
    assert (facts["steps"], facts["processes"]) == (12, 2), out.read_text()
