"""What a paper's run would take on eight GPUs, by arithmetic: `python benchmarks/eight_gpus.py`, a minute a phase.

Nothing here is measured on a GPU. The operations of a training step are counted on tensors that have shapes and no
values, all players, frozen networks and backward passes included; sampling's follow from the specs. Speeds are a
datasheet's, of an H100 SXM without sparsity, and the share of them that is reached is assumed.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, flop_registry, sdpa_backward_flop, sdpa_flop

from mimflow.outputs.inverse.spec import InverseSpec
from mimflow.products.registry import open_workspace
from mimflow.project.run import RunSpec
from mimflow.system.modules import SystemModules, parameter_count
from mimflow.system.spec import Shapes
from mimflow.training.footprint import LARGE, SMALL, Footprint, footprint

REPOSITORY = Path(__file__).resolve().parents[1]
RUNS = ("mimflow-l", "simflow-xxl")
GPUS = 8
REACHED = 0.4
"""The share of its peak that a device's arithmetic is assumed to reach."""
PEAK = {"bf16": 989e12, "tf32": 494e12, "fp32": 67e12}
"""Operations a second. PyTorch convolves fp32 tensors in TF32 and does their matrix products in fp32."""
BANDWIDTH = 3.35e12
"""Bytes a second, of a device's memory."""
LAUNCHES = 20 * 10e-6
"""Seconds that a layer's kernels take to be launched for one token, assumed: 20 of 10 µs."""
TRAINING_IMAGES, VALIDATION_IMAGES = 1_281_167, 50_000
SAMPLES, BATCH = 50_000, 250
INCEPTION = 2 * 5.7e9
"""Operations of a pass of an image through the Inception."""
CONVOLUTIONS = (torch.ops.aten.convolution, torch.ops.aten.convolution_backward)
ON_A_CPU = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: sdpa_flop,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: sdpa_backward_flop,
}
"""The fused attention of tensors on a CPU, which PyTorch's counter does not know."""


class Sampling(NamedTuple):
    """Seconds of a batch's guided sampling, on one device; the flow's without overlap of one with another."""

    arithmetic: float
    memory: float
    launches: float
    decoder: float


def operations(run: RunSpec, phase: str, shapes: Shapes) -> tuple[Counter[str], Footprint]:
    """Multiplications and additions of an image's part of a step, by the precision that they are done in on a GPU.

    And the memory that the phase needs.
    """
    found: Counter[str] = Counter()

    def noted(operation: Any, count: Callable[..., int]) -> Callable[..., int]:
        def counting(*args: Any, out_val: Any = None, **kwargs: Any) -> int:
            flops = count(*args, out_val=out_val, **kwargs)
            tensor = next(value for value in args if isinstance(value, Tensor))
            single = "tf32" if operation in CONVOLUTIONS else "fp32"
            found["bf16" if tensor.dtype == torch.bfloat16 else single] += flops
            return flops

        counting._get_raw = True  # type: ignore[attr-defined]  # it looks at tensors and not at their shapes
        return counting

    every = {operation: noted(operation, count) for operation, count in (flop_registry | ON_A_CPU).items()}
    with FlopCounterMode(display=False, custom_mapping=every):
        memory = footprint(run.system, run.phases[phase], shapes)
    return Counter({precision: flops // (SMALL + LARGE) for precision, flops in found.items()}), memory


def device_seconds(flops: Counter[str]) -> float:
    """How long a device takes for so many operations."""
    return sum(count / (REACHED * PEAK[precision]) for precision, count in flops.items())


def train(run: RunSpec, phase: str, shapes: Shapes) -> str:
    """A line: what the training of a phase takes."""
    flops, memory = operations(run, phase, shapes)
    spec = run.phases[phase]
    assert spec.epochs is not None
    images, part = spec.epochs * TRAINING_IMAGES, spec.batch_size // spec.accumulate
    hours = device_seconds(flops) * images / 3600
    kinds = ", ".join(f"{count / 1e9:,.0f} {precision}" for precision, count in sorted(flops.items()))
    return (
        f"  {phase}: {sum(flops.values()) / 1e9:,.0f} GFLOP an image ({kinds}) × {images / 1e6:,.1f} M images: "
        f"{hours:,.0f} GPU-hours, {hours / GPUS:,.1f} h on {GPUS}, {GPUS / device_seconds(flops):,.0f} images/s, "
        f"{memory.total(part) / 1e9:.1f} GB on each in parts of {part}"
    )


def sample(run: RunSpec, shapes: Shapes) -> Sampling:
    """Guided sampling of a batch; both branches of guidance go through a layer together, keys and values are kept."""
    output = run.outputs["guided"]
    assert isinstance(output, InverseSpec) and output.guidance is not None
    assert run.tokenizer is not None and run.prior is not None
    latent = run.tokenizer.latent_shape(shapes.image)
    with torch.device("meta"):
        parameters = parameter_count(SystemModules(run.system, shapes).module("prior"))
    layers, width, tokens = sum(run.prior.blocks), run.prior.width, latent.tokens  # type: ignore[union-attr]
    bytes_each = 2 if output.precision == "bf16" else 4
    flow = 2 * run.prior.multiplications(latent) * output.prior_passes * BATCH
    weights = tokens * parameters * bytes_each
    cached = tokens * layers * 2 * width * bytes_each * tokens / 2 * 2 * BATCH  # half the tokens on average, 2 branches
    return Sampling(
        flow / (REACHED * PEAK[output.precision]),
        (weights + cached) / BANDWIDTH,
        tokens * layers * LAUNCHES,
        run.tokenizer.multiplications(shapes.image) * BATCH / (REACHED * PEAK["fp32"]),  # half of there and back, × 2
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", default=RUNS)
    workspace = open_workspace(REPOSITORY)
    for name in parser.parse_args().runs:
        run = workspace.get("run", name).spec
        shapes = Shapes.of(workspace.get("dataset", run.dataset).spec)
        print(name, flush=True)
        batch = sample(run, shapes)
        parts = ", ".join(f"{part} {value:.2f} s" for part, value in zip(batch._fields, batch, strict=True))
        print(f"  guided, {BATCH} at once: {parts}: {SAMPLES / BATCH * sum(batch) / 3600:.2f} GPU-hours of {SAMPLES:,}")
        coded = run.tokenizer.multiplications(shapes.image) * 2
        measured = SAMPLES * INCEPTION, VALIDATION_IMAGES * (coded + 2 * INCEPTION)
        hours = [flops / (REACHED * PEAK["fp32"]) / 3600 for flops in measured]
        print(f"  evaluating: samples {hours[0]:.3f}, validation images and reconstructions {hours[1]:.3f} GPU-hours")
        for phase in run.phases:
            print(train(run, phase, shapes), flush=True)


if __name__ == "__main__":
    main()
