"""What one GPU gives for the papers' systems: `python benchmarks/gpu.py`, under 9 minutes on one of 80 GB.

Training: images a second, memory, and the share of the device's peak that the model's own arithmetic reaches (peak: the
best that a large bf16 matrix product reaches on this device, measured here). Guided sampling: images a second at
batches of 64 and 256, against the plain way of `benchmarks/sampling.py` where that has the rule. And whether the GPU's
samples are the CPU's. Frozen networks, whose weights nobody has here, are left out of the losses.

`--twins` runs the same code on the small twins, on a CPU, in a minute.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from sampling import plain_inverse
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from mimflow.api.specs import composed
from mimflow.compute.devices import autocast, peak_memory_mb
from mimflow.data.pixels import to_unit
from mimflow.data.prepared import Split
from mimflow.nn.draws import Draws
from mimflow.objectives.base import Batch
from mimflow.outputs.inverse.spec import InverseSpec
from mimflow.priors.base import GuidablePrior
from mimflow.priors.guidance.rules import guidance_rule
from mimflow.priors.guidance.spec import LinearGuidance
from mimflow.products.registry import open_workspace
from mimflow.progress import Progress
from mimflow.project.run import RunSpec
from mimflow.project.workspace import Workspace
from mimflow.stages.train import build_objective
from mimflow.system.modules import SystemModules
from mimflow.system.spec import Shapes
from mimflow.tasks import TrainTask
from mimflow.training.loop import Splits, Trainer

REPOSITORY = Path(__file__).resolve().parents[1]
LOSSES_WITHOUT_NETWORKS = ("perceptual", "alignment", "auxiliary")
WARM_UP = 3
"""Steps and samplings that are not counted."""


class Case(NamedTuple):
    run: str
    phase: str
    batch: int
    """Images of a step, in one part."""
    sampled: tuple[int, ...]
    """Batches that are sampled."""
    output: str = "guided"


PAPERS = (
    Case("mimflow-l", "joint", 64, (64, 256)),
    Case("simflow-l", "stage1", 64, (64, 256)),
    Case("tarflow-imagenet64-cond", "main", 64, (64, 256)),
)
TWINS = (
    Case("mimflow-mnist5k", "joint", 8, (2,)),
    Case("simflow-mnist5k", "stage1", 8, (2,)),
    Case("tarflow-mnist5k", "main", 8, (2,)),
)


class Clock(Progress):
    """Notes when each step has ended, on the device too."""

    def __init__(self, device: torch.device):
        self.times: list[float] = []
        self.device = device
        super().__init__("benchmark", quiet=True)

    def advance(self, done: int, images: int = 0, **shown: float) -> None:
        """A step is over when the device has done it."""
        wait(self.device)
        self.times.append(time.monotonic())


def wait(device: torch.device) -> None:
    """Until the device has done all that it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(work: Callable[[], Any], device: torch.device) -> float:
    """How long it takes, the device included."""
    wait(device)
    began = time.monotonic()
    work()
    wait(device)
    return time.monotonic() - began


def measured_peak(device: torch.device, side: int, dtype: torch.dtype) -> float:
    """FLOP/s of a product of two matrices with so many rows and columns, the best of 10."""
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return 2 * side**3 / min(seconds(lambda: a @ b, device) for _ in range(10))


def without_networks(workspace: Workspace, case: Case, steps: int) -> RunSpec:
    """The case's run with one part a step, so many steps, and losses that need no frozen network."""
    phase = workspace.get("run", case.run).spec.phases[case.phase]
    place = f"phases.{case.phase}"
    left_out = {f"{place}.objective.{name}": [] for name in LOSSES_WITHOUT_NETWORKS if hasattr(phase.objective, name)}
    changes = {"batch_size": case.batch, "accumulate": 1, "steps": steps, "epochs": None, "snapshots": []}
    return composed(workspace, case.run, left_out | {f"{place}.{name}": value for name, value in changes.items()})


