"""PyTorch's optimisers, built from specs, with their state as named tensors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mimflow.training.spec import Adamw


def build_optimiser(spec: Adamw, parameters: dict[str, nn.Parameter]) -> torch.optim.AdamW:
    """AdamW over these parameters, its fused kernel."""
    first, second = spec.betas
    return torch.optim.AdamW(parameters.values(), spec.lr, (first, second), spec.eps, spec.weight_decay, fused=True)


def step_where(optimiser: torch.optim.AdamW, lr: float, finite: Tensor) -> None:
    """One step at this learning rate where `finite`, a truth value on the device, says so, and none otherwise.

    By what torch's GradScaler tells fused optimisers: the kernel looks at it, and the host need not wait.
    """
    for group in optimiser.param_groups:
        group["lr"] = lr
    optimiser.found_inf = (~finite).float()  # type: ignore[attr-defined]
    optimiser.step()


def optimiser_state(optimiser: torch.optim.Optimizer, parameters: dict[str, nn.Parameter]) -> dict[str, Tensor]:
    """Its state as `parameter.slot` → tensor; nothing for a parameter that has not been stepped."""
    return {
        f"{name}.{slot}": value
        for name, parameter in parameters.items()
        for slot, value in optimiser.state.get(parameter, {}).items()
    }


def load_optimiser_state(
    optimiser: torch.optim.Optimizer, parameters: dict[str, nn.Parameter], tensors: dict[str, Tensor]
) -> None:
    """Take back what `optimiser_state` gave."""
    places = {name: place for place, name in enumerate(parameters)}
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        name, _, slot = key.rpartition(".")
        state.setdefault(places[name], {})[slot] = tensor
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
