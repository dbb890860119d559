"""What to say when memory runs out. Names PyTorch's errors without importing it: preparing images needs none of it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from mimflow.errors import OutOfMemoryError

SAYINGS = (
    "DefaultCPUAllocator",
    "out of memory",
    "bad_alloc",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
"""What is in the texts of bare RuntimeErrors of PyTorch's that are about memory."""


@contextmanager
def memory_errors(message: str) -> Iterator[None]:
    """Turn out-of-memory errors into ours; `message` says what did not fit and what to change."""
    try:
        yield
    except (MemoryError, RuntimeError, OSError) as error:
        if not _is_memory(error):
            raise
        raise OutOfMemoryError(message) from error


def _is_memory(error: Exception) -> bool:
    if isinstance(error, RuntimeError):  # torch.OutOfMemoryError is one, and says so
        return any(saying in str(error) for saying in SAYINGS)
    return not isinstance(error, OSError) or error.errno == errno.ENOMEM
