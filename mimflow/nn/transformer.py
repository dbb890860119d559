"""Causal pre-norm transformer layers, in parallel over a sequence or one token at a time."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mimflow.nn.cache import KeyValueCache

EXPLICIT_UP_TO = 512
"""Tokens up to which explicit products beat PyTorch's fused attention in half precision on the CPU."""


def causal_attention(queries: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
    """Softmax attention of each token to itself and those before it; all tensors (B, heads, T, head_width).

    In half precision on the CPU the fused kernel's backward is slow: forward and backward for 64 tokens take
    11.7 ms fused and 2.8 ms explicit, break-even lies between 256 and 1024. Elsewhere fused is the faster.
    """
    half = queries.dtype in (torch.bfloat16, torch.float16)
    tokens = queries.shape[2]
    if queries.device.type != "cpu" or not half or tokens > EXPLICIT_UP_TO:
        return F.scaled_dot_product_attention(queries, keys, values, is_causal=True, scale=scale)
    future = torch.full((tokens, tokens), -torch.inf, dtype=queries.dtype).triu(1)
    queries, keys, batched_values = queries.flatten(0, 1), keys.flatten(0, 1), values.flatten(0, 1)
    weights = torch.baddbmm(future, queries, keys.transpose(1, 2), alpha=scale).softmax(-1)
    return torch.bmm(weights, batched_values).view_as(values)


class CausalAttention(nn.Module):
    """Multi-head self-attention. The 3d outputs of `qkv` are all queries, then all keys, then all values."""

    def __init__(self, width: int, head_width: int):
        super().__init__()
        self.heads = width // head_width
        self.head_width = head_width
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def _split(self, h: Tensor) -> Tensor:
        """(…, width) → (…, 3, heads, head_width)."""
        return self.qkv(h).unflatten(-1, (3, self.heads, self.head_width))

    def forward(self, h: Tensor, temperature: float = 1.0) -> Tensor:
        """(B, T, width) → (B, T, width); the attention logits are divided by `temperature`."""
        queries, keys, values = self._split(h).permute(2, 0, 3, 1, 4).unbind(0)
        attended = causal_attention(queries, keys, values, self.head_width**-0.5 / temperature)
        return self.out(attended.transpose(1, 2).flatten(2))

    def step(self, h: Tensor, cache: KeyValueCache, layer: int, temperature: Tensor | float = 1.0) -> Tensor:
        """One token (B, width) → (B, width). A tensor of temperatures (B, 1, 1) gives each sample its own.

        For a single query explicit products are faster than the fused kernel.
        """
        split = self._split(h)
        keys, values = cache.append(layer, split[:, 1:])
        queries = (split[:, 0] * (self.head_width**-0.5 / temperature)).to(split.dtype)
        logits = torch.bmm(queries.view(-1, 1, self.head_width), keys.transpose(1, 2))
        attended = torch.bmm(logits.softmax(-1).to(values.dtype), values)
        return self.out(attended.view_as(h))


class Mlp(nn.Module):
    """Two linear maps with an exact GELU between them."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)

    def forward(self, h: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(h)))


class TransformerLayer(nn.Module):
    """h + Attention(LN(h)), then h + MLP(LN(h))."""

    def __init__(self, width: int, head_width: int, expansion: int):
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = CausalAttention(width, head_width)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = Mlp(width, expansion * width)

    def forward(self, h: Tensor, temperature: float = 1.0) -> Tensor:
        """(B, T, width) → (B, T, width)."""
        h = h + self.attention(self.attention_norm(h), temperature)
        return h + self.mlp(self.mlp_norm(h))

    def step(self, h: Tensor, cache: KeyValueCache, layer: int, temperature: Tensor | float = 1.0) -> Tensor:
        """One token (B, width) → (B, width)."""
        h = h + self.attention.step(self.attention_norm(h), cache, layer, temperature)
        return h + self.mlp(self.mlp_norm(h))


class Transformer(nn.Module):
    """A stack of causal layers with no norm after the last (TARFlow, section 2.2)."""

    def __init__(self, width: int, layers: int, head_width: int, expansion: int):
        super().__init__()
        self.heads = width // head_width
        self.head_width = head_width
        self.layers = nn.ModuleList(TransformerLayer(width, head_width, expansion) for _ in range(layers))

    def forward(self, h: Tensor, temperature: float = 1.0) -> Tensor:
        """All tokens at once: (B, T, width) → (B, T, width); token t sees tokens ≤ t."""
        for layer in self.layers:
            h = layer(h, temperature)
        return h

    def new_cache(self, batch: int, tokens: int) -> KeyValueCache:
        """An empty cache for `tokens` steps of a batch, in the precision that the keys will have."""
        weight = next(self.parameters())
        device = weight.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
        layers = len(self.layers)
        return KeyValueCache(layers, batch, self.heads, tokens, self.head_width, dtype, weight.device)

    def step(self, h: Tensor, cache: KeyValueCache, temperature: Tensor | float = 1.0) -> Tensor:
        """The next token: (B, width) → (B, width), equal to that token's output in the parallel pass.

        `temperature` is a number, or (B, 1, 1) with one for each sample.
        """
        for index, layer in enumerate(self.layers):
            h = layer.step(h, cache, index, temperature)
        cache.advance()
        return h
