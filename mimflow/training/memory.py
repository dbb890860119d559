"""What to say when a phase of training runs out of memory."""

from __future__ import annotations

from mimflow.training.spec import Phase


def out_of_memory(name: str, phase: Phase) -> str:
    """The message for the phase of this name: what did not fit, and the next number of parts to try."""
    size, parts = phase.batch_size, phase.accumulate
    more = next((count for count in range(parts + 1, size + 1) if size % count == 0), None)
    hint = f"try accumulate: {more}, or a smaller batch_size" if more else "the model does not fit with one image"
    return (
        f"phase '{name}': out of memory with {size // parts} images at once "
        f"(batch_size {size}, accumulate {parts}): {hint}"
    )
