"""Pre-norm transformer layers, causal or not, in parallel over a sequence or a part of it after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mimflow.nn.attention import attention, product_dtype
from mimflow.nn.cache import CacheSize, KeyValueCache
from mimflow.nn.modulation import Modulation, modulate
from mimflow.nn.modules import ModulesOf
from mimflow.nn.norm import make_norm
from mimflow.nn.rotary import rotate

Vectors = tuple[Tensor, ...]


@dataclass(frozen=True)
class TransformerOptions:
    """How the layers of a transformer are built."""

    width: int
    """Width of the hidden states."""
    head_width: int
    """Width of an attention head; `width / head_width` heads."""
    expansion: int
    """Hidden width of the MLPs over `width`."""
    norm: Literal["layer", "rms"] = "layer"
    """Normalisation before attention and MLP."""
    gated: bool = False
    """Whether attention has an output gate (Qiu et al., 2025, arXiv 2505.06708)."""
    modulated: bool = False
    """Whether a condition modulates the norms and gates both branches (adaLN-Zero)."""
    causal: bool = True
    """Whether a token sees itself and those before it only."""
    gelu: Literal["none", "tanh"] = "none"
    """The exact GELU, or, as in DiT, its `tanh` approximation."""

    @property
    def heads(self) -> int:
        """Attention heads of a layer."""
        return self.width // self.head_width


class SelfAttention(nn.Module):
    """Multi-head self-attention.

    The 3d outputs of `qkv` are all queries, then all keys, then all values. If gated, what the heads attended to is
    multiplied by sigmoid(W h) before the output projection, element by element and with the same input h: the place and
    the form that Qiu et al. find the best, W being width × width without a bias.
    """

    def __init__(self, options: TransformerOptions):
        super().__init__()
        width = options.width
        self.causal = options.causal
        self.heads = options.heads
        self.head_width = options.head_width
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.gate = nn.Linear(width, width, bias=False) if options.gated else None

    def _split(self, h: Tensor) -> Tensor:
        """(…, width) → (…, 3, heads, head_width)."""
        return self.qkv(h).unflatten(-1, (3, self.heads, self.head_width))

    def _project(self, attended: Tensor, h: Tensor) -> Tensor:
        """What the heads found (…, width), given their input h, → (…, width)."""
        return self.out(attended if self.gate is None else attended * self.gate(h).sigmoid())

    def forward(self, h: Tensor, rotation: Tensor | None = None) -> Tensor:
        """(B, T, width) → (B, T, width). `rotation` (T, head_width / 2, 2) turns queries and keys by positions."""
        split = self._split(h).permute(2, 0, 3, 1, 4)
        queries, keys, values = split.unbind(0)
        if rotation is not None:
            queries, keys = rotate(split[:2], rotation).unbind(0)
        attended = attention(queries, keys, values, self.head_width**-0.5, causal=self.causal)
        return self._project(attended.transpose(1, 2).flatten(2), h)

    def extend(
        self,
        h: Tensor,
        cache: KeyValueCache,
        layer: int,
        temperature: Tensor | float = 1.0,
        rotation: Tensor | None = None,
    ) -> Tensor:
        """The next tokens (B, T, width) → (B, T, width); the attention logits are divided by `temperature`.

        A tensor of temperatures (B, 1, 1) gives each sample its own. `rotation` (T, head_width / 2, 2) is of these
        tokens; keys are kept as they were turned.
        """
        split = self._split(h).permute(2, 0, 3, 1, 4)
        queries, keys, values = split.unbind(0)
        if rotation is not None:
            queries, keys = rotate(split[:2], rotation).unbind(0)
        tokens = h.shape[1]
        keys, values = cache.extend(layer, keys, values)
        to_come = torch.full((tokens, keys.shape[1]), -torch.inf, device=h.device).triu(cache.length + 1)
        temperature = temperature[..., None] if isinstance(temperature, Tensor) else temperature
        queries = (queries * (self.head_width**-0.5 / temperature)).to(keys.dtype)
        logits = torch.bmm(queries.flatten(0, 1), keys.transpose(1, 2)) + to_come
        attended = torch.bmm(logits.softmax(-1).to(values.dtype), values)
        return self._project(attended.unflatten(0, (-1, self.heads)).transpose(1, 2).flatten(2), h)


class Mlp(nn.Module):
    """Two linear maps with a GELU between them."""

    def __init__(self, options: TransformerOptions):
        super().__init__()
        self.gelu = options.gelu
        hidden = options.expansion * options.width
        self.up = nn.Linear(options.width, hidden)
        self.down = nn.Linear(hidden, options.width)

    def forward(self, h: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(h), approximate=self.gelu))


class TransformerLayer(nn.Module):
    """h + Attention(norm(h)), then h + MLP(norm(h)).

    A modulated layer's norms have no parameters: a condition shifts and scales what they return, and gates both
    branches.
    """

    def __init__(self, options: TransformerOptions):
        super().__init__()
        self.attention_norm = make_norm(options.norm, options.width, affine=not options.modulated)
        self.attention = SelfAttention(options)
        self.mlp_norm = make_norm(options.norm, options.width, affine=not options.modulated)
        self.mlp = Mlp(options)
        self.modulation = Modulation(options.width, 6) if options.modulated else None

    def forward(self, h: Tensor, modulation: Vectors | None = None, rotation: Tensor | None = None) -> Tensor:
        """(B, T, width) → (B, T, width)."""
        return self._residual(h, lambda x: self.attention(x, rotation), modulation)

    def extend(
        self,
        h: Tensor,
        cache: KeyValueCache,
        layer: int,
        temperature: Tensor | float = 1.0,
        modulation: Vectors | None = None,
        rotation: Tensor | None = None,
    ) -> Tensor:
        """The next tokens (B, T, width) → (B, T, width)."""
        return self._residual(h, lambda x: self.attention.extend(x, cache, layer, temperature, rotation), modulation)

    def _residual(self, h: Tensor, attend: Callable[[Tensor], Tensor], modulation: Vectors | None) -> Tensor:
        if modulation is None:
            h = h + attend(self.attention_norm(h))
            return h + self.mlp(self.mlp_norm(h))
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = modulation
        h = h + gate * attend(modulate(self.attention_norm(h), shift, scale))
        return h + mlp_gate * self.mlp(modulate(self.mlp_norm(h), mlp_shift, mlp_scale))


class Transformer(nn.Module):
    """A stack of layers with no norm after the last (TARFlow, section 2.2).

    Layers that are `shared` belong to another module. They run first and count among the `layers`; a stack of fewer
    layers than there are shared ones has those alone.
    """

    def __init__(self, options: TransformerOptions, layers: int, *, shared: Sequence[TransformerLayer] = ()):
        super().__init__()
        self.options = options
        self.shared = tuple(shared)  # not a ModuleList, which would make them this module's own
        self.layers = ModulesOf(TransformerLayer(options) for _ in range(layers - len(self.shared)))

    @property
    def stack(self) -> list[TransformerLayer]:
        """All layers, in the order in which they run."""
        return [*self.shared, *self.layers]

    def modulations(self, condition: Tensor) -> list[Vectors | None]:
        """What a condition does to each layer: (…, width) → six tensors (…, width) a layer, None if not modulated.

        Sampling asks once for a sequence. For the parallel pass the condition is (B, 1, width).
        """
        return [None if layer.modulation is None else layer.modulation(condition) for layer in self.stack]

    def layer_outputs(
        self, h: Tensor, modulations: list[Vectors | None] | None = None, rotation: Tensor | None = None
    ) -> Iterator[Tensor]:
        """All tokens at once, after every layer: (B, T, width) each. `rotation` is (T, head_width / 2, 2)."""
        stack = self.stack
        for layer, modulation in zip(stack, modulations or [None] * len(stack), strict=True):
            h = layer(h, modulation, rotation)
            yield h

    def new_cache(self, batch: int, tokens: int) -> KeyValueCache:
        """An empty cache for `tokens` of a batch, in the precision that the keys will have."""
        stack = self.stack
        weight = stack[0].attention.qkv.weight
        heads, head_width = self.options.heads, self.options.head_width
        dtype = product_dtype(weight)
        return KeyValueCache(CacheSize(len(stack), batch, heads, tokens, head_width, dtype, weight.device))

    def extend(
        self,
        h: Tensor,
        cache: KeyValueCache,
        temperature: Tensor | float = 1.0,
        modulations: list[Vectors | None] | None = None,
        rotation: Tensor | None = None,
    ) -> Tensor:
        """The next tokens: (B, T, width) → (B, T, width), equal to those tokens' outputs in the parallel pass.

        They stay in the cache once it is advanced by T. `temperature` is a number, or (B, 1, 1) with one for each
        sample; `rotation` is the whole sequence's; modulations are as for the parallel pass.
        """
        turned = None if rotation is None else rotation[cache.length : cache.length + h.shape[1]]
        stack = self.stack
        for index, (layer, modulation) in enumerate(zip(stack, modulations or [None] * len(stack), strict=True)):
            h = layer.extend(h, cache, index, temperature, modulation, turned)
        return h
