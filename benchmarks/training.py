"""A training step of TARFlow against the plain way of writing it: `python benchmarks/training.py --runs 10`.

The plain way is the usual one in public code: a dense mask of truth values in `scaled_dot_product_attention`, norms
cast to fp32 and back, a concatenation that shifts the predictions, an AdamW that goes from tensor to tensor. Ours is
the whole step of `Trainer`, with its figures, its look at what is not finite and the norm of its gradients. Peak: the
best that a product of two matrices of 1,024 rows and columns reaches on this machine, in bf16 if it multiplies that
itself; with `--device cuda` of 8,192, on the GPU. What is left to 100 % is all that could still be gained.
`--compile` compiles our layers (`compute.compile`).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import NamedTuple

import torch
from gpu import STEPS, Enough, flops_an_image, measured_peak, random_split, wait
from interleave import ratios_of
from torch import Tensor, nn
from torch.nn import functional as F

from mimflow.compute.bf16 import has_bf16_products
from mimflow.compute.spec import Compute
from mimflow.nn.transformer import TransformerLayer
from mimflow.objectives.base import Objective
from mimflow.objectives.registry import OBJECTIVES
from mimflow.objectives.spec import GaussianNoise, NllSpec
from mimflow.priors.block import AutoregressiveBlock
from mimflow.priors.tarflow.model import Tarflow
from mimflow.priors.tarflow.spec import TarflowSpec
from mimflow.progress import Progress
from mimflow.system.modules import SystemModules
from mimflow.system.spec import Shapes, System
from mimflow.tokenizers.pixel.spec import PixelTokenizerSpec
from mimflow.training.layers import prepare_layers
from mimflow.training.loop import Splits, Trainer
from mimflow.training.spec import Adamw, Phase

PATCH = 2
CLASSES = 10
NOISE, DROP = 0.05, 0.1
OPTIMISER = Adamw(lr=1e-4, betas=[0.9, 0.95], weight_decay=1e-4)
WARM_UP = 3
"""Steps of each way that are not counted; compiled layers are made in them."""


class Case(NamedTuple):
    side: int
    """Tokens of a row, and of a column."""
    width: int
    blocks: int
    layers: int
    """Of each block."""
    batch: int


CASES = (Case(8, 128, 4, 2, 32), Case(16, 384, 1, 2, 16), Case(8, 1024, 1, 2, 8), Case(16, 768, 2, 4, 8))


def plain_norm(norm: nn.Module, h: Tensor) -> Tensor:
    """In fp32, whatever comes in, and back."""
    return norm(h.float()).type(h.dtype)


def plain_layer(layer: TransformerLayer, h: Tensor, mask: Tensor) -> Tensor:
    """(B, T, width) → (B, T, width), attending where the mask (T, T) says so."""
    attention = layer.attention
    batch, tokens, _ = h.shape
    split = attention.qkv(plain_norm(layer.attention_norm, h))
    heads = split.reshape(batch, tokens, 3 * attention.heads, attention.head_width).transpose(1, 2)
    queries, keys, values = heads.chunk(3, dim=1)
    attended = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
    h = h + attention.out(attended.transpose(1, 2).reshape(batch, tokens, -1))
    return h + layer.mlp(plain_norm(layer.mlp_norm, h))


def plain_block(block: AutoregressiveBlock, u: Tensor, labels: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """u (B, T, C) → z (B, T, C) and the log-determinant (B,) a dimension."""
    u = u.flip(1) if block.reverse else u
    table, positions = block.class_embed, block.pos_embed
    assert table is not None and positions is not None
    dropped = (labels < 0).float()[:, None, None]
    classes = (1 - dropped) * table[labels][:, None] + dropped * table.mean(0)
    h = block.proj_in(u) + (positions.flip(0) if block.reverse else positions) + classes
    for layer in block.transformer.layers:
        h = plain_layer(layer, h, mask)
    output = block.proj_out(h)
    output = torch.cat([torch.zeros_like(output[:, :1]), output[:, :-1]], dim=1)
    log_scale, shift = output.chunk(2, dim=-1)
    z = (u - shift) * (-log_scale.float()).exp().type(log_scale.dtype)
    return z.flip(1) if block.reverse else z, -log_scale.mean((1, 2))


def plain_loss(prior: Tarflow, tokens: Tensor, labels: Tensor) -> Tensor:
    """Nats per dimension without their constant; tokens are (B, T, C)."""
    mask = torch.ones(tokens.shape[1], tokens.shape[1], dtype=torch.bool, device=tokens.device).tril()
    logdet: Tensor | float = 0.0
    for block in prior.blocks:
        tokens, stretched = plain_block(block, tokens, labels, mask)
        logdet = logdet + stretched
    return 0.5 * tokens.pow(2).mean() - torch.as_tensor(logdet).mean()


class PlainStep:
    """The plain way's step on a batch of its own."""

    def __init__(self, prior: Tarflow, images: Tensor, labels: Tensor, precision: str):
        self.prior, self.images, self.labels, self.precision = prior.requires_grad_(True), images, labels, precision
        first, second = OPTIMISER.betas
        self.optimiser = torch.optim.AdamW(
            prior.parameters(), OPTIMISER.lr, (first, second), weight_decay=OPTIMISER.weight_decay
        )

    def __call__(self) -> None:
        images = self.images + NOISE * torch.randn_like(self.images)
        labels = torch.where(torch.rand(len(self.labels), device=images.device) < DROP, -1, self.labels)
        self.optimiser.zero_grad()
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            tokens = F.unfold(images, PATCH, stride=PATCH).transpose(1, 2)
            loss = plain_loss(self.prior, tokens, labels)
        loss.backward()
        self.optimiser.step()