def random_split(shapes: Shapes, count: int) -> Split:
    """Images of noise."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (count, shapes.size, shapes.size, shapes.channels), np.uint8)
    return Split(images, random.integers(0, shapes.num_classes, count))


def flops_an_image(trainer: Trainer, split: Split) -> float:
    """The multiplications and additions, counted twice each, of one image's part of a step: all players' turns."""
    rows = np.arange(2)
    images, labels = to_unit(split.images[rows]), torch.from_numpy(split.labels[rows])
    device = trainer.device
    batch = Batch(images.to(device), labels.to(device), torch.from_numpy(rows).to(device))
    carry: dict[str, Any] = {}
    with FlopCounterMode(display=False) as counter:
        for player in trainer.players:
            for other in trainer.players:
                for parameter in other.parameters.values():
                    parameter.requires_grad_(other is player)
            with autocast(device, trainer.phase.precision):
                loss, _ = trainer.objective(player.name, batch, carry)
            loss.backward()
            trainer.objective.zero_grad(set_to_none=True)
    trainer.objective.requires_grad_(False)
    return counter.get_total_flops() / len(rows)


def train(workspace: Workspace, case: Case, device: torch.device, peak: float, steps: int) -> str:
    """One line: what training this case gives."""
    run = without_networks(workspace, case, steps)
    shapes = Shapes.of(workspace.get("dataset", run.dataset).spec)
    phase = run.phases[case.phase]
    task = TrainTask(shapes=shapes, system=run.system, phase=phase, phase_name=case.phase, seed=0, compute=run.compute)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    objective = build_objective(task, {}).to(device)
    split = random_split(shapes, case.batch)
    clock = Clock(device)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            objective, phase, case.phase, phase.trained, Splits(split, random_split(shapes, 2)), 0, device,
            Path(folder), Path(folder), clock, "benchmark",
        )  # fmt: skip
        flops = flops_an_image(trainer, split)
        trainer.run()
    each = (clock.times[-1] - clock.times[WARM_UP - 1]) / (len(clock.times) - WARM_UP)
    rate = case.batch / each
    return (
        f"train   {case.run:24} {case.phase:7} {phase.precision}  batch {case.batch:>3}  {rate:9.1f} images/s  "
        f"{peak_memory_mb(device) / 1024:5.1f} GB  {flops / 1e9:8.1f} GFLOP an image  "
        f"{flops * rate / peak:6.1%} of the measured peak"
    )


def prior_of(workspace: Workspace, case: Case, device: torch.device) -> tuple[GuidablePrior, InverseSpec, int]:
    """The case's flow with random weights, its guided output, and how many classes there are."""
    run = workspace.get("run", case.run).spec
    shapes = Shapes.of(workspace.get("dataset", run.dataset).spec)
    torch.manual_seed(0)
    prior = SystemModules(run.system, shapes).module("prior").eval().requires_grad_(False)
    assert isinstance(prior, GuidablePrior)
    for name, parameter in prior.named_parameters():
        if "proj_out" in name and name.endswith("weight"):  # they start at zero, where every flow is the identity
            torch.nn.init.normal_(parameter, std=0.1 * parameter.shape[-1] ** -0.5)
    output = run.outputs[case.output]
    assert isinstance(output, InverseSpec) and output.guidance is not None
    return prior.to(device), output, shapes.num_classes


def sample(workspace: Workspace, case: Case, device: torch.device) -> list[str]:
    """A line a batch: guided sampling of the case's flow, and of the plain way where it has the rule."""
    prior, output, classes = prior_of(workspace, case, device)
    rule = guidance_rule(output.guidance)
    lines = []
    for batch in case.sampled:
        z, labels = prior.noise(Draws(range(batch))).to(device), torch.arange(batch, device=device) % classes

        def ours(z: Tensor = z, labels: Tensor = labels) -> Tensor:
            with autocast(device, output.precision):
                return prior.inverse(z, labels, rule)

        def plainly(z: Tensor = z, labels: Tensor = labels) -> Tensor:
            with autocast(device, output.precision):
                return plain_inverse(prior, z, labels, output.guidance.weight)  # type: ignore[arg-type, union-attr]

        ours()
        took = seconds(ours, device)
        against = ""
        if case.run.startswith("tarflow") and isinstance(output.guidance, LinearGuidance):
            plain = seconds(plainly, device)
            against = f"  {plain / took:.2f}× the plain way"
        lines.append(
            f"sample  {case.run:24} guided  {output.precision}  batch {batch:>3}  {batch / took:9.2f} images/s{against}"
        )
    return lines


def agreement(workspace: Workspace, case: Case, device: torch.device) -> str:
    """One line: the largest difference between this device's latents and the CPU's, fp32, two images, guided."""
    found = []
    for where in (torch.device("cpu"), device):
        prior, output, classes = prior_of(workspace, case, where)
        z, labels = prior.noise(Draws(range(2))).to(where), torch.arange(2, device=where) % classes
        found.append(prior.inverse(z, labels, guidance_rule(output.guidance)).cpu())
    difference, size = (found[0] - found[1]).abs().max().item(), found[0].abs().max().item()
    return f"agree   {case.run:24} guided  fp32  largest difference to the CPU {difference:.1e} of {size:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--twins", action="store_true", help="the small twins, on the CPU")
    parser.add_argument("--steps", type=int, default=10)
    arguments = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = False
    device = torch.device("cpu" if arguments.twins else "cuda")
    began = time.monotonic()
    workspace = open_workspace(REPOSITORY)
    peak = measured_peak(device, 512, torch.float32) if arguments.twins else measured_peak(device, 8192, torch.bfloat16)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(f"{name}, PyTorch {torch.__version__}, measured peak {peak / 1e12:.2f} TFLOP/s", flush=True)
    for case in TWINS if arguments.twins else PAPERS:
        print(train(workspace, case, device, peak, arguments.steps), flush=True)
        for line in (*sample(workspace, case, device), agreement(workspace, case, device)):
            print(line, flush=True)
    print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
