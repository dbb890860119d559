"""A user's own function that draws a figure: where it lies, what of its source matters, how it is imported."""

from __future__ import annotations

from pathlib import Path


def function_problem(function: str, root: Path) -> tuple[str, str] | None:
    """What is wrong with the place of a function, and what would be right; None if there is such a file."""
    return None
