"""Files of tensors that others made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from mimflow.artifacts.manifest import write_atomically
from mimflow.errors import ArtifactError

LISTED = 8
"""Names that an error lists."""


def read_tensors(file: Path) -> Mapping[str, Tensor]:
    """A state dict from safetensors or a pickle of tensors; other pickles are refused unexecuted."""
    if not file.is_file():
        raise ArtifactError(f"{file}: no such file")
    try:
        state = load_file(file) if file.suffix == ".safetensors" else torch.load(file, "cpu", weights_only=True)
    except MemoryError:
        raise
    # On corrupt data the parsers raise whatever they stumble over: UnpicklingError, IndexError, KeyError …
    except Exception as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ArtifactError(f"{file}: not a checkpoint of tensors: {reason}") from error
    if not isinstance(state, Mapping) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise ArtifactError(f"{file}: not a state dict: a mapping of names to tensors")
    return state


def require_fit(file: Path, given: Mapping[str, Tensor], own: Mapping[str, Tensor], of: str) -> None:
    """ArtifactError unless a file gives exactly the tensors that `of` has, in their shapes; it names those that differ.

    `own` is what there has to be, by name.
    """
    wrong = [f"{name}: missing" for name in own.keys() - given.keys()]
    wrong += [f"{name}: unknown" for name in given.keys() - own.keys()]
    wrong += [
        f"{name}: shape {tuple(given[name].shape)}, wanted {tuple(own[name].shape)}"
        for name in own.keys() & given.keys()
        if given[name].shape != own[name].shape
    ]
    if wrong:
        more = f"; and {len(wrong) - LISTED} more" if len(wrong) > LISTED else ""
        raise ArtifactError(f"{file}: does not fit the {of}: {'; '.join(sorted(wrong)[:LISTED])}{more}")


def not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of the first tensor with a NaN or an infinity in it; None if there is none."""
    return next((name for name, tensor in tensors.items() if not tensor.isfinite().all()), None)


def save_state(state: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write tensors, and text about them, as safetensors, atomically. StorageError if that can't be done."""
    tensors = {name: tensor.detach().contiguous().cpu() for name, tensor in state.items()}

    def write(temporary: Path) -> None:
        try:
            save_file(tensors, temporary, metadata)
        except SafetensorError as error:  # a full disk, which safetensors does not raise as an OSError
            raise OSError(str(error)) from error

    write_atomically(path, write)