class Alternately(Progress):
    """Makes a plain step after each of a trainer's, and notes how long each took, on the device too."""

    def __init__(self, plain: PlainStep, runs: int, device: torch.device):
        self.plain, self.runs, self.device = plain, runs, device
        self.times: tuple[list[float], list[float]] = ([], [])
        super().__init__("benchmark", quiet=True)

    def start(self, total: int, done: int = 0, unit: str = "step") -> None:
        super().start(total, done, unit)
        self.before = time.perf_counter()

    def advance(self, done: int, images: int = 0, **shown: float) -> None:
        """A step of the trainer's is done."""
        wait(self.device)
        between = time.perf_counter()
        self.plain()
        wait(self.device)
        after = time.perf_counter()
        if done > WARM_UP:
            self.times[0].append(after - between)
            self.times[1].append(between - self.before)
        if len(self.times[0]) == self.runs:
            raise Enough
        self.before = time.perf_counter()


def build(case: Case, precision: str) -> tuple[Objective, Phase, Shapes]:
    """TARFlow of this size, whose maps are not those of the start, where all predictions are zero."""
    torch.manual_seed(0)
    shapes = Shapes(channels=3, size=case.side * PATCH, num_classes=CLASSES)
    system = System(
        tokenizer=PixelTokenizerSpec(patch_size=PATCH),
        prior=TarflowSpec(width=case.width, blocks=[case.layers] * case.blocks),
    )
    objective: Objective = OBJECTIVES.build(
        NllSpec(noise=GaussianNoise(std=NOISE), label_drop=DROP), SystemModules(system, shapes), shapes
    )
    for name, parameter in objective.prior.named_parameters():
        if "proj_out" in name and name.endswith("weight"):
            nn.init.normal_(parameter, std=0.1 * case.width**-0.5)
    phase = Phase(
        objective=NllSpec(noise=GaussianNoise(std=NOISE), label_drop=DROP),
        steps=STEPS,
        batch_size=case.batch,
        optimizer=OPTIMISER,
        precision=precision,
        snapshots=[],
    )
    return objective, phase, shapes


def difference(objective: Objective, plain: PlainStep) -> float:
    """Between our loss and the plain one of the same tokens, relatively, in fp32."""
    tokens = F.unfold(plain.images, PATCH, stride=PATCH).transpose(1, 2)
    labels = torch.where(torch.arange(len(plain.labels), device=tokens.device) % 5 == 0, -1, plain.labels)
    with torch.no_grad():
        ours, _, _ = objective.prior.training_loss(tokens, labels, None)
        return abs(ours / plain_loss(plain.prior, tokens, labels) - 1).item()


def measure(case: Case, precision: str, runs: int, peak: float, device: torch.device, compiled: bool = False) -> str:
    """One line: the ratios, and our rate."""
    objective, phase, shapes = build(case, precision)
    objective = objective.to(device)
    split = random_split(shapes, 4 * case.batch)
    images = torch.rand(case.batch, shapes.channels, shapes.size, shapes.size, device=device) * 2 - 1
    labels = torch.arange(case.batch, device=device) % CLASSES
    plain = PlainStep(deepcopy(objective.prior), images, labels, precision)
    apart = difference(objective, plain)
    clock = Alternately(plain, runs, device)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            objective, phase, "main", phase.trained, Splits(split, split), 0, device, Path(folder), Path(folder), clock,
            "benchmark",
        )  # fmt: skip
        operations = flops_an_image(trainer, split) * case.batch
        prepare_layers(objective.system, Compute(compile=compiled))
        with suppress(Enough):
            trainer.run()
    ratios = ratios_of(*clock.times)
    rate = operations / ratios.fast
    layers = f"{case.blocks} × {case.layers} layers"
    return (
        f"{case.side**2:>4} tokens  width {case.width:>4}  {layers}  batch {case.batch:>2}  {precision}"
        f"{', compiled' if compiled else ''}  "
        f"{ratios.minimum:.2f}× by minimum  {ratios.median:.2f}× by median  "
        f"{ratios.slow * 1e3:.1f} against {ratios.fast * 1e3:.1f} ms  {rate / 1e9:.0f} GFLOP/s, {rate / peak:.0%} of "
        f"the peak  losses differ by {apart:.1e}"
    )


def about_the_processor() -> str:
    """Whether it does what `precision: bf16` asks for."""
    return f"the processor has {'' if has_bf16_products() else 'no '}products in bf16"


def peak_of(device: torch.device, precision: str) -> float:
    """FLOP/s in a precision; in fp32 for bf16 on a processor that has no products in it."""
    if device.type == "cpu":
        native = precision == "bf16" and has_bf16_products()
        return measured_peak(device, 1024, torch.bfloat16 if native else torch.float32)
    return measured_peak(device, 8192, torch.bfloat16 if precision == "bf16" else torch.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precisions", nargs="+", choices=["fp32", "bf16"], default=["fp32", "bf16"])
    parser.add_argument("--width", type=int, choices=[case.width for case in CASES], help="that case alone")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--compile", action="store_true", help="our layers compiled")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    print(torch.cuda.get_device_name(device) if device.type == "cuda" else about_the_processor(), flush=True)
    for precision in arguments.precisions:
        peak = peak_of(device, precision)
        print(f"peak {peak / 1e9:.0f} GFLOP/s", flush=True)
        for case in CASES:
            if arguments.width in (None, case.width):
                print(measure(case, precision, arguments.runs, peak, device, arguments.compile), flush=True)


if __name__ == "__main__":
    main()
