"""A system's layers, as what large models are cut into: gathered, compiled and computed again a layer at a time."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from mimflow.compute.bf16 import bf16_products
from mimflow.compute.spec import Compute


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

    Both replace `forward` and nothing else: names of tensors, hooks and the other methods stay.
    """
    if compute.compile:
        # Compiled layers draw what layers that are not compiled draw.
        from torch._inductor import config as inductor  # seconds

        inductor.fallback_random = True
    for layer in layers_of(system):
        if compute.compile:
            layer.forward = torch.compile(layer.forward)
        if compute.activation_checkpointing:
            # It takes autocast to the backward pass, and not what stands in for a processor's products.
            layer.forward = partial(
                checkpoint, layer.forward, use_reentrant=False, context_fn=lambda: (nullcontext(), bf16_products())
            )
