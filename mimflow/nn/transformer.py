"""Pre-norm transformer layers, causal or not, in parallel over a sequence or one token at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mimflow.nn.cache import KeyValueCache
from mimflow.nn.modulation import Modulation, modulate
from mimflow.nn.norm import make_norm
from mimflow.nn.rotary import rotate

Vectors = tuple[Tensor, ...]

EXPLICIT_UP_TO = 512
"""Tokens up to which explicit products beat PyTorch's fused attention in half precision on the CPU."""


def attention(queries: Tensor, keys: Tensor, values: Tensor, scale: float, *, causal: bool) -> Tensor:
    """Softmax attention of each token to all, or, causal, to itself and those before it.

    All tensors are (B, heads, T, head_width).

    In half precision on the CPU the fused kernel's backward is slow: forward and backward for 64 tokens take
    11.7 ms fused and 2.8 ms explicit, break-even lies between 256 and 1024. Elsewhere fused is the faster.
    """
    half = queries.dtype in (torch.bfloat16, torch.float16)
    tokens = queries.shape[2]
    if queries.device.type != "cpu" or not half or tokens > EXPLICIT_UP_TO:
        return F.scaled_dot_product_attention(queries, keys, values, is_causal=causal, scale=scale)
    hidden = torch.zeros((tokens, tokens), dtype=queries.dtype)
    if causal:
        hidden = torch.full_like(hidden, -torch.inf).triu(1)
    queries, keys, batched_values = queries.flatten(0, 1), keys.flatten(0, 1), values.flatten(0, 1)
    weights = torch.baddbmm(hidden, queries, keys.transpose(1, 2), alpha=scale).softmax(-1)
    return torch.bmm(weights, batched_values).view_as(values)


class SelfAttention(nn.Module):
    """Multi-head self-attention, causal unless told.

    The 3d outputs of `qkv` are all queries, then all keys, then all values.

    If `gated`, what the heads attended to is multiplied by sigmoid(W h) before the output projection (Qiu et al.,
    arXiv 2505.06708).
    """

    def __init__(self, width: int, head_width: int, *, gated: bool = False, causal: bool = True):
        super().__init__()
        self.causal = causal
        self.heads = width // head_width
        self.head_width = head_width
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.gate = nn.Linear(width, width) if gated else None

    def _split(self, h: Tensor) -> Tensor:
        """(…, width) → (…, 3, heads, head_width)."""
        return self.qkv(h).unflatten(-1, (3, self.heads, self.head_width))

    def _project(self, attended: Tensor, h: Tensor) -> Tensor:
        """What the heads found (…, width), given their input h, → (…, width)."""
        return self.out(attended if self.gate is None else attended * self.gate(h).sigmoid())

    def forward(self, h: Tensor, temperature: float = 1.0, rotation: Tensor | None = None) -> Tensor:
        """(B, T, width) → (B, T, width); the attention logits are divided by `temperature`.

        `rotation` (T, head_width / 2, 2) turns queries and keys by their positions.
        """
        split = self._split(h).permute(2, 0, 3, 1, 4)
        queries, keys, values = split.unbind(0)
        if rotation is not None:
            queries, keys = rotate(split[:2], rotation).unbind(0)
        attended = attention(queries, keys, values, self.head_width**-0.5 / temperature, causal=self.causal)
        return self._project(attended.transpose(1, 2).flatten(2), h)

    def step(
        self,
        h: Tensor,
        cache: KeyValueCache,
        layer: int,
        temperature: Tensor | float = 1.0,
        rotation: Tensor | None = None,
    ) -> Tensor:
        """One token (B, width) → (B, width). A tensor of temperatures (B, 1, 1) gives each sample its own.

        `rotation` (head_width / 2, 2) is the token's; keys are kept as they were turned. For a single query explicit
        products are faster than the fused kernel.
        """
        split = self._split(h)
        if rotation is not None:
            split = torch.cat([rotate(split[:, :2], rotation), split[:, 2:]], dim=1)
        keys, values = cache.append(layer, split[:, 1:])
        queries = (split[:, 0] * (self.head_width**-0.5 / temperature)).to(split.dtype)
        logits = torch.bmm(queries.view(-1, 1, self.head_width), keys.transpose(1, 2))
        attended = torch.bmm(logits.softmax(-1).to(values.dtype), values)
        return self._project(attended.view_as(h), h)


class Mlp(nn.Module):
    """Two linear maps with a GELU between them, exact or, as in DiT, by its `tanh` approximation."""

    def __init__(self, width: int, hidden: int, *, gelu: Literal["none", "tanh"] = "none"):
        super().__init__()
        self.gelu = gelu
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)

    def forward(self, h: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(h), approximate=self.gelu))


