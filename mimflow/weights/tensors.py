"""Files of tensors that others made."""

from __future__ import annotations

import argparse
import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from mimflow.artifacts.manifest import write_atomically
from mimflow.errors import ArtifactError

LISTED = 8
"""Names that an error lists."""


def read_tensors(file: Path, part: str | None = None) -> Mapping[str, Tensor]:
    """A state dict from safetensors or a pickle of tensors; other pickles are refused unexecuted.

    A checkpoint may hold it under a name, beside an optimiser and arguments: the only one that there is, or `part`.
    What wrappers of modules put into names (`module.`, `_orig_mod.`) is taken off. ArtifactError says what is wrong.
    """
    if not file.is_file():
        raise ArtifactError(f"{file}: no such file")
    try:
        state = load_file(file) if file.suffix == ".safetensors" else _of_pytorch(file)
    except MemoryError:
        raise
    # On corrupt data the parsers raise whatever they stumble over: UnpicklingError, IndexError, KeyError …
    except Exception as error:
        raise ArtifactError(f"{file}: not a checkpoint of tensors: {_reason(error)}") from error
    found = dict(_states(state, ""))
    if part is not None and part not in found:
        raise ArtifactError(f"{file}: no part '{part}' of tensors (it has: {', '.join(filter(None, found)) or 'none'})")
    if len(found) > 1 and part is None:
        raise ArtifactError(f"{file}: holds {len(found)} states: {', '.join(found)} (say which: --part {min(found)})")
    if not found:
        raise ArtifactError(f"{file}: not a state dict: a mapping of names to tensors")
    return _unwrapped(found[part or next(iter(found))])


def _of_pytorch(file: Path) -> Any:
    # The arguments of a script beside the tensors: nothing but names and values.
    with torch.serialization.safe_globals([argparse.Namespace]):
        return torch.load(file, "cpu", weights_only=True)


def _reason(error: Exception) -> str:
    """Why a file can't be read. torch's own words on a pickle of more than tensors advise to run it."""
    text = str(error)
    if "weights_only" in text or "Weights only" in text:
        what = re.search(r"GLOBAL (\S+)", text)
        more = f": {what[1]}" if what else ""
        return f"it holds more than tensors{more} (save the state dict alone, best as safetensors)"
    return next(iter(text.splitlines()), type(error).__name__)


def _states(value: Any, name: str, depth: int = 0) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """Every mapping of names to tensors in a checkpoint, with the name that it has there; empty for the whole."""
    if not isinstance(value, Mapping) or not value or not all(isinstance(key, str) for key in value) or depth > 2:
        return
    if all(isinstance(tensor, Tensor) for tensor in value.values()):
        yield name, value
        return
    for key, inner in value.items():
        yield from _states(inner, f"{name}.{key}" if name else key, depth + 1)


def _unwrapped(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state without what torch.compile and parallel or averaged modules put into its names."""
    found = {name.replace("_orig_mod.", ""): tensor for name, tensor in state.items()}
    if any(name.startswith("module.") for name in found):
        found = {name: tensor for name, tensor in found.items() if name != "n_averaged"}
    while found and all(name.startswith("module.") for name in found):
        found = {name.removeprefix("module."): tensor for name, tensor in found.items()}
    return found


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
    """The name of the first tensor with a NaN or an infinity in it; None if there is none. Waits once a device."""
    flags = {name: tensor.isfinite().all() for name, tensor in tensors.items()}
    finite: dict[str, bool] = {}
    for device in {flag.device for flag in flags.values()}:
        here = {name: flag for name, flag in flags.items() if flag.device == device}
        finite |= dict(zip(here, torch.stack(list(here.values())).tolist(), strict=True))
    return next((name for name in tensors if not finite[name]), None)


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and values, on any device."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def save_state(state: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write tensors, and text about them, as safetensors, atomically. StorageError if that can't be done."""
    tensors = {name: tensor.detach().contiguous().cpu() for name, tensor in state.items()}

    def write(temporary: Path) -> None:
        try:
            save_file(tensors, temporary, metadata)
        except SafetensorError as error:  # a full disk, which safetensors does not raise as an OSError
            raise OSError(str(error)) from error

    write_atomically(path, write)
