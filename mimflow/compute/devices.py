"""Devices: which one, and in what precision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor

from mimflow.artifacts import provenance
from mimflow.compute.bf16 import bf16_products
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
    if device == "cuda":
        torch.cuda.init()  # `seed_draws` seeds what is there
    return torch.device(device)


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU's on a device, without waiting for what the device is at work on."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def seed_draws(seed: int) -> None:
    """Have all that is drawn from here on follow from a seed: on the CPU, and on the GPUs if one is in use.

    As `torch.manual_seed`, which also keeps a stack trace of every call for devices that may still come: of a small
    model's step up to a tenth, on a GPU's host too, where it kept them for another vendor's.
    """
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)


@contextmanager
def autocast(device: torch.device, precision: str) -> Iterator[None]:
    """The context to compute losses in: bf16 where `precision` says so, else as the weights are."""
    in_bf16 = precision == "bf16"
    products = bf16_products() if in_bf16 and device.type == "cpu" else nullcontext()
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=in_bf16), products:
        yield


def full_precision(device: torch.device) -> torch.autocast:
    """The context for what is computed in the weights' own precision wherever it stands: no autocast inside it."""
    return torch.autocast(device.type, enabled=False)


def peak_memory_mb(device: torch.device) -> float:
    """The most memory in use so far, in MB: of the device's tensors on a GPU, of the process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return provenance.peak_memory_mb()
