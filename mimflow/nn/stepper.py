"""A transformer's step over one sequence, with all that its tokens share made ready once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from weakref import WeakValueDictionary

import torch
from torch import Tensor
from torch.nn import functional as F

from mimflow.nn.affine import at_least_fp32
from mimflow.nn.attention import product_dtype
from mimflow.nn.cache import CacheSize, KeyValueCache, SegmentedCache, Segments, StaticCache, StepCache
from mimflow.nn.prepared import Map, prepared_linear, prepared_norm
from mimflow.nn.rotary import rotate
from mimflow.nn.transformer import SelfAttention, Transformer, TransformerLayer, Vectors

ROOT_HALF = 0.5**0.5
WHOLE = (torch.float32, torch.float64)
"""Precisions in which weights can be scaled, and numbers paired, without a loss that matters."""
WHOLE_UP_TO = 64
"""Tokens whose keys and values a processor is not slowed down by the gaps of: its caches hold them."""
SEGMENTS = 4
"""Of a sequence, for static steps: in one that has reached the n-th, n of them are read."""

Modulations = list[Vectors | None] | None
"""Six vectors (batch, width) a layer."""


class _Kept:
    """The last stepper of each transformer with what it was made for, and their caches, one of each size."""

    def __init__(self) -> None:
        self.steppers: dict[Transformer, tuple[tuple[int, int, torch.dtype], Stepper]] = {}
        self._caches: WeakValueDictionary[tuple[type[StepCache], CacheSize], StepCache] = WeakValueDictionary()

    def cache(self, kind: type[StepCache], size: CacheSize) -> StepCache:
        """That which steppers of this size share."""
        cache = self._caches.get((kind, size)) or kind(size)
        self._caches[kind, size] = cache
        return cache


_KEPT: ContextVar[_Kept | None] = ContextVar("kept steppers", default=None)


@contextmanager
def keeping_steppers() -> Iterator[None]:
    """While this is open, steppers and their graphs are made for the first batch alone, and serve those that follow.

    For sampling in many batches of a size. The copies of all weights stay, so the weights themselves must not change;
    transformers must take their turns.
    """
    token = _KEPT.set(_Kept())
    try:
        yield
    finally:
        _KEPT.reset(token)


def stepper_for(transformer: Transformer, batch: int, tokens: int, rotation: Tensor | None = None) -> Stepper:
    """A stepper for sequences of this size, a new one or one that is kept: `begin` it before its first token."""
    kept = _KEPT.get()
    if kept is None:
        return Stepper(transformer, batch, tokens, rotation=rotation)
    made_for = batch, tokens, product_dtype(transformer.stack[0].attention.qkv.weight)
    if transformer not in kept.steppers or kept.steppers[transformer][0] != made_for:
        kept.steppers[transformer] = made_for, Stepper(transformer, batch, tokens, rotation=rotation)
    return kept.steppers[transformer][1]


class Stepper:
    """The steps of a transformer for one sequence and a batch of a fixed size, without a graph.

    They give what the parallel pass does but for rounding. Weights are copied into the layouts and the precision that
    products run in (autocast's, where it is on when this is made), and what a condition or a position gives is computed
    once. `static` steps have shapes that change a few times in a sequence and not at each token: a GPU captures each as
    a CUDA graph and replays it. A processor, which gains nothing by that, reads only what a token can see.

    `begin` goes to the first token of a sequence with other conditions than none.
    """

    def __init__(
        self,
        transformer: Transformer,
        batch: int,
        tokens: int,
        *,
        rotation: Tensor | None = None,
        static: bool | None = None,
    ):
        stack, options = transformer.stack, transformer.options
        weight = stack[0].attention.qkv.weight
        dtype, device = product_dtype(weight), weight.device
        static = device.type == "cuda" if static is None else static
        segmented = dtype in WHOLE and tokens > WHOLE_UP_TO  # in half precision a sum over segments would round
        kind = StaticCache if static else SegmentedCache if segmented else KeyValueCache
        size = CacheSize(len(stack), batch, options.heads, tokens, options.head_width, dtype, device)
        kept = _KEPT.get()
        self.cache = kind(size) if kept is None else kept.cache(kind, size)
        turns = None if rotation is None else _Turns(rotation, dtype)
        self._layers = [_Layer(layer, index, self.cache, batch, dtype, turns) for index, layer in enumerate(stack)]
        self._segment = -(-tokens // SEGMENTS)
        self._graphs: dict[int, tuple[torch.cuda.CUDAGraph, Tensor]] = {}
        self._conditions: tuple[float | None, bool] | None = None
        self._given = torch.empty(batch, options.width, dtype=weight.dtype, device=device)
        self.begin()

    def begin(self, temperature: Tensor | float = 1.0, modulations: Modulations = None) -> None:
        """Go to the first token of a sequence with these conditions, which take the place of those before.

        `temperature` is attention's, a number or (batch, 1, 1).
        """
        self.cache.begin()
        self._taken = 0
        kind = temperature if isinstance(temperature, float) else None, modulations is None
        if kind != self._conditions:
            self._graphs.clear()  # they compute with other conditions, and not only with other numbers
        self._conditions = kind
        for layer, modulation in zip(self._layers, modulations or [None] * len(self._layers), strict=True):
            layer.begin(temperature, modulation)

    def __call__(self, h: Tensor) -> Tensor:
        """The next token: (batch, width) → (batch, width), both in at least fp32; `h` is overwritten.

        What is returned may be overwritten by the next call.
        """
        if isinstance(self.cache, StaticCache):
            return self._static_step(h, self.cache)
        return self._step(h)

    def _step(self, h: Tensor) -> Tensor:
        hidden = self.cache.hidden
        for layer in self._layers:
            h = layer(h, hidden)
        self.cache.advance()
        return h

    def _static_step(self, h: Tensor, cache: StaticCache) -> Tensor:
        """A step that attends to the segments up to its own: as many graphs as there are segments."""
        cache.seen = self._segment * (1 + self._taken // self._segment)
        if h.device.type == "cuda" and cache.seen not in self._graphs:
            self._graphs[cache.seen] = self._captured(cache)
        self._taken += 1
        if h.device.type != "cuda":
            return self._step(h)
        graph, result = self._graphs[cache.seen]
        self._given.copy_(h)
        graph.replay()
        return result

    def _captured(self, cache: StaticCache) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        """The step from `_given` as a graph, and where its result will be."""
        aside, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.autocast("cuda", enabled=False):
            with torch.cuda.stream(aside):  # libraries choose their kernels and allocate what they keep
                self._step(self._given.zero_())
            torch.cuda.current_stream().wait_stream(aside)
            cache.go_to(self._taken)
            with torch.cuda.graph(graph):
                result = self._step(self._given.clone())
        return graph, result


class _Turns:
    """Rotary positions of a sequence: as products of complex numbers, one operation in place of ten, where they fit."""

    def __init__(self, rotation: Tensor, dtype: torch.dtype):
        self.complex = dtype in WHOLE
        self.table = torch.view_as_complex(rotation.to(dtype).contiguous()) if self.complex else rotation

    def turn(self, queries_keys: Tensor, cache: StepCache) -> None:
        """Turn (B, 2, heads, head_width), in place, to the cache's position."""
        turned = cache.here(self.table)
        if self.complex:
            torch.view_as_complex(queries_keys.unflatten(-1, (-1, 2))).mul_(turned)
        else:
            queries_keys.copy_(rotate(queries_keys, turned))


class _Layer:
    """One layer's step (batch, width) → (batch, width)."""

    def __init__(
        self,
        layer: TransformerLayer,
        index: int,
        cache: StepCache,
        batch: int,
        dtype: torch.dtype,
        turns: _Turns | None,
    ):
        attention, mlp = layer.attention, layer.mlp
        self.index, self.cache, self.dtype, self.turns = index, cache, dtype, turns
        self.split = (batch, 3, attention.heads, attention.head_width)
        self.half = dtype not in WHOLE
        self.attention_norm, self.mlp_norm = prepared_norm(layer.attention_norm), prepared_norm(layer.mlp_norm)
        self.attention_vectors: Vectors | None = None
        self.mlp_vectors: Vectors | None = None
        self.cooling: Tensor | float | None = None
        self.qkv = prepared_linear(*_scaled_queries(attention), batch, dtype)
        self.out = prepared_linear(attention.out.weight, attention.out.bias, batch, dtype)
        self.gate = None if attention.gate is None else prepared_linear(attention.gate.weight, None, batch, dtype)
        # GELU(x) = v (1 + erf v) / √2 at v = x / √2, two fast operations once the maps around it have the roots.
        self.approximate = mlp.gelu
        self.by_erf = mlp.gelu == "none" and dtype in WHOLE and mlp.up.weight.device.type == "cpu"
        root = ROOT_HALF if self.by_erf else 1.0
        self.up = prepared_linear(root * mlp.up.weight, root * mlp.up.bias, batch, dtype)
        self.down = prepared_linear(root * mlp.down.weight, mlp.down.bias, batch, dtype)

    def begin(self, temperature: Tensor | float, modulation: Vectors | None) -> None:
        """Take over the conditions of a sequence; tensors where those of the last one are, and graphs read them."""
        if isinstance(temperature, Tensor):
            cooling = 1 / temperature
            self.cooling = self.cooling.copy_(cooling) if isinstance(self.cooling, Tensor) else cooling
        else:
            self.cooling = None if temperature == 1.0 else 1 / temperature
        self.attention_vectors = _renewed(self.attention_vectors, _vectors(modulation, 0))
        self.mlp_vectors = _renewed(self.mlp_vectors, _vectors(modulation, 3))

    def __call__(self, h: Tensor, hidden: Tensor | None) -> Tensor:
        h = self._residual(h, self.attention_norm, lambda x: self._attend(x, hidden), self.attention_vectors)
        return self._residual(h, self.mlp_norm, lambda x: self.down(self._gelu(self.up(x))), self.mlp_vectors)

    def _residual(self, h: Tensor, norm: Map, branch: Map, vectors: Vectors | None) -> Tensor:
        """h + branch(norm(h)), modulated and gated if there are vectors for it; in h's memory."""
        x = norm(h)
        if vectors is not None:
            x = torch.addcmul(vectors[0], x, vectors[1])
        found = branch(x.to(self.dtype) if self.half else x)
        return h.add_(found) if vectors is None else h.addcmul_(found, vectors[2])

    def _attend(self, x: Tensor, hidden: Tensor | None) -> Tensor:
        split = self.qkv(x).view(self.split)
        if self.turns is not None:
            self.turns.turn(split[:, :2], self.cache)
        segments = self.cache.append(self.index, split[:, 1:])
        queries = split[:, 0]
        if self.cooling is not None:
            queries = (queries * self.cooling).to(self.dtype)
        attended = self._attended(queries.reshape(-1, 1, self.split[-1]), segments, hidden).view_as(x)
        return self.out(attended if self.gate is None else attended * self.gate(x).sigmoid())

    def _attended(self, queries: Tensor, segments: Segments, hidden: Tensor | None) -> Tensor:
        """Queries (B · heads, 1, head_width) → the values that they attend to, of the same shape."""
        every = [torch.bmm(queries, keys) for keys, _ in segments]
        logits = every[0] if len(every) == 1 else torch.cat(every, -1)
        if hidden is not None:
            logits += hidden
        # Half precision has too few digits for a sum over many tokens.
        weights = torch.softmax(logits, -1, torch.float32).to(self.dtype) if self.half else torch.softmax(logits, -1)
        if len(segments) == 1:
            return torch.bmm(weights, segments[0][1])
        first, *others = zip(weights.split([values.shape[1] for _, values in segments], -1), segments, strict=True)
        attended = torch.bmm(first[0], first[1][1])
        for weight, (_, values) in others:
            attended.baddbmm_(weight, values)
        return attended

    def _gelu(self, x: Tensor) -> Tensor:
        return torch.addcmul(x, x, torch.erf(x), out=x) if self.by_erf else F.gelu(x, approximate=self.approximate)


def _scaled_queries(attention: SelfAttention) -> tuple[Tensor, Tensor]:
    """The weight and bias of queries, keys and values, queries divided by √head_width."""
    weight, bias = attention.qkv.weight.detach().clone(), attention.qkv.bias.detach().clone()
    width = weight.shape[1]
    weight[:width] *= attention.head_width**-0.5
    bias[:width] *= attention.head_width**-0.5
    return weight, bias


def _vectors(modulation: Vectors | None, first: int) -> Vectors | None:
    """Shift, 1 + scale and gate of the branch whose three vectors begin at `first`."""
    if modulation is None:
        return None
    shift, scale, gate = map(at_least_fp32, modulation[first : first + 3])
    return shift, 1 + scale, gate


def _renewed(old: Vectors | None, new: Vectors | None) -> Vectors | None:
    """The new vectors in the old ones' memory, if there are any."""
    if old is None or new is None:
        return new
    return tuple(kept.copy_(vector) for kept, vector in zip(old, new, strict=True))
