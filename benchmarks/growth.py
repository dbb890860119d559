"""How time and memory grow: `python benchmarks/growth.py`, some minutes on a core.

A training step of a small TARFlow against tokens, width, parts of the same batch, and processes that share them out;
sampling against images. Each case is a process of its own, of one thread. Seconds are the least of several steps or
samplings, and so are seconds of a core, which what else runs does not lengthen. Memory is how much higher the process's
peak is after them than before, when the model was built.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import torch
from gpu import Clock, random_split

from mimflow.compute.devices import peak_memory_mb
from mimflow.compute.processes import World
from mimflow.nn.draws import Draws
from mimflow.priors.base import GuidablePrior
from mimflow.priors.guidance.rules import guidance_rule
from mimflow.priors.guidance.spec import LinearGuidance
from mimflow.stages.launch import run_together
from mimflow.stages.train import build_objective
from mimflow.system.modules import SystemModules
from mimflow.system.spec import Shapes, System
from mimflow.tasks import TrainTask
from mimflow.training.loop import Splits, Trainer

CPU = torch.device("cpu")
CLASSES = 10
WARM_UP = 1
"""Steps and samplings that are not counted."""


class Clocks(Clock):
    """Notes the time of a core too when each step has ended."""

    def __init__(self) -> None:
        self.cpu: list[float] = []
        super().__init__(CPU)

    def advance(self, done: int, images: int = 0, **shown: float) -> None:
        super().advance(done, images, **shown)
        self.cpu.append(time.process_time())


class Case(NamedTuple):
    """What is measured once, in a process of its own or in several."""

    what: str = "step"
    """Or `sampling`."""
    tokens: int = 64
    """A square number."""
    width: int = 128
    images: int = 32
    """Of a step, all parts together, or of a sampling."""
    parts: int = 1
    processes: int = 1
    repeats: int = 3


class Cost(NamedTuple):
    seconds: float
    cpu: float
    """Seconds of a core: what `seconds` would be if nothing else ran. Of the first process."""
    megabytes: float
    """Of the first process, beyond what it had before."""


TABLES = {
    "tokens": [Case(tokens=tokens) for tokens in (16, 64, 256)],
    "width": [Case(width=width) for width in (64, 128, 256)],
    "parts": [Case(parts=parts) for parts in (1, 2, 4, 8)],
    "processes": [Case(parts=8, processes=processes) for processes in (1, 2)],
    "images": [Case("sampling", images=images) for images in (8, 32, 128)],
}
"""By the field of a case that grows."""


def system(case: Case) -> tuple[System, Shapes]:
    """Four blocks of one layer over patches of two by two pixels."""
    prior = {"kind": "tarflow", "width": case.width, "head_width": 32, "blocks": [1, 1, 1, 1]}
    found = System.model_validate({"tokenizer": {"kind": "pixel", "patch_size": 2}, "prior": prior})
    return found, Shapes(channels=3, size=2 * int(case.tokens**0.5), num_classes=CLASSES)


def step(case: Case, folder: Path) -> Cost:
    """Steps of training; all processes of the case call it."""
    built, shapes = system(case)
    phase = {
        "objective": {"kind": "nll", "noise": {"kind": "gaussian", "std": 0.1}},
        "steps": WARM_UP + case.repeats,
        "batch_size": case.images,
        "accumulate": case.parts,
        "optimizer": {"kind": "adamw", "lr": 1e-4, "betas": [0.9, 0.95], "weight_decay": 1e-4},
        "checkpoint_seconds": 3600.0,
    }
    task = TrainTask.model_validate(
        {
            "shapes": shapes,
            "system": built,
            "phase": phase,
            "phase_name": "main",
            "seed": 0,
            "compute": {"device": "cpu", "threads": 1},
        }
    )
    objective = build_objective(task, {})
    clock = Clocks()
    trainer = Trainer(
        objective, task.phase, "main", task.phase.trained, Splits(random_split(shapes, case.images),
        random_split(shapes, 2)), 0, CPU, folder, folder, clock, "benchmark", World.join(CPU),
    )  # fmt: skip
    before = peak_memory_mb(CPU)
    trainer.run()
    return Cost(least(clock.times[WARM_UP - 1 :]), least(clock.cpu[WARM_UP - 1 :]), peak_memory_mb(CPU) - before)


def least(times: list[float]) -> float:
    """The shortest time from one to the next."""
    return min(after - before for before, after in pairwise(times))


@torch.no_grad()
def sampling(case: Case) -> Cost:
    """Guided sampling of all images at once, from noise to latents."""
    prior = SystemModules(*system(case)).module("prior").eval()
    assert isinstance(prior, GuidablePrior)
    z, labels = prior.noise(Draws(range(case.images))), torch.arange(case.images) % CLASSES
    rule = guidance_rule(LinearGuidance(weight=1.0))
    before, clock = peak_memory_mb(CPU), Clocks()
    for done in range(WARM_UP + case.repeats):
        prior.inverse(z, labels, rule)
        clock.advance(done)
    return Cost(least(clock.times[WARM_UP - 1 :]), least(clock.cpu[WARM_UP - 1 :]), peak_memory_mb(CPU) - before)


def measured(case: Case) -> Cost:
    """A case, in new processes. CalledProcessError if they fail."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--case", json.dumps(case), "--folder", folder]
        if case.processes > 1:
            if code := run_together(command, case.processes):
                raise subprocess.CalledProcessError(code, command)
        else:
            subprocess.run(command, check=True)
        return Cost(*json.loads((Path(folder) / "cost.json").read_text()))


def measure_here(case: Case, folder: Path) -> None:
    """Measure a case in this process, and write what it costs if this is the first."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    cost = sampling(case) if case.what == "sampling" else step(case, folder)
    if World.join(CPU).first:
        (folder / "cost.json").write_text(json.dumps(cost))


def table(grows: str, cases: list[Case]) -> str:
    """Rows of what each case costs; times what the first one does, too."""
    costs = [measured(case) for case in cases]
    rows = [f"{cases[0].what:8}  {grows:>9}  {'seconds':>9}  {'of a core':>17}  {'MB':>17}"]
    for case, cost in zip(cases, costs, strict=True):
        cpu, memory = cost.cpu / costs[0].cpu, cost.megabytes / max(costs[0].megabytes, 1e-9)
        rows.append(
            f"{'':8}  {getattr(case, grows):>9}  {cost.seconds:9.3f}  {cost.cpu:9.3f} {cpu:6.2f}×"
            f"  {cost.megabytes:9.1f} {memory:6.2f}×"
        )
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=TABLES, help="this table alone")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case is not None:
        measure_here(Case(*json.loads(arguments.case)), arguments.folder)
        return
    for grows, cases in TABLES.items():
        if arguments.only in (None, grows):
            print(table(grows, cases), flush=True)


if __name__ == "__main__":
    main()
