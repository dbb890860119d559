"""Runs one job: opens what it reads, calls its stage, writes the manifest, moves the result into the store."""

from __future__ import annotations

import errno
import shutil
import time
from contextlib import chdir
from importlib import import_module
from pathlib import Path
from types import ModuleType

from mimflow.artifacts.facts import plain
from mimflow.artifacts.leftovers import remove, sweep
from mimflow.artifacts.lock import locked
from mimflow.artifacts.manifest import MANIFEST, Artifact, Manifest, record_files, write_text
from mimflow.artifacts.provenance import describe_process
from mimflow.artifacts.shard import Shard
from mimflow.artifacts.verified import remembering
from mimflow.compute.launch import place
from mimflow.compute.memory import memory_errors
from mimflow.errors import MimflowError, PlanError, storage_errors
from mimflow.plan import code, paths
from mimflow.plan.build import Plan
from mimflow.plan.handover import HandedOver
from mimflow.plan.jobs import Job
from mimflow.plan.links import link_names
from mimflow.plan.status import code_changed
from mimflow.progress import RECORD, Progress
from mimflow.stages.attempts import begin, finish_shard, noting_failure
from mimflow.stages.requeue import requeued
from mimflow.tasks import TrainTask
from mimflow.training.signals import ending_orderly, held_back


def run_job(plan: Plan | HandedOver, job: Job, strict_code: bool = False) -> Artifact:
    """Run a job whose inputs are in the store, unless its own result is there already; return the result.

    The project is the current folder while the stage runs.
    """
    root = plan.root.resolve()
    progress = Progress(f"{job.stage} {job.name}")
    if (result := job.result(root)) is not None:
        _check_code(job, root, strict_code)
        progress.say(f"done already: {job.folder}")
        return result
    inputs = {role: _input(upstream, root, strict_code) for role, upstream in job.inputs.items()}
    work = paths.work(root, job.id)
    lock = paths.work_lock(root, job.id)
    # Paths in specs are relative to the project.
    with (
        storage_errors(work),
        requeued(progress.say),
        ending_orderly(job.name),
        remembering(paths.verified(root)),
        chdir(root),
        locked(lock, job.name),
    ):
        if job.done(root):
            return Artifact.open(root / job.folder)
        sweep(work)
        _run(job, inputs, root, work, progress)
        shutil.rmtree(work, ignore_errors=True)
        for left in work.parent.glob(f"{job.id}.*-of-*.lock"):
            left.unlink(missing_ok=True)
        link_names(plan, job)
    return Artifact.open(root / job.folder)


def run_shard(plan: Plan | HandedOver, job: Job, shard: Shard, strict_code: bool = False) -> None:
    """Draw a shard of a job's pieces, which the job itself then puts together. Other shards may run meanwhile."""
    root = plan.root.resolve()
    progress = Progress(f"{job.stage} {job.name} {shard}")
    if job.result(root) is not None:
        progress.say(f"done already: {job.folder}")
        return
    inputs = {role: _input(upstream, root, strict_code) for role, upstream in job.inputs.items()}
    work, began = paths.work(root, job.id), time.monotonic()
    with (
        storage_errors(work),
        ending_orderly(f"{job.name} {shard}"),
        chdir(root),
        locked(paths.work_lock(root, job.id), job.name, shared=True),
        locked(paths.shard_lock(root, job.id, shard), f"{job.name} {shard}"),
    ):
        folder = work / code.attempt(code.makers(job.task))
        stage = _stage(job.stage)
        with memory_errors(f"{job.stage} {job.name}: out of memory (try {stage.OUT_OF_MEMORY})"):
            stage.draw(job.task, inputs, folder, progress, shard)
        finish_shard(folder, shard, root, time.monotonic() - began)
    progress.say(f"took {time.monotonic() - began:.0f} s")


def take_part(plan: Plan | HandedOver, job: Job, strict_code: bool = False) -> None:
    """Help another process of this job, the first, which runs it by `run_job`. Writes nothing.

    Only the training of a phase is shared out; of other stages the first does everything.
    """
    root = plan.root.resolve()
    if job.stage != TrainTask.stage or job.result(root) is not None:
        return
    inputs = {role: _input(upstream, root, strict_code) for role, upstream in job.inputs.items()}
    folder = paths.work(root, job.id) / code.attempt(code.makers(job.task))
    rank, size = place()
    with storage_errors(folder), ending_orderly(job.name), chdir(root), remembering(paths.verified(root)):
        try:
            stage = _stage(job.stage)
            with memory_errors(f"{job.stage} {job.name}: out of memory (try {stage.OUT_OF_MEMORY})"):
                stage.run(job.task, inputs, folder, Progress(job.name, quiet=True))
        except MimflowError as error:
            raise type(error)(f"process {rank} of {size}: {error}") from error


def _stage(name: str) -> ModuleType:
    with held_back():
        return import_module(f"mimflow.stages.{name}")


def _input(job: Job, root: Path, strict_code: bool) -> Artifact:
    artifact = job.result(root)
    if artifact is None:
        raise PlanError(
            f"{job.stage} {job.name}: not there yet (run `snakemake --cores all {job.manifest}`, or `dvc pull`)"
        )
    _check_code(job, root, strict_code)
    return artifact


def _check_code(job: Job, root: Path, strict: bool) -> None:
    if strict and code_changed(job, root):
        raise PlanError(
            f"{job.name}: the code of its stage has changed since it was made (--strict-code; delete {job.folder})"
        )


def _run(job: Job, inputs: dict[str, Artifact], root: Path, work: Path, progress: Progress) -> None:
    began, began_cpu = time.monotonic(), time.process_time()
    # What an interrupted attempt has written stays: it was written for the same key by the same code.
    attempt = begin(work, code.makers(job.task), root, progress.say)
    out = attempt.folder / "out"
    out.mkdir(parents=True, exist_ok=True)
    progress.record_at(attempt.folder / RECORD)
    stage = _stage(job.stage)
    with (
        noting_failure(attempt.folder),
        memory_errors(f"{job.stage} {job.name}: out of memory (try {stage.OUT_OF_MEMORY})"),
    ):
        facts = stage.run(job.task, inputs, attempt.folder, progress)
    made = {
        **describe_process(root, attempt.git),
        **attempt.made,
        "threads": job.compute.threads if job.compute is not None else None,
        "seconds": round(time.monotonic() - began, 2),
        "cpu_seconds": round(time.process_time() - began_cpu, 2),
    }
    manifest = Manifest(
        stage=job.stage,
        name=job.name,
        key=job.key,
        task=job.task.identity(),
        inputs={role: upstream.key for role, upstream in job.inputs.items()},
        files=record_files(out),
        facts=plain(facts),
        made=made,
    )
    write_text(out / MANIFEST, manifest.to_json())
    _move(out, root / job.folder)
    progress.say(f"took {made['seconds']:.0f} s → {job.folder}")


def _move(out: Path, folder: Path) -> None:
    """Move a finished folder into the store in one step; a broken one that is in the way makes room."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    remove(folder)
    try:
        out.replace(folder)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        temporary = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.copytree(out, temporary)
        temporary.replace(folder)
