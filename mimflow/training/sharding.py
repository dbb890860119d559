"""Sharded training (FSDP2): each process keeps its part of every parameter, gradient, moment and average.

A layer's parameters are gathered while it computes. Files hold whole tensors, so that no other number of processes is
any the wiser: the first process gathers them one at a time, and every process takes its part of those that are read.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from mimflow.compute.processes import World
from mimflow.nn.modulation import Modulation
from mimflow.objectives.base import Batch, Objective
from mimflow.training.layers import layers_of


def shard(objective: Objective, world: World, device: torch.device) -> None:
    """Shard an objective, which is whole and alike in every process, and move it to the device, a layer at a time."""
    # Modulations are halves of one tensor, and nothing here changes a tensor in place.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor")
    mesh = init_device_mesh(device.type, (world.size,))
    # A transformer asks its layers' modulations for all of them at once, before the layers compute.
    modulations = [module for module in objective.system.modules() if isinstance(module, Modulation)]
    for module in (*modulations, *layers_of(objective.system)):
        fully_shard(module, mesh=mesh)
    # What is left: outside a forward pass nothing is gathered, so that who takes turns can be set on the shards.
    fully_shard(objective, mesh=mesh, reshard_after_forward=True)


def forward(objective: Objective, player: str, batch: Batch, carry: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
    """A sharded objective's loss and figures. Losses that differentiate on their way, such as adaptive weights, may.

    FSDP takes the end of any backward pass for the end of the step, and gives back what is gathered: here not yet.
    """
    assert isinstance(objective, FSDPModule)
    objective.set_reshard_after_backward(False, recurse=False)
    objective.set_is_last_backward(False)
    try:
        result: tuple[Tensor, dict[str, Tensor]] = objective(player, batch, carry)
    finally:
        objective.set_is_last_backward(True)
        objective.set_reshard_after_backward(True, recurse=False)
    return result


def gathered(tensors: Mapping[str, Tensor], world: World) -> dict[str, Tensor]:
    """Copies of whole tensors in the CPU's memory of the first process; nothing in the others."""
    copies = {}
    for name, tensor in tensors.items():
        whole = (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).detach()
        if world.first:
            copies[name] = whole.to("cpu", copy=True)
    return copies


def scattered(tensors: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Whole tensors, which every process has read, as those of the same names in `like` are: sharded or not."""
    return {name: _scattered(tensor, like[name]) for name, tensor in tensors.items()}


def _scattered(tensor: Tensor, like: Tensor) -> Tensor:
    if not isinstance(like, DTensor):
        return tensor
    mesh = like.device_mesh
    return distribute_tensor(tensor.to(mesh.device_type), mesh, like.placements, src_data_rank=None)


def whole(tensor: Tensor) -> Tensor:
    """A tensor that all processes have alike, of one that they have together."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def own_part(tensor: Tensor) -> Tensor:
    """What this process has of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def is_sharded(tensors: Iterable[Tensor]) -> bool:
    """Whether any of these is."""
    return any(isinstance(tensor, DTensor) for tensor in tensors)
