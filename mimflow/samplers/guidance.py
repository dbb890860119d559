"""Guidance of autoregressive priors: which blocks, how strongly, and how two branches become one.

A prior runs the conditional and the null branch side by side and asks its guidance the rest: it knows no
rule.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from mimflow.nn.affine import Affine
from mimflow.priors.base import NULL_CLASS
from mimflow.samplers.spec import LinearGuidance


class Guidance(ABC):
    """What an autoregressive prior asks while it samples."""

    temperature: float
    """Divides the attention logits of the null branch."""

    @abstractmethod
    def guides(self, block: int, blocks: int) -> bool:
        """Whether `block` of `blocks`, counted in the density direction, needs a null branch."""

    @abstractmethod
    def null_labels(self, labels: Tensor) -> Tensor:
        """The labels (B,) of the null branch, given those of the conditional one."""

    @abstractmethod
    def combine(self, conditional: Affine, null: Affine, step: int, steps: int) -> Affine:
        """The guided map of one token, (B, channels), at `step` = 0 … `steps` − 1 of a block's steps."""


class LinearRule(Guidance):
    """p_g = p_c + g (p_c − p_u) on shift and log-scale (TARFlow, section 2.5).

    It is linear in the logarithm of the scale, so that the guided scale stays positive.
    """

    def __init__(self, spec: LinearGuidance):
        self.spec = spec
        self.temperature = spec.temperature

    def guides(self, block: int, blocks: int) -> bool:
        if self.spec.weight == 0:
            return False
        return self.spec.blocks == "all" or block == blocks - 1

    def null_labels(self, labels: Tensor) -> Tensor:
        if self.spec.against == "class":
            return torch.full_like(labels, NULL_CLASS)
        return labels

    def weight(self, step: int, steps: int) -> float:
        """g at `step` of `steps`: annealed, it rises to the full weight at the last prediction.

        TARFlow's first token is not predicted: T tokens make T − 1 steps.
        """
        return self.spec.weight * (step + 1) / steps if self.spec.anneal else self.spec.weight

    def combine(self, conditional: Affine, null: Affine, step: int, steps: int) -> Affine:
        g = self.weight(step, steps)
        shift, log_scale = conditional
        if "shift" in self.spec.what:
            shift = shift + g * (shift - null.shift)
        if "log_scale" in self.spec.what:
            log_scale = log_scale + g * (log_scale - null.log_scale)
        return Affine(shift, log_scale)
