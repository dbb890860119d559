"""Stepwise sampling of TARFlow against the plain way of writing it: `python benchmarks/sampling.py --runs 5`.

`--device cuda` does the same on a GPU.

The plain way is the straightforward one, as we understand public TARFlow-style code without having read it: each layer
keeps the keys and values of all tokens in lists (an assumption: one tensor that grows would be kinder), a pair for the
conditional and one for the null branch, and joins a list with `torch.cat` at every token; the branches run one after
the other; the null class is the mean over the table, taken at every token; PyTorch's fused attention; gradients off.
What such code does once a block, as turning the positions around, is done once here, too.

Times are of batches after the first: ours makes its weights ready in that one, as a job does that draws many batches;
the plain way has nothing to make ready.

A line shows how many times faster ours is, and then what share ours reaches of the arithmetic and of the bandwidth of
memory that this machine was measured to have: of products and attention alone, every weight and every key and value
being read once a step. Where either comes near 100 %, nothing is left to gain in fp32.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from interleave import interleave
from torch import Tensor
from torch.nn import functional as F

from mimflow.nn.draws import Draws
from mimflow.nn.stepper import keeping_steppers
from mimflow.nn.transformer import TransformerLayer
from mimflow.priors.block import AutoregressiveBlock
from mimflow.priors.guidance.rules import LinearRule
from mimflow.priors.guidance.spec import LinearGuidance
from mimflow.priors.tarflow.model import Tarflow
from mimflow.priors.tarflow.spec import TarflowSpec
from mimflow.spec.shapes import LatentShape

WEIGHT = 1.5
CLASSES = 10


class Case(NamedTuple):
    tokens: int
    width: int
    blocks: int
    layers: int
    batch: int


CASES = (Case(64, 128, 4, 2, 32), Case(256, 384, 1, 2, 16), Case(64, 1024, 1, 2, 8), Case(256, 768, 2, 4, 8))


class Peak(NamedTuple):
    """What this machine does at best."""

    flops: float
    """Multiplications and additions a second, of a product of two large matrices."""
    bandwidth: float
    """Bytes a second that a sum over memory larger than any cache reads."""


PlainCache = dict[int, tuple[list[Tensor], list[Tensor]]]


def plain_layer(layer: TransformerLayer, index: int, h: Tensor, cache: PlainCache) -> Tensor:
    """One token (B, 1, width) through a layer; the cache is a list of the tokens so far, joined each time."""
    attention = layer.attention
    split = attention.qkv(layer.attention_norm(h)).unflatten(-1, (3 * attention.heads, attention.head_width))
    queries, key, value = split.transpose(1, 2).chunk(3, dim=1)
    keys, values = cache.setdefault(index, ([], []))
    keys.append(key)
    values.append(value)
    attended = F.scaled_dot_product_attention(queries, torch.cat(keys, dim=2), torch.cat(values, dim=2))
    h = h + attention.out(attended.transpose(1, 2).flatten(2))
    return h + layer.mlp(layer.mlp_norm(h))


def plain_branch(
    block: AutoregressiveBlock, u: Tensor, position: Tensor, labels: Tensor | None, cache: PlainCache
) -> tuple[Tensor, Tensor]:
    """Log-scale and shift of the next token, given one token u (B, 1, C); of the null class without labels."""
    classes = block.class_embed.mean(0) if labels is None else block.class_embed[labels][:, None]
    h = block.proj_in(u) + position + classes
    for index, layer in enumerate(block.transformer.layers):
        h = plain_layer(layer, index, h, cache)
    log_scale, shift = block.proj_out(h).chunk(2, dim=-1)
    return log_scale, shift


@torch.no_grad()
def plain_inverse(prior: Tarflow, z: Tensor, labels: Tensor, weight: float) -> Tensor:
    """Noise → latents, with annealed linear guidance where `weight` is not 0."""
    steps = z.shape[1] - 1
    for block in reversed(prior.blocks):
        z = z.flip(1) if block.reverse else z
        positions = block.pos_embed.flip(0) if block.reverse else block.pos_embed
        u = z.clone()
        conditional_cache: PlainCache = {}
        null_cache: PlainCache = {}
        for i in range(steps):
            token, position = u[:, i : i + 1], positions[i : i + 1]
            a, b = plain_branch(block, token, position, labels, conditional_cache)
            if weight:
                a_null, b_null = plain_branch(block, token, position, None, null_cache)
                g = weight * (i + 1) / steps
                a, b = a + g * (a - a_null), b + g * (b - b_null)
            u[:, i + 1] = z[:, i + 1] * a[:, 0].float().exp() + b[:, 0]
        z = u.flip(1) if block.reverse else u
    return z


def best(work: Callable[[], object], runs: int) -> float:
    """The least seconds of so many runs."""
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def completed(work: Callable[[], object], device: torch.device) -> Callable[[], object]:
    """The same, over when the device has done it."""

    def done() -> None:
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return done


def measured_peak(device: torch.device) -> Peak:
    """Of fp32, with as many threads as PyTorch uses."""
    side, numbers = (8192, 2**30) if device.type == "cuda" else (1024, 2**25)
    a, b, memory = (torch.randn(shape, device=device) for shape in ((side, side), (side, side), (numbers,)))
    product, total = completed(lambda: a @ b, device), completed(memory.sum, device)
    return Peak(2 * side**3 / best(product, 10), 4 * numbers / best(total, 10))


def shares(case: Case, guided: bool, seconds: float, peak: Peak) -> str:
    """What sampling in so many seconds reaches of the peak's arithmetic and bandwidth."""
    rows = case.batch * (2 if guided else 1)
    layer_steps = (case.tokens - 1) * case.blocks * case.layers
    weights, seen = 12 * case.width**2, 2 * rows * case.width * case.tokens / 2  # half of the tokens, on average
    flops, read = 2 * (rows * weights + seen) * layer_steps, 4 * (weights + seen) * layer_steps
    arithmetic, bandwidth = flops / seconds / peak.flops, read / seconds / peak.bandwidth
    return f"{arithmetic:4.0%} of the peak's arithmetic  {bandwidth:4.0%} of its bandwidth"


