"""Tensors of our own that are read back: safetensors that say what they belong to, their SHA-256 in a file beside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from mimflow.artifacts.manifest import sha256_of, write_text
from mimflow.weights.tensors import save_state

RECORD = "mimflow"
"""The entry of a file's metadata that holds what is said about its tensors, as JSON."""


def store_tensors(path: Path, tensors: dict[str, Tensor], record: Any) -> None:
    """Write tensors, plain data about them, and then their digest. StorageError if that can't be done."""
    save_state(tensors, path, {RECORD: json.dumps(record)})
    write_text(digest_path(path), f"{sha256_of(path)}  {path.name}\n")


def load_stored(path: Path) -> tuple[dict[str, Tensor], Any] | None:
    """The tensors and what is said about them; None if they are not there, or not those that were written."""
    try:
        if digest_path(path).read_bytes().split()[:1] != [sha256_of(path).encode()]:
            return None
        with safe_open(path, framework="pt") as stream:
            record = json.loads((stream.metadata() or {})[RECORD])
        return load_file(path), record
    except (OSError, SafetensorError, KeyError, ValueError):
        return None


def digest_path(path: Path) -> Path:
    """Where the digest of a file of tensors lies."""
    return path.with_suffix(".sha256")
