"""A step of the joint systems' twins against the same in a plain layout: `python benchmarks/joint.py --runs 10`.

Plainly, maps lie as planes, and a map is enlarged before it is convolved. All else of the two steps is the same: the
losses of all players, their gradients and the optimiser's step. `judged` adds what the papers' systems have and the
twins leave out: a perceptual distance (EfficientNet-Lite0's) and a discriminator.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from gpu import measured_peak, random_split
from interleave import interleave
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from mimflow.api.specs import composed
from mimflow.data.pixels import to_unit
from mimflow.objectives.base import Batch
from mimflow.objectives.reconstructing import Reconstructing
from mimflow.objectives.terms.adversarial import PatchGan
from mimflow.products.registry import open_workspace
from mimflow.project.workspace import Workspace
from mimflow.stages.train import build_objective
from mimflow.system.spec import Shapes
from mimflow.tasks import TrainTask
from mimflow.tokenizers.kl_vae.layers import Decoder, Encoder, Upsample
from mimflow.training.gradients import turn_to
from mimflow.training.optimisers import build_optimiser

REPOSITORY = Path(__file__).resolve().parents[1]
CPU = torch.device("cpu")
NETWORK = {"kind": "efficientnet_lite0", "stage": 3, "input_size": 32}
JUDGES = {"perceptual": [{"kind": "features", "network": NETWORK}], "adversarial": {"width": 16}}


class Case(NamedTuple):
    run: str
    phase: str
    judged: bool = False


CASES = (Case("simflow-mnist5k", "stage1"), Case("sit-mnist5k", "joint"), Case("simflow-mnist5k", "stage1", True))


def plain_upsample(layer: Upsample, x: Tensor) -> Tensor:
    """(B, C, H, W) → (B, C, 2 H, 2 W)."""
    return layer.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


def as_planes(layer: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    """A hook: what this layer gives lies as planes, and so does what follows from it."""
    return output.contiguous()


def make_plain(objective: Reconstructing) -> None:
    """Lay out all that this objective convolves as planes."""
    for layer in objective.modules():
        if isinstance(layer, Upsample):
            layer.forward = partial(plain_upsample, layer)
        elif isinstance(layer, Encoder | Decoder):
            layer.conv_in.register_forward_hook(as_planes)
        elif isinstance(layer, PatchGan):
            layer[0].register_forward_hook(as_planes)
    for term in objective.perceptual:
        objective.targets.network(term.spec.network, CPU).prepare.register_forward_hook(as_planes)


class Step:
    """A step of all players on one batch, and the tokenizer's part of it."""

    def __init__(self, workspace: Workspace, case: Case, *, plain: bool):
        changes: dict[str, Any] = {f"phases.{case.phase}.steps": 10, f"phases.{case.phase}.epochs": None}
        if case.judged:  # in all phases, since each goes on with the one before
            phases = workspace.get("run", case.run).spec.phases
            changes |= {f"phases.{phase}.objective.{name}": value for phase in phases for name, value in JUDGES.items()}
        run = composed(workspace, case.run, changes)
        phase = run.phases[case.phase]
        shapes = Shapes.of(workspace.get("dataset", run.dataset).spec)
        task = TrainTask(
            shapes=shapes, system=run.system, phase=phase, phase_name=case.phase, seed=0, compute=run.compute
        )
        objective = build_objective(task, {})
        assert isinstance(objective, Reconstructing) and phase.optimizer is not None
        self.objective = objective
        objective.begin(10)
        objective.begin_step(9, logged=False)
        self.players = objective.players(phase.trained)
        objective.training_mode(phase.trained)
        self.optimisers = [build_optimiser(phase.optimizer, player.parameters) for player in self.players]
        split = random_split(shapes, phase.batch_size)
        labels = torch.from_numpy(split.labels)
        self.batch = Batch(to_unit(split.images), labels, torch.from_numpy(np.arange(len(split.labels))))
        if plain:
            make_plain(objective)

    def tokenizer(self) -> Tensor:
        """Images through the tokenizer and back, and their gradients."""
        turn_to(self.players[0], self.players)
        tokenizer = self.objective.tokenizer
        images = tokenizer.decode(tokenizer.encode(self.batch.images))
        loss = images.square().mean()
        loss.backward()
        return loss.detach()

    def whole(self) -> Tensor:
        """All players' turns."""
        carry: dict[str, Any] = {}
        losses = []
        torch.manual_seed(0)
        for player, optimiser in zip(self.players, self.optimisers, strict=True):
            turn_to(player, self.players)
            optimiser.zero_grad(set_to_none=True)
            loss, _ = self.objective(player.name, self.batch, carry)
            loss.backward()
            optimiser.step()
            losses.append(loss.detach())
        return torch.stack(losses)


def line(what: str, plain: Callable[[], Tensor], ours: Callable[[], Tensor], runs: int, peak: float) -> str:
    """One line: the ratios, our rate, and how far apart the first losses are."""
    with FlopCounterMode(display=False) as counter:
        first = ours()
    apart = ((plain() - first).abs() / first.abs()).max().item()
    ratios = interleave(plain, ours, runs)
    rate = counter.get_total_flops() / ratios.fast
    return (
        f"{what:42}  {ratios.minimum:.2f}× by minimum  {ratios.median:.2f}× by median  {ratios.slow * 1e3:.0f} against "
        f"{ratios.fast * 1e3:.0f} ms  {rate / 1e9:.0f} GFLOP/s, {rate / peak:.0%} of the peak  losses differ by "
        f"{apart:.1e}"
    )


def measure(workspace: Workspace, case: Case, runs: int, peak: float) -> list[str]:
    """A line for the tokenizer and one for the whole step."""
    plain, ours = (Step(workspace, case, plain=plain) for plain in (True, False))
    name = f"{case.run} {case.phase}{' judged' if case.judged else ''}"
    return [
        line(f"{name}, tokenizer", plain.tokenizer, ours.tokenizer, runs, peak),
        line(f"{name}, whole step", plain.whole, ours.whole, runs, peak),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    peak = measured_peak(CPU, 1024, torch.float32)
    print(f"peak {peak / 1e9:.0f} GFLOP/s", flush=True)
    workspace = open_workspace(REPOSITORY)
    for case in CASES:
        print(*measure(workspace, case, arguments.runs, peak), sep="\n", flush=True)


if __name__ == "__main__":
    main()