def measure(case: Case, weight: float, runs: int, peak: Peak, device: torch.device) -> str:
    """One line: the ratios, the shares of the peak, and the largest difference between the two results."""
    torch.manual_seed(0)
    spec = TarflowSpec(width=case.width, blocks=[case.layers] * case.blocks)
    prior = Tarflow(spec, LatentShape(case.tokens, 12), CLASSES).eval()
    for block in prior.blocks:
        torch.nn.init.normal_(block.proj_out.weight, std=0.1 * case.width**-0.5)
    prior, z = prior.to(device), prior.noise(Draws(range(case.batch))).to(device)
    labels = torch.arange(case.batch, device=device) % CLASSES
    guidance = LinearRule(LinearGuidance(weight=weight))

    difference = (plain_inverse(prior, z, labels, weight) - prior.inverse(z, labels, guidance)).abs().max()
    plain = completed(lambda: plain_inverse(prior, z, labels, weight), device)
    ours = completed(lambda: prior.inverse(z, labels, guidance), device)
    with keeping_steppers():
        ratios = interleave(plain, ours, runs)
    return (
        f"{case.tokens:>4} tokens  width {case.width:>4}  {case.blocks} × {case.layers} layers  batch {case.batch:>2}  "
        f"{'guided' if weight else 'unguided':<8}  {ratios.minimum:.2f}× by minimum  {ratios.median:.2f}× by median  "
        f"{shares(case, bool(weight), ratios.fast, peak)}  largest difference {difference:.1e}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--width", type=int, choices=[case.width for case in CASES], help="that case alone")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    peak = measured_peak(device)
    where = f"{arguments.threads} threads" if device.type == "cpu" else torch.cuda.get_device_name(device)
    print(f"{where}: {peak.flops / 1e9:.0f} GFLOP/s, {peak.bandwidth / 1e9:.1f} GB/s", flush=True)
    for case in CASES:
        if arguments.width in (None, case.width):
            for weight in (WEIGHT, 0.0):
                print(measure(case, weight, arguments.runs, peak, device), flush=True)


if __name__ == "__main__":
    main()
