"""A system's layers, as what large models are cut into: gathered, compiled and computed again a layer at a time."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from mimflow.compute.bf16 import bf16_products
from mimflow.compute.spec import Compute
from mimflow.nn.layout import MapLayout

SHAPES = 64
"""Of weights and maps that one kind of layer is compiled for at most; a KL-VAE's residual blocks have a dozen."""


def layers_of(system: nn.Module) -> list[nn.Module]:
    """The innermost members of its lists of modules, each once: layers of transformers, residual blocks.

    Not PyTorch's own modules, which are too small, nor what has no parameters.
    """
    lists = [module for module in system.modules() if isinstance(module, nn.ModuleList)]
    members = {member: None for one in lists for member in one}  # a layer that stacks share is in one list
    return [
        member
        for member in members
        if not type(member).__module__.startswith("torch.nn")
        and not any(isinstance(inner, nn.ModuleList) and len(inner) for inner in member.modules())
        and next(member.parameters(), None) is not None
    ]


def prepare_layers(system: nn.Module, compute: Compute) -> None:
    """Let its layers be compiled, and computed again in the backward pass, where `compute` says so.

    Both replace `forward`, and maps are laid out for compiled layers: names of tensors, hooks and the other methods
    stay.
    """
    if compute.compile:
        _set_up_compiler()
        for module in system.modules():
            if isinstance(module, MapLayout):
                module.compiled = True
    for layer in layers_of(system):
        if compute.compile:
            # Maps have a few sizes, sequences any length.
            of_maps = any(isinstance(inner, nn.Conv2d) for inner in layer.modules())
            layer.forward = torch.compile(layer.forward, dynamic=False if of_maps else None)
        if compute.activation_checkpointing:
            # It takes autocast to the backward pass, and not what stands in for a processor's products.
            layer.forward = partial(
                checkpoint, layer.forward, use_reentrant=False, context_fn=lambda: (nullcontext(), bf16_products())
            )


def _set_up_compiler() -> None:
    from torch._dynamo import config as dynamo  # seconds
    from torch._functorch import config as functorch
    from torch._inductor import config as inductor

    inductor.fallback_random = True  # compiled layers draw what others draw
    functorch.donated_buffer = False  # joint systems go backward through a graph several times
    dynamo.recompile_limit = max(dynamo.recompile_limit, SHAPES)
