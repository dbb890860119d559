"""Devices: which one, and in what precision."""

from __future__ import annotations

import torch
from torch import Tensor

from mimflow.artifacts import provenance
from mimflow.compute.slots import take_gpu
from mimflow.errors import DeviceError


def resolve(device: str) -> torch.device:
    """`auto`, `cpu` or `cuda` → a device that is there. DeviceError if it is not."""
    if device != "cpu":
        take_gpu()
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise DeviceError("compute.device: cuda was asked for, and PyTorch finds none (use cpu or auto)")
    return torch.device(device)


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU's on a device, without waiting for what the device is at work on."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The context to compute losses in: bf16 where `precision` says so, else as the weights are."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def full_precision(device: torch.device) -> torch.autocast:
    """The context for what is computed in the weights' own precision wherever it stands: no autocast inside it."""
    return torch.autocast(device.type, enabled=False)


def peak_memory_mb(device: torch.device) -> float:
    """The most memory in use so far, in MB: of the device's tensors on a GPU, of the process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return provenance.peak_memory_mb()
