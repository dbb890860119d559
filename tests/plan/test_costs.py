"""What jobs cost: the arithmetic of the parts against PyTorch's counter, chains by hand, and what Snakemake starts."""

from __future__ import annotations

import os
import re
import sys
from functools import cache
from pathlib import Path

import pytest
import torch
from artifacts import rewrite_manifest
from projects import REPOSITORY, command, copy_project, edit, result_of
from torch.utils.flop_counter import FlopCounterMode

from mimflow.artifacts.manifest import MANIFEST, Manifest, read_manifest
from mimflow.artifacts.provenance import describe_host
from mimflow.plan.build import Plan
from mimflow.plan.costs import MANY, READING, SPEED, START, Costs, multiplications
from mimflow.plan.jobs import Job
from mimflow.products.registry import open_plan, open_workspace
from mimflow.project.workspace import Workspace
from mimflow.system.modules import SystemModules
from mimflow.system.spec import Shapes
from mimflow.workflow import Workflow

TINY = REPOSITORY / "tests/tiny"
HERE = describe_host()


@cache
def shipped() -> Workspace:
    return open_workspace(REPOSITORY)


def put(root: Path, job: Job, made: dict[str, object], facts: dict[str, object] | None = None, key: str = "") -> None:
    """An earlier result of a job's stage and name, of another key unless one is given."""
    key = key or job.key[::-1]
    folder = root / job.folder.replace(job.id, key[:16])
    folder.mkdir(parents=True)
    manifest = Manifest(job.stage, job.name, key, {}, {}, {}, facts or {}, made)
    (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    (tmp_path / "specs").symlink_to(TINY / "specs")
    return open_plan(tmp_path)


@pytest.mark.parametrize(
    "run",
    [
        "mimflow-mnist5k",
        "simflow-mnist5k",
        "classifier-mnist5k",
        "mimflow-l",
        "simflow-l",
        "sit-xl-2",
        "tarflow-imagenet64-cond",
        "itarflow-imagenet64",
    ],
)
def test_multiplications_of_a_pass_are_those_that_pytorch_counts(run: str) -> None:
    spec = shipped().runs[run].spec
    shapes = Shapes.of(shipped().datasets[spec.dataset].spec)
    with torch.device("meta"):
        modules = SystemModules(spec.system, shapes).eval()
        images = torch.empty(1, shapes.channels, shapes.size, shapes.size)
        labels = torch.zeros(1, dtype=torch.long)
        t = torch.zeros(1)
    expected = 0
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        if modules.tokenizer is not None and modules.prior is not None:
            latents = modules.tokenizer.encode(images)
            modules.tokenizer.decode(latents)
            expected += spec.tokenizer.multiplications(shapes.image)
            flow = modules.prior.at(0.5) if spec.prior.noise_levels else modules.prior
            flow(latents, labels) if spec.prior.flow else flow(latents, t, labels)
            expected += spec.prior.multiplications(spec.tokenizer.latent_shape(shapes.image))
        if modules.classifier is not None:
            modules.classifier(images)
            expected += spec.classifier.multiplications(shapes.image)
    # A multiplication and an addition count as two there.
    assert counter.get_total_flops() / 2 == pytest.approx(expected, rel=0.05)


def test_a_jobs_multiplications_are_images_times_passes(plan: Plan) -> None:
    prior = plan.workspace.runs["tarflow"].spec.prior.multiplications(
        plan.workspace.runs["tarflow"].spec.tokenizer.latent_shape(plan.workspace.datasets["digits"].spec.image)
    )
    # Of 16 tokens and 2 layers of width 32: four maps for attention, eight for the MLP, queries by keys, weights by
    # values.
    assert prior == 2 * 16 * (12 * 32 * 32 + 2 * 16 * 32)
    found = {name: multiplications(plan.job(name), plan.root) for name in ("digits", "tarflow.main.s0")}
    # 1,797 digits; 60 steps of 32 images, forward and backward.
    assert found == {"digits": 1797 * READING, "tarflow.main.s0": 60 * 32 * 3 * prior}
    # 200 samples, each one pass and a gradient, or two passes and a gradient where they are guided.
    assert multiplications(plan.job("tarflow.s0.unguided"), plan.root) == 200 * 4 * prior
    assert multiplications(plan.job("tarflow.s0.guided"), plan.root) == 200 * 5 * prior


def test_images_that_nobody_has_counted_are_many(plan: Plan) -> None:
    folder = plan.workspace.datasets["digits"].spec.model_copy(
        update={
            "source": shipped().datasets["imagenet64"].spec.source,
            "split": shipped().datasets["imagenet64"].spec.split,
        }
    )
    job = plan.job("digits")
    assert multiplications(Job(job.task.model_copy(update={"dataset": folder}), {}, "x"), plan.root) == MANY * READING


def test_a_job_that_ran_here_takes_as_long_again(plan: Plan) -> None:
    job = plan.job("tarflow.main.s0")
    put(plan.root, job, {"seconds": 40.0, **HERE}, {"seconds": 90.0})
    assert Costs(plan.root, []).seconds(job) == 90.0  # of all attempts; the last one took 40


def test_a_job_that_ran_on_another_machine_counts_by_its_arithmetic(plan: Plan) -> None:
    job = plan.job("tarflow.main.s0")
    put(plan.root, job, {"seconds": 9000.0, **HERE, "processor": "another"})
    assert Costs(plan.root, plan.jobs.values()).seconds(job) == START + multiplications(job, plan.root) / SPEED


def test_others_of_its_stage_tell_how_fast_this_machine_is(plan: Plan) -> None:
    known, job = plan.job("classifier.main.s0"), plan.job("tarflow.main.s0")
    put(plan.root, known, {"seconds": START + 50.0, **HERE})
    ratio = multiplications(job, plan.root) / multiplications(known, plan.root)
    assert Costs(plan.root, plan.jobs.values()).seconds(job) == pytest.approx(START + 50.0 * ratio)


def test_what_is_done_costs_nothing(plan: Plan) -> None:
    job = plan.job("tarflow.main.s0")
    put(plan.root, job, {"seconds": 40.0, **HERE}, key=job.key)
    assert Costs(plan.root, []).seconds(job) == 0.0


class Given(Costs):
    """Costs that are known by heart."""

    def __init__(self, seconds: dict[str, float]):
        self.known_seconds = seconds

    def seconds(self, job: Job) -> float:
        return self.known_seconds.get(job.name, 0.0)


def test_a_chain_is_as_long_as_the_longest_way_to_an_end(plan: Plan) -> None:
    given = {
        "digits": 1,
        "classifier.main.s0": 20,
        "tarflow.main.s0": 10,
        "tarflow.s0.guided": 5,
        "tarflow.s0.unguided": 7,
    }
    given |= {"tarflow.s0.guided.digits-200": 4, "tarflow.s0.unguided.digits-200": 1}
    chains = Given(given).chains(plan.jobs.values())
    found = {job.name: chains[job.id] for job in plan.jobs.values() if job.name in given}
    assert found == {
        "digits": 1 + 20 + 4,
        "classifier.main.s0": 20 + 4,
        "tarflow.main.s0": 10 + 5 + 4,
        "tarflow.s0.guided": 5 + 4,
        "tarflow.s0.unguided": 7 + 1,
        "tarflow.s0.guided.digits-200": 4,
        "tarflow.s0.unguided.digits-200": 1,
    }


def test_chains_end_with_what_is_asked(plan: Plan) -> None:
    asked = [plan.job("digits"), plan.job("classifier.main.s0")]
    chains = Given({"digits": 1, "classifier.main.s0": 20, "tarflow.main.s0": 100}).chains(asked)
    assert chains == {asked[0].id: 21, asked[1].id: 20}


def test_priorities_order_by_the_rest_of_the_chain(plan: Plan) -> None:
    workflow = Workflow(plan, main_process=True)
    jobs = {name: plan.job(name) for name in ("digits", "tarflow.main.s0", "classifier.main.s0", "tarflow.s0.guided")}
    for name, seconds in {
        "digits": 2.0,
        "tarflow.main.s0": 30.0,
        "classifier.main.s0": 31.0,
        "tarflow.s0.guided": 9.0,
    }.items():
        put(plan.root, jobs[name], {"seconds": seconds, **HERE})
    for job in jobs.values():
        workflow.job_inputs(job.id)
    found = sorted(jobs, key=lambda name: -workflow.priority(jobs[name].id))
    assert found == ["digits", "tarflow.main.s0", "classifier.main.s0", "tarflow.s0.guided"]
    assert workflow.priority(jobs["tarflow.main.s0"].id) == 39


def test_the_longest_chain_of_the_main_table_is_mimflows(tmp_path: Path) -> None:
    (tmp_path / "specs").symlink_to(REPOSITORY / "specs")
    plan = open_plan(tmp_path)
    measured = plan.product("table1").jobs().values()
    jobs = {job.id: job for last in measured for job in (*last.upstream(), last)}
    chains = Costs(plan.root, plan.jobs.values()).chains(jobs.values())
    training = sorted((job for job in jobs.values() if job.stage == "train"), key=lambda job: -chains[job.id])
    names = [job.name.partition(".")[0] for job in training if ".decoder." not in job.name]
    assert names == ["mimflow-mnist5k", "tarflow-mnist5k", "classifier-mnist5k", "gaussian-mnist5k"]


@pytest.mark.slow
def test_snakemake_starts_the_longest_chain_first(finished: Path, tmp_path: Path) -> None:
    project = copy_project(finished, tmp_path / "project")
    # By its arithmetic it is the shortest of three: nothing but the record would start it first.
    path = result_of(project, "checkpoints", "gaussian.main.s0") / MANIFEST
    rewrite_manifest(path, made=read_manifest(path).made | {"seconds": 500.0})
    edit(project, "mini/tarflow", "lr: 3e-3", "lr: 2e-3")
    edit(project, "mini/gaussian", "ridge: 1e-2", "ridge: 2e-2")
    edit(project, "mini/classifier", "epochs: 3", "epochs: 4")
    # In what order jobs are started is asked, not what comes of them: each ends as soon as its Python has started.
    (tmp_path / "ends").mkdir()
    (tmp_path / "ends/sitecustomize.py").write_text("import os, sys\nif 'mimflow' in sys.orig_argv: os._exit(1)\n")
    words = ("snakemake", "--cores", "1", "--keep-going", "--until", "train", "--", "results/table1.md")
    path = os.pathsep.join([str(tmp_path / "ends"), *filter(None, sys.path)])
    text = command(project, *words, check=False, PYTHONPATH=path).stdout
    started = re.findall(r"^Job \d+: train (\w+)\.main\.s0$", text, re.MULTILINE)
    assert sorted(started) == ["classifier", "gaussian", "tarflow"] and started[0] == "gaussian", text
