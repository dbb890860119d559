"""Stepwise sampling of TARFlow against the plain way of writing it: `python benchmarks/sampling.py --runs 5`.

The plain way is the usual one in public code: `torch.cat` of keys and values at each token, the conditional
and the null branch one after the other, embeddings looked up at each token.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import torch
from interleave import interleave
from torch import Tensor
from torch.nn import functional as F

from mimflow.nn.draws import Draws
from mimflow.nn.transformer import TransformerLayer
from mimflow.priors.base import NULL_CLASS
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
    batch: int


CASES = (Case(64, 128, 4, 32), Case(256, 384, 1, 16), Case(64, 1024, 1, 8))

PlainCache = dict[int, tuple[Tensor, Tensor]]


def plain_layer(layer: TransformerLayer, index: int, h: Tensor, cache: PlainCache) -> Tensor:
    """One token (B, 1, width) through a layer; the cache grows by concatenation."""
    attention = layer.attention
    split = attention.qkv(layer.attention_norm(h)).unflatten(-1, (3, attention.heads, attention.head_width))
    queries, keys, values = split.permute(2, 0, 3, 1, 4).unbind(0)
    if index in cache:
        keys = torch.cat([cache[index][0], keys], dim=2)
        values = torch.cat([cache[index][1], values], dim=2)
    cache[index] = (keys, values)
    attended = F.scaled_dot_product_attention(queries, keys, values)
    h = h + attention.out(attended.transpose(1, 2).flatten(2))
    return h + layer.mlp(layer.mlp_norm(h))


def plain_branch(
    block: AutoregressiveBlock, u: Tensor, position: Tensor, labels: Tensor, cache: PlainCache
) -> tuple[Tensor, Tensor]:
    """Log-scale and shift of the next token, given one token u (B, 1, C)."""
    classes = torch.where(labels[:, None] >= 0, block.class_embed[labels], block.class_embed.mean(0))
    h = block.proj_in(u) + position + classes[:, None]
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
                null = torch.full_like(labels, NULL_CLASS)
                a_null, b_null = plain_branch(block, token, position, null, null_cache)
                g = weight * (i + 1) / steps
                a, b = a + g * (a - a_null), b + g * (b - b_null)
            u[:, i + 1] = z[:, i + 1] * a[:, 0].float().exp() + b[:, 0]
        z = u.flip(1) if block.reverse else u
    return z


def measure(case: Case, weight: float, runs: int) -> str:
    """One line: the ratios, and the largest difference between the two results."""
    torch.manual_seed(0)
    spec = TarflowSpec(width=case.width, blocks=[2] * case.blocks)
    prior = Tarflow(spec, LatentShape(case.tokens, 12), CLASSES).eval()
    for block in prior.blocks:
        torch.nn.init.normal_(block.proj_out.weight, std=0.1 * case.width**-0.5)
    z = prior.noise(Draws(range(case.batch)))
    labels = torch.arange(case.batch) % CLASSES
    guidance = LinearRule(LinearGuidance(weight=weight))

    difference = (plain_inverse(prior, z, labels, weight) - prior.inverse(z, labels, guidance)).abs().max()
    ratios = interleave(
        lambda: plain_inverse(prior, z, labels, weight), lambda: prior.inverse(z, labels, guidance), runs
    )
    return (
        f"{case.tokens:>4} tokens  width {case.width:>4}  {case.blocks} × 2 layers  batch {case.batch:>2}  "
        f"{'guided' if weight else 'unguided':<8}  {ratios.minimum:.2f}× by minimum  "
        f"{ratios.median:.2f}× by median  largest difference {difference:.1e}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for case in CASES:
        for weight in (WEIGHT, 0.0):
            print(measure(case, weight, arguments.runs), flush=True)


if __name__ == "__main__":
    main()
