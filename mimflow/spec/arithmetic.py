"""How many multiplications networks take, from their sizes alone: what a plan compares the costs of jobs by."""

from __future__ import annotations


def transformer_multiplications(width: int, layers: int, tokens: int, expansion: int = 4) -> int:
    """Those of a forward pass over a sequence: its linear maps, and the products of queries, keys and values.

    A causal transformer's count as the others'. Norms, embeddings and modulations are left out.
    """
    return layers * tokens * ((4 + 2 * expansion) * width**2 + 2 * tokens * width)


def convolution_multiplications(inputs: int, outputs: int, side: int, kernel: int = 3) -> int:
    """Those of a convolution with square kernels that gives `side` × `side` places."""
    return inputs * outputs * kernel**2 * side**2
