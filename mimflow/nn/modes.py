"""Using a module without leaving a trace on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(*roots: nn.Module) -> Iterator[None]:
    """Evaluation mode with parameters frozen; every module's mode and every `requires_grad` is put back."""
    modules = [module for root in roots for module in root.modules()]
    parameters = [parameter for root in roots for parameter in root.parameters()]
    training = [module.training for module in modules]
    required = [parameter.requires_grad for parameter in parameters]
    try:
        for root in roots:
            root.eval().requires_grad_(False)
        yield
    finally:
        for module, mode in zip(modules, training, strict=True):
            module.training = mode
        for parameter, needs in zip(parameters, required, strict=True):
            parameter.requires_grad_(needs)