class TransformerLayer(nn.Module):
    """h + Attention(norm(h)), then h + MLP(norm(h)).

    A `modulated` layer's norms have no parameters: a condition shifts and scales what they return, and gates both
    branches (adaLN-Zero).
    """

    def __init__(
        self,
        width: int,
        head_width: int,
        expansion: int,
        *,
        norm: str = "layer",
        gated: bool = False,
        modulated: bool = False,
        causal: bool = True,
        gelu: Literal["none", "tanh"] = "none",
    ):
        super().__init__()
        self.attention_norm = make_norm(norm, width, affine=not modulated)
        self.attention = SelfAttention(width, head_width, gated=gated, causal=causal)
        self.mlp_norm = make_norm(norm, width, affine=not modulated)
        self.mlp = Mlp(width, expansion * width, gelu=gelu)
        self.modulation = Modulation(width, 6) if modulated else None

    def forward(
        self,
        h: Tensor,
        temperature: float = 1.0,
        modulation: Vectors | None = None,
        rotation: Tensor | None = None,
    ) -> Tensor:
        """(B, T, width) → (B, T, width)."""
        return self._residual(h, lambda x: self.attention(x, temperature, rotation), modulation)

    def step(
        self,
        h: Tensor,
        cache: KeyValueCache,
        layer: int,
        temperature: Tensor | float = 1.0,
        modulation: Vectors | None = None,
        rotation: Tensor | None = None,
    ) -> Tensor:
        """One token (B, width) → (B, width)."""
        return self._residual(h, lambda x: self.attention.step(x, cache, layer, temperature, rotation), modulation)

    def _residual(self, h: Tensor, attend: Callable[[Tensor], Tensor], modulation: Vectors | None) -> Tensor:
        if modulation is None:
            h = h + attend(self.attention_norm(h))
            return h + self.mlp(self.mlp_norm(h))
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = modulation
        h = h + gate * attend(modulate(self.attention_norm(h), shift, scale))
        return h + mlp_gate * self.mlp(modulate(self.mlp_norm(h), mlp_shift, mlp_scale))


class Transformer(nn.Module):
    """A stack of layers with no norm after the last, causal (TARFlow, section 2.2) unless told.

    Layers that are `shared` belong to another module. They run first and count among the `layers`; a stack of fewer
    layers than there are shared ones has those alone.
    """

    def __init__(
        self,
        width: int,
        layers: int,
        head_width: int,
        expansion: int,
        *,
        norm: str = "layer",
        gated: bool = False,
        modulated: bool = False,
        causal: bool = True,
        gelu: Literal["none", "tanh"] = "none",
        shared: Sequence[TransformerLayer] = (),
    ):
        super().__init__()
        self.heads = width // head_width
        self.head_width = head_width
        self.modulated = modulated
        self.shared = tuple(shared)  # not a ModuleList, which would make them this module's own
        self.layers = nn.ModuleList(
            TransformerLayer(
                width, head_width, expansion, norm=norm, gated=gated, modulated=modulated, causal=causal, gelu=gelu
            )
            for _ in range(layers - len(self.shared))
        )

    @property
    def stack(self) -> list[TransformerLayer]:
        """All layers, in the order in which they run."""
        return [*self.shared, *self.layers]

    def modulations(self, condition: Tensor) -> list[Vectors | None]:
        """What a condition does to each layer: (…, width) → six tensors (…, width) a layer, None if not modulated.

        Sampling asks once for a sequence. For the parallel pass the condition is (B, 1, width).
        """
        return [layer.modulation(condition) if self.modulated else None for layer in self.stack]

    def forward(self, h: Tensor, temperature: float = 1.0) -> Tensor:
        """All tokens at once: (B, T, width) → (B, T, width); causal, token t sees tokens ≤ t."""
        for output in self.layer_outputs(h, temperature):
            h = output
        return h

    def layer_outputs(
        self,
        h: Tensor,
        temperature: float = 1.0,
        modulations: list[Vectors | None] | None = None,
        rotation: Tensor | None = None,
    ) -> Iterator[Tensor]:
        """All tokens at once, after every layer: (B, T, width) each. `rotation` is (T, head_width / 2, 2)."""
        stack = self.stack
        for layer, modulation in zip(stack, modulations or [None] * len(stack), strict=True):
            h = layer(h, temperature, modulation, rotation)
            yield h

    def new_cache(self, batch: int, tokens: int) -> KeyValueCache:
        """An empty cache for `tokens` steps of a batch, in the precision that the keys will have."""
        stack = self.stack
        weight = stack[0].attention.qkv.weight
        device = weight.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
        return KeyValueCache(len(stack), batch, self.heads, tokens, self.head_width, dtype, weight.device)

    def step(
        self,
        h: Tensor,
        cache: KeyValueCache,
        temperature: Tensor | float = 1.0,
        modulations: list[Vectors | None] | None = None,
        rotation: Tensor | None = None,
    ) -> Tensor:
        """The next token: (B, width) → (B, width), equal to that token's output in the parallel pass.

        `temperature` is a number, or (B, 1, 1) with one for each sample; `rotation` is the whole sequence's.
        """
        turned = None if rotation is None else rotation[cache.length]
        stack = self.stack
        for index, (layer, modulation) in enumerate(zip(stack, modulations or [None] * len(stack), strict=True)):
            h = layer.step(h, cache, index, temperature, modulation, turned)
        cache.advance()
        return h
