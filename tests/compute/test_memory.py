"""Errors that are about memory, whoever raises them."""

from __future__ import annotations

import errno

import numpy as np
import pytest
import torch

from mimflow.compute.memory import memory_errors
from mimflow.errors import OutOfMemoryError

pytestmark = pytest.mark.fault("memory and disks")

ERRORS = [
    MemoryError(),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("std::bad_alloc"),
]


@pytest.mark.parametrize("error", ERRORS, ids=str)
def test_memory_that_runs_out_is_told_with_what_to_change(error: Exception) -> None:
    with pytest.raises(OutOfMemoryError, match="fewer images") as caught, memory_errors("fewer images"):
        raise error
    assert caught.value.exit_code == 4


def test_arrays_that_are_too_large() -> None:
    with pytest.raises(OutOfMemoryError), memory_errors("fewer images"):
        np.ones((2**40, 2**10))


@pytest.mark.parametrize("error", [RuntimeError("must match"), OSError(errno.ENOENT, "no such file"), ValueError()])
def test_other_errors_pass(error: Exception) -> None:
    with pytest.raises(type(error)), memory_errors("fewer images"):
        raise error
