"""What memory and disk the training of a run needs, before any of it is spent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mimflow.outputs.drawing import Samples
from mimflow.plan.build import Plan
from mimflow.plan.jobs import Job
from mimflow.tasks import InferTask, TrainTask

if TYPE_CHECKING:
    from mimflow.training.footprint import Footprint

GB = 1e9
USABLE = 0.9
"""Share of a device's memory that tensors can fill: the rest is its context, kernels' workspaces and gaps between."""
CHECKPOINTS = 2
"""How many are kept of work in progress; while one is written there is one more."""


def describe_memory(plan: Plan, target: str, device_gb: float | None = None) -> str:
    """What each phase of a run, or of the runs of a product, needs on a device, and whether it fits; and its disk.

    `device_gb` is the device's memory where it is not what the runs' specs say. Nothing is allocated or trained.
    """
    from mimflow.training.footprint import footprint

    lines: list[str] = []
    for job in _training(plan, target):
        task = job.task
        assert isinstance(task, TrainTask)
        name = job.name.rpartition(".")[0]
        if task.phase.objective.closed_form:
            lines += [f"{name}: solved in closed form, by passes over the data"]
            continue
        found = footprint(task.system, task.phase, task.shapes)
        lines += [*_phase(name, task, found, device_gb or task.compute.memory_gb)]
    for job in _drawing(plan, target):
        assert isinstance(job.task, InferTask) and isinstance(job.task.samples, Samples)
        size = job.task.samples.count * job.task.shapes.image.dimensions
        lines.append(f"{job.name}: {job.task.samples.count:,} images, {_gb(size)} on disk, twice while it is made")
    return "\n".join(lines) or f"{target}: nothing of it is trained"


def _phase(name: str, task: TrainTask, found: Footprint, device_gb: float) -> Iterator[str]:
    phase = task.phase
    part = phase.batch_size // phase.accumulate
    parts = "one part" if phase.accumulate == 1 else f"{phase.accumulate} parts of {part}"
    yield f"{name}: {phase.batch_size} images a step in {parts}"
    rows = {
        "parameters": (found.parameters, f"{found.trained / 1e6:.1f} M numbers are trained"),
        "frozen networks": (found.frozen, ""),
        "gradients": (found.gradients, ""),
        "optimiser": (found.moments, ""),
        "averages": (found.averages, ""),
        "images": (found.batch, ""),
        "activations": (found.rest + part * found.activations, f"{_gb(found.activations)} an image"),
    }
    for what, (size, remark) in rows.items():
        if size:
            yield f"  {what:16}{_gb(size):>10}  {remark}".rstrip()
    total = found.total(part)
    yield f"  {'together':16}{_gb(total):>10}  {_fit(task, found, device_gb)}"
    snapshots = f", {_gb(found.parameters)} each of {len(phase.snapshots)} snapshots" if phase.snapshots else ""
    work = f"{_gb(found.checkpoint)} each of {CHECKPOINTS} checkpoints"
    yield f"  {'on disk':16}{_gb(found.result):>10}  {work}{snapshots}"


def _fit(task: TrainTask, found: Footprint, device_gb: float) -> str:
    phase = task.phase
    room = USABLE * device_gb * GB
    if found.total(phase.batch_size // phase.accumulate) <= room:
        return f"fits {device_gb:g} GB"
    for parts in range(phase.accumulate + 1, phase.batch_size + 1):
        if phase.batch_size % parts == 0 and found.total(phase.batch_size // parts) <= room:
            return f"does not fit {device_gb:g} GB: accumulate: {parts} would"
    return f"does not fit {device_gb:g} GB, not with one image at once: {_gb(found.total(1))}"


def _training(plan: Plan, target: str) -> list[Job]:
    """The phases to look at, each for one seed."""
    if target in plan.workspace.runs:
        return plan.trained(target, plan.workspace.runs[target].spec.seeds[0])
    found: dict[str, Job] = {}
    for job in plan.product(target).jobs().values():
        for above in job.upstream():
            if above.stage == "train":
                found.setdefault(above.name.rpartition(".")[0], above)
    return list(found.values())


def _drawing(plan: Plan, target: str) -> list[Job]:
    """The jobs that draw samples from a prior for a product; a run alone has no protocol to say how many."""
    if target in plan.workspace.runs:
        return []
    found = {above.id: above for job in plan.product(target).jobs().values() for above in (*job.upstream(), job)}
    return [job for job in found.values() if isinstance(job.task, InferTask) and isinstance(job.task.samples, Samples)]


def _gb(size: float) -> str:
    return f"{size / GB:.2f} GB" if size >= GB / 100 else f"{size / 1e6:.2f} MB"
